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

import cv2
import numpy as np
import numpy.typing as npt

from drivers.base import Frame

Floats = npt.NDArray[np.float32]

_WIDTH_PX = 240  # a 30 px wide car in a 1280 px picture is still 5 px here
_STEP_PER_S = 8.0  # grey levels per second by which the background follows: what stopped is part of it in 5 to 10 s
_WARM_UP_S = 3.0  # the first picture may be full of cars: at first the background follows faster
_WARM_UP_HASTE = 4.0
_MIN_STEP = 7.0  # grey levels by which a pixel must differ at least; below is sensor and codec noise
_NOISE_STEPS = 3.0  # and this many times the pixel's own usual difference: leaves, water, a flickering lamp
_NOISE_HASTE = 1 / 8
_MIN_BLOB_PX = 12
_JUST_NOW_S = 0.25
_CHANGED = 12.0


@dataclass(frozen=True, slots=True, eq=False)
class MotionMap:
    """What moved in one picture.

    mask: uint8 (h, w) of a small picture, 255 where something moves.
    blobs_xyxy_px: float32 (n, 4), the boxes around connected moving areas, in the full frame.
    is_open: something large enough moved now or within the hold time, so the picture is worth a look.
    """

    mask: npt.NDArray[np.uint8]
    blobs_xyxy_px: Floats
    is_open: bool
    _table: npt.NDArray[np.int32]  # integral of the mask
    _scale_xy: tuple[float, float]

    def share(self, boxes_xyxy_px: Floats) -> Floats:
        """How much of each box (n, 4), in the full frame's pixels, moves: (n,), 0..1."""
        high, wide = self.mask.shape
        x = np.clip(np.rint(boxes_xyxy_px[:, 0::2] * self._scale_xy[0]).astype(np.intp), 0, wide)
        y = np.clip(np.rint(boxes_xyxy_px[:, 1::2] * self._scale_xy[1]).astype(np.intp), 0, high)
        left, right, top, bottom = x[:, 0], x[:, 1], y[:, 0], y[:, 1]
        table = self._table
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
        self._began_s = self._last_s = self._newer_s = 0.0
        self._open_until_s = 0.0

    def update(self, frame: Frame) -> MotionMap:
        """Learn one picture and say what moved in it. Pictures come in the order of their mono_s."""
        wide_px, high_px = frame.size_wh_px
        grey = _small_grey(frame.image_bgr)
        if self._background.shape != grey.shape:
            self._background, self._noise = grey.copy(), np.zeros_like(grey)
            self._just_now = self._newer = grey
            self._began_s = self._last_s = self._newer_s = frame.mono_s
            self._open_until_s = frame.mono_s + self._hold_s  # for what stands there from the start
        elapsed_s = max(frame.mono_s - self._last_s, 0.0)
        self._last_s = frame.mono_s

        expected = self._background * _exposure(grey, self._background)
        distance: Floats = np.abs(grey - expected)
        moved = ((distance > _MIN_STEP) & (distance > _NOISE_STEPS * self._noise)).view(np.uint8) * np.uint8(255)
        mask: npt.NDArray[np.uint8] = cv2.morphologyEx(moved, cv2.MORPH_OPEN, _SQUARE)  # type: ignore[assignment]

        haste = _WARM_UP_HASTE if frame.mono_s - self._began_s < _WARM_UP_S else 1.0
        step = np.float32(_STEP_PER_S * haste * elapsed_s)
        self._background += np.clip(grey - self._background, -step, step)
        self._noise += np.clip(distance - self._noise, -step * _NOISE_HASTE, step * _NOISE_HASTE)

        # What an object uncovers when it leaves differs from the background too, but it does not change any more.
        just_now = self._just_now * _exposure(grey, self._just_now)
        changing = (np.abs(grey - just_now) > _CHANGED).view(np.uint8)
        if frame.mono_s - self._newer_s >= _JUST_NOW_S:
            self._just_now, self._newer, self._newer_s = self._newer, grey, frame.mono_s
        if np.count_nonzero(mask & changing) >= self._min_area * mask.size:
            self._open_until_s = max(self._open_until_s, frame.mono_s + self._hold_s)
        scale_xy = (mask.shape[1] / wide_px, mask.shape[0] / high_px)
        return MotionMap(
            mask=mask,
            blobs_xyxy_px=_blobs(mask, scale_xy),
            is_open=frame.mono_s <= self._open_until_s,
            _table=cv2.integral(mask),  # type: ignore[arg-type]
            _scale_xy=scale_xy,
        )


_SQUARE = np.ones((3, 3), np.uint8)


def _small_grey(image_bgr: npt.NDArray[np.uint8]) -> Floats:
    high_px, wide_px = image_bgr.shape[:2]
    small = cv2.resize(image_bgr, (_WIDTH_PX, max(16, round(_WIDTH_PX * high_px / wide_px))))
    return cv2.blur(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (3, 3)).astype(np.float32)


def _exposure(grey: Floats, background: Floats) -> np.float32:
    """By how much the whole picture is brighter than the background: exposure and sun change all of it at once."""
    samples = grey[::4, ::4] / np.maximum(background[::4, ::4], 8.0)
    return np.float32(np.median(samples))


def _blobs(mask: npt.NDArray[np.uint8], scale_xy: tuple[float, float]) -> Floats:
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    stats = stats[1:][stats[1:, cv2.CC_STAT_AREA] >= _MIN_BLOB_PX]
    corners = np.concatenate([stats[:, :2], stats[:, :2] + stats[:, 2:4]], axis=1)
    boxes: Floats = (corners / (scale_xy * 2)).astype(np.float32)
    return boxes
