"""Rules on a real recording: the demo's, a square where people walk and cars are parked. `sh provisioning/demo.sh`
fetches it into .cache/."""

from __future__ import annotations

import json
from collections import defaultdict
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
RULES = {
    "wrong-way": 'line = "road"\nallowed = "in"\nclasses = ["person"]',
    "restricted": 'zone = "lawn"\nclasses = ["person"]',
    "loitering": 'zone = "lawn"\nafter_s = 4',
    "stopped": 'zone = "all"\nafter_s = 10\nclasses = ["car", "truck"]',
    "crowd": 'zone = "all"\nmore_than = 3\nafter_s = 5',
    "left-behind": 'zone = "all"\nafter_s = 10',
    "removed": 'zone = "all"\nafter_s = 10',
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Kind → what was said of it, in order."""
    rules = "".join(f'[[camera.rule]]\nid = "{kind}"\nkind = "{kind}"\n{keys}\n' for kind, keys in RULES.items())
    config = write_config(tmp_path_factory.mktemp("square"), CLIP, rules=PLACES + rules)
    run = gateway_agent("replay", "--config", config, "--camera", "cam", "--source", CLIP)
    assert run.returncode == 0, run.stderr
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in map(json.loads, run.stdout.splitlines()):
        found[event["kind"]].append(event)
    return found


def test_everyone_who_crosses_against_the_direction_is_told_and_nobody_else(
    said: dict[str, list[dict[str, Any]]],
) -> None:
    against = [(c["track"], c["frame"]) for c in said["crossing"] if c["direction"] == "out"]
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


def test_in_a_minute_of_people_nothing_is_taken_for_a_thing(said: dict[str, list[dict[str, Any]]]) -> None:
    assert said["left-behind"] == []
    assert said["removed"] == []
