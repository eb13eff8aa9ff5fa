from collections import Counter

import numpy as np
import pytest

from agent.contract.event import Counts, Crossing
from agent.vision.rules.base import Happening
from agent.vision.rules.counts import IntervalCounts
from agent.vision.rules.zone import ZonePresence
from tests.support.vision import ALL_CLASSES, sighting, standing_at

NAMES = ("person", "bicycle", "motorcycle", "car", "bus", "truck")


def crossing(
    line: str, direction: str, name: str, mono_s: float = 0.0, track: int = 1, speed_kmh: float | None = None
) -> Happening:
    body = Crossing.model_validate(
        {"line": line, "direction": direction, "class": name, "track": track, "speed_kmh": speed_kmh}
    )
    return Happening(body, track, 0, mono_s)


def counts_of(happened: list[Happening]) -> list[Counts]:
    return [h.body for h in happened if isinstance(h.body, Counts)]


def test_the_sums_equal_the_single_events_by_line_direction_and_class() -> None:
    rng = np.random.default_rng(1)
    counts, said = IntervalCounts(60.0, ()), []
    single: Counter[tuple[str, str, str]] = Counter()
    for n in range(3000):
        happened = [
            crossing(str(rng.choice(["gate", "exit"])), str(rng.choice(["in", "out"])), str(rng.choice(NAMES)))
            for _ in range(int(rng.integers(0, 3)))
        ]
        single.update((h.body.line, h.body.direction, h.body.object_class) for h in happened)  # type: ignore[union-attr]
        counts.add(happened)
        said += counts.update(n, n / 10)
    said += counts.flush(3000)
    summed: Counter[tuple[str, str, str]] = Counter()
    for body in counts_of(said):
        for line in body.lines:
            summed[line.line, line.direction, line.object_class] += line.n
    assert len(counts_of(said)) == 5
    assert len(single) == 24
    assert summed == single


def test_intervals_end_on_time_and_one_after_the_other() -> None:
    counts = IntervalCounts(60.0, ())
    said = [h for n in range(1801) for h in counts.update(n, 100 + n / 10)]
    assert [(h.mono_s, h.frame_index, h.track) for h in said] == [(160, 600, 0), (220, 1200, 0), (280, 1800, 0)]
    assert [(body.interval_s, body.seen_s) for body in counts_of(said)] == [(60.0, 60.0)] * 3


def test_an_interval_without_anything_says_so() -> None:
    counts = IntervalCounts(10.0, ())
    said = [h for n in range(101) for h in counts.update(n, n / 10)]
    assert counts_of(said) == [Counts(interval_s=10.0, seen_s=10.0)]


def test_what_was_counted_is_not_counted_again() -> None:
    counts = IntervalCounts(10.0, ())
    counts.add([crossing("gate", "in", "car")])
    said = [h for n in range(201) for h in counts.update(n, n / 10)]
    assert [sum(line.n for line in body.lines) for body in counts_of(said)] == [1, 0]


def test_time_in_which_the_camera_was_silent_is_not_time_seen() -> None:
    counts = IntervalCounts(60.0, ())
    at_s = [n / 10 for n in range(201)] + [50 + n / 10 for n in range(101)]  # 20 s, silence of 30 s, 10 s
    (body,) = counts_of([h for n, mono_s in enumerate(at_s) for h in counts.update(n, mono_s)])
    assert (body.interval_s, body.seen_s) == (60.0, 30.0)


def test_time_seen_begins_anew_with_each_interval() -> None:
    counts = IntervalCounts(10.0, ())
    at_s = [n / 10 for n in range(101)] + [10.5 + n / 10 for n in range(6)] + [20.0]
    first, second = counts_of([h for n, mono_s in enumerate(at_s) for h in counts.update(n, mono_s)])
    assert (first.seen_s, second.seen_s) == (10.0, 1.0)


def test_a_silence_longer_than_intervals_is_one_interval() -> None:
    counts = IntervalCounts(60.0, ())
    counts.update(0, 0.0)
    counts.update(1, 1.0)
    counts.add([crossing("gate", "in", "car")])
    (body,) = counts_of(counts.update(2, 1000.0))
    assert (body.interval_s, body.seen_s) == (1000.0, 1.0)
    assert counts.update(3, 1001.0) == []


def test_a_slow_camera_is_not_taken_for_a_silent_one() -> None:
    counts = IntervalCounts(10.0, ())
    (body,) = counts_of([h for n in range(11) for h in counts.update(n, n * 1.0)])
    assert body.seen_s == 10.0


def test_flush_ends_the_interval_at_the_last_frame() -> None:
    counts = IntervalCounts(60.0, ())
    for n in range(101):
        counts.update(n, n / 10)
    counts.add([crossing("gate", "out", "bus")] * 3)
    (happening,) = counts.flush(100)
    (body,) = counts_of([happening])
    assert (happening.mono_s, happening.frame_index) == (10.0, 100)
    assert (body.interval_s, body.seen_s) == (10.0, 10.0)
    assert [(line.line, line.direction, line.object_class, line.n) for line in body.lines] == [
        ("gate", "out", "bus", 3)
    ]
    assert counts.flush(100) == [], "flushed twice"


def test_flush_before_anything_was_seen_says_nothing() -> None:
    assert IntervalCounts(60.0, ()).flush(0) == []


def test_zones_tell_how_full_they_were_on_average_and_at_most() -> None:
    zone = ZonePresence(
        "plaza", np.array(((0, 0), (640, 0), (640, 360), (0, 360))), frame_wh_px=(640, 360), class_ids=ALL_CLASSES
    )
    counts, said = IntervalCounts(10.0, (zone,)), []
    for n in range(201):
        boxes = {1: standing_at(300, 200), **({2: standing_at(100, 200)} if 50 < n <= 100 else {})}
        zone.update(sighting(boxes, n, n / 10, ended=(2,) if n == 101 else ()))
        said += counts.update(n, n / 10)
    first, second = counts_of(said)
    assert [(z.zone, z.mean, z.peak) for z in first.zones] == [("plaza", pytest.approx(1.5), 2)]
    assert [(z.zone, z.mean, z.peak) for z in second.zones] == [("plaza", pytest.approx(1.0), 1)]


def test_what_is_no_crossing_is_not_counted() -> None:
    counts = IntervalCounts(10.0, ())
    counts.add([Happening(Counts(interval_s=1.0, seen_s=1.0), 0, 0, 0.0)])
    said = [h for n in range(101) for h in counts.update(n, n / 10)]
    assert counts_of(said)[0].lines == ()


def flows_of(counts: IntervalCounts, crossings: list[Happening], seconds: int) -> list[dict[tuple[str, str], tuple]]:
    """Of each interval: line and direction → mean speed and headway."""
    said = []
    for n in range(10 * seconds + 1):
        counts.add([c for c in crossings if n / 10 <= c.mono_s < (n + 1) / 10])
        said += counts.update(n, n / 10)
    return [
        {(f.line, f.direction): (f.mean_speed_kmh, f.headway_s) for f in body.flows or ()} for body in counts_of(said)
    ]


def test_headway_and_speed_are_the_means_of_each_lines_and_directions_vehicles() -> None:
    crossings = [
        crossing("gate", "in", "car", 1.0, speed_kmh=40.0),
        crossing("gate", "in", "bus", 3.0),
        crossing("gate", "in", "motorcycle", 7.0, speed_kmh=50.0),
        crossing("gate", "out", "car", 4.0, speed_kmh=30.0),
        crossing("exit", "in", "car", 5.0),
    ]
    (flows,) = flows_of(IntervalCounts(10.0, ()), crossings, 10)
    assert flows == {("gate", "in"): (45.0, 3.0), ("gate", "out"): (30.0, None)}


def test_people_are_no_part_of_the_flow() -> None:
    crossings = [crossing("gate", "in", name, at_s) for name, at_s in (("car", 1.0), ("person", 2.0), ("car", 5.0))]
    assert flows_of(IntervalCounts(10.0, ()), crossings, 10) == [{("gate", "in"): (None, 4.0)}]


def test_the_gap_over_an_intervals_end_belongs_to_the_interval_of_the_later_vehicle() -> None:
    crossings = [crossing("gate", "in", "car", at_s) for at_s in (8.0, 14.0)]
    assert flows_of(IntervalCounts(10.0, ()), crossings, 20) == [{}, {("gate", "in"): (None, 6.0)}]


def test_a_gap_in_which_the_camera_was_silent_is_none() -> None:
    counts = IntervalCounts(100.0, ())
    counts.update(0, 0.0)
    counts.add([crossing("gate", "in", "car", 0.5)])
    counts.update(1, 1.0)
    counts.update(2, 50.0)
    counts.add([crossing("gate", "in", "car", 50.5), crossing("gate", "in", "car", 52.5)])
    counts.update(3, 51.0)
    (body,) = counts_of(counts.flush(4))
    assert body.flows is not None
    assert body.flows[0].headway_s == 2.0
