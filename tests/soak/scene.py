"""Weeks in front of one camera, as a script: what is drawn, and what a detector that errs finds in it.

An hour is a spell of a minute in which something happens, each hour something else, and a long rest in which nothing
does. A spell is drawn at 5 fps; in the rest a picture now and then is enough, for nothing is learned from more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from drivers.base import CLASSES, Detections, Frame
from tests.support.vision import Box, Found, detections, inside_picture, noisy, road, standing_at, with_boxes

WIDE_PX, HIGH_PX = 320, 180
FPS = 5.0
SPELL_S = 60.0
HOUR_S = 3600.0
_MISSED, _FALSE, _WRONG_CLASS = 0.1, 0.3, 0.05  # of boxes; of looks; of boxes
_TREMBLE = 0.04  # of a box's size
BAG: Box = (172, 118, 186, 130)
BARRIER: Box = (140, 116, 154, 130)  # belongs there

SPELLS = ("traffic", "queue", "crowd", "parked", "ghosts", "bag", "trouble", "stutter")


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture: the objects in it, the things that no network knows, what is wrong with it; at_s: since the spell
    began."""

    at_s: float
    objects: tuple[tuple[str, Box], ...] = ()
    things: tuple[Box, ...] = (BARRIER,)
    gain: float = 1.0
    shrunk: bool = False
    empty_handed: bool = False  # the detector finds what is not there


def spell(kind: str, rng: np.random.Generator, *, shrinks: bool) -> Iterator[Shown]:
    """A minute of it. shrinks: in trouble, the camera changes the size of its picture, too."""
    at_s = 0.0
    while at_s < SPELL_S:
        shown = _picture(kind, at_s)
        yield replace(shown, shrunk=shrinks and kind == "trouble" and at_s > 50)
        at_s += 1 / FPS if kind != "stutter" else float(rng.choice([0.05, 0.2, 0.2, 0.9, 3.0]))


def _picture(kind: str, at_s: float) -> Shown:
    if kind == "queue":
        return Shown(at_s, _queue(at_s))
    if kind == "crowd":
        return Shown(at_s, _crowd(at_s) if at_s < 45 else ())
    if kind == "parked":
        stays = (("car", standing_at(200, 130, 46, 26)), ("person", standing_at(150 + 3 * (at_s % 2), 128, 12, 32)))
        return Shown(at_s, (*stays, *_traffic(at_s)[:2]))
    if kind == "bag":
        near = 8 < at_s < 14 or 36 < at_s < 42
        people = (("person", standing_at(164, 132, 14, 36)),) if near else ()
        return Shown(at_s, people, (BAG,) if 11 < at_s < 39 else (BARRIER,))  # exchanged, and exchanged again
    if kind == "trouble":
        return Shown(at_s, _traffic(at_s), gain=0.02 if 10 < at_s < 30 else 1.0)
    if kind == "ghosts":
        return Shown(at_s, _traffic(at_s)[:1], empty_handed=True)
    return Shown(at_s, _traffic(at_s))


def _traffic(at_s: float) -> tuple[tuple[str, Box], ...]:
    """Two lanes against each other, of all that drives; a bicycle, and somebody on foot."""
    names = ("car", "truck", "motorcycle", "bus", "car", "car")
    row = []
    for lane, (y, speed) in enumerate(((100, 70.0), (140, -90.0))):
        for k, name in enumerate(names):
            x = (k * 150 + speed * at_s) % (len(names) * 150) - 60
            row.append((name, standing_at(x, y, 46 if name != "motorcycle" else 18, 24 + 2 * lane)))
    return (
        *row,
        ("bicycle", standing_at((8 * at_s) % 360, 172, 14, 20)),
        ("person", standing_at(310, 60 + at_s, 10, 26)),
    )


def _queue(at_s: float) -> tuple[tuple[str, Box], ...]:
    """They come, stand for 40 s, one of them on the line, and go."""
    gone = 60.0 * (min(at_s, 5.0) + max(at_s - 45.0, 0.0))
    return tuple(("car", standing_at(-320 + 45 * k + gone, 140, 38, 24)) for k in range(8))


def _crowd(at_s: float) -> tuple[tuple[str, Box], ...]:
    return tuple(
        ("person", standing_at(120 + 16 * k + 3 * np.sin(at_s + k), 110 + 12 * (k % 3), 10, 28)) for k in range(8)
    )


class ErringDetector:
    """Finds what is shown; misses some, sees what is not there, takes a car for a lorry, and never holds still."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.shown = Shown(0.0)

    def detect(self, image_bgr: npt.NDArray[np.uint8], min_score: float) -> Detections:
        rng, found = self._rng, list[Found]()
        for name, box in self.shown.objects:
            visible = inside_picture(box, WIDE_PX, HIGH_PX)
            if visible is None or rng.random() < _MISSED:
                continue
            wrong = rng.random() < _WRONG_CLASS
            found.append(
                (str(rng.choice(CLASSES)) if wrong else name, float(rng.uniform(0.3, 0.95)), self._near(visible))
            )
        for _ in range(rng.poisson(8.0 if self.shown.empty_handed else _FALSE)):
            x, y = rng.uniform((20, 40), (WIDE_PX - 20, HIGH_PX))
            box = standing_at(float(x), float(y), float(rng.uniform(10, 60)), float(rng.uniform(10, 40)))
            found.append((str(rng.choice(CLASSES)), float(rng.uniform(0.15, 0.7)), box))
        if self.shown.shrunk:
            found = [(name, score, (box[0] / 2, box[1] / 2, box[2] / 2, box[3] / 2)) for name, score, box in found]
        return detections(found)

    def close(self) -> None:
        pass

    def _near(self, box: Box) -> Box:
        left, top, right, bottom = box
        wide, high = right - left, bottom - top
        a, b, c, d = self._rng.normal(0.0, _TREMBLE, 4).tolist()
        return left + a * wide, top + b * high, right + c * wide, bottom + d * high


class Painter:
    def __init__(self) -> None:
        self._road = road(WIDE_PX, HIGH_PX)

    def frame(self, shown: Shown, index: int, mono_s: float) -> Frame:
        picture = with_boxes(with_boxes(self._road, shown.things, (200, 220, 240)), [box for _, box in shown.objects])
        if shown.gain != 1.0:
            picture = cv2.convertScaleAbs(picture, alpha=shown.gain)
        if shown.shrunk:
            picture = cv2.resize(picture, (WIDE_PX // 2, HIGH_PX // 2))
        return Frame(noisy(np.asarray(picture, np.uint8), index), index, mono_s)
