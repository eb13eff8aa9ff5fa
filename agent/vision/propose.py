"""Between detect and track: moving areas as objects.

Where a network is weak (twenty pixels of car, blur, rain, headlights alone) it finds a piece of what moves, a different
piece in each picture, or nothing; the moving area around it is whole and follows it steadily. So an area that no sure
box explains is the object, and what the network was unsure of inside it only says what it might be.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agent.vision import geometry
from agent.vision.motion import MotionMap
from drivers.base import CLASSES, Detections

VEHICLE = len(CLASSES)
"""The class of what moves like a vehicle and was not recognised: the index after the detector's classes."""

Floats = npt.NDArray[np.float32]

_SURE_SCORE = 0.3  # boxes from here on are better than areas: shadows and neighbours are no part of them
_AREA_SCORE = 0.4
_INSIDE = 0.6
_FITS_IOU = 0.5
_EXPECTED = 0.4
_LEAST_SIDE = 0.02  # of the picture's width: below are leaves, noise and reflections
_MOST_AREA = 0.25  # of the picture
_FILLED = 0.35  # share of its box that moves
_SLENDER = 4.0
ON = True
FITS2 = 0.9
_PIECE = 0.25


def add_moving_areas(
    found: Detections, moving: Floats, motion: MotionMap, followed_xyxy_px: Floats, frame_wh_px: tuple[int, int]
) -> tuple[Detections, Floats]:
    """The boxes with those that are pieces of a moving area replaced by it, and with the areas nothing was found in.

    moving: the share of each found box that moves. followed_xyxy_px: where the objects followed are expected; an area
    that holds two of them is left to the boxes found.
    """
    blobs = motion.blobs_xyxy_px
    if not len(blobs) or not ON:
        return found, moving
    share = motion.share(blobs)
    wide, high = (blobs[:, 2:] - blobs[:, :2]).T
    least = _LEAST_SIDE * frame_wh_px[0]
    usable = (np.minimum(wide, high) >= least) & (wide * high < _MOST_AREA * frame_wh_px[0] * frame_wh_px[1])
    usable &= (wide < _SLENDER * high) & (high < _SLENDER * wide) & (share > _FILLED)
    blobs, share = blobs[usable], share[usable]
    boxes = found.boxes_xyxy_px
    area = geometry.areas(boxes)
    shared = geometry.intersections(blobs, boxes)
    inside = (shared > _INSIDE * area) | (geometry.iou(blobs, boxes) > _FITS_IOU)
    sure = found.scores >= _SURE_SCORE
    explained = ((shared > 0.3 * np.minimum.outer(geometry.areas(blobs), area)) & sure).any(axis=1)
    expected = geometry.intersections(blobs, followed_xyxy_px) > _EXPECTED * geometry.areas(followed_xyxy_px)
    followed = expected.sum(axis=1)
    fits = geometry.iou(blobs, followed_xyxy_px).max(axis=1, initial=0.0) > _FITS_IOU
    taken = ~explained & ((followed == 0) | ((followed == 1) & fits))
    piece = inside & ~sure & (area > _PIECE * geometry.areas(blobs)[:, None])
    taken &= piece.any(axis=1) & ~(piece & (geometry.iou(blobs, boxes) > FITS2)).any(axis=1)
    keep = ~(inside[taken] & ~sure).any(axis=0)
    rows = np.flatnonzero(taken)
    if not len(rows):
        return found, moving
    class_ids = np.full(len(rows), VEHICLE, np.int32)
    for k, row in enumerate(rows.tolist()):
        pieces = np.flatnonzero(inside[row] & ~sure)
        if len(pieces):
            class_ids[k] = found.class_ids[pieces[found.scores[pieces].argmax()]]
    return (
        Detections(
            np.concatenate([boxes[keep], blobs[rows]]),
            np.concatenate([found.scores[keep], np.full(len(rows), _AREA_SCORE, np.float32)]),
            np.concatenate([found.class_ids[keep], class_ids]),
        ),
        np.concatenate([moving[keep], share[rows]]),
    )
