"""Stage 3: give each object a number and follow it.

Detections in, Tracks out. Two-stage association in the manner of ByteTrack (Zhang et al. 2022, arXiv 2110.06864):
sure boxes first, then unsure ones for the tracks still without a box. Boxes are matched by the overlap of boxes
grown in proportion to how unsure the prediction is (the buffered IoU of C-BIoU, Yang et al. 2023, arXiv 2211.14317),
so that a fast vehicle at a low frame rate is caught and a settled one does not wander. All times are in seconds of
the frames' own clock; nothing here counts frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.vision import geometry
from drivers.base import CLASSES, Detections

Floats = npt.NDArray[np.float32]

_PERSON, _BICYCLE, _MOTORCYCLE = (CLASSES.index(name) for name in ("person", "bicycle", "motorcycle"))
_ON_FOOT_OR_TWO_WHEELS = np.array([name in ("person", "bicycle", "motorcycle") for name in CLASSES])

# Standard deviations in units of the object's own size (the square root of its area), per second where it moves.
_MEASURED = 0.05  # of a sure box
_START_SPEED = 4.0  # of an object just seen
_ACCELERATION = 2.0
_MIN_OVERLAP = 0.3
_MOVING_MEMORY_S = 0.5
_PART_INSIDE = 0.55
_TOGETHER_MEMORY_S = 0.5
_MAX_GROWTH = 0.8
_BLOB_ONLY_S = 0.6  # how long a track may go on without a box of the network
_BLOB_OVERLAP = 0.3
_BLOB_MEASURED = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The objects in view after one frame; row i of each array is one object.

    ids: int64 (n,), from 1, never reused.
    boxes_xyxy_px: float32 (n, 4), the last box measured, in the full frame.
    class_ids: int32 (n,), index into CLASSES, voted over the track's life.
    seen: bool (n,), measured in this very frame; otherwise the box is where it was last seen.
    confirmed: bool (n,), enough evidence that this is a real object.
    moving: float32 (n,), 0..1, how much of its box has been moving lately.
    ended: ids that will not come back; whoever keeps state by id forgets it now.
    """

    ids: npt.NDArray[np.int64]
    boxes_xyxy_px: Floats
    class_ids: npt.NDArray[np.int32]
    seen: npt.NDArray[np.bool_]
    confirmed: npt.NDArray[np.bool_]
    moving: Floats
    ended: tuple[int, ...]
    frame_index: int
    mono_s: float

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(slots=True, eq=False)
class _State:
    """Everything the tracker knows, one row an object; rows are added and dropped together."""

    ids: npt.NDArray[np.int64]
    mean: Floats  # (n, 4): centre x, centre y, width, height
    speed: Floats  # (n, 4): their change per second
    var_mean: Floats  # (n, 2): variance of centre and of size, in own sizes squared
    var_cross: Floats
    var_speed: Floats
    box: Floats  # (n, 4): last measured, left top right bottom
    born_at: Floats  # (n, 2): centre where it was first seen
    born_s: npt.NDArray[np.float64]
    seen_s: npt.NDArray[np.float64]
    votes: Floats  # (n, classes)
    evidence: Floats  # (n,): grows with sure boxes and with motion
    confirmed: npt.NDArray[np.bool_]
    score: Floats  # (n,): of its boxes, averaged over about half a second
    moving: Floats  # (n,): share of its box that moves, averaged over about half a second

    @staticmethod
    def empty() -> _State:
        none4 = np.empty((0, 4), np.float32)
        none2 = np.empty((0, 2), np.float32)
        return _State(
            ids=np.empty(0, np.int64),
            mean=none4,
            speed=none4,
            var_mean=none2,
            var_cross=none2,
            var_speed=none2,
            box=none4,
            born_at=none2,
            born_s=np.empty(0),
            seen_s=np.empty(0),
            votes=np.empty((0, len(CLASSES)), np.float32),
            evidence=np.empty(0, np.float32),
            confirmed=np.empty(0, np.bool_),
            score=np.empty(0, np.float32),
            moving=np.empty(0, np.float32),
        )

    def keep(self, rows: npt.NDArray[np.bool_]) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name)[rows])

    def extend(self, other: _State) -> None:
        for name in self.__slots__:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))


class Tracker:
    """Follows the objects of one camera."""

    def __init__(
        self,
        *,
        sure_score: float = 0.4,
        unsure_score: float = 0.15,
        new_moving_score: float = 0.25,
        new_still_score: float = 0.5,
        new_covered_score: float = 0.6,
        moving_share: float = 0.15,
        lost_s: float = 1.5,
        confirm_evidence: float = 1.0,
    ) -> None:
        self._sure_score = sure_score
        self._unsure_score = unsure_score
        self._new_moving_score = new_moving_score
        self._new_still_score = new_still_score
        self._new_covered_score = new_covered_score
        self._moving_share = moving_share
        self._lost_s = lost_s
        self._confirm_evidence = confirm_evidence
        self._state = _State.empty()
        self._next_id = 1
        self._last_s: float | None = None
        self._elapsed_s = 0.0
        self._together = np.zeros((0, 0), np.float32)  # (tracks, tracks): how much of i has lain in j lately

    @property
    def min_score(self) -> float:
        """Boxes below this are of no use to the tracker."""
        return min(self._unsure_score, self._new_moving_score)

    def hold(self, frame_index: int, mono_s: float) -> Tracks:
        """A frame in which nothing moved and nobody looked: every object is where it was."""
        state = self._state
        if self._last_s is not None:
            state.seen_s += max(mono_s - self._last_s, 0.0)
            state.speed[:] = 0.0
        self._last_s = mono_s
        return self._tracks(np.zeros(len(state.ids), np.bool_), (), frame_index, mono_s)

    def update(
        self,
        found: Detections,
        moving: Floats,
        blobs_xyxy_px: Floats,
        frame_wh_px: tuple[int, int],
        frame_index: int,
        mono_s: float,
    ) -> Tracks:
        """Match what was found in one frame to the objects known.

        moving: float32 (n,), the share of each found box that moves.
        blobs_xyxy_px: float32 (m, 4), boxes around moving areas: they carry a moving track over frames in which the
        network misses its object, but start none.
        """
        state = self._state
        self._predict(mono_s)
        boxes, scores = found.boxes_xyxy_px, found.scores
        count, known = len(found), len(state.ids)
        free_box = np.ones(count, np.bool_)
        free_track = np.ones(known, np.bool_)
        matched = np.full(known, -1, np.intp)

        if known and count:
            affinity = self._affinity(boxes, found.class_ids)
            sure = scores >= self._sure_score
            unsure = (scores >= self._unsure_score) & ~sure
            for rows, columns in (
                (state.confirmed, sure),
                (state.confirmed, unsure),
                (~state.confirmed, sure | unsure),
            ):
                for row, column in _greedy(affinity, rows & free_track, columns & free_box, _MIN_OVERLAP):
                    free_track[row] = free_box[column] = False
                    matched[row] = column

        rows = np.flatnonzero(matched >= 0)
        self._correct(rows, found, matched[rows], moving, mono_s)
        seen = matched >= 0
        seen |= self._follow_blobs(blobs_xyxy_px, boxes[~free_box], seen, mono_s)

        gone = mono_s - state.seen_s > np.where(state.confirmed, self._lost_s, self._lost_s / 3)
        centre = state.mean[:, :2]
        gone |= ~seen & ((centre < 0) | (centre > np.asarray(frame_wh_px, np.float32))).any(axis=1)
        gone |= self._doubles(seen)
        ended = tuple(int(i) for i in state.ids[gone])
        if gone.any():
            state.keep(~gone)
            self._together = self._together[~gone][:, ~gone]
            seen = seen[~gone]

        wanted = np.where(moving > self._moving_share, self._new_moving_score, self._new_still_score)
        if seen.any() and count:
            # A window, a wheel, a driver: what lies within an object already followed must be plain to be another.
            shared = geometry.intersections(boxes, state.box[seen])
            covered = (shared / np.maximum(geometry.areas(boxes), 1e-6)[:, None]).max(axis=1) > 0.6
            wanted = np.where(covered, np.maximum(wanted, self._new_covered_score), wanted)
        born = np.flatnonzero(free_box & (scores >= wanted))
        if len(born):
            self._add(found, born, moving, mono_s)
            seen = np.concatenate([seen, np.ones(len(born), np.bool_)])
        return self._tracks(seen, ended, frame_index, mono_s)

    def _predict(self, mono_s: float) -> None:
        """Move every object on by its speed; the variances are in own sizes, so they are the same for near and far."""
        elapsed_s = 0.0 if self._last_s is None else max(mono_s - self._last_s, 0.0)
        self._last_s = mono_s
        self._elapsed_s = elapsed_s
        state = self._state
        if not len(state.ids) or elapsed_s == 0.0:
            return
        state.mean = state.mean + state.speed * np.float32(elapsed_s)
        state.mean[:, 2:] = np.maximum(state.mean[:, 2:], 2.0)
        noise = _ACCELERATION**2
        state.var_mean = (
            state.var_mean + 2 * elapsed_s * state.var_cross + elapsed_s**2 * state.var_speed + noise * elapsed_s**4 / 4
        ).astype(np.float32)
        state.var_cross = (state.var_cross + elapsed_s * state.var_speed + noise * elapsed_s**3 / 2).astype(np.float32)
        state.var_speed = (state.var_speed + noise * elapsed_s**2).astype(np.float32)

    def _affinity(self, boxes: Floats, class_ids: npt.NDArray[np.int32]) -> Floats:
        """(tracks, boxes): overlap of track and box, both grown by what the prediction is unsure of."""
        state = self._state
        predicted = np.concatenate(
            [state.mean[:, :2] - state.mean[:, 2:] / 2, state.mean[:, :2] + state.mean[:, 2:] / 2], 1
        )
        growth = np.clip(np.sqrt(state.var_mean[:, 0]) - _MEASURED, 0.0, _MAX_GROWTH)[:, None]
        margin = (predicted[:, 2:] - predicted[:, :2]) * growth
        low_t, high_t = predicted[:, :2] - margin, predicted[:, 2:] + margin
        box_margin = (boxes[:, 2:] - boxes[:, :2])[None] * growth[:, :, None]
        low_b, high_b = boxes[None, :, :2] - box_margin, boxes[None, :, 2:] + box_margin
        shared = np.maximum(np.minimum(high_t[:, None], high_b) - np.maximum(low_t[:, None], low_b), 0.0).prod(axis=2)
        union = (high_t - low_t).prod(axis=1)[:, None] + (high_b - low_b).prod(axis=2) - shared
        overlap = shared / np.maximum(union, 1e-6)
        kin = _ON_FOOT_OR_TWO_WHEELS[state.votes.argmax(axis=1)][:, None] == _ON_FOOT_OR_TWO_WHEELS[class_ids][None]
        affinity: Floats = np.where(kin, overlap, overlap * 0.6).astype(np.float32)
        return affinity

    def _correct(
        self,
        rows: npt.NDArray[np.intp],
        found: Detections,
        columns: npt.NDArray[np.intp],
        moving: Floats,
        mono_s: float,
    ) -> None:
        """Kalman update of the matched rows; centre and size share the equations, each with its own variance."""
        if not len(rows):
            return
        state = self._state
        box, score = found.boxes_xyxy_px[columns], found.scores[columns]
        measured = _centre_and_size(box)
        noise = (_MEASURED * (2.0 - score)) ** 2
        innovation = measured - state.mean[rows]
        spread = state.var_mean[rows] + noise[:, None]
        gain_mean = state.var_mean[rows] / spread
        gain_speed = state.var_cross[rows] / spread
        state.mean[rows] += np.repeat(gain_mean, 2, axis=1) * innovation
        state.speed[rows] += np.repeat(gain_speed, 2, axis=1) * innovation
        state.var_speed[rows] -= gain_speed * state.var_cross[rows]
        state.var_mean[rows] *= 1 - gain_mean
        state.var_cross[rows] *= 1 - gain_mean
        state.box[rows] = box
        since_s = np.minimum(mono_s - state.seen_s[rows], 0.2)
        state.seen_s[rows] = mono_s
        recent = np.exp(-since_s / _MOVING_MEMORY_S).astype(np.float32)
        state.moving[rows] = recent * state.moving[rows] + (1 - recent) * moving[columns]
        state.score[rows] = recent * state.score[rows] + (1 - recent) * score
        state.votes[rows, found.class_ids[columns]] += score
        state.evidence[rows] += (score * since_s * np.where(moving[columns] > 0.1, 10, 4)).astype(np.float32)
        state.confirmed[rows] |= state.evidence[rows] >= self._confirm_evidence

    def _follow_blobs(
        self, blobs: Floats, taken: Floats, seen: npt.NDArray[np.bool_], mono_s: float
    ) -> npt.NDArray[np.bool_]:
        """Move unmatched moving tracks along with the moving area they predict; which ones, bool (tracks,)."""
        state = self._state
        followed = np.zeros(len(state.ids), np.bool_)
        wanted = np.flatnonzero(~seen & (state.moving > self._moving_share) & (mono_s - state.seen_s < _BLOB_ONLY_S))
        if not len(wanted) or not len(blobs):
            return followed
        if len(taken):
            free = geometry.intersections(blobs, taken).max(axis=1) < 0.3 * geometry.areas(blobs)
            blobs = blobs[free]
        if not len(blobs):
            return followed
        mean = state.mean[wanted]
        predicted = np.concatenate([mean[:, :2] - mean[:, 2:] / 2, mean[:, :2] + mean[:, 2:] / 2], axis=1)
        overlap = geometry.iou(predicted, blobs)
        everyone = np.ones(len(wanted), np.bool_)
        for row, column in _greedy(overlap, everyone, np.ones(len(blobs), np.bool_), _BLOB_OVERLAP):
            track = wanted[row]
            innovation = _centre_and_size(blobs[column : column + 1])[0, :2] - state.mean[track, :2]
            spread = state.var_mean[track, 0] + _BLOB_MEASURED**2
            gain_mean, gain_speed = state.var_mean[track, 0] / spread, state.var_cross[track, 0] / spread
            state.mean[track, :2] += gain_mean * innovation
            state.speed[track, :2] += gain_speed * innovation
            state.var_speed[track, 0] -= gain_speed * state.var_cross[track, 0]
            state.var_mean[track, 0] *= 1 - gain_mean
            state.var_cross[track, 0] *= 1 - gain_mean
            half = state.mean[track, 2:] / 2
            state.box[track] = np.concatenate([state.mean[track, :2] - half, state.mean[track, :2] + half])
            followed[track] = True
        return followed

    def _add(self, found: Detections, born: npt.NDArray[np.intp], moving: Floats, mono_s: float) -> None:
        count = len(born)
        box = found.boxes_xyxy_px[born]
        measured = _centre_and_size(box)
        votes = np.zeros((count, len(CLASSES)), np.float32)
        votes[np.arange(count), found.class_ids[born]] = found.scores[born]
        self._state.extend(
            _State(
                ids=np.arange(self._next_id, self._next_id + count, dtype=np.int64),
                mean=measured,
                speed=np.zeros((count, 4), np.float32),
                var_mean=np.full((count, 2), _MEASURED**2, np.float32),
                var_cross=np.zeros((count, 2), np.float32),
                var_speed=np.tile(np.array([_START_SPEED**2, 1.0], np.float32), (count, 1)),
                box=box,
                born_at=measured[:, :2].copy(),
                born_s=np.full(count, mono_s),
                seen_s=np.full(count, mono_s),
                votes=votes,
                evidence=np.zeros(count, np.float32),
                confirmed=np.zeros(count, np.bool_),
                score=found.scores[born].copy(),
                moving=moving[born].copy(),
            )
        )
        self._next_id += count
        old = len(self._together)
        together = np.zeros((old + count, old + count), np.float32)
        together[:old, :old] = self._together
        area = geometry.areas(self._state.box)
        inside = geometry.intersections(self._state.box, self._state.box) / np.maximum(area, 1e-6)[:, None]
        inside *= area[:, None] <= area[None, :]
        np.fill_diagonal(inside, 0.0)
        together[old:] = inside[old:]
        together[:, old:] = inside[:, old:]
        self._together = together

    def _doubles(self, seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which tracks lie on an older one: the same object found twice."""
        state = self._state
        double = np.zeros(len(state.ids), np.bool_)
        if len(state.ids) > 1:
            overlap = geometry.iou(state.box, state.box)
            older = state.born_s[:, None] < state.born_s[None, :]
            older |= (state.born_s[:, None] == state.born_s[None, :]) & (state.ids[:, None] < state.ids[None, :])
            double = ((overlap > 0.7) & older & seen[:, None]).any(axis=0)
        return double

    def _parts(self, seen: npt.NDArray[np.bool_], elapsed_s: float) -> npt.NDArray[np.bool_]:
        """Which tracks follow a part of another's object: they have lain in a larger, older or surer one for a while."""
        state = self._state
        count = len(state.ids)
        if count < 2:
            return np.zeros(count, np.bool_)
        area = geometry.areas(state.box)
        inside = geometry.intersections(state.box, state.box) / np.maximum(area, 1e-6)[:, None]
        inside *= area[:, None] <= area[None, :]
        np.fill_diagonal(inside, 0.0)
        both = seen[:, None] & seen[None, :]
        rate = np.float32(1.0 - np.exp(-elapsed_s / _TOGETHER_MEMORY_S))
        self._together += np.where(both, rate * (inside - self._together), 0.0)
        sure = state.score >= self._new_covered_score
        part: npt.NDArray[np.bool_] = (
            (self._together > _PART_INSIDE) & ~(sure[:, None] & (state.score[:, None] > state.score[None]))
        ).any(axis=1)
        return part

    def _tracks(self, seen: npt.NDArray[np.bool_], ended: tuple[int, ...], frame_index: int, mono_s: float) -> Tracks:
        state = self._state
        parts = self._parts(seen, self._elapsed_s)
        return Tracks(
            ids=state.ids.copy(),
            boxes_xyxy_px=state.box.copy(),
            class_ids=_voted(state.votes),
            seen=seen,
            confirmed=state.confirmed & ~parts,
            moving=state.moving.copy(),
            ended=ended,
            frame_index=frame_index,
            mono_s=mono_s,
        )


def _greedy(
    affinity: Floats, rows: npt.NDArray[np.bool_], columns: npt.NDArray[np.bool_], least: float
) -> list[tuple[int, int]]:
    """Pairs by falling affinity, each row and column once. Equal pairs go by row and column: same input, same output."""
    candidates = (affinity >= least) & rows[:, None] & columns[None, :]
    row, column = np.nonzero(candidates)
    order = np.argsort(-affinity[row, column], kind="stable")
    pairs: list[tuple[int, int]] = []
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for i in order:
        r, c = int(row[i]), int(column[i])
        if r not in used_rows and c not in used_columns:
            used_rows.add(r)
            used_columns.add(c)
            pairs.append((r, c))
    return pairs


def _centre_and_size(boxes_xyxy: Floats) -> Floats:
    return np.concatenate([(boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2, boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


def _voted(votes: Floats) -> npt.NDArray[np.int32]:
    """The class of each track. A rider is seen as a person more often than the machine below is seen at all, so a
    third of the votes for a two-wheeler outweighs the votes for a person."""
    weight = np.ones(len(CLASSES), np.float32)
    weight[[_BICYCLE, _MOTORCYCLE]] = 3.0
    on_two_wheels = votes[:, _PERSON] > 0
    weighted = np.where(on_two_wheels[:, None], votes * weight, votes)
    voted: npt.NDArray[np.int32] = weighted.argmax(axis=1).astype(np.int32)
    return voted
