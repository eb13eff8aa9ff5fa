"""Drawn pictures, detections and tracks made by hand: the vision stages tested without a clip and without a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from agent.vision.motion import Motion, MotionMap
from agent.vision.track import Tracks
from drivers.base import CLASSES, Detections, Frame

Box = tuple[float, float, float, float]
Found = tuple[str, float, Box]  # class name, score, (left, top, right, bottom) in pixels
Picture = npt.NDArray[np.uint8]

ALL_CLASSES = frozenset(range(len(CLASSES)))


def road(wide_px: int = 640, high_px: int = 360) -> Picture:
    """A still scene with some structure, always the same."""
    coarse = np.random.default_rng(5).integers(70, 130, (9, 16, 3)).astype(np.uint8)
    return np.ascontiguousarray(cv2.resize(coarse, (wide_px, high_px), interpolation=cv2.INTER_CUBIC), np.uint8)


def noisy(picture: Picture, seed: int) -> Picture:
    """The same picture through a sensor's noise: one of sixteen noises, each drawn once."""
    shown = cv2.add(picture, _noise(picture.shape, seed % 16), dtype=cv2.CV_8U)
    return np.asarray(shown, np.uint8)


@cache
def _noise(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.int16]:
    return np.rint(np.random.default_rng(seed).normal(0.0, 3.0, shape)).astype(np.int16)


def with_boxes(picture: Picture, boxes: Iterable[Box], colour: tuple[int, int, int] = (30, 25, 40)) -> Picture:
    drawn = picture.copy()
    for left, top, right, bottom in boxes:
        cv2.rectangle(drawn, (round(left), round(top)), (round(right) - 1, round(bottom) - 1), colour, -1)
    return drawn


def motion_of(moving: Sequence[Box], wide_px: int = 640, high_px: int = 360) -> MotionMap:
    """The map of a picture in which these boxes have just appeared on a road known for seconds."""
    motion, scene = Motion(), road(wide_px, high_px)
    for n in range(20):
        motion.update(Frame(scene, n, n / 10))
    return motion.update(Frame(with_boxes(scene, moving, (250, 250, 250)), 20, 2.0))


def detections(found: Sequence[Found]) -> Detections:
    if not found:
        return Detections.none()
    return Detections(
        np.array([box for _, _, box in found], np.float32),
        np.array([score for _, score, _ in found], np.float32),
        np.array([CLASSES.index(name) for name, _, _ in found], np.int32),
    )


class PerfectDetector:
    """Sees exactly what it is told is in the picture; set `sees` before the frame."""

    def __init__(self, score: float = 0.9) -> None:
        self.sees: Sequence[tuple[str, Box]] = ()
        self.score = score
        self.calls = 0

    def detect(self, image_bgr: Picture, min_score: float) -> Detections:
        self.calls += 1
        return detections([(name, self.score, box) for name, box in self.sees])

    def close(self) -> None:
        pass


def sighting(
    boxes: Mapping[int, Box],
    frame_index: int,
    mono_s: float,
    *,
    classes: Mapping[int, str] | None = None,
    unseen: Mapping[int, Box] | None = None,
    ended: tuple[int, ...] = (),
) -> Tracks:
    """Tracks by hand: `boxes` seen in this frame, `unseen` known and not seen; sure, moving and confirmed all."""
    everything = {**boxes, **(unseen or {})}
    ids = sorted(everything)
    names = classes or {}
    count = len(ids)
    return Tracks(
        ids=np.array(ids, np.int64),
        boxes_xyxy_px=np.array([everything[i] for i in ids], np.float32).reshape(count, 4),
        class_ids=np.array([CLASSES.index(names.get(i, "car")) for i in ids], np.int32),
        scores=np.full(count, 0.9, np.float32),
        moving=np.full(count, 0.9, np.float32),
        speeds_px_s=np.zeros((count, 2), np.float32),
        seen=np.array([i in boxes for i in ids], np.bool_),
        confirmed=np.ones(count, np.bool_),
        erratic=np.zeros(count, np.bool_),
        ended=ended,
        frame_index=frame_index,
        mono_s=mono_s,
    )


def standing_at(x: float, y: float, wide: float = 40, high: float = 40) -> Box:
    """The box whose bottom edge's middle is at (x, y)."""
    return x - wide / 2, y - high, x + wide / 2, y


def centred_at(x: float, y: float, wide: float = 40, high: float = 40) -> Box:
    return x - wide / 2, y - high / 2, x + wide / 2, y + high / 2


def inside_picture(box: Box, wide_px: int, high_px: int) -> Box | None:
    """What a camera shows of it; None for nothing worth calling an object."""
    left, top = max(box[0], 0.0), max(box[1], 0.0)
    right, bottom = min(box[2], float(wide_px)), min(box[3], float(high_px))
    return (left, top, right, bottom) if right - left >= 8 and bottom - top >= 8 else None
