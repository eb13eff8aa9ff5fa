"""Rules on a real recording: the demo's, a square where people walk and cars are parked. `sh provisioning/demo.sh`
fetches it into .cache/."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import gateway_agent, write_config

CLIP = Path(__file__).resolve().parents[2] / ".cache" / "vtest.avi"
pytestmark = pytest.mark.skipif(not CLIP.exists(), reason="the demo's recording is not here; demo.sh fetches it")

PLACES = """
[[camera.line]]
id = "road"
a = [0.72, 0.78]
b = [0.66, 0.27]
[[camera.zone]]
id = "lawn"
polygon = [[0.0, 0.5], [0.2, 0.55], [0.45, 0.69], [0.7, 0.83], [1.0, 0.98], [1.0, 1.0], [0.0, 1.0]]
[[camera.zone]]
id = "all"
polygon = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
"""
# By the size of the people, and a camera some 8 m up: good enough to tell a walk from a ride.
CALIBRATION = """
[camera.calibration]
points = [[0.35, 0.30], [0.95, 0.30], [0.95, 0.70], [0.35, 0.70]]
metres = [[-3.8, 25.8], [11.5, 25.8], [6.1, 11.9], [-2.0, 11.9]]
tolerance_m = 0.5
"""
RULES = {
    "wrong-way": 'line = "road"\nallowed = "in"\nclasses = ["person"]\nhold_off_s = 0',
    "restricted": 'zone = "lawn"\nclasses = ["person"]',
    "loitering": 'zone = "lawn"\nafter_s = 4',
    "stopped": 'zone = "all"\nafter_s = 10\nclasses = ["car", "truck"]',
    "speeding": 'line = "road"\nlimit_kmh = 1\nclasses = ["person"]',
    "congestion": 'zone = "all"\nvehicles = 2\nafter_s = 10\nclasses = ["car", "truck"]',
    "crowd": 'zone = "all"\nmore_than = 3\nafter_s = 5',
    "left-behind": 'zone = "all"\nafter_s = 10',
    "removed": 'zone = "all"\nafter_s = 10',
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Kind → what was said of it, in order."""
    rules = "".join(f'[[camera.rule]]\nid = "{kind}"\nkind = "{kind}"\n{keys}\n' for kind, keys in RULES.items())
    config = write_config(tmp_path_factory.mktemp("square"), CLIP, rules=PLACES + CALIBRATION + rules)
    run = gateway_agent("replay", "--config", config, "--camera", "cam", "--source", CLIP)
    assert run.returncode == 0, run.stderr
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in map(json.loads, run.stdout.splitlines()):
        found[event["kind"]].append(event)
    return found


def test_everyone_who_crosses_against_the_direction_is_told_and_nobody_else(
    said: dict[str, list[dict[str, Any]]],
) -> None:
    people = [crossing for crossing in said["crossing"] if crossing["class"] == "person"]
    against = [(crossing["track"], crossing["frame"]) for crossing in people if crossing["direction"] == "out"]
    assert len(against) > 5
    assert [(a["track"], a["frame"]) for a in said["wrong-way"]] == against


def test_who_walks_on_the_lawn_is_told_and_who_stays_there_too(said: dict[str, list[dict[str, Any]]]) -> None:
    """Nobody is on it for the first 45 s; then some take the short cut."""
    assert len(said["restricted"]) >= 3
    assert min(alert["time"] for alert in said["restricted"]) > 45_000
    assert {alert["track"] for alert in said["loitering"]} <= {alert["track"] for alert in said["restricted"]}


def test_each_parked_car_is_told_once(said: dict[str, list[dict[str, Any]]]) -> None:
    """Three stand there all the time, one of them half hidden."""
    assert 2 <= len(said["stopped"]) <= 4


def test_the_crowd_that_never_ends_is_raised_once_and_cleared_with_the_recording(
    said: dict[str, list[dict[str, Any]]],
) -> None:
    raised, cleared = said["crowd"]
    assert (raised["state"], cleared["state"]) == ("raised", "cleared")
    assert raised["alert"] == cleared["alert"]
    assert cleared["lasted_s"] > 60


def test_people_who_cross_walk_at_the_speed_of_people(said: dict[str, list[dict[str, Any]]]) -> None:
    """Every walker is faster than the limit of 1 km/h; nobody is told as faster than a man can walk."""
    speeds_kmh = [alert["speed_kmh"] for alert in said["speeding"]]
    assert len(speeds_kmh) > 5
    assert 3.0 < statistics.median(speeds_kmh) < 7.0
    assert all(alert["speed_kmh"] - alert["speed_error_kmh"] < 9.0 for alert in said["speeding"])
    crossed = {crossing["track"] for crossing in said["crossing"]}
    assert {alert["track"] for alert in said["speeding"]} <= crossed


def test_cars_that_stand_all_the_time_are_one_jam(said: dict[str, list[dict[str, Any]]]) -> None:
    raised, cleared = said["congestion"]
    assert (raised["state"], cleared["state"], raised["alert"]) == ("raised", "cleared", cleared["alert"])
    assert raised["mean_speed_lengths_per_s"] < 0.1
    assert cleared["lasted_s"] > 60


def test_the_counts_are_those_of_the_crossings_one_by_one(said: dict[str, list[dict[str, Any]]]) -> None:
    one_by_one = Counter((c["line"], c["direction"], c["class"]) for c in said["crossing"])
    summed: Counter[tuple[str, str, str]] = Counter()
    for counts in said["counts"]:
        for line in counts.get("lines", ()):
            summed[line["line"], line["direction"], line["class"]] += line["n"]
    assert sum(one_by_one.values()) > 10
    assert summed == one_by_one
    assert sum(counts["seen_s"] for counts in said["counts"]) == pytest.approx(79.5, abs=1.0)
    assert max(zone["peak"] for counts in said["counts"] for zone in counts["zones"] if zone["zone"] == "all") >= 5


def test_in_a_minute_of_people_nothing_is_taken_for_a_thing(said: dict[str, list[dict[str, Any]]]) -> None:
    assert said["left-behind"] == []
    assert said["removed"] == []
