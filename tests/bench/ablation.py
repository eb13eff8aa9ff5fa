"""What each part of the vision stages is good for: accuracy and CPU with one part switched off at a time.

    python tests/bench/ablation.py FOLDER [--only PART …] [--ways WAY …]

FOLDER as for tests/bench/accuracy.py. The parts are switched off from outside, by replacing what they give: the agent
has no switches for them but `motion_gate` and `regions`. CPU is the process's own, decoding included, per frame looked
at, of the clips as they are.

The clips are few, and what is better on one of them by chance is worse on the next: so they are shown in several ways
(every frame, mirrored, at 5 fps, darker, brighter), and a part is judged by the mean of all of them. One whose line is
no worse than the first does not earn its place.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agent import config
from agent.camera import make_pipeline
from agent.contract.event import Crossing
from agent.vision.budget import InferenceBudget
from drivers.base import CameraEnded, Detections, Frame
from drivers.cameras import FileCamera
from drivers.inference import open_detector
from tests.bench.accuracy import config_for

PACK = "ssd-mobilenet-v3-large-coco-320-int8"
Off = Callable[[ExitStack], None]


def replacing(target: str, by: object) -> Off:
    return lambda stack: stack.enter_context(patch(target, by))


def _sure_only(found: Detections, moving: Any, *_: object) -> tuple[Detections, Any]:
    from agent.vision import track

    keep = found.scores >= track._SURE_SCORE
    return Detections(found.boxes_xyxy_px[keep], found.scores[keep], found.class_ids[keep]), moving[keep]


def _no_second_stage(stack: ExitStack) -> None:
    from agent.vision import pipeline

    propose = pipeline.add_moving_areas
    stack.enter_context(patch("agent.vision.pipeline.add_moving_areas", lambda *a: _sure_only(*propose(*a))))


def _no_margin(stack: ExitStack) -> None:
    stack.enter_context(patch("agent.vision.rules.crossing._BEYOND", 0.0))
    stack.enter_context(patch("agent.vision.rules.crossing._TRAVEL", 0.0))


PARTS: dict[str, tuple[dict[str, str], Off]] = {
    "nothing off": ({}, lambda stack: None),
    "motion gate": ({"motion_gate": "false"}, lambda stack: None),
    "(on) regions": ({"regions": "true"}, lambda stack: None),
    "moving areas": ({}, replacing("agent.vision.pipeline.add_moving_areas", lambda *given: given[:2])),
    "motion in the score": ({}, replacing("agent.vision.detect._STILL", 1.0)),
    "group boxes": ({}, replacing("agent.vision.detect._groups", lambda boxes, *_: np.zeros(len(boxes), np.bool_))),
    "unsure boxes": ({}, _no_second_stage),
    "usual way": ({}, replacing("agent.vision.flow.Flow.guess", lambda _, at, wh: np.zeros((len(at), 2), np.float32))),
    "standing": ({}, replacing("agent.vision.track._STANDING_S", 0.0)),
    "travellers": ({}, replacing("agent.vision.track._TRAVELLED", np.inf)),
    "found two in five": ({}, replacing("agent.vision.track._FOUND", 0.0)),
    "lost pieces": ({}, replacing("agent.vision.track.Tracker._completed", lambda self, rows, boxes: boxes)),
    "erratic": (
        {},
        replacing("agent.vision.track.Tracker._erratic", lambda self: np.zeros(len(self._state.ids), np.bool_)),
    ),
    "margin at the line": ({}, _no_margin),
    "lying over": ({}, replacing("agent.vision.rules.crossing._SAME_PLACE", np.inf)),
    "jumps": ({}, replacing("agent.vision.rules.crossing.LineCrossing._jumped", staticmethod(lambda *_: False))),
    "body's moment": ({}, replacing("agent.vision.rules.crossing.LineCrossing._when", lambda *given: given[2])),
}


@contextmanager
def without(part: str) -> Iterator[list[str]]:
    """The keys of the camera under which, and inside which, the part is off."""
    keys, off = PARTS[part]
    with ExitStack() as stack:
        off(stack)
        yield [f"{key} = {value}" for key, value in keys.items()]


@dataclass(frozen=True)
class Way:
    """How a clip is shown. fps: None is every frame, without gate and budget, as `replay --all-frames`."""

    fps: float | None = 10.0
    mirrored: bool = False
    brightness: float = 1.0  # exponent: above 1 is darker

    def truth(self, truth: dict[str, Any]) -> dict[str, Any]:
        if not self.mirrored:
            return truth
        # Mirrored, left and right hands change places: so do the ends, and "in" stays "in".
        lines = [{**line, "a": _mirrored(line["b"]), "b": _mirrored(line["a"])} for line in truth["lines"]]
        zones = [{**zone, "polygon": [_mirrored(p) for p in zone["polygon"]]} for zone in truth["zones"]]
        return {**truth, "lines": lines, "zones": zones}

    def frame(self, frame: Frame) -> Frame:
        image = frame.image_bgr[:, ::-1] if self.mirrored else frame.image_bgr
        if self.brightness != 1.0:
            levels = np.rint(255 * (np.arange(256) / 255) ** self.brightness).astype(np.uint8)
            image = np.asarray(cv2.LUT(np.ascontiguousarray(image), levels), np.uint8)
        return replace(frame, image_bgr=np.ascontiguousarray(image))


def _mirrored(point: list[float]) -> list[float]:
    return [1.0 - point[0], point[1]]


WAYS = {
    "as it is": Way(),
    "every frame": Way(fps=None),
    "mirrored": Way(mirrored=True),
    "5 fps": Way(fps=5.0),
    "darker": Way(brightness=1.8),
    "brighter": Way(brightness=0.7),
}


def crossings(settings: config.Config, clip: Path, detector: Any, way: Way) -> tuple[list[dict[str, Any]], int]:
    """What `replay` would tell of this clip, and how many frames were looked at."""
    camera, all_frames = settings.camera[0], way.fps is None
    pipeline = make_pipeline(
        camera,
        detector,
        motion_gate=False if all_frames else None,
        budget=None if all_frames else InferenceBudget(settings.detector.max_inferences_per_s),
    )
    source = FileCamera(camera.id, clip, fps=way.fps, realtime=False)
    source.open()
    happened = []
    try:
        while True:
            happened += pipeline.process(way.frame(source.read(60.0))).happened
    except CameraEnded:
        happened += pipeline.finish()
    finally:
        source.close()
    told = [
        {"line": h.body.line, "class": h.body.object_class, "direction": h.body.direction, "frame": h.frame_index}
        for h in happened
        if isinstance(h.body, Crossing)
    ]
    return told, pipeline.frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--ways", action="append", choices=WAYS, help="default: all of them")
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location("score", args.folder / "score.py")
    assert spec is not None
    assert spec.loader is not None
    scorer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scorer)
    detector = open_detector(PACK, 1)
    truths = [json.loads(path.read_text()) for path in sorted((args.folder / "gt").glob("*.json"))]
    ways = args.ways or list(WAYS)
    print(f"{'off':20}  {'  '.join(f'{way:>19}' for way in ways)}   mean F1  ms CPU a frame")
    for part in args.only or PARTS:
        cells, f1s, cpu_ms = [], [], 0.0
        for name in ways:
            way = WAYS[name]
            tp = fp = fn = frames = 0
            began_s = time.process_time()
            with without(part) as keys:
                for truth in map(way.truth, truths):
                    clip = (args.folder / truth["clip"]).resolve()
                    settings = config.parse(config_for(truth, clip, PACK, keys), "bench")
                    told, looked = crossings(settings, clip, detector, way)
                    judged = scorer.score(truth, told)
                    frames += looked
                    tp, fp, fn = tp + judged["tp"], fp + judged["fp"], fn + judged["fn"]
            cpu_ms = cpu_ms or 1000 * (time.process_time() - began_s) / frames
            f1s.append(2 * tp / (2 * tp + fp + fn))
            cells.append(f"{tp:4} / {fp:2} / {fn:2} {f1s[-1]:.3f}")
        print(
            f"{part:20}  {'  '.join(f'{cell:>19}' for cell in cells)}  {np.mean(f1s):8.3f}  {cpu_ms:14.1f}", flush=True
        )


if __name__ == "__main__":
    main()
