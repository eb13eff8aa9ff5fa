"""From the configuration to a camera whose masks cannot be gone round, and to a health that knows what it knew."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent import camera as wiring
from agent import config
from agent.config import CameraConfig
from agent.contract.event import CameraFault
from agent.vision.pipeline import Pipeline
from drivers.base import Frame
from tests.support.vision import PerfectDetector, noisy

BEGIN = '[box]\nsite = "s"\nid = "b"\n[[camera]]\nid = "north"\nsource = "file:{source}"\n'
MASK = '[[camera.mask]]\nid = "{kind}"\nkind = "{kind}"\npolygon = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]\n'
LINE = '[[camera.line]]\nid = "gate"\na = [0.1, 0.5]\nb = [0.9, 0.5]\n'


def camera(text: str, source: Path | str = "unused.mp4") -> CameraConfig:
    return config.parse(BEGIN.format(source=source) + text, "gateway.toml").camera[0]


def ids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"a{next(numbers)}"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "0.png"), np.full((36, 64, 3), 255, np.uint8))
    return tmp_path


def first_picture(of: CameraConfig) -> np.ndarray:
    driver = wiring.make_driver(of, None)
    driver.open()
    try:
        return driver.read(5.0).image_bgr
    finally:
        driver.close()


def test_a_privacy_mask_is_in_the_picture_the_driver_gives(pictures: Path) -> None:
    shown = first_picture(camera(MASK.format(kind="privacy"), pictures))
    assert not shown[:, :32].any()
    assert shown[:, 33:].all()


@pytest.mark.parametrize("text", ["", MASK.format(kind="detection")])
def test_without_a_privacy_mask_the_picture_is_whole(pictures: Path, text: str) -> None:
    assert first_picture(camera(text, pictures)).all()


def played(pipeline: Pipeline, seconds: float, *, right_px: int = 0) -> list[str]:
    """What health says of a scene of squares, or of the same one moved."""
    squares = np.random.default_rng(3).integers(40, 200, (12, 21, 1), np.uint8).repeat(3, axis=2)
    scene = np.roll(squares.repeat(30, axis=0).repeat(30, axis=1), right_px, axis=1)
    shown = (Frame(noisy(scene, n), n, n / 2) for n in range(round(2 * seconds)))
    said = [happening.body for frame in shown for happening in pipeline.process(frame).happened]
    return [f"{body.fault} {body.state}" for body in said if isinstance(body, CameraFault)]


def test_what_was_usual_is_known_to_the_next_run_unless_the_lines_were_drawn_anew() -> None:
    first = wiring.make_pipeline(camera(LINE), PerfectDetector(), new_id=ids())
    assert played(first, 70.0) == []
    assert first.health is not None
    view = first.health.memory()

    def next_run(text: str) -> Pipeline:
        return wiring.make_pipeline(camera(text), PerfectDetector(), new_id=ids(), view=view)

    assert played(next_run(LINE), 20.0, right_px=60) == ["moved raised"]
    assert played(next_run(LINE.replace("0.9", "0.8")), 20.0, right_px=60) == []


def test_a_damaged_memory_is_said_and_learned_anew(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = wiring.make_pipeline(camera(LINE), PerfectDetector(), new_id=ids(), view=b"rubbish")
    assert "camera north: what it usually shows is learned anew" in caplog.text
    assert played(pipeline, 5.0) == []


def test_a_camera_whose_faults_are_not_wanted_is_not_looked_at() -> None:
    assert wiring.make_pipeline(camera("faults = []\n"), PerfectDetector(), new_id=ids()).health is None


def test_a_fault_that_is_not_watched_for_any_more_is_cleared_with_the_first_picture() -> None:
    pipeline = wiring.make_pipeline(camera("faults = []\n"), PerfectDetector(), new_id=ids())
    pipeline.resume(CameraFault(fault="dark", state="raised", alert="from-before", severity="critical"), -60.0)
    assert played(pipeline, 5.0) == ["dark cleared"]
