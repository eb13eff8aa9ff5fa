from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pytest

from agent.contract.event import Dwell, ZoneEnter, ZoneExit
from agent.vision.rules.base import Happening
from agent.vision.rules.zone import ZonePresence
from tests.support.vision import ALL_CLASSES, Box, sighting, standing_at

FRAME_WH_PX = (640, 360)
SQUARE = ((200, 100), (400, 100), (400, 300), (200, 300))
LONG_S = 3.0  # longer than any leaving takes
Point = tuple[float, float]


def zone(polygon: Sequence[Point] = SQUARE, *, dwell_s: float | None = None) -> ZonePresence:
    return ZonePresence(
        "no-stopping", np.array(polygon), frame_wh_px=FRAME_WH_PX, class_ids=ALL_CLASSES, dwell_s=dwell_s
    )


def play(rule: ZonePresence, frames: Iterable[Mapping[int, Box]], *, fps: float = 10.0) -> list[Happening]:
    """Frame n shows these objects; what is not in a frame any more has ended."""
    happened: list[Happening] = []
    known: set[int] = set()
    for n, boxes in enumerate(frames):
        happened += rule.update(sighting(boxes, n, n / fps, ended=tuple(sorted(known - set(boxes)))))
        known = set(boxes)
    return happened


def path(points: Iterable[Point]) -> list[Mapping[int, Box]]:
    return [{1: standing_at(x, y)} for x, y in points]


def told(happened: Sequence[Happening]) -> list[tuple[str, float]]:
    """What was said and when; a body without a kind would fail here."""
    return [
        (h.body.kind, pytest.approx(h.mono_s)) for h in happened if isinstance(h.body, ZoneEnter | ZoneExit | Dwell)
    ]


def through(outside_until: int, inside_until: int, frames: int) -> list[Point]:
    """Outside, then inside, then outside again; frame numbers."""
    return [(300, 200) if outside_until <= n < inside_until else (500, 200) for n in range(frames)]


def test_enter_is_when_it_was_first_seen_inside_and_exit_when_it_was_last() -> None:
    happened = play(zone(), path(through(10, 30, 60)))
    assert told(happened) == [("enter", 1.0), ("exit", 2.9)]
    assert [h.frame_index for h in happened] == [10, 29]
    assert isinstance(happened[1].body, ZoneExit)
    assert happened[1].body.dwell_s == pytest.approx(1.9)


def test_what_is_first_seen_inside_enters_then() -> None:
    assert told(play(zone(), path([(300, 200)] * 5))) == [("enter", 0.0)]


def test_dwell_is_said_when_its_time_is_full_and_once_a_stay() -> None:
    happened = play(zone(dwell_s=2.0), path(through(10, 100, 100)))
    assert told(happened) == [("enter", 1.0), ("dwell", 3.0)]
    assert isinstance(happened[1].body, Dwell)
    assert happened[1].body.dwell_s == pytest.approx(2.0)


def test_a_stay_shorter_than_allowed_says_no_dwell() -> None:
    assert "dwell" not in [kind for kind, _ in told(play(zone(dwell_s=2.0), path(through(10, 24, 60))))]


def test_the_second_stay_has_a_dwell_of_its_own() -> None:
    twice = [*through(0, 30, 70), *through(0, 30, 70)]
    kinds = [kind for kind, _ in told(play(zone(dwell_s=2.0), path(twice)))]
    assert kinds == ["enter", "dwell", "exit"] * 2


def test_dwell_is_said_though_nobody_looks_meanwhile() -> None:
    rule = zone(dwell_s=2.0)
    happened = rule.update(sighting({1: standing_at(300, 200)}, 0, 0.0))
    for n in range(1, 50):
        happened += rule.update(sighting({}, n, n / 10, unseen={1: standing_at(300, 200)}))
    assert told(happened) == [("enter", 0.0), ("dwell", 2.0)]


def test_a_box_that_trembles_over_the_border_neither_leaves_nor_enters_again() -> None:
    rng = np.random.default_rng(3)
    points = [(300.0, 200.0)] * 5 + [(float(400 + rng.normal(0, 5)), 200.0) for _ in range(600)]
    points[5::3] = [(390.0, 200.0)] * len(points[5::3])  # inside every third frame at least
    happened = play(zone(), path([*points, *[(300.0, 200.0)] * 5]))
    assert told(happened) == [("enter", 0.0)]


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        pytest.param((100, 200), (500, 200), ["enter", "exit"], id="right through"),
        pytest.param((100, 200), (300, 350), ["enter", "exit"], id="through two edges that meet"),
        pytest.param((100, 80), (500, 80), [], id="passes above"),
        pytest.param((100, 200), (150, 200), [], id="stays outside"),
        pytest.param((100, 320), (500, 320), [], id="passes below"),
    ],
)
def test_passing_between_two_frames_is_an_enter_and_an_exit(before: Point, after: Point, wanted: list[str]) -> None:
    happened = play(zone(), path([before, after, *[after] * 20]))
    assert [kind for kind, _ in told(happened)] == wanted
    assert all(0.0 <= h.mono_s <= 0.1 for h in happened)
    for h in happened:
        if isinstance(h.body, ZoneExit):
            assert h.body.dwell_s <= 0.1


def test_what_is_lost_inside_exits_when_its_track_ends() -> None:
    rule = zone()
    happened = []
    for n in range(10):
        happened += rule.update(sighting({1: standing_at(300, 200)}, n, n / 10))
    for n in range(10, 40):
        happened += rule.update(sighting({}, n, n / 10, unseen={1: standing_at(300, 200)}))
    assert told(happened) == [("enter", 0.0)], "not seen is not gone, as long as its track lives"
    happened += rule.update(sighting({}, 40, 4.0, ended=(1,)))
    assert told(happened) == [("enter", 0.0), ("exit", 0.9)]
    assert rule.update(sighting({}, 41, 4.1)) == []


def test_what_was_lost_outside_says_nothing_when_its_track_ends() -> None:
    assert play(zone(), [{1: standing_at(500, 200)}, {}]) == []


def test_feet_on_the_pictures_edge_are_in_a_zone_that_reaches_it() -> None:
    whole = ((0, 180), (640, 180), (640, 360), (0, 360))
    for x, y in ((300, 360), (300, 365), (0, 300), (640, 300), (640, 360), (-5, 300)):
        assert told(play(zone(whole), path([(x, y)]))) == [("enter", 0.0)], (x, y)


def test_feet_on_the_pictures_edge_are_not_in_a_zone_that_ends_above_it() -> None:
    assert play(zone(), path([(300, 360)])) == []


def test_a_zone_with_a_notch_does_not_contain_it() -> None:
    notched = ((200, 100), (400, 100), (400, 200), (300, 200), (300, 300), (200, 300))
    assert play(zone(notched), path([(360, 260)] * 5)) == []
    assert told(play(zone(notched), path([(250, 260)]))) == [("enter", 0.0)]


def test_each_object_has_a_stay_of_its_own() -> None:
    frames = [
        {1: standing_at(300, 200), 2: standing_at(250, 200) if 10 <= n < 20 else standing_at(500, 200)}
        for n in range(60)
    ]
    happened = play(zone(dwell_s=2.0), frames)
    said = sorted((h.track, kind, at_s) for h, (kind, at_s) in zip(happened, told(happened), strict=True))
    assert said == [(1, "dwell", 2.0), (1, "enter", 0.0), (2, "enter", 1.0), (2, "exit", 1.9)]


def test_what_is_said_names_zone_track_and_class() -> None:
    (happening,) = zone().update(sighting({7: standing_at(300, 200)}, 3, 0.3, classes={7: "bus"}))
    assert happening.body == ZoneEnter.model_validate({"zone": "no-stopping", "class": "bus", "track": 7})
    assert (happening.track, happening.class_ids) == (7, ALL_CLASSES)


def test_occupancy_is_objects_times_seconds_and_the_most_at_once() -> None:
    rule = zone()
    inside, outside = standing_at(300, 200), standing_at(500, 200)
    play(rule, [{1: inside if n > 0 else outside, 2: inside if 10 < n <= 20 else outside} for n in range(31)])
    held = rule.take_occupancy()
    assert held.peak == 2
    # 1 is inside for the whole 3 s; 2 for 1 s and the short while that leaving takes.
    assert 4.0 <= held.object_s <= 4.0 + LONG_S / 3


def test_occupancy_begins_anew_when_it_was_taken() -> None:
    rule = zone()
    play(rule, path([(300, 200)] * 11))
    assert rule.take_occupancy().object_s == pytest.approx(1.0)
    assert rule.take_occupancy().object_s == 0.0
    rule.update(sighting({1: standing_at(300, 200)}, 11, 1.1))
    held = rule.take_occupancy()
    assert (held.object_s, held.peak) == (pytest.approx(0.1), 1)


def test_occupancy_counts_the_zones_classes_only() -> None:
    people = ZonePresence("plaza", np.array(SQUARE), frame_wh_px=FRAME_WH_PX, class_ids=frozenset({0}))
    for n in range(11):
        boxes = {1: standing_at(300, 200), 2: standing_at(250, 200)}
        people.update(sighting(boxes, n, n / 10, classes={1: "person", 2: "car"}))
    held = people.take_occupancy()
    assert (held.object_s, held.peak) == (pytest.approx(1.0), 1)


def test_thousands_of_visitors_leave_nothing_behind() -> None:
    rule = zone(dwell_s=0.5)
    for visitor in range(1, 2001):
        rule.update(sighting({visitor: standing_at(300, 200)}, 2 * visitor, 2 * visitor))
        rule.update(sighting({}, 2 * visitor + 1, 2 * visitor + 1, ended=(visitor,)))
    assert sum(len(v) for v in vars(rule).values() if isinstance(v, dict | list)) == 0


@pytest.mark.parametrize("corner", [(200, 100), (400, 100), (400, 300), (200, 300)])
def test_a_path_that_grazes_a_corner_does_not_enter(corner: tuple[int, int]) -> None:
    polygon = np.array(((200, 100), (400, 100), (400, 300), (200, 300)))
    rule = ZonePresence("z", polygon, frame_wh_px=(640, 360), class_ids=ALL_CLASSES)
    x, y = corner
    d = 40 if (x - 300) * (y - 200) > 0 else -40  # along the diagonal that stays outside
    happened = [
        h
        for n, at in enumerate(((x - d, y + 40), (x + d, y - 40)))
        for h in rule.update(sighting({1: standing_at(*at)}, n, n / 10))
    ]
    assert happened == []
