import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from agent.contract.event import Crossing
from agent.vision.rules.base import Anchor, Happening
from agent.vision.rules.crossing import LineCrossing
from tests.support.vision import ALL_CLASSES, Box, centred_at, sighting, standing_at

Point = tuple[float, float]
Place = Callable[[float, float], Box]


def line(a: Point = (100, 200), b: Point = (500, 200), *, anchor: Anchor = "bottom") -> LineCrossing:
    """By default left to right across the picture: above it is the left hand, below it the right."""
    return LineCrossing("gate", np.array(a), np.array(b), class_ids=ALL_CLASSES, anchor=anchor)


def play(rule: LineCrossing, frames: Iterable[Mapping[int, Box]], *, fps: float = 10.0) -> list[Happening]:
    """Frame n shows these objects; what is not in a frame any more has ended."""
    happened: list[Happening] = []
    known: set[int] = set()
    for n, boxes in enumerate(frames):
        ended = tuple(sorted(known - set(boxes)))
        happened += rule.update(sighting(boxes, n, n / fps, ended=ended))
        known = set(boxes)
    return happened


def path(points: Sequence[Point], place: Place = standing_at) -> list[Mapping[int, Box]]:
    return [{1: place(x, y)} for x, y in points]


def directions(happened: Sequence[Happening]) -> list[str]:
    return [h.body.direction for h in happened if isinstance(h.body, Crossing)]


@pytest.mark.parametrize("place", [pytest.param(standing_at, id="bottom"), pytest.param(centred_at, id="center")])
@pytest.mark.parametrize(
    ("a", "b", "left", "right"),
    [
        pytest.param((100, 200), (500, 200), (300, 100), (300, 300), id="a left of b"),
        pytest.param((500, 200), (100, 200), (300, 300), (300, 100), id="a right of b"),
        pytest.param((300, 50), (300, 350), (400, 200), (200, 200), id="a above b"),
        pytest.param((300, 350), (300, 50), (200, 200), (400, 200), id="a below b"),
    ],
)
def test_from_the_left_hand_to_the_right_hand_is_in(
    a: Point, b: Point, left: Point, right: Point, place: Place
) -> None:
    anchor: Anchor = "bottom" if place is standing_at else "center"
    towards = [(left[0] + (right[0] - left[0]) * k / 8, left[1] + (right[1] - left[1]) * k / 8) for k in range(9)]
    assert directions(play(line(a, b, anchor=anchor), path(towards, place))) == ["in"]
    assert directions(play(line(a, b, anchor=anchor), path(towards[::-1], place))) == ["out"]


def test_the_anchor_is_the_point_that_counts() -> None:
    feet_cross_only = [(300.0, y) for y in (150, 170, 190, 210, 222)]
    assert directions(play(line(), path(feet_cross_only))) == ["in"]
    box_of_the_same = [{1: standing_at(x, y)} for x, y in feet_cross_only]
    assert play(line(anchor="center"), box_of_the_same) == []


@pytest.mark.parametrize(
    ("points", "wanted"),
    [
        pytest.param([(300, 100), (300, 300)], ["in"], id="left of it in one frame, right of it in the next"),
        pytest.param([(300, 300), (300, 100)], ["out"], id="the other way"),
        pytest.param([(450, 100), (560, 300)], [], id="passes just beside the end"),
        pytest.param([(430, 100), (560, 300)], ["in"], id="passes just inside the end"),
        pytest.param([(90, 100), (90, 180), (90, 260)], [], id="passes beside the beginning"),
        pytest.param([(300, 100), (300, 150), (300, 190)], [], id="stops before it"),
        pytest.param([(300, 100), (300, 190), (300, 100)], [], id="turns round before it"),
        pytest.param([(300, 100), (300, 190), (300, 202), (300, 190), (300, 100)], [], id="sets a toe on it"),
        pytest.param([(300, 100), (300, 300), (300, 100)], ["in", "out"], id="comes back"),
        pytest.param([(300, 100), (300, 300), (300, 100), (300, 300)], ["in", "out", "in"], id="and crosses again"),
        pytest.param([(300, 100), (300, 200), (300, 300)], ["in"], id="one sighting exactly on the line"),
        pytest.param([(300, 100), *[(300, 200)] * 50, (300, 300)], ["in"], id="stands exactly on the line"),
        pytest.param([(300, 100), *[(300, 200)] * 50, (300, 100)], [], id="stands exactly on the line, goes back"),
        pytest.param([(300, 200), (300, 300)], [], id="first seen exactly on the line: from where, nobody knows"),
        pytest.param([(300, 200), (300, 300), (300, 100)], ["out"], id="first seen on the line, then comes back"),
        pytest.param([(300, 300), (600, 300), (600, 100), (300, 100)], [], id="walks round the end"),
        pytest.param(
            [(300, 100), (300, 190), (300, 202), (300, 190), (300, 100), (600, 100), (600, 300), (300, 300)],
            [],
            id="sets a toe on it, then walks round the end",
        ),
        pytest.param([(300, 200), (300, 196), (300, 300)], [], id="first seen on the line, sways, goes on"),
        pytest.param([(200, 150), (250, 150), (300, 150), (350, 150)], [], id="walks along it"),
        pytest.param([(300, 300)], [], id="first seen beyond it"),
    ],
)
def test_what_counts_as_a_crossing(points: list[Point], wanted: list[str]) -> None:
    assert directions(play(line(), path(points))) == wanted


@pytest.mark.parametrize("fps", [5.0, 10.0, 25.0])
@pytest.mark.parametrize("px_per_s", [20, 80, 400, 1500])
@pytest.mark.parametrize("down", [True, False])
def test_every_start_and_every_speed_is_counted_once(fps: float, px_per_s: float, down: bool) -> None:
    for phase in range(20):
        step = px_per_s / fps
        ys = np.arange(200 - step * (1 + phase / 20), 260 + step, step)[:80]
        points = [(300.0, float(y if down else 400 - y)) for y in ys]
        assert directions(play(line(), path(points), fps=fps)) == ["in" if down else "out"], phase


@pytest.mark.parametrize("wide", [12, 40, 200])
@pytest.mark.parametrize("tremble", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("offset", [-0.1, 0.0, 0.1])
def test_a_queue_that_trembles_on_the_line_for_a_minute_is_not_counted_twice(
    wide: float, tremble: float, offset: float
) -> None:
    rng = np.random.default_rng(11)
    arrives = [(300.0, 200 + wide * (offset - 2 * (1 - k / 20))) for k in range(21)]
    stands = [(300.0, 200 + wide * (offset + rng.normal(0, tremble))) for _ in range(600)]
    frames = [{1: standing_at(x, y, wide, wide)} for x, y in arrives + stands]
    assert directions(play(line(), frames)) in ([], ["in"])


def test_what_stood_on_the_line_and_drives_on_is_counted_once() -> None:
    rng = np.random.default_rng(12)
    ys = [*np.arange(100, 200, 5), *(200 + rng.normal(0, 2, 600)), *np.arange(200, 300, 5)]
    assert directions(play(line(), path([(300.0, float(y)) for y in ys]))) == ["in"]


def test_a_stop_and_go_queue_is_counted_car_by_car() -> None:
    rng = np.random.default_rng(13)
    frames: list[dict[int, Box]] = []
    for n in range(1200):  # a move of half a car's length every 5 s; 60 px from car to car
        moved = 30 * (n // 50) + 30 * min(n % 50, 10) / 10
        frames.append(
            {k: standing_at(300, 150 - 60 * k + moved + rng.normal(0, 1), 50, 50) for k in range(1, 6)},
        )
    happened = play(line(), frames)
    assert directions(happened) == ["in"] * 5
    assert sorted(h.track for h in happened) == [1, 2, 3, 4, 5]


def test_frame_and_time_lie_between_the_two_sightings_where_the_path_met_the_line() -> None:
    rule = line()
    assert rule.update(sighting({1: standing_at(300, 100)}, 10, 1.0)) == []
    (happening,) = rule.update(sighting({1: standing_at(300, 500)}, 30, 3.0))
    assert happening.frame_index == 15
    assert happening.mono_s == pytest.approx(1.5)


def test_a_crossing_is_dated_at_the_line_though_it_counts_once_beyond_it() -> None:
    points = [(300.0, 200 + wait) for wait in (-60, -20, 1, 2, 3, 60)]
    (happening,) = play(line(), path(points))
    assert 1 <= happening.frame_index <= 2
    assert 0.1 <= happening.mono_s <= 0.2


def test_what_is_said_names_line_track_class_and_the_rules_classes() -> None:
    rule = LineCrossing("gate", np.array((100, 200)), np.array((500, 200)), class_ids=frozenset({0, 5}))
    for n, y in enumerate((100, 300)):
        happened = rule.update(sighting({7: standing_at(300, y)}, n, n / 10, classes={7: "truck"}))
    (happening,) = happened
    assert happening.body == Crossing.model_validate({"line": "gate", "direction": "in", "class": "truck", "track": 7})
    assert (happening.track, happening.class_ids) == (7, {0, 5})


def test_a_whole_and_its_part_count_once() -> None:
    frames = [{1: (260, y - 80, 340, y), 2: (270, y - 40, 310, y - 2)} for y in range(100, 300, 10)]
    assert len(play(line(), frames)) == 1


def test_a_part_followed_ahead_of_its_whole_counts_once() -> None:
    """A car that drives to the right over an upright line; its front half is followed as well and crosses first."""
    frames = [{1: (x, 100, x + 120, 180), 2: (x + 60, 100, x + 120, 180)} for x in range(100, 500, 10)]
    happened = play(line((300, 50), (300, 350)), frames)
    assert directions(happened) == ["out"]


def test_two_side_by_side_count_twice() -> None:
    frames = [{1: standing_at(250, y, 60), 2: standing_at(320, y, 60)} for y in range(100, 300, 10)]
    assert [h.track for h in play(line(), frames)] == [1, 2]


def test_two_in_a_row_count_twice() -> None:
    frames = [{1: standing_at(300, y), 2: standing_at(300, y - 45)} for y in range(100, 400, 10)]
    assert [h.track for h in play(line(), frames)] == [1, 2]


def test_an_object_hidden_while_it_crosses_is_counted_when_it_is_seen_again() -> None:
    rule, happened = line(), []
    for n, y in enumerate(range(100, 300, 10)):
        box = {1: standing_at(300, y)}
        hidden = 150 < y < 250
        happened += rule.update(sighting({} if hidden else box, n, n / 10, unseen=box if hidden else {}))
    assert directions(happened) == ["in"]


def test_a_number_is_forgotten_when_its_track_ended() -> None:
    rule = line()
    rule.update(sighting({1: standing_at(300, 100)}, 0, 0.0))
    rule.update(sighting({}, 1, 0.1, ended=(1,)))
    assert rule.update(sighting({1: standing_at(300, 300)}, 2, 0.2)) == [], "went on from where an ended track was"


def test_thousands_of_passers_by_leave_nothing_behind() -> None:
    rule = line()
    size_of = lambda: sum(len(v) for v in vars(rule).values() if isinstance(v, dict | list))  # noqa: E731
    for passer in range(1, 3001):
        for k, y in enumerate((100, 300)):
            rule.update(sighting({passer: standing_at(300, y)}, 3 * passer + k, 3 * passer + k))
        rule.update(sighting({}, 3 * passer + 2, 3 * passer + 2, ended=(passer,)))
    assert size_of() < 10


def test_a_line_counts_the_same_however_long_it_is_drawn() -> None:
    for length in (150, 400, 5000):
        middle = (300 - length / 2, 200), (300 + length / 2, 200)
        assert directions(play(line(*middle), path([(300, y) for y in range(100, 301, 20)]))) == ["in"]


def test_a_line_aslant_counts_like_any_other() -> None:
    for degrees in range(0, 360, 15):
        turn = math.radians(degrees)
        along, right = (math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))
        a, b = (320 - 150 * along[0], 180 - 150 * along[1]), (320 + 150 * along[0], 180 + 150 * along[1])
        points = [(320 + s * right[0], 180 + s * right[1]) for s in range(-90, 91, 20)]
        assert directions(play(line(a, b, anchor="center"), path(points, centred_at))) == ["in"], degrees


@pytest.mark.parametrize("degrees", range(0, 360, 15))
def test_a_sighting_on_a_line_aslant_is_not_a_hole_to_slip_through(degrees: int) -> None:
    turn = math.radians(degrees)
    along, right = (math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))
    a, b = (320 - 150 * along[0], 180 - 150 * along[1]), (320 + 150 * along[0], 180 + 150 * along[1])
    frames = [{1: centred_at(320 + s * right[0], 180 + s * right[1])} for s in range(-100, 101, 20)]
    assert directions(play(line(a, b, anchor="center"), frames)) == ["in"]


@pytest.mark.parametrize("high", [40, 80, 120, 160])
def test_two_that_meet_on_the_line_count_in_and_out(high: int) -> None:
    """They walk towards each other, and in the picture the one hides half of the other just there."""
    frames = [
        {1: standing_at(300, y, high / 2, high), 2: standing_at(305, 400 - y, high / 2, high)}
        for y in range(60, 341, 10)
    ]
    assert sorted(directions(play(line(), frames))) == ["in", "out"]


def driven(
    rule: LineCrossing,
    paths: Mapping[int, Sequence[tuple[float, Box]]],
    speeds: Mapping[int, Point],
    *,
    fps: float = 10.0,
) -> list[Happening]:
    """Tracks with a speed: each appears in the frames of its path, which are (frame, box)."""
    happened: list[Happening] = []
    frames = sorted({int(n) for path in paths.values() for n, _ in path})
    for n in frames:
        boxes = {track: box for track, path in paths.items() for at, box in path if at == n}
        tracks = sighting(boxes, n, n / fps)
        known = np.array([speeds[int(i)] for i in tracks.ids], np.float32).reshape(len(tracks), 2)
        happened += rule.update(replace(tracks, speeds_px_s=known))
    return happened


def test_two_boxes_that_lie_over_each_other_are_counted_once() -> None:
    whole = {1: [(n, standing_at(300, 100 + 10 * n, 60, 60)) for n in range(30)]}
    part = {2: [(n, standing_at(300, 92 + 10 * n, 60, 30)) for n in range(30)]}
    speed = {1: (0.0, 100.0), 2: (0.0, 100.0)}
    assert [h.track for h in driven(line(), {**whole, **part}, speed)] == [1]


@pytest.mark.parametrize(
    ("dx", "dy"),
    [pytest.param(0, -70, id="one behind the other"), pytest.param(60, -5, id="side by side")],
)
def test_two_vehicles_are_counted_twice(dx: float, dy: float) -> None:
    first = {1: [(n, standing_at(300, 100 + 10 * n, 60, 60)) for n in range(30)]}
    second = {2: [(n, standing_at(300 + dx, 100 + dy + 10 * n, 60, 60)) for n in range(36)]}
    speed = {1: (0.0, 100.0), 2: (0.0, 100.0)}
    assert sorted(h.track for h in driven(line(), {**first, **second}, speed)) == [1, 2]


def test_a_track_that_goes_over_to_the_vehicle_behind_has_not_crossed_backwards() -> None:
    boxes = [standing_at(300, 130 + 20 * n, 60, 60) for n in range(8)]
    boxes += [standing_at(300, 190 + 20 * n, 60, 60) for n in range(8)]  # the next one, a car's length behind
    happened = driven(line(), {1: list(enumerate(boxes))}, {1: (0.0, 200.0)})
    assert directions(happened) == ["in", "in"]


def test_a_vehicle_that_turns_round_has_crossed_back() -> None:
    there = [standing_at(300, 130 + 20 * n, 60, 60) for n in range(8)]
    back = [standing_at(300, 260 - 20 * n, 60, 60) for n in range(8)]
    rule = line()
    happened = driven(rule, {1: list(enumerate(there))}, {1: (0.0, 200.0)})
    happened += driven(rule, {1: [(8 + n, box) for n, box in enumerate(back)]}, {1: (0.0, -200.0)})
    assert directions(happened) == ["in", "out"]


def test_the_moment_told_is_that_of_the_body_and_not_later_than_now() -> None:
    """Its bottom edge meets the line at 1.0 s, its middle a tenth of a second later; half-way is told."""
    boxes = [(n, standing_at(300, 100 + 10 * n, 60, 20)) for n in range(30)]
    (happening,) = driven(line(), {1: boxes}, {1: (0.0, 100.0)})
    assert happening.mono_s == pytest.approx(1.05, abs=0.01)
    away = [(n, standing_at(300, 400 - 10 * n, 60, 50)) for n in range(40)]
    (happening,) = driven(line(), {1: away}, {1: (0.0, -100.0)})
    assert happening.mono_s == pytest.approx(1.875, abs=0.01)
    high = [(n, standing_at(300, 100 + 10 * n, 60, 400)) for n in range(60)]
    told = driven(line(), {1: high}, {1: (0.0, 100.0)})
    assert [h.mono_s <= 2.9 for h in told] == [True]


@pytest.mark.parametrize(
    ("x", "wanted"),
    [pytest.param(507, ["in"], id="its body within, its shadow beyond"), pytest.param(545, [], id="all of it beyond")],
)
def test_at_the_end_of_a_line_the_body_decides(x: float, wanted: list[str]) -> None:
    """Down and to the left, so that the middle passes farther to the left than the bottom edge does."""
    boxes = [(n, standing_at(x + 100 - 10 * n, 100 + 10 * n, 40, 40)) for n in range(30)]
    assert directions(driven(line(), {1: boxes}, {1: (-100.0, 100.0)})) == wanted


def test_what_is_followed_badly_and_against_the_traffic_has_crossed_nothing() -> None:
    rule = line()
    said: list[Happening] = []
    for n, y in enumerate(range(120, 300, 20)):
        tracks = sighting({1: standing_at(300, y)}, n, n / 10)
        said += rule.update(replace(tracks, erratic=np.ones(1, np.bool_)))
    assert said == []
