"""Stage 1: where something moves, and whether anything does.

Frame in, MotionMap out. One background per camera, at a fraction of the picture's size; reads no clock, opens no
file. The gate built on it saves inference on empty roads; the map tells a moving car from a parked one and from a
bush that a network takes for one.

The background is a Sigma-Delta estimate (Manzanera and Richefeu 2007, doi 10.1016/j.patrec.2006.04.007): it creeps
towards the latest picture by a bounded step, so it settles on the median of what a pixel shows, which dense traffic
does not drag away as it does a running mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from drivers.base import Frame

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]

_WIDTH_PX = 240  # a 30 px wide car in a 1280 px picture is still 5 px here
_STEP_PER_S = 8.0  # grey levels per second by which the background follows: what stopped is part of it in 5 to 10 s
_LEARN_EVERY_S = 0.1
_WARM_UP_S = 3.0  # the first picture may be full of cars: at first the background follows faster
_WARM_UP_HASTE = 4.0
_MIN_STEP = 7.0  # grey levels by which a pixel must differ at least; below is sensor and codec noise
_NOISE_STEPS = 3.0  # and this many times the pixel's own usual difference: leaves, water, a flickering lamp
_NOISE_HASTE = 1 / 8
_MIN_BLOB_PX = 3  # at half the size
_JUST_NOW_S = 0.25
_CHANGED = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class MotionMap:
    """What moved in one picture.

    mask: uint8 (h, w) of a small picture, 255 where something moves.
    blobs_xyxy_px: float32 (n, 4), the boxes around connected moving areas, in the full frame.
    is_open: something large enough moved now or within the hold time, so the picture is worth a look.
    """

    mask: Mask
    blobs_xyxy_px: Floats
    is_open: bool
    _table: npt.NDArray[np.int32]  # integral of the mask
    _fresh_table: npt.NDArray[np.int32]  # the same of what also differs from a moment ago
    _scale_xy: tuple[float, float]

    def share(self, boxes_xyxy_px: Floats) -> Floats:
        """How much of each box (n, 4), in the full frame's pixels, moves: (n,), 0..1."""
        return self._share(self._table, boxes_xyxy_px)

    def fresh_share(self, boxes_xyxy_px: Floats) -> Floats:
        """How much of it moves and is not as it was a moment ago, either: a thing put down differs from the background
        for seconds, and lies still."""
        return self._share(self._fresh_table, boxes_xyxy_px)

    def _share(self, table: npt.NDArray[np.int32], boxes_xyxy_px: Floats) -> Floats:
        high, wide = self.mask.shape
        x = np.clip(np.rint(boxes_xyxy_px[:, 0::2] * self._scale_xy[0]).astype(np.intp), 0, wide)
        y = np.clip(np.rint(boxes_xyxy_px[:, 1::2] * self._scale_xy[1]).astype(np.intp), 0, high)
        left, right, top, bottom = x[:, 0], x[:, 1], y[:, 0], y[:, 1]
        moving = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
        pixels = np.maximum((right - left) * (bottom - top), 1)
        share: Floats = (moving / (255.0 * pixels)).astype(np.float32)
        return share


class Motion:
    """The background model of one camera and the gate on it."""

    def __init__(self, *, min_area: float = 0.0006, hold_s: float = 0.3) -> None:
        """min_area: the share of the picture that must move to open the gate. hold_s: how long it then stays open."""
        self._min_area = min_area
        self._hold_s = hold_s
        self._background: Floats = np.empty((0, 0), np.float32)
        self._noise: Floats = self._background
        self._just_now = self._newer = self._background  # pictures of a moment ago
        self._began_s = self._learned_s = self._newer_s = 0.0
        self._open_until_s = 0.0

    def update(self, frame: Frame) -> MotionMap:
        """Learn one picture and say what moved in it. Pictures come in the order of their mono_s."""
        wide_px, high_px = frame.size_wh_px
        grey = _small_grey(frame.image_bgr)
        if self._background.shape != grey.shape:
            self._begin(grey, frame.mono_s)
        distance = _distance(grey, self._background)
        limit = np.maximum(self._noise * _NOISE_STEPS, _MIN_STEP)
        mask = cast(Mask, cv2.morphologyEx(cv2.compare(distance, limit, cv2.CMP_GT), cv2.MORPH_OPEN, _SQUARE))
        if frame.mono_s - self._learned_s >= _LEARN_EVERY_S:
            self._learn(grey, distance, frame.mono_s)
        # What an object uncovers when it leaves differs from the background, and not from a moment ago.
        fresh = cv2.bitwise_and(mask, (_distance(grey, self._just_now) > _CHANGED).view(np.uint8) * np.uint8(255))
        if cv2.countNonZero(fresh) >= self._min_area * mask.size:
            self._open_until_s = frame.mono_s + self._hold_s
        if frame.mono_s - self._newer_s >= _JUST_NOW_S:
            self._just_now, self._newer, self._newer_s = self._newer, grey, frame.mono_s
        scale_xy = (mask.shape[1] / wide_px, mask.shape[0] / high_px)
        return MotionMap(
            mask=mask,
            blobs_xyxy_px=_blobs(mask, scale_xy),
            is_open=frame.mono_s <= self._open_until_s,
            _table=cast("npt.NDArray[np.int32]", cv2.integral(mask)),
            _fresh_table=cast("npt.NDArray[np.int32]", cv2.integral(fresh)),
            _scale_xy=scale_xy,
        )

    def _begin(self, grey: Floats, mono_s: float) -> None:
        self._background, self._noise = grey.copy(), np.zeros_like(grey)
        self._just_now = self._newer = grey
        self._began_s = self._learned_s = self._newer_s = mono_s
        self._open_until_s = mono_s + self._hold_s  # for what stands there from the start

    def _learn(self, grey: Floats, distance: Floats, mono_s: float) -> None:
        """Let the background and the noise creep towards what was just seen, by a step in proportion to the time."""
        haste = _WARM_UP_HASTE if mono_s - self._began_s < _WARM_UP_S else 1.0
        step = _STEP_PER_S * haste * max(mono_s - self._learned_s, 0.0)
        self._learned_s = mono_s
        self._background += np.clip(grey - self._background, -step, step)
        self._noise += np.clip(distance - self._noise, -step * _NOISE_HASTE, step * _NOISE_HASTE)


_SQUARE = np.ones((3, 3), np.uint8)


def _small_grey(image_bgr: npt.NDArray[np.uint8]) -> Floats:
    high_px, wide_px = image_bgr.shape[:2]
    small = cv2.resize(image_bgr, (_WIDTH_PX, max(16, round(_WIDTH_PX * high_px / wide_px))))
    return cv2.blur(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (3, 3)).astype(np.float32)


def _distance(grey: Floats, expected: Floats) -> Floats:
    return cast(Floats, cv2.absdiff(grey, expected * _exposure(grey, expected)))


def _exposure(grey: Floats, background: Floats) -> np.float32:
    """By how much the whole picture is brighter than the background: exposure and sun change all of it at once."""
    ratios = (grey[::6, ::6] / np.maximum(background[::6, ::6], 8.0)).ravel()
    middle = len(ratios) // 2
    return np.float32(np.partition(ratios, middle)[middle])


def _blobs(mask: Mask, scale_xy: tuple[float, float]) -> Floats:
    # Every other pixel is enough, since what MORPH_OPEN left is at least 3 px wide; it is four times faster.
    half = np.ascontiguousarray(mask[::2, ::2])
    _, _, stats, _ = cv2.connectedComponentsWithStats(half, connectivity=8, ltype=cv2.CV_16U)
    stats = stats[1:][stats[1:, cv2.CC_STAT_AREA] >= _MIN_BLOB_PX]
    corners = 2 * np.concatenate([stats[:, :2], stats[:, :2] + stats[:, 2:4]], axis=1)
    boxes: Floats = (corners / (scale_xy * 2)).astype(np.float32)
    return boxes
