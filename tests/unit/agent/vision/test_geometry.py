import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.vision import geometry

WHOLE = st.integers(-50, 50)
POINT = st.tuples(WHOLE, WHOLE)
BOX = st.tuples(WHOLE, WHOLE, st.integers(1, 60), st.integers(1, 60)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


def f32(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32)


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        pytest.param((0, 0, 10, 10), (0, 0, 10, 10), 1.0, id="the same box"),
        pytest.param((0, 0, 10, 10), (20, 0, 30, 10), 0.0, id="apart"),
        pytest.param((0, 0, 10, 10), (10, 0, 20, 10), 0.0, id="side by side, touching"),
        pytest.param((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3, id="half over half"),
        pytest.param((0, 0, 10, 10), (2, 2, 7, 6), 0.2, id="one in the other"),
        pytest.param((0, 0, 0, 0), (0, 0, 0, 0), 0.0, id="two boxes of nothing"),
    ],
)
def test_iou_is_shared_area_over_joint_area(a: tuple[float, ...], b: tuple[float, ...], wanted: float) -> None:
    assert geometry.iou(f32(a), f32(b))[0, 0] == pytest.approx(wanted, abs=1e-5)


@given(st.lists(BOX, min_size=1, max_size=4), st.lists(BOX, min_size=1, max_size=4))
def test_iou_does_not_care_which_boxes_come_first(
    a: list[tuple[int, int, int, int]], b: list[tuple[int, int, int, int]]
) -> None:
    one_way, other_way = geometry.iou(f32(*a), f32(*b)), geometry.iou(f32(*b), f32(*a))
    assert one_way.shape == (len(a), len(b))
    assert np.array_equal(one_way, other_way.T)
    assert (one_way >= 0).all()
    assert (one_way <= 1.0 + 1e-6).all()


def test_area_of_a_box_that_is_inside_out_is_nothing() -> None:
    assert geometry.areas(f32((10, 10, 0, 20), (0, 0, 3, 4))).tolist() == [0.0, 12.0]


def test_a_grown_box_keeps_its_centre() -> None:
    assert geometry.grown(f32((10, 20, 30, 60)), 0.5).tolist() == [[0, 0, 40, 80]]


@pytest.mark.parametrize(
    ("b", "right_hand"),
    [
        pytest.param((10, 0), (5, 3), id="to the right of the picture: below"),
        pytest.param((-10, 0), (-5, -3), id="to the left of the picture: above"),
        pytest.param((0, 10), (-3, 5), id="down the picture: left of it"),
        pytest.param((0, -10), (3, -5), id="up the picture: right of it"),
    ],
)
def test_the_right_hand_of_somebody_looking_from_a_to_b_is_positive(
    b: tuple[float, float], right_hand: tuple[float, float]
) -> None:
    a = np.zeros(2, np.float32)
    left_hand = (right_hand[0] if b[0] else -right_hand[0], right_hand[1] if b[1] else -right_hand[1])
    sides = geometry.side_of_line(a, np.array(b, np.float32), f32(right_hand, left_hand, b))
    assert sides.tolist() == [3.0, -3.0, 0.0]


@given(POINT, POINT, POINT)
def test_looking_the_other_way_swaps_left_and_right(a: tuple[int, int], b: tuple[int, int], p: tuple[int, int]) -> None:
    if a == b:
        return
    a_px, b_px = np.array(a, np.float32), np.array(b, np.float32)
    there = geometry.side_of_line(a_px, b_px, f32(p))[0]
    back = geometry.side_of_line(b_px, a_px, f32(p))[0]
    assert there == pytest.approx(-back, abs=1e-3)


@pytest.mark.parametrize(
    ("p", "q", "wanted"),
    [
        pytest.param((5, -5), (5, 5), 0.5, id="straight through"),
        pytest.param((5, -1), (5, 9), 0.1, id="through, soon"),
        pytest.param((2, 5), (4, -5), 0.5, id="through, aslant, the other way"),
        pytest.param((5, 0), (5, 5), None, id="touches with its start: met before"),
        pytest.param((5, -5), (5, 0), 1.0, id="touches with its end"),
        pytest.param((10, -5), (10, 5), 0.5, id="through the very end"),
        pytest.param((0, -5), (0, 5), 0.5, id="through the very beginning"),
        pytest.param((11, -5), (11, 5), None, id="beside the end"),
        pytest.param((-1, -5), (-1, 5), None, id="beside the beginning"),
        pytest.param((5, -5), (5, -1), None, id="stops short of it"),
        pytest.param((0, 3), (10, 3), None, id="parallel"),
        pytest.param((2, 0), (8, 0), None, id="along it"),
        pytest.param((5, 5), (5, 5), None, id="stands still"),
        pytest.param((5, 0), (5, 0), None, id="stands still on it"),
    ],
)
def test_where_a_path_meets_a_line(p: tuple[float, float], q: tuple[float, float], wanted: float | None) -> None:
    met = geometry.where_segments_meet(f32(p), f32(q), np.array((0, 0), np.float32), np.array((10, 0), np.float32))
    assert met.shape == (1,)
    if wanted is None:
        assert np.isnan(met[0])
    else:
        assert met[0] == pytest.approx(wanted)


def test_each_path_is_judged_by_itself() -> None:
    met = geometry.where_segments_meet(
        f32((5, -5), (20, -5), (5, -5)),
        f32((5, 5), (20, 5), (5, -4)),
        np.array((0, 0), np.float32),
        np.array((10, 0), np.float32),
    )
    assert np.isnan(met).tolist() == [False, True, True]


@given(POINT, POINT, POINT, POINT)
def test_a_path_that_lands_on_a_line_and_goes_on_meets_it_once(
    p: tuple[int, int], a: tuple[int, int], b: tuple[int, int], beyond: tuple[int, int]
) -> None:
    middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    a_px, b_px = np.array(a, np.float32), np.array(b, np.float32)
    if a == b or not geometry.side_of_line(a_px, b_px, f32(p, beyond)).all():
        return
    first = geometry.where_segments_meet(f32(p), f32(middle), a_px, b_px)[0]
    then = geometry.where_segments_meet(f32(middle), f32(beyond), a_px, b_px)[0]
    assert first == pytest.approx(1.0)
    assert np.isnan(then)


L_SHAPE = ((0, 0), (10, 0), (10, 4), (4, 4), (4, 10), (0, 10))
SQUARE = ((0, 0), (10, 0), (10, 10), (0, 10))


@pytest.mark.parametrize(
    ("polygon", "point", "wanted"),
    [
        pytest.param(SQUARE, (5, 5), True, id="square, middle"),
        pytest.param(SQUARE, (9.9, 0.1), True, id="square, just inside a corner"),
        pytest.param(SQUARE, (10.1, 5), False, id="square, just beside"),
        pytest.param(SQUARE, (-3, 0), False, id="square, level with a corner"),
        pytest.param(SQUARE, (15, 10), False, id="square, level with the lower edge"),
        pytest.param(L_SHAPE, (2, 8), True, id="L, lower arm"),
        pytest.param(L_SHAPE, (8, 2), True, id="L, right arm"),
        pytest.param(L_SHAPE, (8, 8), False, id="L, in the notch"),
        pytest.param(L_SHAPE, (2, 4), True, id="L, level with the inner corner"),
        pytest.param(L_SHAPE, (-1, 4), False, id="L, outside, level with the inner corner"),
    ],
)
def test_what_is_inside_a_polygon(
    polygon: tuple[tuple[float, float], ...], point: tuple[float, float], wanted: bool
) -> None:
    assert geometry.inside_polygon(f32(point), f32(*polygon)).tolist() == [wanted]
    assert geometry.inside_polygon(f32(point), f32(*polygon[::-1])).tolist() == [wanted], "drawn the other way round"


@given(st.lists(st.tuples(st.floats(-20, 20, width=32), st.floats(-20, 20, width=32)), min_size=1, max_size=8))
def test_inside_does_not_depend_on_the_corner_a_polygon_begins_with(points: list[tuple[float, float]]) -> None:
    inside = geometry.inside_polygon(f32(*points), f32(*L_SHAPE))
    for n in range(1, len(L_SHAPE)):
        turned = L_SHAPE[n:] + L_SHAPE[:n]
        assert np.array_equal(inside, geometry.inside_polygon(f32(*points), f32(*turned)))


@pytest.mark.parametrize(
    ("polygon", "wanted"),
    [
        pytest.param(((0, 0), (10, 0), (5, 8)), None, id="triangle"),
        pytest.param(SQUARE, None, id="square"),
        pytest.param(L_SHAPE, None, id="L"),
        pytest.param(((0, 0), (10, 10), (10, 0), (0, 10)), (0, 2), id="bow-tie"),
        pytest.param(((0, 0), (10, 0), (10, 10), (5, 0), (0, 10)), (0, 2), id="a corner touches another edge"),
        pytest.param(((0, 0), (5, 5), (10, 0), (10, 10), (5, 5), (0, 10)), (0, 3), id="two corners in one place"),
        pytest.param(((0, 0), (10, 0), (10, 5), (20, 5), (10, 5), (10, 10), (0, 10)), (1, 3), id="spike"),
    ],
)
def test_edges_that_cross_or_touch_are_named(
    polygon: tuple[tuple[float, float], ...], wanted: tuple[int, int] | None
) -> None:
    assert geometry.crossing_edges(polygon) == wanted


@pytest.mark.parametrize(
    ("polygon", "wanted"),
    [
        pytest.param(SQUARE, 100.0, id="square"),
        pytest.param(SQUARE[::-1], 100.0, id="square, the other way round"),
        pytest.param(L_SHAPE, 64.0, id="L"),
        pytest.param(((0, 0), (10, 0), (0, 10)), 50.0, id="triangle"),
        pytest.param(((0, 0), (5, 5), (10, 10)), 0.0, id="all on one line"),
    ],
)
def test_area_of_a_polygon(polygon: tuple[tuple[float, float], ...], wanted: float) -> None:
    assert geometry.polygon_area(polygon) == pytest.approx(wanted)


def test_a_path_in_two_steps_meets_a_line_as_often_as_in_one() -> None:
    rng = np.random.default_rng(0)
    missed = twice = 0
    for _ in range(2000):
        a, b, p = rng.uniform(0, 1000, (3, 2)).astype(np.float32)
        middle = (a + rng.uniform(0.2, 0.8) * (b - a)).astype(np.float32)
        q = (middle + (middle - p)).astype(np.float32)
        met = geometry.where_segments_meet(np.stack([p, middle]), np.stack([middle, q]), a, b)
        missed += int(np.isnan(met).all())
        twice += int((~np.isnan(met)).all())
    assert (missed, twice) == (0, 0)


@pytest.mark.parametrize(
    ("corners", "wanted"),
    [
        pytest.param([(0, 0), (1, 0), (1, 1), (0, 1)], True, id="a square"),
        pytest.param([(0, 0), (0, 1), (1, 1), (1, 0)], True, id="the other way round"),
        pytest.param([(0.4, 0.2), (0.6, 0.2), (1, 1), (0, 1)], True, id="a road"),
        pytest.param([(0, 0), (1, 1), (1, 0), (0, 1)], False, id="crossed"),
        pytest.param([(0, 0), (1, 0), (0.2, 0.2), (0, 1)], False, id="a dent"),
        pytest.param([(0, 0), (0.5, 0), (1, 0), (0, 1)], False, id="three on a line"),
        pytest.param([(0, 0), (0, 0), (1, 1), (0, 1)], False, id="two in one place"),
    ],
)
def test_convex_is_what_turns_the_same_way_everywhere(corners: list[tuple[float, float]], wanted: bool) -> None:
    assert geometry.is_convex(corners) is wanted
