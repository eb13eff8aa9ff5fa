"""Stage 1: where something moves, and whether anything does.

Frame in, MotionMap out. One background per camera, at a fraction of the picture's size; reads no clock, opens no
file. The gate built on it saves inference on empty roads; the map tells a moving car from a parked one or from a
shadow that a network takes for one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from drivers.base import Frame

_WIDTH_PX = 240  # a 30 px wide car in a 1280 px picture is still 5 px here; costs a third of a millisecond
_STEP_PER_S = 8.0  # grey levels per second by which the background follows: what stopped is one with it in 5-10 s
_MIN_STEP = 7.0  # grey levels by which a pixel must differ at least; below is sensor and codec noise
_NOISE_STEPS = 3.0  # and this many times the pixel's own usual difference: leaves, water, a flickering lamp
_WARM_UP_S = 3.0  # the first picture may be full of cars
_WARM_UP_HASTE = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class MotionMap:
    """What moved in one picture.

    mask: uint8 (h, w) of a small picture, 255 where something moves.
    blobs_xyxy_px: float32 (n, 4), the boxes around connected moving areas, in the full frame.
    is_open: something large enough moved now or within the hold time, so the picture is worth a look.
    """

    mask: npt.NDArray[np.uint8]
    is_open: bool
    blobs_xyxy_px: npt.NDArray[np.float32]
    _integral: npt.NDArray[np.int32]
    _scale: tuple[float, float]

    def share(self, boxes_xyxy_px: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """How much of each box (n, 4), in the full frame's pixels, moves: (n,), 0..1."""
        high, wide = self.mask.shape
        x = np.clip(np.rint(boxes_xyxy_px[:, 0::2] * self._scale[0]).astype(np.intp), 0, wide)
        y = np.clip(np.rint(boxes_xyxy_px[:, 1::2] * self._scale[1]).astype(np.intp), 0, high)
        table = self._integral
        moving = table[y[:, 1], x[:, 1]] - table[y[:, 0], x[:, 1]] - table[y[:, 1], x[:, 0]] + table[y[:, 0], x[:, 0]]
        pixels = np.maximum((x[:, 1] - x[:, 0]) * (y[:, 1] - y[:, 0]), 1)
        share: npt.NDArray[np.float32] = (moving / (255.0 * pixels)).astype(np.float32)
        return share


class Motion:
    """The background model of one camera and the gate on it."""

    def __init__(self, *, min_area: float = 0.0008, hold_s: float = 1.0) -> None:
        """min_area: the share of the picture that must move to open the gate. hold_s: how long it then stays open."""
        self._min_area = min_area
        self._hold_s = hold_s
        self._background: npt.NDArray[np.float32] | None = None
        self._noise: npt.NDArray[np.float32] | None = None
        self._last_s = 0.0
        self._age_s = 0.0
        self._open_until_s = 0.0
        self._kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (3, 3))

    def update(self, frame: Frame) -> MotionMap:
        """Learn one picture and say what moved in it. Pictures come in the order of their mono_s."""
        wide_px, high_px = frame.size_wh_px
        size = (_WIDTH_PX, max(16, round(_WIDTH_PX * high_px / wide_px)))
        grey = cv2.blur(cv2.cvtColor(cv2.resize(frame.image_bgr, size), cv2.COLOR_BGR2GRAY), (3, 3)).astype(np.float32)
        if self._background is None or self._noise is None or self._background.shape != grey.shape:
            self._background = grey
            self._noise = np.zeros_like(grey)
            self._open_until_s = frame.mono_s + max(_WARM_UP_S, self._hold_s)
            self._age_s = 0.0
            self._last_s = frame.mono_s
        elapsed_s = max(frame.mono_s - self._last_s, 0.0)
        self._last_s = frame.mono_s
        self._age_s += elapsed_s

        difference = cv2.subtract(grey, self._background)
        # The whole picture brightens or darkens at once when exposure or the sun changes: not motion.
        difference = cv2.subtract(difference, float(np.median(difference[::4, ::4])))
        distance = cv2.absdiff(difference, 0.0)
        mask = ((distance > _MIN_STEP) & (distance > _NOISE_STEPS * self._noise)).astype(np.uint8) * 255
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, self._kernel)

        # Sigma-delta: both estimates creep towards the latest value by a bounded step, so they settle on the
        # median of what a pixel shows, which dense traffic does not drag away as it does a running mean.
        step = _STEP_PER_S * elapsed_s * (_WARM_UP_HASTE if self._age_s < _WARM_UP_S else 1.0)
        self._background += np.clip(difference, -step, step)
        self._noise += np.clip(distance - self._noise, -step / 8, step / 8)

        if cv2.countNonZero(mask) >= self._min_area * mask.size:
            self._open_until_s = max(self._open_until_s, frame.mono_s + self._hold_s)
        _, _, blobs, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        scale = (size[0] / wide_px, size[1] / high_px)
        corners = np.concatenate([blobs[1:, :2], blobs[1:, :2] + blobs[1:, 2:4]], axis=1)[blobs[1:, 4] >= 12]
        return MotionMap(
            mask=mask,
            blobs_xyxy_px=(corners / (scale * 2)).astype(np.float32),
            is_open=frame.mono_s <= self._open_until_s,
            _integral=cv2.integral(mask),
            _scale=scale,
        )
