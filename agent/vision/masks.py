"""Parts of the picture that are not to be looked at.

Privacy: painted over before anything sees, keeps or draws the picture, by a camera around the camera, so that nothing
behind it can leak what was there. Detection: the picture stays whole, and what is found there is dropped.

A camera without masks is not wrapped and costs nothing.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from agent.vision import geometry
from drivers.base import Camera, CameraFormat, Detections, Frame

Polygon = tuple[tuple[float, float], ...]
"""Corners in order, fractions of width and height, x right, y DOWN."""

_INWARDS = 0.001
_FINER = 3  # binary digits behind the point of a corner, for OpenCV


class PrivateCamera:
    """The camera inside, with polygons painted black in every picture it gives."""

    def __init__(self, inside: Camera, privacy: tuple[Polygon, ...]) -> None:
        self._inside = inside
        self._privacy = privacy

    def open(self) -> CameraFormat:
        return self._inside.open()

    def read(self, timeout_s: float) -> Frame:
        return blackened(self._inside.read(timeout_s), self._privacy)

    def close(self) -> None:
        self._inside.close()


def outside(found: Detections, polygons: tuple[Polygon, ...], wh_px: tuple[int, int]) -> Detections:
    """What was found in a picture, without objects whose bottom edge's middle, where they touch the ground, is in a
    polygon."""
    boxes = found.boxes_xyxy_px
    feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1) / np.asarray(wh_px)
    # An object that the picture's edge cuts off stands on the edge, and so on a polygon's border: is it inside?
    feet = np.clip(feet, _INWARDS, 1.0 - _INWARDS).astype(np.float32)
    keep = np.ones(len(found), np.bool_)
    for polygon in polygons:
        keep &= ~geometry.inside_polygon(feet, np.asarray(polygon, np.float32))
    return Detections(boxes[keep], found.scores[keep], found.class_ids[keep])


def blackened(frame: Frame, polygons: tuple[Polygon, ...]) -> Frame:
    """The frame with polygons painted black; the array it came with, which is the driver's, stays as it is."""
    picture = frame.image_bgr.copy()
    _paint(picture, polygons, (0, 0, 0))
    return replace(frame, image_bgr=picture)


def unmasked(polygons: tuple[Polygon, ...], wh_px: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """bool (h, w): where a picture of this size is not painted over."""
    painted = np.zeros(wh_px[::-1], np.uint8)
    _paint(painted, polygons, (1,))
    seen: npt.NDArray[np.bool_] = painted == 0
    return seen


def _paint(picture: npt.NDArray[np.uint8], polygons: tuple[Polygon, ...], colour: tuple[int, ...]) -> None:
    # Fractions measure from the picture's edge, OpenCV from the middle of the first pixel.
    size = np.array(picture.shape[1::-1], np.float64)
    for polygon in polygons:  # in one call, where two overlap would stay uncovered
        corners = np.rint((np.asarray(polygon) * size - 0.5) * (1 << _FINER)).astype(np.int32)
        cv2.fillPoly(picture, [corners], colour, shift=_FINER)
