"""What camera health says of real recordings, and of what is done to them.

    python tests/bench/camera_health.py FOLDER [--hours 1] [--clip NAME]

Quiet    every clip of the folder, looped for an hour of its own time: nothing may be raised.
Faults   after 150 s of the loop the picture is darkened, blurred, sprayed on, turned ...: within 10 s it must be told,
         by the right name, and cleared within 25 s of the end.
Harmless after 150 s dawn, rain, headlights, exposure hunting, a lorry that fills the picture: nothing may be raised.

Only the looks that the stage takes are decoded, once, at most 640 pixels wide. Exit code 1 when a fault was missed or
something was raised that should not have been.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.event import CameraFault
from agent.vision.camera_health import CameraHealth
from drivers.base import Frame

Picture = npt.NDArray[np.uint8]
Change = Callable[[Picture, float], Picture]  # picture, seconds since it began

_LOOK_S = 0.5
_LEARN_S = 150.0
_FAULT_S = 20.0
_AFTER_S = 25.0
_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov")


# ---- what is done to a picture ---------------------------------------------------------------------------------------


class Noise:
    """A sensor's, drawn once and shifted."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(1)
        self._drawn: dict[tuple[int, int], npt.NDArray[np.float32]] = {}

    def on(self, picture: npt.NDArray[np.generic], sigma: float) -> Picture:
        high, wide = picture.shape[:2]
        if (high, wide) not in self._drawn:
            self._drawn[high, wide] = self._random.normal(0, 1, (high + 64, wide + 64)).astype(np.float32)
        y, x = self._random.integers(0, 64, 2)
        noise = self._drawn[high, wide][y : y + high, x : x + wide, None] * sigma
        return np.clip(picture + noise, 0, 255).astype(np.uint8)


NOISE = Noise()


def gain(factor: float, noise: float = 0.0) -> Change:
    return lambda picture, _: NOISE.on(picture.astype(np.float32) * factor, noise)


def defocus(share_of_width: float) -> Change:
    return lambda picture, _: cv2.GaussianBlur(picture, (0, 0), share_of_width * picture.shape[1]).astype(np.uint8)


def spray(share: float) -> Change:
    """Blotches of paint, out of focus as they are on the glass."""

    def change(picture: Picture, _: float) -> Picture:
        high, wide = picture.shape[:2]
        random, paint = np.random.default_rng(3), np.zeros((high, wide), np.float32)
        while (paint > 0.5).mean() < share:
            centre = (int(random.integers(0, wide)), int(random.integers(0, high)))
            cv2.circle(paint, centre, int(wide * random.uniform(0.05, 0.15)), 1.0, -1)
        soft = cv2.GaussianBlur(paint, (0, 0), wide * 0.012)[..., None]
        return NOISE.on(picture * (1 - soft) + np.array([40, 40, 45], np.float32) * soft, 1.5)

    return change


def cover(bgr: tuple[int, int, int]) -> Change:
    return lambda picture, _: NOISE.on(np.zeros_like(picture) + np.array(bgr, np.uint8), 3.0)


def moved(right: float = 0.0, down: float = 0.0, turn_deg: float = 0.0, zoom: float = 1.0) -> Change:
    """right, down: shares of the width."""

    def change(picture: Picture, _: float) -> Picture:
        high, wide = picture.shape[:2]
        matrix = cv2.getRotationMatrix2D((wide / 2, high / 2), turn_deg, zoom)
        matrix[:, 2] += (right * wide, down * wide)
        return cv2.warpAffine(picture, matrix, (wide, high), borderMode=cv2.BORDER_REFLECT).astype(np.uint8)

    return change


def breathing(lowest: float, highest: float, period_s: float) -> Change:
    """Exposure that hunts, or with a long period dusk and dawn: begins and ends at 1."""

    def change(picture: Picture, since_s: float) -> Picture:
        swing = np.sin(2 * np.pi * since_s / period_s)
        factor = 1 + (highest - 1) * swing if swing > 0 else 1 + (1 - lowest) * swing
        return gain(factor, 1.5)(picture, since_s)

    return change


def dusk_and_dawn(picture: Picture, since_s: float) -> Picture:
    factor = 0.12 ** (0.5 - 0.5 * np.cos(2 * np.pi * since_s / 600.0))
    return gain(factor, 2.0)(picture, since_s)


def headlights(picture: Picture, since_s: float) -> Picture:
    """A dim picture through which, every 6 s, two lamps grow and pass."""
    high, wide = picture.shape[:2]
    y, x = np.mgrid[0:high, 0:wide].astype(np.float32) / wide
    done = since_s % 6.0 / 6.0
    light = sum(
        np.exp(-((x - done - dx) ** 2 + (y - 0.15 - 0.3 * done) ** 2) / (0.003 + 0.03 * done)) for dx in (-0.04, 0.04)
    )
    return NOISE.on(picture * 0.3 + 400.0 * light[..., None], 3.0)


def rain(picture: Picture, since_s: float) -> Picture:
    high, wide = picture.shape[:2]
    random, drawn = np.random.default_rng(int(since_s * 100)), picture.copy()
    for x, y, length in zip(
        random.integers(0, wide, 300), random.integers(0, high, 300), random.uniform(0.04, 0.15, 300), strict=True
    ):
        end = (int(x - length * high * 0.2), int(y + length * high))
        cv2.line(drawn, (int(x), int(y)), end, (205, 205, 205), 1, cv2.LINE_AA)
    return cv2.addWeighted(drawn, 0.6, picture, 0.4, 0).astype(np.uint8)


def lorry(stands_s: float, enters_s: float, leaves_s: float = 3.0) -> Change:
    """Ribbed sides, letters, wheels; over 95 % of the width and 90 % of the height. It brakes as it comes."""

    def change(picture: Picture, since_s: float) -> Picture:
        high, wide = picture.shape[:2]
        if since_s < enters_s:
            left = (1 - 0.95) + 0.95 * (1 - since_s / enters_s) ** 2
        elif since_s < enters_s + stands_s:
            left = 0.05
        else:
            left = 0.05 - ((since_s - enters_s - stands_s) / leaves_s) ** 2 * 1.2
        drawn = picture.copy()
        x = int(left * wide)
        side_high, far = int(high * 0.84), x + int(wide * 1.15)
        cv2.rectangle(drawn, (x, int(high * 0.03)), (far, side_high), (150, 140, 130), -1)
        for rib in range(x, far, max(wide // 14, 8)):
            cv2.rectangle(drawn, (rib, int(high * 0.03)), (rib + max(wide // 80, 2), side_high), (110, 100, 95), -1)
        size = wide / 300
        cv2.putText(drawn, "LOGISTICS", (x + wide // 6, high // 2), cv2.FONT_HERSHEY_SIMPLEX, size, (40, 40, 160), 4)
        cv2.rectangle(drawn, (x, side_high), (far, int(high * 0.92)), (25, 25, 25), -1)
        for share in (0.15, 0.3, 0.75):
            for radius, grey in ((0.08, 15), (0.04, 120)):
                hub = (x + int(wide * share), int(high * 0.92))
                cv2.circle(drawn, hub, int(high * radius), (grey, grey, grey), -1, cv2.LINE_AA)
        is_lorry = (drawn != picture).any(axis=2, keepdims=True)
        return np.where(is_lorry, NOISE.on(drawn, 2.0), picture)  # the noise of what it does not hide stays as it is

    return change


@dataclass(frozen=True)
class Case:
    name: str
    change: Change
    faults: tuple[str, ...]  # the names it may go by; none: harmless
    lasts_s: float = _FAULT_S
    freezes: bool = False


COVERED_OR_MOVED = ("covered", "moved")  # paint in which nothing of the scene is left could be another scene
CASES = (
    Case("dark, gain 0.02", gain(0.02), ("dark",)),
    Case("dark, gain 0.05, noise", gain(0.05, 2.0), ("dark",)),
    Case("overexposed, gain 8", gain(8.0), ("overexposed",)),
    Case("defocus 0.4 %", defocus(0.004), ("blurred",)),
    Case("defocus 0.8 %", defocus(0.008), ("blurred",)),
    Case("defocus 1.6 %", defocus(0.016), ("blurred", "covered")),
    Case("sprayed, 60 %", spray(0.6), COVERED_OR_MOVED),
    Case("sprayed, 75 %", spray(0.75), COVERED_OR_MOVED),
    Case("a hand", cover((120, 150, 200)), ("covered",)),
    Case("a black cloth", cover((25, 22, 20)), ("covered",)),
    Case("a white bag", cover((225, 228, 230)), ("covered",)),
    Case("5 % right", moved(0.05), ("moved",)),
    Case("10 % right", moved(0.10), ("moved",)),
    Case("15 % left", moved(-0.15), ("moved",)),
    Case("7 % down", moved(0.0, 0.07), ("moved",)),
    Case("10 % up and left", moved(-0.1, -0.1), ("moved",)),
    Case("turned 5°", moved(turn_deg=5), ("moved",)),
    Case("turned -8°", moved(turn_deg=-8), ("moved",)),
    Case("turned 15°", moved(turn_deg=15), ("moved",)),
    Case("zoomed 1.15", moved(zoom=1.15), ("moved",)),
    Case("zoomed 0.85", moved(zoom=0.85), ("moved",)),
    Case("zoomed 1.3", moved(zoom=1.3), ("moved",)),
    Case("knocked", moved(0.08, -0.04, 6, 1.1), ("moved",)),
    Case("frozen", lambda picture, _: picture, ("frozen",), freezes=True),
    Case("dusk and dawn, 10 min", dusk_and_dawn, (), 600.0),
    Case("exposure hunts, 8 s", breathing(0.5, 2.0, 8.0), (), 120.0),
    Case("exposure hunts, 3 s", breathing(0.4, 2.5, 3.0), (), 120.0),
    Case("headlights at dusk", headlights, (), 120.0),
    Case("rain", rain, (), 120.0),
    Case("a lorry passes", lorry(0.0, 2.0), (), 8.0),
    Case("a lorry stands 12 s", lorry(12.0, 3.0), (), 21.0),
    Case("a lorry stands 60 s", lorry(60.0, 4.0), (), 70.0),
)


# ---- playing ---------------------------------------------------------------------------------------------------------


def looks(path: Path) -> list[Picture]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
    found: list[Picture] = []
    for index in itertools.count():
        if not capture.grab():
            return found
        if index / fps >= len(found) * _LOOK_S - 1e-9:
            picture = capture.retrieve()[1]
            high, wide = picture.shape[:2]
            if wide > 640:
                picture = cv2.resize(picture, (640, round(640 * high / wide)), interpolation=cv2.INTER_AREA)
            found.append(picture)
    raise AssertionError


def health() -> CameraHealth:
    numbers = itertools.count(1)
    return CameraHealth(lambda: str(next(numbers)))


def faults(watch: CameraHealth, frames: Iterator[tuple[float, Picture]]) -> Iterator[tuple[float, CameraFault]]:
    for n, (mono_s, picture) in enumerate(frames):
        for happening in watch.update(Frame(picture, n, mono_s)):
            assert isinstance(happening.body, CameraFault)
            yield mono_s, happening.body


def play(clip: list[Picture], from_s: float, to_s: float, case: Case | None = None) -> Iterator[tuple[float, Picture]]:
    """The loop from one time to another; changed from 0 s on, for as long as the case lasts, and then as before.

    At 0 s the clip is at its middle: its cut is a jump that no street makes, and is not to coincide with another.
    """
    middle = len(clip) // 2
    for n in range(round(from_s / _LOOK_S), round(to_s / _LOOK_S)):
        since_s, picture = n * _LOOK_S, clip[(n + middle) % len(clip)]
        if case is not None and 0 <= since_s < case.lasts_s:
            picture = clip[middle] if case.freezes else case.change(picture, since_s)
        yield since_s, picture


def judged(learned: CameraHealth, clip: list[Picture], case: Case) -> tuple[bool, str]:
    told = list(faults(copy.deepcopy(learned), play(clip, 0.0, case.lasts_s + _AFTER_S, case)))
    said = ", ".join(f"{body.fault} {body.state} {at_s:.1f} s" for at_s, body in told) or "nothing"
    if not case.faults:
        return not told, said
    raised = [(at_s, body) for at_s, body in told if body.state == "raised"]
    fine = (
        len(raised) == 1
        and len(told) == 2
        and 0 < raised[0][0] <= 10.0
        and raised[0][1].fault in case.faults
        and told[1][1].alert == raised[0][1].alert
    )
    return fine, said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=float, default=1.0, help="stream time each clip is looped for (default: 1)")
    parser.add_argument("--clip", help="only clips whose name contains this")
    parser.add_argument("--case", help="only cases whose name contains this")
    args = parser.parse_args()
    paths = sorted(p for p in args.folder.iterdir() if p.suffix in _SUFFIXES and (args.clip or "") in p.name)
    if not paths:
        parser.error(f"no recording in {args.folder}")
    bad = 0
    for path in paths:
        clip = looks(path)
        began_s, count = time.process_time(), round(args.hours * 3600 / _LOOK_S)
        told = list(faults(health(), play(clip, 0.0, args.hours * 3600)))
        look_ms = 1000 * (time.process_time() - began_s) / max(count, 1)
        bad += len(told)
        print(f"{path.name}: {len(clip)} looks, looped for {args.hours:g} h: {len(told)} message(s) {told or ''}")
        print(f"  {look_ms:.1f} ms CPU a look")
        learned = health()
        bad += len(list(faults(learned, play(clip, -_LEARN_S, 0.0))))
        for case in (case for case in CASES if (args.case or "") in case.name):
            fine, said = judged(learned, clip, case)
            bad += not fine
            print(f"  {'ok  ' if fine else 'BAD '} {case.name:24} {said}", flush=True)
    print("all as it should be" if not bad else f"{bad} time(s) not as it should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
