"""Alerts that are raised when the power fails: a real agent, killed with SIGKILL, and what the centre sees of it.

The road is drawn: cars that never end, or none. A rule is told to call any car a crowd, and any slow one a jam.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.command import Agent, broker_lines, eventually, write_config
from tests.support.consumer import Consumer
from tests.support.mosquitto import PROGRAM, Mosquitto
from tests.support.street import car

if PROGRAM is None:
    pytest.skip("no mosquitto; apt-get install mosquitto", allow_module_level=True)

ROUND_PX, FRAMES = 900, 60
ZONE = '[[camera.zone]]\nid = "road"\npolygon = [[0, 0], [1, 0], [1, 1], [0, 1]]\n'
CROWD = '[[camera.rule]]\nid = "throng"\nkind = "crowd"\nzone = "road"\nmore_than = 0\nafter_s = 2\nclasses = ["car"]\n'
JAM = (
    '[[camera.rule]]\nid = "jam"\nkind = "congestion"\nzone = "road"\nvehicles = 1\nafter_s = 2\n'
    "below_lengths_per_s = 20\n"
)
RULES = ZONE + CROWD + JAM


def write_road(path: Path, cars: int) -> Path:
    """Cars that drive from left to right and come again, in a recording whose end goes over into its beginning."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (640, 360))
    assert writer.isOpened(), "this OpenCV cannot write mp4v"
    for number in range(FRAMES):
        picture = np.full((360, 640, 3), (200, 190, 170), np.uint8)
        picture[150:] = (90, 90, 90)
        for k in range(cars):
            x = (number * ROUND_PX // FRAMES + k * ROUND_PX // cars) % ROUND_PX - 230
            car(picture, x, 200, 200, 74, (40, 40, 200))
        writer.write(cv2.GaussianBlur(picture, (3, 3), 0))
    writer.release()
    return path


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_road(tmp_path_factory.mktemp("full") / "full.mp4", 3)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_road(tmp_path_factory.mktemp("empty") / "empty.mp4", 0)


def states(ioc: Consumer, kind: str) -> list[tuple[str, str]]:
    return [(message["state"], message["alert"]) for message in list(ioc.messages) if message["kind"] == kind]


def looks(ioc: Consumer) -> int:
    """Pictures the detector was given since the agent started, as it says."""
    pulses: list[dict[str, Any]] = [fields for topic, fields in list(ioc.other) if topic.endswith("/health")]
    return int(pulses[-1]["cameras"]["cam"].get("inferred", 0)) if pulses else 0


def kill(agent: Agent, ioc: Consumer) -> None:
    agent.stop(signal.SIGKILL)
    ioc.other.clear()


def test_an_alert_goes_on_through_kills_and_is_cleared_under_its_id_when_it_is_over(
    tmp_path: Path, broker: Mosquitto, ioc: Consumer, full: Path, empty: Path
) -> None:
    def run(clip: Path, rules: str = RULES) -> Agent:
        return Agent(
            write_config(tmp_path, clip, camera="loop = true", broker=broker_lines(broker.port), rules=rules)
        ).start()

    agent = run(full)
    try:
        assert eventually(lambda: len(states(ioc, "crowd")) == len(states(ioc, "congestion")) == 1), agent.log()
        (crowd,), (jam,) = states(ioc, "crowd"), states(ioc, "congestion")
        assert (crowd[0], jam[0]) == ("raised", "raised")
        for _ in range(2):
            kill(agent, ioc)
            agent = run(full)
            assert eventually(lambda: looks(ioc) > 120), agent.log()  # 12 s and more
            assert (states(ioc, "crowd"), states(ioc, "congestion")) == ([crowd], [jam])
        kill(agent, ioc)
        agent = run(empty)
        assert eventually(lambda: len(states(ioc, "crowd")) == len(states(ioc, "congestion")) == 2), agent.log()
        assert states(ioc, "crowd")[1] == ("cleared", crowd[1])
        assert states(ioc, "congestion")[1] == ("cleared", jam[1])
    finally:
        agent.stop(signal.SIGKILL)
    assert ioc.missing() == {}


def test_an_alert_whose_rule_or_camera_is_not_there_any_more_is_cleared_at_the_next_start(
    tmp_path: Path, broker: Mosquitto, ioc: Consumer, full: Path
) -> None:
    config = write_config(tmp_path, full, camera="loop = true", broker=broker_lines(broker.port), rules=RULES)
    agent = Agent(config).start()
    try:
        assert eventually(lambda: len(states(ioc, "crowd")) == len(states(ioc, "congestion")) == 1), agent.log()
        kill(agent, ioc)
        config.write_text(config.read_text().replace(JAM, ""))
        agent.start()
        assert eventually(lambda: len(states(ioc, "congestion")) == 2), agent.log()
        assert states(ioc, "congestion")[1] == ("cleared", states(ioc, "congestion")[0][1])
        assert len(states(ioc, "crowd")) == 1
        kill(agent, ioc)
        config.write_text(config.read_text().replace('id = "cam"', 'id = "another"'))
        agent.start()
        assert eventually(lambda: ("cleared", states(ioc, "crowd")[0][1]) in states(ioc, "crowd")), agent.log()
        cleared = next(m for m in ioc.messages if m["kind"] == "crowd" and m["state"] == "cleared")
        assert cleared["topic"] == "gw/v1/test/gw/alert/cam"
        assert cleared["lasted_s"] > 0
    finally:
        agent.stop(signal.SIGKILL)
