"""Stage 2: what is in the picture.

Detections and motion in, Detections out: one box an object. Weighs what the network says by what moves, and mends what
networks do to a street: one car found as car and as truck, half a car found beside the whole, a rider found beside
the machine ridden.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agent.vision import geometry
from agent.vision.motion import MotionMap
from drivers.base import CLASSES, Detections

_PERSON = CLASSES.index("person")
_TWO_WHEELS = np.array([name in ("bicycle", "motorcycle") for name in CLASSES])
_GROUP = np.array([{"person": 2, "bicycle": 1, "motorcycle": 1}.get(name, 0) for name in CLASSES])
_LARGE = np.array([name in ("bus", "truck") for name in CLASSES])

# A box that does not move keeps this share of its score. Networks find cars in bushes and people in bollards, at
# scores that a blurred car on a motorway does not reach; but the bush stands still.
_STILL = 0.5
_MOVES = 0.3  # the share of a box that must move for its score to count in full
_FIT = 0.6  # how much of a box's rank rests on its fitting the moving area, which tells the whole from a part
_SAME_OBJECT_IOU = 0.5
_SAME_OBJECT_INSIDE = 0.8
_SURELY_SAME_IOU = 0.75  # whatever the classes say
_PART_SCORE = 0.9
_MEMBER_SIZE = 0.6  # of a box: what is smaller can be one of several in it
_MEMBER_SCORE = 0.8
_MEMBERS_SHARE = 0.2  # of the smaller: two that share less are two


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

    better, worse = np.nonzero(np.triu(geometry.intersections(boxes, boxes), 1))  # few pairs of many touch at all
    kept = [not group for group in _groups(boxes, scores, better, worse).tolist()]
    for first, second in _doubles(boxes, scores, class_ids, better, worse):
        # In the order of `second`, so all that are better have been judged: a box goes when one that stays is the same.
        if kept[first]:
            kept[second] = False
    keep = np.array(kept, np.bool_)
    _join_riders(boxes, class_ids, keep)
    return Detections(boxes[keep], scores[keep], class_ids[keep]), moving[rows][keep]


def _groups(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    better: npt.NDArray[np.intp],
    worse: npt.NDArray[np.intp],
) -> npt.NDArray[np.bool_]:
    """Which boxes are drawn around several objects that were found one by one as well: a platoon taken for one bus.

    Two that lie in it side by side and are about as sure as it is; the windows of a bus are not.
    """
    count = len(boxes)
    area = geometry.areas(boxes)
    a, b = np.concatenate([better, worse]), np.concatenate([worse, better])
    low, high = np.maximum(boxes[a, :2], boxes[b, :2]), np.minimum(boxes[a, 2:], boxes[b, 2:])
    shared = (high - low).prod(axis=1)
    holds = (shared > _SAME_OBJECT_INSIDE * area[b]) & (area[b] < _MEMBER_SIZE * area[a])
    holds &= scores[b] > _MEMBER_SCORE * scores[a]
    group = np.zeros(count, np.bool_)
    outer, inner = a[holds], b[holds]
    for row in np.unique(outer).tolist():
        members = inner[outer == row]
        if len(members) > 1:
            apart = geometry.intersections(boxes[members], boxes[members])
            least = np.minimum.outer(area[members], area[members])
            group[row] = bool((apart < _MEMBERS_SHARE * least).any())
    return group


def _doubles(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    class_ids: npt.NDArray[np.int32],
    better: npt.NDArray[np.intp],
    worse: npt.NDArray[np.intp],
) -> list[tuple[int, int]]:
    """Of the touching pairs, those that are two boxes of one object, ordered by the worse box."""
    a, b = boxes[better], boxes[worse]
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = sides[:, 0] * sides[:, 1]
    area_a, area_b = geometry.areas(a), geometry.areas(b)
    overlap = shared / np.maximum(area_a + area_b - shared, 1e-6)
    contained = shared > _SAME_OBJECT_INSIDE * np.minimum(area_a, area_b)
    kin = _GROUP[class_ids[better]] == _GROUP[class_ids[worse]]
    # A part of an object, found beside the whole, scores clearly lower; a car in front of a bus does not.
    lower = scores[worse] < _PART_SCORE * scores[better]
    small_before_large = _LARGE[class_ids[better]] != _LARGE[class_ids[worse]]
    same = kin & ((overlap > _SAME_OBJECT_IOU) | (contained & (lower | ~small_before_large)))
    same |= (overlap > _SURELY_SAME_IOU) | (contained & lower & (area_b < area_a))
    pairs = np.flatnonzero(same)
    pairs = pairs[np.argsort(worse[pairs], kind="stable")]
    return list(zip(better[pairs].tolist(), worse[pairs].tolist(), strict=True))


def _join_riders(boxes: npt.NDArray[np.float32], class_ids: npt.NDArray[np.int32], keep: npt.NDArray[np.bool_]) -> None:
    """Rider and machine are one object: the machine's box grows over the rider's, which goes."""
    machines, people = np.flatnonzero(keep & _TWO_WHEELS[class_ids]), np.flatnonzero(keep & (class_ids == _PERSON))
    if not len(machines) or not len(people):
        return
    rides = _rides(boxes[people], boxes[machines])
    for person, machine in zip(
        people[rides.any(axis=1)], machines[rides.argmax(axis=1)[rides.any(axis=1)]], strict=True
    ):
        boxes[machine, :2] = np.minimum(boxes[machine, :2], boxes[person, :2])
        boxes[machine, 2:] = np.maximum(boxes[machine, 2:], boxes[person, 2:])
        keep[person] = False


def _rides(people: npt.NDArray[np.float32], machines: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Who sits on what, bool (people, machines): mostly the same columns, feet between the machine's top and bottom."""
    across = np.minimum.outer(people[:, 2], machines[:, 2]) - np.maximum.outer(people[:, 0], machines[:, 0])
    narrower = np.minimum.outer(people[:, 2] - people[:, 0], machines[:, 2] - machines[:, 0])
    top, high = machines[:, 1], machines[:, 3] - machines[:, 1]
    head, feet = people[:, 1, None], people[:, 3, None]
    rides: npt.NDArray[np.bool_] = across > 0.5 * narrower
    rides &= (head < top + 0.3 * high) & (feet >= top + 0.2 * high) & (feet <= top + 1.3 * high)
    return rides
