"""The verb `replay`: a recording through the same stages, as fast as the machine can, no broker, no outbox.

Deterministic: the same recording, configuration and model give the same events. Time is the recording's own, from 0.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import sys
from collections import Counter
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

from agent import config
from agent.camera import make_pipeline, private
from agent.contract.event import Counts, Crossing, Stream
from agent.contract.wire import Envelope, body_json, decode, encode
from agent.vision.budget import InferenceBudget
from agent.vision.rules.base import Happening
from agent.vision.scene import Scene
from drivers.base import CameraEnded, DriverError
from drivers.cameras import FileCamera
from drivers.inference import open_detector

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--camera", required=True, metavar="ID", help="the camera of the configuration to play for")
    parser.add_argument("--source", required=True, metavar="CLIP", type=_clip, help="video file or folder of pictures")
    parser.add_argument("--events", metavar="OUT.jsonl", type=Path, help="where to write the events (default: stdout)")
    parser.add_argument(
        "--all-frames",
        action="store_true",
        help="detect on every frame: ignore the camera's fps and motion gate, and the budget",
    )
    parser.add_argument(
        "--start",
        metavar="TIME",
        type=_start,
        help='local time of the first frame, such as "2025-11-24 21:50": for rules with a schedule, which otherwise '
        "apply always",
    )
    parser.add_argument("--picture", metavar="OUT.jpg", type=Path, help="also write an annotated picture of the scene")


def _clip(text: str) -> Path:
    return Path(text.removeprefix("file:"))  # as it is written in a configuration, too


def _start(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f'found {text!r}; wanted a time such as "2025-11-24 21:50"') from exc


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 if the recording or the output gave out; what could be played is written all the same."""
    settings = config.load(args.config)
    camera = settings.camera_named(args.camera)
    detector = open_detector(
        settings.detector.pack,
        settings.detector.threads,
        delegate=settings.detector.delegate,
        delegate_options=settings.detector.delegate_options,
    )
    start: datetime | None = args.start
    raised = itertools.count(1)
    pipeline = make_pipeline(
        camera,
        detector,
        motion_gate=False if args.all_frames else None,
        local_time=lambda mono_s: None if start is None else start + timedelta(seconds=mono_s),
        new_id=lambda: f"{next(raised):08x}",
        # By the recording's own time, so a replay is served as the camera would be, the same every time.
        budget=None if args.all_frames else InferenceBudget(settings.detector.max_inferences_per_s),
    )
    # Of a folder of pictures fps is the pace, and so the time base: all of them are looked at either way.
    fps = None if args.all_frames and not args.source.is_dir() else camera.fps
    source = FileCamera(camera.id, args.source, fps=fps, realtime=False)
    shown = private(camera, source)
    scene = Scene(camera.line, camera.zone) if args.picture else None
    counted: Counter[tuple[str, str]] = Counter()
    numbers: Counter[Stream] = Counter()
    last_index = -1
    try:
        shown.open()
        with args.events.open("w", encoding="utf-8") if args.events else nullcontext(sys.stdout) as out:
            try:
                while True:
                    frame = shown.read(timeout_s=60.0)
                    last_index = frame.index
                    seen = pipeline.process(frame)
                    _write(out, seen.happened, numbers, counted)
                    if scene is not None:
                        scene.add(frame, seen)
            except CameraEnded as end:
                _write(out, pipeline.finish(), numbers, counted)
                _log.info("%s", end)
        if scene is not None:
            scene.write(args.picture)
    except BrokenPipeError:
        raise
    except (DriverError, OSError) as exc:  # OSError: --events or --picture cannot be written
        print(f"replay: {exc}", file=sys.stderr)
        return 1
    finally:
        shown.close()
        detector.close()
    lines = ", ".join(f"{line} {direction} {n}" for (line, direction), n in sorted(counted.items())) or "none"
    print(
        f"replay: {last_index + 1} frames, looked at {pipeline.frames}, detector ran on {pipeline.inferred}; "
        f"crossings: {lines}",
        file=sys.stderr,
    )
    if source.damage:
        print(f"replay: {source.damage}; the events cover the part that could be played", file=sys.stderr)
        return 1
    return 0


def _write(
    out: IO[str], happened: list[Happening], numbers: Counter[Stream], counted: Counter[tuple[str, str]]
) -> None:
    for happening in happened:
        body = happening.body
        stream = Stream.COUNT if isinstance(body, Counts) else Stream.ALERT
        numbers[stream] += 1
        if isinstance(body, Crossing):
            counted[body.line, body.direction] += 1
        at_ms = round(happening.mono_s * 1000)
        envelope = Envelope(epoch=0, seq=numbers[stream], time_ms=at_ms, up_ms=at_ms, clock_unset=True)
        payload: dict[str, Any] = decode(encode(envelope, body_json(body), "json"))
        out.write(json.dumps({**payload, "frame": happening.frame_index}, ensure_ascii=False) + "\n")
