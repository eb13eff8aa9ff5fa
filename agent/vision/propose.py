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
Bools = npt.NDArray[np.bool_]

_SURE_SCORE = 0.35  # boxes from here on are better than areas, which take in shadows and neighbours
_AREA_SCORE = 0.4
_PLAIN_SCORE = 0.4
_INSIDE = 0.6  # a box lies in an area with so much of itself
_EXPLAINED = 0.3  # an area with so much of a sure box, or of itself in one, is that object
_PIECE = 0.25  # of the area: a smaller box is a wheel, or somebody else
_WHOLE_IOU = 0.9  # a box that is the area already
_EXPECTED = 0.4  # an object is expected in an area that holds so much of it
_FITS_IOU = 0.5  # and is this area, unless a neighbour's area has merged with its own
_EDGE = 0.01  # of the picture's width
_MEMBER = 0.2  # of the area: a smaller one says nothing of it
_BIGGER = 2.0  # than the area: not itself, but what it passes behind
_APART = 0.2  # of the smaller: two that share less are two
_ALONE = 1.0  # no object is followed within so many of the area's own sizes: shadows and reflections keep company

_LEAST_SIDE = 0.02  # of the picture's width: below are leaves, noise and reflections
_MOST_AREA = 0.25  # of the picture
_FILLED = 0.35  # share of its box that moves
_FRESH = 0.1  # share of its box that was different a moment ago
_SLENDER = 4.0  # longer than so many times its width is a shadow, a barrier, a wire


def add_moving_areas(
    found: Detections, moving: Floats, motion: MotionMap, expected_xyxy_px: Floats, frame_wh_px: tuple[int, int]
) -> tuple[Detections, Floats]:
    """The boxes found, but unsure pieces of a moving area replaced by the area; and areas in which nothing was found.

    moving: the share of each found box that moves. expected_xyxy_px: where the objects followed are expected; an area
    that holds two of them, or one and more, is left to the boxes found; one that holds one, and no sure box, is that
    object. An area that no box speaks for has the class VEHICLE.
    """
    areas, share = _plausible(motion, frame_wh_px)
    if not len(areas):
        return found, moving
    boxes, size, box_size = found.boxes_xyxy_px, geometry.areas(areas), geometry.areas(found.boxes_xyxy_px)
    shared = geometry.intersections(areas, boxes)
    overlap = shared / np.maximum(size[:, None] + box_size - shared, 1e-6)
    sure = found.scores >= _SURE_SCORE
    unsure_inside = ((shared > _INSIDE * box_size) | (overlap > _FITS_IOU)) & ~sure
    pieces = unsure_inside & (box_size > _PIECE * size[:, None])
    explained = ((shared > _EXPLAINED * np.minimum.outer(size, box_size)) & sure).any(axis=1)
    explained |= (pieces & (overlap > _WHOLE_IOU)).any(axis=1)
    in_pieces = pieces.any(axis=1) & ~explained & _at_most_one(areas, expected_xyxy_px)
    # Where the network is plainly able to see what moves, what it does not see is a shadow, a reflection, a door.
    blind = not ((found.scores >= _PLAIN_SCORE) & (moving > _FILLED)).any()
    fresh = ~explained & (motion.fresh_share(areas) > _FRESH)
    # At the picture's edge there is such an area, too, where something has just left.
    claimed = fresh & ~in_pieces & _inside(areas, frame_wh_px) & _one_expected(areas, expected_xyxy_px)
    unknown = claimed.copy()
    if blind:
        unknown |= fresh & ~unsure_inside.any(axis=1) & _alone(areas, np.concatenate([expected_xyxy_px, boxes]))
    rows = np.flatnonzero(in_pieces | unknown)
    if not len(rows):
        return found, moving
    best = np.where(pieces[rows], found.scores, -1.0).argmax(axis=1) if len(found) else np.zeros(len(rows), np.intp)
    class_ids = np.where(in_pieces[rows], found.class_ids[best] if len(found) else VEHICLE, VEHICLE).astype(np.int32)
    keep = ~unsure_inside[in_pieces | claimed].any(axis=0)
    return (
        Detections(
            np.concatenate([boxes[keep], areas[rows]]),
            np.concatenate([found.scores[keep], np.full(len(rows), _AREA_SCORE, np.float32)]),
            np.concatenate([found.class_ids[keep], class_ids]),
        ),
        np.concatenate([moving[keep], share[rows]]),
    )


def _plausible(motion: MotionMap, frame_wh_px: tuple[int, int]) -> tuple[Floats, Floats]:
    """The moving areas of a size and shape that a road user can have, and the share of each that moves."""
    areas = motion.blobs_xyxy_px
    wide, high = (areas[:, 2:] - areas[:, :2]).T
    usable = np.minimum(wide, high) >= _LEAST_SIDE * frame_wh_px[0]
    usable &= wide * high < _MOST_AREA * frame_wh_px[0] * frame_wh_px[1]
    usable &= (wide < _SLENDER * high) & (high < _SLENDER * wide)
    areas = areas[usable]
    share = motion.share(areas)
    return areas[share > _FILLED], share[share > _FILLED]


def _at_most_one(areas: Floats, expected: Floats) -> Bools:
    """Which areas hold no expected object, or one that has about the area's size."""
    holds = geometry.intersections(areas, expected) > _EXPECTED * geometry.areas(expected)
    count = holds.sum(axis=1)
    fits = geometry.iou(areas, expected).max(axis=1, initial=0.0) > _FITS_IOU
    fitting: Bools = np.asarray((count == 0) | ((count == 1) & fits))
    return fitting


def _inside(areas: Floats, frame_wh_px: tuple[int, int]) -> Bools:
    """Which areas keep clear of the picture's edges."""
    margin = _EDGE * frame_wh_px[0]
    low, high = areas[:, :2] > margin, areas[:, 2:] < np.asarray(frame_wh_px, np.float32) - margin
    inside: Bools = np.asarray((low & high).all(axis=1))
    return inside


def _one_expected(areas: Floats, expected: Floats) -> Bools:
    """Which areas hold one expected object of about their size, or several that lie over each other, as the pieces do
    in which a network finds what it can hardly see."""
    size, own = geometry.areas(areas), geometry.areas(expected)
    holds = geometry.intersections(areas, expected) > _EXPECTED * own
    holds &= own > _MEMBER * size[:, None]
    apart = geometry.intersections(expected, expected) < _APART * np.minimum.outer(own, own)
    one: Bools = np.asarray(holds.any(axis=1))
    for row in np.flatnonzero(one).tolist():
        members = np.flatnonzero(holds[row])
        one[row] = own[members].max() < _BIGGER * size[row] and not apart[np.ix_(members, members)].any()
    return one


def _alone(areas: Floats, others: Floats) -> Bools:
    """Which areas keep a distance from all others, but for what they have followed from the beginning: themselves."""
    near = geometry.intersections(geometry.grown(areas, _ALONE), others) > 0.0
    itself = geometry.iou(areas, others) >= _FITS_IOU
    alone: Bools = np.asarray(~(near & ~itself).any(axis=1))
    return alone
