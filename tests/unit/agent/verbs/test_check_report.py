"""`check --report` and `check --config-only`, with the real detector and a recording."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from agent.__main__ import main
from agent.evidence import pixelated
from drivers.base import Detections, Frame
from tests.support.traffic import write_traffic

CONFIG = """
[box]
site = "s"
id = "b"
[outbox]
path = "{folder}/outbox.db"
[[camera]]
id = "north"
source = "file:{source}"
[[camera.line]]
id = "gate"
a = [0.5, 1.0]
b = [0.5, 0.2]
"""


def config(folder: Path, source: Path) -> str:
    path = folder / "gateway.toml"
    path.write_text(CONFIG.format(folder=folder, source=source))
    return str(path)


def test_a_report_has_every_check_and_a_picture_of_each_camera(tmp_path: Path) -> None:
    clip = write_traffic(tmp_path / "road.mp4", 1)
    assert main(["check", "--config", config(tmp_path, clip), "--report"]) == 0
    report = json.loads((tmp_path / "commissioning/report.json").read_text())
    assert (report["site"], report["box"], report["problems"]) == ("s", "b", 0)
    assert {"configuration", "model", "camera north", "outbox", "broker", "clock"} <= {
        check["name"] for check in report["checks"]
    }
    assert report["versions"]["model"].startswith("ssd-mobilenet")
    picture = cv2.imread(str(tmp_path / "commissioning/north.jpg"))
    line = picture[120:330, 318:323].reshape(-1, 3).astype(int)
    assert (np.abs(line - (0, 210, 255)).max(axis=1) < 60).mean() > 0.3, "the line is not drawn"
    assert (tmp_path / "commissioning/report.html").stat().st_size > 10_000


def test_a_camera_that_is_away_is_a_problem_in_the_report(tmp_path: Path) -> None:
    assert main(["check", "--config", config(tmp_path, tmp_path / "no.mp4"), "--report"]) == 1
    report = json.loads((tmp_path / "commissioning/report.json").read_text())
    (camera,) = [check for check in report["checks"] if check["name"] == "camera north"]
    assert (camera["fine"], report["problems"], report["pictures"]) == (False, 1, [])


def test_only_the_configuration_is_read_where_nothing_else_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--config", config(tmp_path, tmp_path / "no.mp4"), "--config-only"]) == 0
    assert "camera north" not in capsys.readouterr().out
    wrong = config(tmp_path, tmp_path / "no.mp4")
    Path(wrong).write_text(Path(wrong).read_text().replace("source", "sorce"))
    assert main(["check", "--config", wrong, "--config-only"]) == 78


class Sees:
    """A person in the middle of whatever it looks at."""

    def detect(self, picture_bgr: npt.NDArray[np.uint8], least_score: float) -> Detections:
        high, wide = picture_bgr.shape[:2]
        box = np.array([[wide * 0.4, high * 0.2, wide * 0.6, high * 0.9]], np.float32)
        return Detections(box, np.array([0.9], np.float32), np.array([0], np.int32))


def test_everybody_in_a_report_is_pixelated() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (360, 640, 3), np.uint8)
    hidden = pixelated(Frame(noise, 0, 0.0), Sees())  # type: ignore[arg-type]
    inside = hidden[100:300, 270:370]
    assert len(np.unique(inside.reshape(-1, 3), axis=0)) < 60, "single pixels are left of the person"
    assert np.array_equal(hidden[:40], noise[:40]), "what is nobody is not touched"
    assert len(np.unique(noise[100:300, 270:370].reshape(-1, 3), axis=0)) > 10_000
