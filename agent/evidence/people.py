"""Who else is in a picture: the areas to make unrecognisable.

Everybody counts: each track of a person or a two-wheeler, confirmed or not, and whatever the detector takes for one
when it looks at the picture again with low demands, whole and in halves, since small people are missed in the whole.
Of large ones more is demanded: who is near is found easily, and a doubtful box over half the street hides all of it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agent.evidence.best import Shot
from drivers.base import CLASSES, Detector

Floats = npt.NDArray[np.float32]

_LEAST_SCORE = 0.18
_LEAST_MORE = 0.4  # of a box as long as the picture is high
_PERSON = CLASSES.index("person")
_ON_TWO_WHEELS = np.array([name in ("bicycle", "motorcycle") for name in CLASSES])
# A track may also be of the class after the detector's: it drives, and was not recognised. Somebody may sit on it.
_PEOPLE = np.append(_ON_TWO_WHEELS | (np.arange(len(CLASSES)) == _PERSON), True)
_MARGIN = 0.12  # of a box's own width and height: boxes cut off hair, hands and hats
_RIDER = 0.8  # of a machine's height: how far a rider who was not found sits above it
_RIDES = 0.3  # of a person inside a machine's box: its rider
_SAME_IOU = 0.45
_INSIDE = 0.7


def others(shot: Shot, subject: int | None, detector: Detector) -> Floats:
    """Boxes (n, 4) of all people but the subject, with a margin, in the shot's pixels; they may overlap.

    subject: a track's id; None, or a vehicle, spares nobody. Two people who cannot be told apart are both in it.
    """
    known = _PEOPLE[shot.class_ids] & (shot.ids != subject)
    tracked = shot.boxes_xyxy_px[known]
    found, class_ids = _look_again(shot.picture_bgr, detector)
    boxes = _with_riders(found, class_ids)
    row = np.flatnonzero(shot.ids == subject)
    if len(row) and _PEOPLE[shot.class_ids[row[0]]] and len(boxes):
        boxes = boxes[~_is_of(found, shot.boxes_xyxy_px[row[0]], tracked)]
    return _grown(np.concatenate([tracked, boxes]))


def _look_again(picture_bgr: npt.NDArray[np.uint8], detector: Detector) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Boxes and classes of everything like a person; one and the same may be in it several times."""
    wide = picture_bgr.shape[1]
    half = wide * 5 // 8  # so that they overlap by a quarter of the picture
    boxes, class_ids = [], []
    for left, right in ((0, wide), (0, half), (wide - half, wide)):
        found = detector.detect(np.ascontiguousarray(picture_bgr[:, left:right]), _LEAST_SCORE)
        sides = found.boxes_xyxy_px[:, 2:] - found.boxes_xyxy_px[:, :2]
        enough = _LEAST_SCORE + _LEAST_MORE * sides.max(axis=1, initial=0.0) / picture_bgr.shape[0]
        rows = np.flatnonzero(_PEOPLE[found.class_ids] & (found.scores >= enough))
        boxes.append(found.boxes_xyxy_px[rows] + np.array([left, 0, left, 0], np.float32))
        class_ids.append(found.class_ids[rows])
    return np.concatenate(boxes), np.concatenate(class_ids)


def _is_of(boxes: Floats, subject_xyxy: Floats, other_tracks: Floats) -> npt.NDArray[np.bool_]:
    """Which boxes show the subject, or a part of him or of his machine: no other track fits them better."""
    overlap, inside = _fit(boxes, subject_xyxy[None])
    own: npt.NDArray[np.bool_] = (overlap[:, 0] > _SAME_IOU) | (inside[:, 0] > _INSIDE)
    if len(other_tracks):
        own &= _fit(boxes, other_tracks)[0].max(axis=1) < overlap[:, 0]
    return own


def _fit(boxes: Floats, tracks: Floats) -> tuple[Floats, Floats]:
    """(boxes, tracks): intersection over union, and the share of each box inside each track's."""
    sides = np.minimum(boxes[:, None, 2:], tracks[None, :, 2:]) - np.maximum(boxes[:, None, :2], tracks[None, :, :2])
    shared = np.prod(np.maximum(sides, 0.0), axis=2)
    area, area_t = (np.maximum(np.prod(b[:, 2:] - b[:, :2], axis=1), 1.0) for b in (boxes, tracks))
    return shared / (area[:, None] + area_t[None] - shared), shared / area[:, None]


def _with_riders(boxes: Floats, class_ids: npt.NDArray[np.int32]) -> Floats:
    """The boxes; a machine's reaches up over a rider, unless one was found on it."""
    machines, people = np.flatnonzero(_ON_TWO_WHEELS[class_ids]), boxes[class_ids == _PERSON]
    reach = boxes.copy()
    if len(machines):
        ridden = _fit(people, boxes[machines])[1].max(axis=0, initial=0.0) > _RIDES
        alone = machines[~ridden]
        reach[alone, 1] -= _RIDER * (boxes[alone, 3] - boxes[alone, 1])
    return reach


def _grown(boxes: Floats) -> Floats:
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([boxes[:, :2] - _MARGIN * sides, boxes[:, 2:] + _MARGIN * sides], axis=1).astype(np.float32)
