import numpy as np
import pytest

from agent.contract.event import Stopped
from agent.vision.rules.base import Finding
from agent.vision.rules.stopped import StoppedRule
from agent.vision.rules.zone import ZonePresence
from tests.support.scripted import ZONE, ScriptedCamera
from tests.support.vision import ALL_CLASSES, Box, sighting, standing_at

RULE = '[[camera.rule]]\nid = "no-stopping"\nkind = "stopped"\nzone = "plaza"\nafter_s = 20\n'
OUTSIDE, PARKED = standing_at(-60, 250, 100, 60), standing_at(320, 250, 100, 60)


def test_a_car_that_parks_is_told_after_its_time_and_once_though_the_gate_is_shut() -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show(seconds=2)
    watched.move("car", OUTSIDE, PARKED, seconds=3)
    parked_s = watched.mono_s
    watched.show([("car", PARKED)], seconds=60)
    (alert,) = watched.said(Stopped)
    assert (alert.rule, alert.severity, alert.zone, alert.object_class) == ("no-stopping", "warning", "plaza", "car")
    assert alert.dwell_s == pytest.approx(20.0, abs=0.11)
    assert watched.when(Stopped)[0] == pytest.approx(parked_s + 21.0, abs=1.5)


def test_a_car_that_creeps_through_and_one_that_waits_a_little_are_not_told() -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show(seconds=2)
    watched.move("car", OUTSIDE, standing_at(700, 250, 100, 60), seconds=60)
    watched.show(seconds=2)
    watched.move("car", OUTSIDE, PARKED, seconds=3)
    watched.show([("car", PARKED)], seconds=15)
    watched.move("car", PARKED, standing_at(720, 250, 100, 60), seconds=3)
    watched.show(seconds=5)
    assert watched.said(Stopped) == []


def test_who_stands_there_is_no_vehicle() -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show(seconds=2)
    watched.move("person", standing_at(60, 250, 40, 100), standing_at(320, 250, 40, 100), seconds=3)
    watched.show([("person", standing_at(320, 250, 40, 100))], seconds=40)
    assert watched.said(Stopped) == []


SQUARE = ((100, 100), (500, 100), (500, 300), (100, 300))


def stopped(after_s: float = 20.0) -> tuple[ZonePresence, StoppedRule]:
    zone = ZonePresence("kerb", np.array(SQUARE), frame_wh_px=(640, 360), class_ids=ALL_CLASSES)
    return zone, StoppedRule(zone, after_s)


def play(frames: list[dict[int, Box]], after_s: float = 20.0) -> list[Finding]:
    """At 10 fps; what is not in a frame any more has ended. Everything that is found in the last frame."""
    (zone, rule), found, known = stopped(after_s), [], set[int]()
    for n, boxes in enumerate(frames):
        tracks = sighting(boxes, n, n / 10, ended=tuple(sorted(known - set(boxes))))
        zone.update(tracks)
        found, known = rule.update(tracks), set(boxes)
    return found


@pytest.mark.parametrize("trembles", [0.0, 0.03, 0.08])
def test_a_box_that_trembles_does_not_move(trembles: float) -> None:
    rng = np.random.default_rng(4)
    frames = [{1: standing_at(300 + rng.normal(0, 60 * trembles), 200 + rng.normal(0, 60 * trembles), 60, 60)}
              for _ in range(3000)]  # fmt: skip
    (found,) = play(frames)
    assert found.fields["dwell_s"] == pytest.approx(299.9, abs=3.0)


def test_a_box_torn_away_for_a_moment_by_what_drives_past_does_not_move() -> None:
    frames = [{1: standing_at(300, 200, 60, 60)} for _ in range(400)]
    frames[150:152] = [{1: standing_at(325, 200, 100, 60)}] * 2
    (found,) = play(frames)
    assert found.fields["dwell_s"] > 39.0


def test_a_car_lost_from_sight_and_found_again_under_another_number_has_stood_there_all_the_time() -> None:
    car = standing_at(300, 200, 60, 40)
    frames = [{1: car}] * 150 + [{}] * 50 + [{2: car}] * 150 + [{}] * 50 + [{3: car}] * 100
    (found,) = play(frames)
    assert found.track == 3
    assert found.subject == 1, "it is one stop, and told once"
    assert found.fields["dwell_s"] == pytest.approx(49.9)


def test_a_car_that_takes_anothers_place_much_later_has_just_come() -> None:
    car = standing_at(300, 200, 60, 40)
    assert play([{1: car}] * 150 + [{}] * 250 + [{2: car}] * 150) == []


def test_a_queue_that_moves_up_car_by_car_does_not_stand() -> None:
    """Each takes the place of the one before it every 10 s."""
    frames = [
        {k: standing_at(150 + 80 * k - 80 * (n // 100 + min(n % 100, 20) / 20 - 1), 200, 60, 40) for k in range(1, 12)}
        for n in range(600)
    ]
    assert play(frames) == []


def test_what_has_ended_is_forgotten() -> None:
    zone, rule = stopped()
    for n in range(1, 3000):
        rule.update(sighting({n: standing_at(300, 200)}, n, n / 10, ended=(n - 1,)))
    assert len(rule._spots) == 1
    assert len(rule._lost) <= 201
    del zone
