"""What a camera sees now, for people who look at it: a tap on the camera's thread, and what is made of one picture.

    worker ──frame, seen──▶ Tap ──Shown──▶ picture() ──▶ JPEG and figures, once for all who look

While nobody looks the worker asks one attribute and does nothing else. While somebody does it hands over what it has
and goes on; scaling and encoding are the work of whoever asks, in a thread of his.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from agent.clock import Clock
from agent.vision.pipeline import Seen
from agent.vision.rules.base import class_name
from drivers.base import Frame

WIDTH_PX = 640  # of the picture that is shown, at most
_QUALITY = 70
_RATE_OVER_S = 3.0
_MOST_BOXES, _MOST_BLOBS = 100, 60
_FOCUS_WH_PX = (800, 600)  # of the middle of the picture, as it came: a smaller copy would hide what is out of focus
_NOISE_PX = 1.5
_DARK, _BRIGHT = 8, 247  # grey levels at which nothing can be seen any more
_MOVING = 0.1  # of its box
Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One picture and what was seen in it. age_s: how old the picture was when everything was known of it.

    fps, looks_per_s: pictures, and of these how many the detector had, a second, lately.
    """

    frame: Frame
    seen: Seen
    age_s: float
    fps: float
    looks_per_s: float


class Tap:
    """Of one camera. show() is called by the camera's thread, the rest by the thread of whoever looks."""

    def __init__(self, clock: Clock) -> None:
        self.is_watched = False
        self._clock = clock
        self._wake: Callable[[], None] = lambda: None
        self._newest: Shown | None = None
        self._times: deque[tuple[float, bool]] = deque(maxlen=200)

    def open(self, wake: Callable[[], None]) -> None:
        """Somebody looks. wake: called for every picture from now on, by the camera's thread; it must not block."""
        self._wake = wake
        self.is_watched = True

    def close(self) -> None:
        self.is_watched = False
        self._newest = None

    def show(self, frame: Frame, seen: Seen) -> None:
        now_s = self._clock.mono_s()
        if self._times and now_s - self._times[-1][0] > _RATE_OVER_S:
            self._times.clear()  # nobody has looked for a while
        self._times.append((now_s, seen.inferred))
        while now_s - self._times[0][0] > _RATE_OVER_S:
            self._times.popleft()
        over_s = now_s - self._times[0][0]
        fps = (len(self._times) - 1) / over_s if over_s else 0.0
        looks = sum(inferred for _, inferred in self._times) / len(self._times)
        self._newest = Shown(frame, seen, max(now_s - frame.mono_s, 0.0), fps, fps * looks)
        self._wake()

    def take(self) -> Shown | None:
        """The newest picture, once."""
        newest, self._newest = self._newest, None
        return newest


def picture(shown: Shown) -> tuple[dict[str, Any], bytes]:
    """(what to draw over it, JPEG). Places are fractions of width and height, x right, y DOWN."""
    image = shown.frame.image_bgr
    wide_px, high_px = shown.frame.size_wh_px
    scale = min(WIDTH_PX / wide_px, 1.0)
    small = image if scale == 1.0 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    figures = {
        "frame": shown.frame.index,
        "size": [wide_px, high_px],
        "fps": round(shown.fps, 1),
        "looks": round(shown.looks_per_s, 1),
        "age_ms": round(shown.age_s * 1000),
        "light": _light(np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)),
        "detail": round(detail(image), 5),
        "boxes": _boxes(shown),
        "motion": _fractions(shown.seen.motion.blobs_xyxy_px[:_MOST_BLOBS], shown.frame.size_wh_px),
    }
    return figures, jpeg


def detail(image_bgr: npt.NDArray[np.uint8]) -> float:
    """How much of what is in the middle of the picture are fine edges: rises as it gets sharper, and does not follow
    exposure. Comparable for one view, and for nothing else."""
    high, wide = image_bgr.shape[:2]
    x, y = max(wide - _FOCUS_WH_PX[0], 0) // 2, max(high - _FOCUS_WH_PX[1], 0) // 2
    grey = cv2.cvtColor(image_bgr[y : high - y, x : wide - x], cv2.COLOR_BGR2GRAY).astype(np.float32)
    # A sensor's noise is finer than any edge that a lens draws: averaged away, or a dark blurred picture looks sharp.
    smooth = cv2.GaussianBlur(grey, (0, 0), _NOISE_PX)
    contrast = float(cv2.meanStdDev(smooth)[1][0, 0]) ** 2
    fine = float(cv2.meanStdDev(cv2.Laplacian(smooth, cv2.CV_32F))[1][0, 0]) ** 2
    return fine / (contrast + 25.0)  # grey levels squared: a picture of nothing has no detail


def _light(grey: Grey) -> dict[str, float]:
    """Shares, 0..1: mean brightness, and how much of the picture is as dark, as bright as can be."""
    levels = np.bincount(grey.ravel(), minlength=256) / grey.size
    return {
        "mean": round(float(levels @ np.arange(256)) / 255, 3),
        "dark": round(float(levels[:_DARK].sum()), 3),
        "bright": round(float(levels[_BRIGHT + 1 :].sum()), 3),
    }


def _boxes(shown: Shown) -> list[dict[str, Any]]:
    """Of what is followed for certain and seen in this picture."""
    tracks = shown.seen.tracks
    rows = np.flatnonzero(tracks.confirmed & tracks.seen)[:_MOST_BOXES]
    boxes = _fractions(tracks.boxes_xyxy_px[rows], shown.frame.size_wh_px)
    return [
        {
            "id": int(tracks.ids[row]),
            "class": class_name(int(tracks.class_ids[row])),
            "score": round(float(tracks.scores[row]), 2),
            "moves": bool(tracks.moving[row] >= _MOVING),
            "box": box,
        }
        for row, box in zip(rows, boxes, strict=True)
    ]


def _fractions(boxes_xyxy_px: npt.NDArray[np.float32], wh_px: tuple[int, int]) -> list[list[float]]:
    size = np.tile(np.asarray(wh_px, np.float64), 2)
    found: list[list[float]] = np.round(boxes_xyxy_px / size, 4).tolist()
    return found
