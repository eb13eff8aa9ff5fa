"""Stage 2: what is in the picture.

Frame and motion in, Detections out: one box an object. Weighs what the network says by what moves, and mends what
networks do to a street: one car found as car and as truck, half a car found beside the whole, a rider found beside
the machine ridden.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agent.vision import geometry
from agent.vision.motion import MotionMap
from drivers.base import CLASSES, Detections, Detector, Frame

_PERSON = CLASSES.index("person")
_TWO_WHEELS = np.array([name in ("bicycle", "motorcycle") for name in CLASSES])
_VEHICLE = np.array([name in ("car", "bus", "truck") for name in CLASSES])
_LARGE = np.array([name in ("bus", "truck") for name in CLASSES])

# A box that does not move keeps this share of its score. Networks find cars in bushes and people in bollards, at
# scores that a blurred car on a motorway does not reach; but the bush stands still.
_STILL = 0.5
_MOVES = 0.3  # the share of a box that must move for its score to count in full
_FIT = 0.6  # how much of a box's rank rests on its fitting the moving area, which tells the whole from a part
_SAME_OBJECT_IOU = 0.4
_SAME_OBJECT_INSIDE = 0.8
_PART_SCORE = 0.9


def detect(
    detector: Detector, frame: Frame, motion: MotionMap, min_score: float
) -> tuple[Detections, npt.NDArray[np.float32]]:
    """One box an object, best first, scores weighed by motion; and the share of each box that moves, float32 (n,)."""
    return one_box_an_object(detector.detect(frame.image_bgr, min_score), motion, min_score)


def one_box_an_object(
    found: Detections, motion: MotionMap, min_score: float
) -> tuple[Detections, npt.NDArray[np.float32]]:
    """Weigh the scores by motion, drop second boxes of one object, join riders to their machines."""
    if not len(found):
        return found, np.empty(0, np.float32)
    moving = motion.share(found.boxes_xyxy_px)
    weighed = found.scores * (_STILL + (1.0 - _STILL) * np.minimum(moving / _MOVES, 1.0))
    rows = np.flatnonzero(weighed >= min_score)
    rank = weighed[rows]
    if len(motion.blobs_xyxy_px) and len(rows):
        fit = geometry.iou(found.boxes_xyxy_px[rows], motion.blobs_xyxy_px).max(axis=1)
        rank = rank * (1.0 - _FIT + _FIT * fit)
    rows = rows[np.argsort(-rank, kind="stable")]
    boxes, scores, class_ids = found.boxes_xyxy_px[rows], weighed[rows], found.class_ids[rows]

    shared = geometry.intersections(boxes, boxes)
    area = geometry.areas(boxes)
    overlap = shared / np.maximum(area[:, None] + area[None, :] - shared, 1e-6)
    contained = shared > _SAME_OBJECT_INSIDE * np.minimum(area[:, None], area[None, :])
    group = np.where(_VEHICLE[class_ids], 0, np.where(_TWO_WHEELS[class_ids], 1, 2))
    kin = group[:, None] == group[None, :]
    # A part of an object, found beside the whole, scores clearly lower; a car in front of a bus does not.
    lower = scores[:, None] < _PART_SCORE * scores[None, :]
    small_before_large = _LARGE[class_ids][:, None] != _LARGE[class_ids][None, :]
    same = kin & ((overlap > _SAME_OBJECT_IOU) | (contained & (lower | ~small_before_large)))
    same |= (overlap > 0.75) | (contained & lower & (area[:, None] < area[None, :]))
    # Best first: a box goes when a better one that itself stays is the same object.
    keep = np.ones(len(rows), np.bool_)
    for row in np.flatnonzero(np.tril(same, -1).any(axis=1)):
        keep[row] = not (same[row, :row] & keep[:row]).any()
    _join_riders(boxes, class_ids, keep)
    return Detections(boxes[keep], scores[keep], class_ids[keep]), moving[rows][keep]


def _join_riders(boxes: npt.NDArray[np.float32], class_ids: npt.NDArray[np.int32], keep: npt.NDArray[np.bool_]) -> None:
    """Rider and machine are one object: the machine's box grows over the rider's, which goes."""
    people = np.flatnonzero(keep & (class_ids == _PERSON))
    if not len(people):
        return
    for machine in np.flatnonzero(keep & _TWO_WHEELS[class_ids]):
        for person in people:
            if keep[person] and _rides(boxes[person], boxes[machine]):
                boxes[machine, :2] = np.minimum(boxes[machine, :2], boxes[person, :2])
                boxes[machine, 2:] = np.maximum(boxes[machine, 2:], boxes[person, 2:])
                keep[person] = False


def _rides(person: npt.NDArray[np.float32], machine: npt.NDArray[np.float32]) -> bool:
    """A rider's box stands over the machine's: mostly the same columns, and the feet between its top and bottom."""
    across = min(person[2], machine[2]) - max(person[0], machine[0])
    narrower = min(person[2] - person[0], machine[2] - machine[0])
    high = machine[3] - machine[1]
    above = person[1] < machine[1] + 0.3 * high
    feet = machine[1] + 0.2 * high <= person[3] <= machine[3] + 0.3 * high
    return bool(across > 0.5 * narrower and above and feet)
