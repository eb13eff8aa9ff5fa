"""What following objects costs: CPU time of one `Tracker.update`, by how many objects are in view.

    python tests/bench/tracker.py [--frames 300]

Boxes drive through a 1280x720 picture at speeds of their own, with noise on every side; one in ten is missed.
Nothing but the tracker is timed. The yardstick is norfair's, as another agent uses it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agent.vision.track import Tracker
from drivers.base import CLASSES, Detections

WIDE_PX, HIGH_PX = 1280, 720
FPS = 10.0
MISSED = 0.1
WARM_UP_FRAMES = 30
NORFAIR_MS = {1: 0.5, 10: 11.0, 20: 33.0, 40: 111.0}


def street(objects: int, frame: int, rng: np.random.Generator) -> Detections:
    """What the network finds in frame number `frame`."""
    columns = int(np.ceil(np.sqrt(objects * WIDE_PX / HIGH_PX)))
    k = np.arange(objects)
    pitch = WIDE_PX / columns
    size = np.array([0.6 * pitch, 0.4 * pitch])
    x = (pitch * (k % columns) + (4 + k % 5) * frame) % WIDE_PX
    y = HIGH_PX * (k // columns + 0.5) / np.ceil(objects / columns)
    centre = np.stack([x, y], axis=1)
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    found = np.flatnonzero(rng.random(objects) >= MISSED)
    noise = rng.normal(0, 0.04, (len(found), 4)) * np.tile(size, 2)
    return Detections(
        (boxes[found] + noise).astype(np.float32),
        rng.uniform(0.35, 0.95, len(found)).astype(np.float32),
        np.full(len(found), CLASSES.index("car"), np.int32),
    )


def measure(objects: int, frames: int) -> tuple[float, float, float]:
    """Median and 95th percentile of the CPU time of one update, ms, and how many tracks there were on average."""
    rng, tracker = np.random.default_rng(1), Tracker()
    spent_ms: list[float] = []
    followed = 0
    for n in range(WARM_UP_FRAMES + frames):
        found = street(objects, n, rng)
        moving = np.full(len(found), 0.9, np.float32)
        began_ns = time.thread_time_ns()
        tracks = tracker.update(found, moving, (WIDE_PX, HIGH_PX), n, n / FPS)
        if n >= WARM_UP_FRAMES:
            spent_ms.append((time.thread_time_ns() - began_ns) / 1e6)
            followed += len(tracks)
    return statistics.median(spent_ms), float(np.percentile(spent_ms, 95)), followed / frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300, help="measured frames per row (default 300)")
    frames: int = parser.parse_args().frames
    print("objects  tracks  median ms  95 % ms  norfair ms")
    for objects in (1, 10, 20, 40, 100):
        median_ms, high_ms, tracks = measure(objects, frames)
        print(f"{objects:7}  {tracks:6.1f}  {median_ms:9.2f}  {high_ms:7.2f}  {NORFAIR_MS.get(objects, ''):>10}")


if __name__ == "__main__":
    main()
