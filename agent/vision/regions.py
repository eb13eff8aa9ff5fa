"""Second looks: parts of the picture at a larger scale, where something small moves or is followed.

A network sees 320 pixels of a picture however large it is; a motorcycle 40 pixels wide in 1920 is 7 of them. So square
windows are cut around what moves and what is expected, each covering as many of the small objects as it can, and what
is found in them is put beside what was found in the whole. Which windows: decided here; how many: by the budget.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agent.vision import geometry
from drivers.base import Detections, Detector

Floats = npt.NDArray[np.float32]
Window = tuple[int, int, int, int]  # left, top, right, bottom, pixels

_SMALL = 0.2  # of the picture's height: what is larger is seen well enough in the whole
_SIDE_OBJECTS = 5.0  # a window is so many times as wide as its object: a network needs to see the road around it
_LEAST_SIDE = 0.3  # of the picture's height
_MOST_SIDE = 0.75
_LEAST_SIDE_PX = 240  # fewer, blown up to the network's input, show nothing new: noise and blocks turn into things
_INSIDE = 0.9
_SEEN_LATELY = 0.4  # weight of what was in a window at the last look, so that others get their turn
_CUT = 0.02  # a box this close to a window's inner edge, in sides of the window, is cut off by it


class Regions:
    """Chooses the windows of one camera. Remembers the windows of the last look."""

    def __init__(self) -> None:
        self._last: list[Window] = []

    def choose(self, objects_xyxy_px: Floats, frame_wh_px: tuple[int, int], most: int) -> list[Window]:
        """At most `most` windows over the small ones of the objects (n, 4), the one that covers most first."""
        wide, high = frame_wh_px
        size = (objects_xyxy_px[:, 2:] - objects_xyxy_px[:, :2]).max(axis=1, initial=0.0)
        objects, size = objects_xyxy_px[size < _SMALL * high], size[size < _SMALL * high]
        chosen: list[Window] = []
        least, largest = max(_LEAST_SIDE * high, _LEAST_SIDE_PX), _MOST_SIDE * min(wide, high)
        if len(objects) and most > 0 and least <= largest:
            side = np.clip(size * _SIDE_OBJECTS, least, largest)
            centre = (objects[:, :2] + objects[:, 2:]) / 2
            low = np.clip(centre - side[:, None] / 2, 0, np.array([wide, high]) - side[:, None])
            windows = np.concatenate([low, low + side[:, None]], axis=1).astype(np.float32)
            covers = geometry.intersections(windows, objects) > _INSIDE * geometry.areas(objects)
            weight = np.ones(len(objects))
            if self._last:
                last = geometry.intersections(np.array(self._last, np.float32), objects)
                weight[(last > _INSIDE * geometry.areas(objects)).any(axis=0)] = _SEEN_LATELY
            while len(chosen) < most and weight.any():
                best = int((covers @ weight).argmax())
                left, top, right, bottom = (int(v) for v in windows[best])
                chosen.append((left, top, right, bottom))
                weight[covers[best]] = 0.0
        self._last = chosen
        return chosen


def look_closer(
    detector: Detector, image_bgr: npt.NDArray[np.uint8], windows: list[Window], whole: Detections, min_score: float
) -> Detections:
    """What was found in the whole picture and what is found in its windows, together, in the picture's pixels."""
    boxes, scores, class_ids = [whole.boxes_xyxy_px], [whole.scores], [whole.class_ids]
    high, wide = image_bgr.shape[:2]
    for left, top, right, bottom in windows:
        found = detector.detect(np.ascontiguousarray(image_bgr[top:bottom, left:right]), min_score)
        margin = _CUT * (right - left)
        # An object that the window cuts through would be taken for a smaller one; the picture's own edge is no cut.
        inner = np.array(
            [
                left + margin if left > 0 else -1,
                top + margin if top > 0 else -1,
                right - margin if right < wide else wide + 1,
                bottom - margin if bottom < high else high + 1,
            ],
            np.float32,
        )
        placed = found.boxes_xyxy_px + np.array([left, top, left, top], np.float32)
        whole_in = (placed[:, :2] > inner[:2]).all(axis=1) & (placed[:, 2:] < inner[2:]).all(axis=1)
        boxes.append(placed[whole_in])
        scores.append(found.scores[whole_in])
        class_ids.append(found.class_ids[whole_in])
    every = np.concatenate(scores)
    order = np.argsort(-every, kind="stable")
    return Detections(np.concatenate(boxes)[order], every[order], np.concatenate(class_ids)[order])
