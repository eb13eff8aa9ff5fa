"""The same pack and picture through both TFLite runtimes: a box without ai-edge-litert must see what others see.

tflite-runtime needs Python 3.11 and numpy below 2, so it lives in a venv of its own under .cache/.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from drivers.base import CLASSES
from drivers.inference import open_detector
from tests.support.packs import tiny_pack
from tests.support.sight import SURE_SCORE, overlap, unmatched
from tests.support.street import BUS_XYXY, CARS_XYXY, PEOPLE_XYXY, street

TOP = Path(__file__).resolve().parents[2]
OLD_RUNTIME = (
    "tflite-runtime==2.14.0",
    "numpy==1.26.4",
    "opencv-python-headless==4.11.0.86",
    "pydantic>=2.12",
)
PACKS = ["ssd-mobilenet-v3-large-coco-320-int8", "ssdlite-mobilenet-v2-coco-300-int8"]
DETECT = """\
import json, sys
import numpy as np
from drivers.inference import open_detector
detector = open_detector(sys.argv[1])
found = detector.detect(np.load(sys.argv[2]), float(sys.argv[3]))
json.dump({
    "runtime": detector.runtime,
    "boxes": found.boxes_xyxy_px.tolist(),
    "scores": found.scores.tolist(),
    "class_ids": found.class_ids.tolist(),
}, sys.stdout)
"""


@pytest.fixture(scope="session")
def old_runtime() -> Path:
    """A Python 3.11 that has tflite-runtime and no ai-edge-litert. Made once, kept in .cache/."""
    venv = TOP / ".cache" / "tflite-runtime-2.14.0"
    python = venv / "bin" / "python"
    if (venv / "complete").exists():
        return python
    shutil.rmtree(venv, ignore_errors=True)
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is not None:
        make = [uv, "venv", "--quiet", "--python", "3.11", str(venv)]
        install = [uv, "pip", "install", "--quiet", "--python", str(python), *OLD_RUNTIME]
    elif sys.version_info[:2] == (3, 11):
        make = [sys.executable, "-m", "venv", str(venv)]
        install = [str(python), "-m", "pip", "install", "--quiet", *OLD_RUNTIME]
    else:
        pytest.skip("tflite-runtime has no wheel for this Python, and there is no uv to get a 3.11 with")
    for command in (make, install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"tflite-runtime cannot be had here: {' '.join(command[:3])}: {done.stderr.strip()[-300:]}")
    (venv / "complete").touch()
    return python


def through_old_runtime(python: Path, pack: str, picture: np.ndarray, min_score: float, folder: Path) -> dict:
    np.save(folder / "picture.npy", picture)
    done = subprocess.run(
        [python, "-c", DETECT, pack, folder / "picture.npy", str(min_score)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(TOP), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def objects(class_ids, scores, boxes) -> list[tuple]:
    return [(CLASSES[c], s, b) for c, s, b in zip(class_ids, scores, boxes, strict=True)]


@pytest.mark.parametrize("pack", PACKS)
def test_both_runtimes_see_the_same_objects(old_runtime, pack, tmp_path):
    detector = open_detector(pack)
    assert detector.runtime.startswith("ai-edge-litert ")
    new = detector.detect(street(), 0.2)
    old = through_old_runtime(old_runtime, pack, street(), 0.2, tmp_path)
    assert old["runtime"] == "tflite-runtime 2.14.0"
    news = objects(new.class_ids.tolist(), new.scores.tolist(), new.boxes_xyxy_px.tolist())
    olds = objects(old["class_ids"], old["scores"], old["boxes"])
    assert sum(score >= SURE_SCORE for _, score, _ in news) >= 2
    assert unmatched(news, olds, score=0.15, least_overlap=0.85) == []
    assert unmatched(olds, news, score=0.15, least_overlap=0.85) == []


def test_old_runtime_reads_every_kind_of_input(old_runtime, tmp_path):
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32, :32] = (0, 0, 255)
    for network, head in [("ssd-raw-uint8", "ssd-raw"), ("yolo-v5-int8", "yolo-v5"), ("yolo-x-float32", "yolo-x")]:
        pack = tiny_pack(tmp_path / network, network, head)
        found = through_old_runtime(old_runtime, str(pack), picture, 0.5, tmp_path)
        assert [CLASSES[i] for i in found["class_ids"]] == ["person"]
        np.testing.assert_allclose(found["boxes"], [[0, 0, 32, 32]], atol=0.5)


def test_default_pack_finds_what_was_drawn():
    found = open_detector(PACKS[0]).detect(street(), 0.35)
    seen = objects(found.class_ids.tolist(), found.scores.tolist(), found.boxes_xyxy_px.tolist())
    # What was drawn as a bus may as well be a lorry.
    drawn = [({"bus", "truck"}, BUS_XYXY)]
    drawn += [({"car"}, box) for box in CARS_XYXY]
    drawn += [({"person"}, box) for box in PEOPLE_XYXY]
    missed = [(kinds, box) for kinds, box in drawn if not any(n in kinds and overlap(b, box) > 0.5 for n, _, b in seen)]
    assert missed == []
