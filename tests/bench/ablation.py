"""What each part of the vision stages is good for: accuracy and CPU with one part switched off at a time.

    python tests/bench/ablation.py FOLDER [--all-frames] [--only PART …]

FOLDER as for tests/bench/accuracy.py. The parts are switched off from outside, by replacing what they give: the agent
has no switches for them but `motion_gate` and `regions`. CPU is the process's own, decoding included, per frame looked
at. A part whose line is no worse than the first one does not earn its place on these clips.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agent import config
from agent.camera import make_pipeline
from agent.contract.event import Crossing
from agent.vision.budget import InferenceBudget
from drivers.base import CameraEnded, Detections
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
    "regions": ({"regions": "false"}, lambda stack: None),
    "moving areas": ({}, replacing("agent.vision.pipeline.add_moving_areas", lambda *given: given[:2])),
    "motion in the score": ({}, replacing("agent.vision.detect._STILL", 1.0)),
    "group boxes": ({}, replacing("agent.vision.detect._groups", lambda boxes, *_: np.zeros(len(boxes), np.bool_))),
    "unsure boxes": ({}, _no_second_stage),
    "usual way": ({}, replacing("agent.vision.flow.Flow.guess", lambda _, at, wh: np.zeros((len(at), 2), np.float32))),
    "standing": ({}, replacing("agent.vision.track._STANDING_S", 0.0)),
    "travellers": ({}, replacing("agent.vision.track._TRAVELLED", np.inf)),
    "found two in five": ({}, replacing("agent.vision.track._FOUND", 0.0)),
    "margin at the line": ({}, _no_margin),
    "two bodies": ({}, replacing("agent.vision.rules.crossing._Body.is_same", lambda self, other: False)),
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


def crossings(settings: config.Config, clip: Path, detector: Any, all_frames: bool) -> tuple[list[dict[str, Any]], int]:
    """What `replay` would tell of this clip, and how many frames were looked at."""
    camera = settings.camera[0]
    pipeline = make_pipeline(
        camera,
        detector,
        motion_gate=False if all_frames else None,
        budget=None if all_frames else InferenceBudget(settings.detector.max_inferences_per_s),
    )
    source = FileCamera(camera.id, clip, fps=None if all_frames else camera.fps, realtime=False)
    source.open()
    happened = []
    try:
        while True:
            happened += pipeline.process(source.read(60.0)).happened
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
    parser.add_argument("--all-frames", action="store_true")
    parser.add_argument("--only", action="append", choices=PARTS)
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location("score", args.folder / "score.py")
    assert spec is not None
    assert spec.loader is not None
    scorer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scorer)
    detector = open_detector(PACK, 1)
    truths = [json.loads(path.read_text()) for path in sorted((args.folder / "gt").glob("*.json"))]
    print(f"{'off':20}  found  false  missed    F1  |count error|  class  ms CPU a frame")
    for part in args.only or PARTS:
        with without(part) as keys:
            tp = fp = fn = error = right = frames = 0
            began_s = time.process_time()
            for truth in truths:
                clip = (args.folder / truth["clip"]).resolve()
                settings = config.parse(config_for(truth, clip, PACK, keys), "bench")
                told, looked = crossings(settings, clip, detector, args.all_frames)
                judged = scorer.score(truth, told)
                frames += looked
                tp, fp, fn = tp + judged["tp"], fp + judged["fp"], fn + judged["fn"]
                error += sum(abs(count["error"]) for count in judged["per_direction"].values())
                right += judged["class_lenient"]
            cpu_ms = 1000 * (time.process_time() - began_s) / frames
        f1 = 2 * tp / (2 * tp + fp + fn)
        print(f"{part:20}  {tp:5}  {fp:5}  {fn:6}  {f1:.3f}  {error:13}  {right:5}  {cpu_ms:14.1f}", flush=True)


if __name__ == "__main__":
    main()
