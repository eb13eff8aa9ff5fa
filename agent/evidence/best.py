"""The best view so far of each object that is followed: large, sure, sharp, whole, nobody in front.

Frames and tracks in, a Shot out when somebody asks. What is kept is a smaller copy of the whole picture, shared by all
objects that looked best in it, and taken only when a view is clearly better than the one kept. Bounded: MAX_SHOTS
copies of at most MAX_PIXELS pixels, 22 MB a camera; the oldest gives way. An object without a copy (it has stood there
for long, or eight others moved since) is shown as it is now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import cv2
import numpy as np
import numpy.typing as npt

from agent.sharpness import sharpness
from drivers.base import Frame

Floats = npt.NDArray[np.float32]

MAX_SHOTS = 8
MAX_PIXELS = 1280 * 720  # a picture of 60 kB shows no more
_CLEARLY_BETTER = 1.25
_LARGE = 0.25  # share of the picture from which on larger is not better
_EDGE = 0.01  # a box that comes so near to the picture's edge may go on behind it
_CUT_OFF = 0.3  # what such a view is worth


class Tracks(Protocol):
    """What is needed to know of the objects in view; row i of each array is one of them."""

    @property
    def ids(self) -> npt.NDArray[np.int64]: ...
    @property
    def boxes_xyxy_px(self) -> Floats: ...
    @property
    def class_ids(self) -> npt.NDArray[np.int32]: ...
    @property
    def scores(self) -> Floats: ...
    @property
    def seen(self) -> npt.NDArray[np.bool_]: ...
    @property
    def confirmed(self) -> npt.NDArray[np.bool_]: ...
    @property
    def ended(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One picture and everybody who was followed in it, confirmed or not.

    picture_bgr: uint8 (h, w, 3), a copy. boxes_xyxy_px: float32 (n, 4), in its pixels. ids, class_ids: (n,).
    """

    picture_bgr: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int64]
    boxes_xyxy_px: Floats
    class_ids: npt.NDArray[np.int32]

    @staticmethod
    def of(frame: Frame, tracks: Tracks) -> Shot:
        return Shot.scaled(frame, tracks.ids.copy(), tracks.boxes_xyxy_px, tracks.class_ids.copy())

    @staticmethod
    def scaled(
        frame: Frame, ids: npt.NDArray[np.int64], boxes_xyxy_px: Floats, class_ids: npt.NDArray[np.int32]
    ) -> Shot:
        """Of a frame and what is where in it, made smaller together if the frame is large."""
        wide, high = frame.size_wh_px
        scale = min(1.0, (MAX_PIXELS / (wide * high)) ** 0.5)
        if scale < 1.0:
            size = (round(wide * scale), round(high * scale))
            # INTER_AREA is a little better and takes three times as long.
            picture = cast("npt.NDArray[np.uint8]", cv2.resize(frame.image_bgr, size, interpolation=cv2.INTER_LINEAR))
        else:
            picture = frame.image_bgr.copy()
        return Shot(picture, ids, boxes_xyxy_px * np.float32(scale), class_ids)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    score: float
    shot: Shot


class BestViews:
    """The best views of one camera's objects. Forgets an object one frame after it has ended: it may be the ending
    that somebody wants a picture of."""

    def __init__(self) -> None:
        self._views: dict[int, _View] = {}  # by track; in the order of their taking

    def update(self, frame: Frame, tracks: Tracks) -> None:
        here = {*tracks.ids.tolist(), *tracks.ended}
        if not self._views.keys() <= here:
            self._views = {track: view for track, view in self._views.items() if track in here}
        rows = np.flatnonzero(tracks.seen & tracks.confirmed)
        if not len(rows):
            return
        worth = _worth(tracks, rows, frame.size_wh_px)
        better: dict[int, float] = {}
        for row, most in zip(rows.tolist(), worth.tolist(), strict=True):
            track = int(tracks.ids[row])
            least = self._views[track].score * _CLEARLY_BETTER if track in self._views else 0.0
            if most > least:  # sharpness only takes from it, and costs more than all the rest
                score = most * sharpness(_cut(frame.image_bgr, tracks.boxes_xyxy_px[row]))
                if score > least:
                    better[track] = score
        if better:
            self._keep(Shot.of(frame, tracks), better)

    def get(self, track: int) -> Shot | None:
        view = self._views.get(track)
        return view.shot if view else None

    def _keep(self, shot: Shot, scores: dict[int, float]) -> None:
        for track, score in scores.items():
            self._views.pop(track, None)
            self._views[track] = _View(score, shot)
        shots = list(dict.fromkeys(view.shot for view in self._views.values()))
        for oldest in shots[:-MAX_SHOTS]:
            self._views = {track: view for track, view in self._views.items() if view.shot is not oldest}


def _worth(tracks: Tracks, rows: npt.NDArray[np.intp], frame_wh_px: tuple[int, int]) -> Floats:
    """What each view is worth before its sharpness: (rows,), 0..1."""
    wide, high = frame_wh_px
    boxes = tracks.boxes_xyxy_px
    area = np.maximum(_areas(boxes), 1.0)
    size = np.sqrt(np.minimum(area[rows] / (_LARGE * wide * high), 1.0))
    left, top, right, bottom = boxes[rows].T
    cut_off = (left < _EDGE * wide) | (top < _EDGE * high) | (right > (1 - _EDGE) * wide)
    cut_off |= bottom > (1 - _EDGE) * high
    low = np.maximum(boxes[rows, None, :2], boxes[None, :, :2])
    shared = _areas(np.concatenate([low, np.minimum(boxes[rows, None, 2:], boxes[None, :, 2:])], axis=2))
    shared[np.arange(len(rows)), rows] = 0.0
    hidden = np.minimum((shared / area[rows, None]).max(axis=1), 0.9)
    worth: Floats = size * tracks.scores[rows] * np.where(cut_off, _CUT_OFF, 1.0) * (1.0 - hidden)
    return worth


def _areas(boxes_xyxy: Floats) -> Floats:
    """(…, 4) → (…); 0 for boxes turned inside out, such as the intersection of two that do not meet."""
    areas: Floats = np.prod(np.maximum(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], 0.0), axis=-1)
    return areas


def _cut(picture_bgr: npt.NDArray[np.uint8], box_xyxy_px: Floats) -> npt.NDArray[np.uint8]:
    """The part of a picture inside a box, at least one pixel."""
    high, wide = picture_bgr.shape[:2]
    left, top = min(max(int(box_xyxy_px[0]), 0), wide - 1), min(max(int(box_xyxy_px[1]), 0), high - 1)
    return picture_bgr[top : max(int(box_xyxy_px[3]), top + 1), left : max(int(box_xyxy_px[2]), left + 1)]
