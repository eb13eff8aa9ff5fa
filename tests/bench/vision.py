"""What the vision stages cost, and when the motion gate is open.

    python tests/bench/vision.py [FOLDER] [--seconds 20]

Without FOLDER, on drawn 1920x1080 pictures: CPU by number of cameras, busy and idle, one detector and one budget
between them as on the box, and CPU of following and counting by number of objects. With FOLDER (clips and gt/NAME.json,
as for tests/bench/accuracy.py) also: CPU of each stage, and on how many busy and idle frames the gate was open.

Busy and idle are judged without the gate: every frame is looked at; busy is a frame in which a confirmed object that
moves is seen, or in which the ground truth has something on a line; idle is one that is more than a second from any
frame in which any track at all is seen moving. What is neither is left out, and counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agent import config
from agent.camera import make_pipeline
from agent.vision import pipeline as stages
from agent.vision.budget import InferenceBudget
from agent.vision.motion import Motion
from agent.vision.rules.crossing import LineCrossing
from agent.vision.track import Tracker
from drivers.base import CameraEnded, Frame
from drivers.cameras import FileCamera
from drivers.inference import open_detector
from tests.bench.accuracy import config_for
from tests.bench.tracker import HIGH_PX, WIDE_PX, street
from tests.support.vision import noisy, road, with_boxes

PACK = "ssd-mobilenet-v3-large-coco-320-int8"
FPS = 5.0
AWAY_S = 1.0


def frames_of(clip: Path, fps: float | None) -> Iterator[Frame]:
    source = FileCamera("bench", clip, fps=fps, realtime=False)
    source.open()
    try:
        while True:
            yield source.read(60.0)
    except CameraEnded:
        return
    finally:
        source.close()


def gate_table(folder: Path, detector: Any) -> None:
    print("gate               busy frames, open        idle frames, shut        neither")
    for path in sorted((folder / "gt").glob("*.json")):
        truth = json.loads(path.read_text())
        clip = (folder / truth["clip"]).resolve()
        camera = config.parse(config_for(truth, clip, PACK), "bench").camera[0]
        judge, motion = make_pipeline(camera, detector, motion_gate=False), Motion()
        times_s, is_open, busy, stirred = [], [], [], []
        for frame in frames_of(clip, camera.fps):
            tracks = judge.process(frame).tracks
            moves = tracks.seen & (tracks.moving > 0.3)
            on_line = any(c["first"] <= frame.index <= c["last"] for c in truth["crossings"])
            times_s.append(frame.mono_s)
            is_open.append(motion.update(frame).is_open)
            busy.append(bool((moves & tracks.confirmed).any()) or on_line)
            stirred.append(bool(moves.any()) or on_line)
        at, when_stirred = np.array(times_s), np.array(times_s)[np.array(stirred)]
        away_s = np.abs(at[:, None] - when_stirred[None, :]).min(axis=1, initial=np.inf)
        opened, is_busy, is_idle = np.array(is_open), np.array(busy), away_s > AWAY_S
        print(
            f"{path.stem[:17]:17}  {share(opened, is_busy)}  {share(~opened, is_idle)}  {(~is_busy & ~is_idle).sum():7}"
        )


def share(what: Any, among: Any) -> str:
    count, total = int((what & among).sum()), int(among.sum())
    return f"{count:5} of {total:5} {f'({100 * count / total:5.1f} %)' if total else '':9}"


def stage_table(folder: Path, detector: Any) -> None:
    """CPU of each stage, wrapped where the pipeline calls it."""
    spent_ns: dict[str, int] = {}

    def timed(name: str, function: Any) -> Any:
        def wrapper(*args: Any, **more: Any) -> Any:
            began_ns = time.thread_time_ns()
            result = function(*args, **more)
            spent_ns[name] = spent_ns.get(name, 0) + time.thread_time_ns() - began_ns
            return result

        return wrapper

    frames = inferences = 0
    for path in sorted((folder / "gt").glob("*.json")):
        truth = json.loads(path.read_text())
        clip = (folder / truth["clip"]).resolve()
        camera = config.parse(config_for(truth, clip, PACK), "bench").camera[0]
        watched = make_pipeline(camera, detector, motion_gate=False)
        kept = stages.one_box_an_object, stages.add_moving_areas
        stages.one_box_an_object = timed("one box an object", kept[0])
        stages.add_moving_areas = timed("moving areas", kept[1])
        try:
            for frame in frames_of(clip, camera.fps):
                if not watched.frames:
                    watched.process(frame)
                    watched._motion.update = timed("motion", watched._motion.update)  # type: ignore[method-assign]
                    watched._look = timed("network", watched._look)  # type: ignore[method-assign]
                    watched._tracker.update = timed("track", watched._tracker.update)  # type: ignore[method-assign]
                    for line in watched._rules.lines:
                        line.update = timed("lines", line.update)  # type: ignore[method-assign]
                    if watched.health is not None:
                        watched.health.update = timed("camera health", watched.health.update)  # type: ignore[method-assign]
                    continue
                watched.process(frame)
                frames += 1
        finally:
            stages.one_box_an_object, stages.add_moving_areas = kept
        inferences += watched.inferred + watched.second_looks
    print(f"stage              ms CPU a frame looked at ({frames} frames, {inferences} inferences)")
    for name, ns in sorted(spent_ns.items(), key=lambda item: -item[1]):
        print(f"{name:17}  {ns / 1e6 / frames:6.2f}")


_SETTINGS = """
[box]
site = "bench"
id = "bench"
[[camera]]
id = "bench"
source = "file:unused"
[[camera.line]]
id = "across"
a = [0.05, 0.5]
b = [0.95, 0.5]
"""


def drawn(busy: bool, seconds: float) -> list[Frame]:
    """A road at 1920x1080 through a sensor's noise; busy: six cars drive on it."""
    small, frames = road(960, 540), []
    for n in range(round(seconds * FPS)):
        cars = [((60.0 + 140 * k + 12 * n) % 960, 90.0 + 70 * k) for k in range(6)] if busy else []
        picture = noisy(with_boxes(small, [(x, y, x + 70, y + 44) for x, y in cars]), n)
        frames.append(Frame(np.asarray(cv2.resize(picture, (1920, 1080)), np.uint8), n, n / FPS))
    return frames


def camera_table(detector: Any, seconds: float) -> None:
    camera = config.parse(_SETTINGS, "bench").camera[0]
    cost: dict[tuple[str, int], float] = {}
    print(f"cameras at {FPS:g} fps   CPU share of one core, all together   per camera    inferences a second")
    for kind in ("busy", "idle"):
        pictures = drawn(kind == "busy", seconds)
        for count in (1, 2, 4, 8):
            budget = InferenceBudget(1000.0)  # enough for all: what a camera costs is asked here, not who must wait
            named = [camera.model_copy(update={"id": f"camera-{k}"}) for k in range(count)]
            watched = [make_pipeline(one, detector, budget=budget) for one in named]
            warm_up = round(4 * FPS)
            for frame in pictures[:warm_up]:
                for one in watched:
                    one.process(frame)
            before = budget.state().granted
            began_s = time.process_time()
            for frame in pictures[warm_up:]:
                for one in watched:
                    one.process(frame)
            spent_s = time.process_time() - began_s
            passed_s = (len(pictures) - warm_up) / FPS
            cost[kind, count] = spent_s / passed_s
            per_s = (budget.state().granted - before) / passed_s
            print(f"{count} {kind:14}  {spent_s / passed_s:36.3f}  {spent_s / passed_s / count:11.3f}  {per_s:15.1f}")
    print(f"eight idle cost {cost['idle', 8] / cost['busy', 2]:.2f} of two busy ones")


def object_table() -> None:
    print("objects  ms CPU of one frame: follow, count on two lines")
    for objects in (1, 10, 20, 40, 100):
        rng, tracker = np.random.default_rng(1), Tracker()
        ends = np.array([[0.0, 0.3], [1.0, 0.3], [0.0, 0.7], [1.0, 0.7]], np.float32) * (WIDE_PX, HIGH_PX)
        lines = [LineCrossing(f"{k}", ends[2 * k], ends[2 * k + 1], class_ids=frozenset(range(7))) for k in (0, 1)]
        spent_ns = [0, 0]
        for n in range(230):
            found = street(objects, n, rng)
            began_ns = time.thread_time_ns()
            moving = np.full(len(found), 0.9, np.float32)
            tracks = tracker.update(found, moving, (WIDE_PX, HIGH_PX), n, n / 10)
            followed_ns = time.thread_time_ns()
            for line in lines:
                line.update(tracks)
            if n >= 30:
                spent_ns[0] += followed_ns - began_ns
                spent_ns[1] += time.thread_time_ns() - followed_ns
        print(f"{objects:7}  {spent_ns[0] / 200e6:8.2f}  {spent_ns[1] / 200e6:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each drawn scene (default 20)")
    args = parser.parse_args()
    detector = open_detector(PACK, 1)
    if args.folder is not None:
        gate_table(args.folder, detector)
        stage_table(args.folder, detector)
    camera_table(detector, args.seconds)
    object_table()


if __name__ == "__main__":
    main()
