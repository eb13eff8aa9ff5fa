"""Stage 3: give each object a number and follow it.

Detections in, Tracks out. Two-stage association in the manner of ByteTrack (Zhang et al. 2022, arXiv 2110.06864): sure
boxes first, then unsure ones for the tracks still without a box. Boxes are matched by the overlap of boxes grown in
proportion to how unsure the prediction is (the buffered IoU of C-BIoU, Yang et al. 2023, arXiv 2211.14317), so that a
fast vehicle at a low frame rate is caught and a settled one does not wander. All times are in seconds of the frames'
own clock; nothing here counts frames.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from agent.vision import geometry
from agent.vision.flow import Flow
from agent.vision.motion import MotionMap
from agent.vision.propose import VEHICLE
from drivers.base import CLASSES, Detections

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

# Scores are those of `agent.vision.detect`, weighed by motion: a still box has half of what the network said.
MIN_SCORE = 0.15  # boxes below this are of no use here
_SURE_SCORE = 0.4
_NEW_SCORE = 0.25  # an object starts with at least this
_NEW_COVERED_SCORE = 0.5  # and with this where it shares its place with an object already followed

_CONFIRM_EVIDENCE = 0.8
_FOUND = 0.4
_STANDS = 0.3  # own sizes per second: slower is standing, as well as boxes can tell
_STIRS = 0.03  # share of its box that is not as it was a moment ago
_STANDING_S = 10.0  # what stands and is not found for so long is given up
_LOST_S = 0.7  # a confirmed object is remembered for so long without being seen, a doubtful one a third of it
_MIN_OVERLAP = 0.2
_SAME_PLACE = 0.6
_DOUBLE_IOU = 0.7
_PIECE_INSIDE = 0.6  # a doubtful object that is expected with so much of itself in another one's box was a piece of it
_UNSURE_SCORE = 0.4  # more, and it is believed to be an object that another one hides

# Standard deviations in units of the object's own size, so that they are the same for near and far; per second where
# something moves.
_MEASURED = 0.08
_START_SPEED = 8.0  # a car at 100 km/h goes six of its lengths in a second, a motorcycle thirteen
_START_GROWTH = 1.0
_ACCELERATION = 3.0  # less of it is a vehicle's own than what comes towards the camera, and boxes that breathe
_MAX_GROWTH = 0.4

# A box that has lost a piece of its object: one of its sides is drawn in by more than this share of the object, and the
# side across from it is where it was expected, but for that share. Half of what is missing is believed.
_DRAWN_IN, _AS_EXPECTED = 0.25, 0.12
_BELIEVED = 0.5
_SURELY_WHOLE = 0.4  # lately scored so: what the network can hardly see has pieces only
_EDGE = 0.01  # of the picture's width: what is expected nearer to its edge is leaving

_FASTEST = 33.0  # own sizes per second between an object's first two sightings
_LIKE_SIZE = 0.4  # natural logarithm of the ratio of two sizes

_RUNNER = 2.5  # own heights per second: a person who is faster sits on something
_MOVES = 0.2  # share of its box: an object that moves
# Erratic: at such an angle to the usual traffic (its cosine), and found in fewer of the looks than this share, or by
# so many of its own sizes beside where it was expected.
_ACROSS = 0.3
_RARELY, _LEAPS = 0.75, 0.4
_HARDLY_SEEN = 0.3  # lately scored less: believed only where it goes with a traffic that is known
_LEAP_WEIGHT = 0.25  # of the latest sighting in the mean

_LATELY_S = 0.5  # time constant of what is averaged
_LEARN_AFTER_S = 0.3  # a speed is worth learning from when it has been seen for so long

# What has gone straight on for so many of its own sizes, for so long, is real: leaves and light do not. Of what was
# never recognised more is asked.
_TRAVELLED, _TRAVELLED_UNKNOWN = 1.5, 4.0
_STRAIGHT, _STRAIGHT_UNKNOWN = 0.7, 0.9  # of its path
_TRAVELLED_S, _TRAVELLED_UNKNOWN_S = 0.25, 0.8

_PERSON, _BICYCLE, _MOTORCYCLE = (CLASSES.index(name) for name in ("person", "bicycle", "motorcycle"))
_SMALL_ROAD_USER = np.array([name in ("person", "bicycle", "motorcycle") for name in (*CLASSES, "vehicle")])
# Cars outnumber buses and lorries by far, so an even vote, as of a car seen from above, is for the car; and whatever
# was recognised at all outweighs what was not.
_PRIOR = np.array([{"bus": 0.5, "truck": 0.5}.get(name, 1.0) for name in CLASSES] + [1e-3], np.float32)
_RIDDEN = np.ones(len(CLASSES) + 1, np.float32)
_RIDDEN[[_BICYCLE, _MOTORCYCLE]] = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The objects in view after one frame; row i of each array is one object.

    ids: int64 (n,), from 1, never reused.
    boxes_xyxy_px: float32 (n, 4), where it was last seen, in the full frame.
    class_ids: int32 (n,), index into CLASSES, voted over the track's life.
    scores: float32 (n,), 0..1, of its boxes lately, weighed by motion.
    moving: float32 (n,), 0..1, how much of its box has been moving lately.
    speeds_px_s: float32 (n, 2), of its centre, smoothed; x right, y down.
    seen: bool (n,), seen in this very frame.
    confirmed: bool (n,), enough evidence that this is a real object.
    erratic: bool (n,), it goes against the usual traffic of its place and is followed badly: rarely seen or by leaps,
        and unsure. Boxes that hop from one vehicle to the next behind look so; who drives the wrong way does not. Where
        no traffic is known yet, hardly seen at all is enough.
    ended: ids that will not come back; whoever keeps state by id forgets it now.
    """

    ids: npt.NDArray[np.int64]
    boxes_xyxy_px: Floats
    class_ids: npt.NDArray[np.int32]
    scores: Floats
    moving: Floats
    speeds_px_s: Floats
    seen: Bools
    confirmed: Bools
    erratic: Bools
    ended: tuple[int, ...]
    frame_index: int
    mono_s: float

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(slots=True, eq=False)
class _State:
    """Everything known of the objects, one row each; rows come and go together."""

    ids: npt.NDArray[np.int64]
    mean: Floats  # (n, 4): centre x, centre y, width, height, pixels
    speed: Floats  # (n, 4): their change per second
    var_mean: Floats  # (n, 2): variances of centre and of size, in own sizes
    var_cross: Floats
    var_speed: Floats
    box: Floats  # (n, 4): last seen
    seen_s: npt.NDArray[np.float64]  # when any evidence placed it last
    boxed_s: npt.NDArray[np.float64]  # when the network found it last
    votes: Floats  # (n, classes)
    evidence: Floats
    score: Floats
    moving: Floats
    confirmed: Bools
    born: Floats  # (n, 2): centre at its first sighting
    born_s: npt.NDArray[np.float64]
    found: Floats  # in how many looks it was found, of
    looks: Floats  # so many since its first
    path: Floats  # how far it has gone, bends and all, pixels
    leap: Floats  # by how many of its own sizes it was lately off its expected place

    @staticmethod
    def of(found: Detections, rows: npt.NDArray[np.intp], moving: Floats, first_id: int, mono_s: float) -> _State:
        count = len(rows)
        votes = np.zeros((count, len(CLASSES) + 1), np.float32)
        votes[np.arange(count), found.class_ids[rows]] = found.scores[rows]
        return _State(
            ids=np.arange(first_id, first_id + count, dtype=np.int64),
            mean=_centre_and_size(found.boxes_xyxy_px[rows]),
            speed=np.zeros((count, 4), np.float32),
            var_mean=np.full((count, 2), _MEASURED**2, np.float32),
            var_cross=np.zeros((count, 2), np.float32),
            var_speed=np.tile(np.array([_START_SPEED**2, _START_GROWTH**2], np.float32), (count, 1)),
            box=found.boxes_xyxy_px[rows],
            seen_s=np.full(count, mono_s),
            boxed_s=np.full(count, mono_s),
            votes=votes,
            evidence=np.zeros(count, np.float32),
            score=found.scores[rows],
            moving=moving[rows],
            confirmed=np.zeros(count, np.bool_),
            born=_centre_and_size(found.boxes_xyxy_px[rows])[:, :2],
            born_s=np.full(count, mono_s),
            found=np.ones(count, np.float32),
            looks=np.ones(count, np.float32),
            path=np.zeros(count, np.float32),
            leap=np.zeros(count, np.float32),
        )

    def keep(self, rows: Bools) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[rows])

    def extend(self, other: _State) -> None:
        for field in fields(self):
            setattr(self, field.name, np.concatenate([getattr(self, field.name), getattr(other, field.name)]))


class Tracker:
    """Follows the objects of one camera. Bounded: an object not seen for _LOST_S is forgotten."""

    def __init__(self, *, first_id: int = 1) -> None:
        self.next_id = first_id
        self._state = _State.of(Detections.none(), np.empty(0, np.intp), np.empty(0, np.float32), 1, 0.0)
        self._last_s: float | None = None
        self._flow = Flow()
        self._frame_wh_px = (1, 1)
        self._looked_s = 0.0  # the last look; hold() moves it along

    def hold(self, frame_index: int, mono_s: float) -> Tracks:
        """A frame in which nothing moved and nobody looked: what was there at the last look is there still."""
        state = self._state
        if self._last_s is not None:
            elapsed_s = max(mono_s - self._last_s, 0.0)
            there = state.seen_s >= self._looked_s  # what had been lost by then goes on ageing
            state.seen_s[there] += elapsed_s
            state.boxed_s[there] += elapsed_s
            state.born_s[there] += elapsed_s
            self._looked_s += elapsed_s
            state.speed[:] = 0.0
        self._last_s = mono_s
        ended = self._drop(self._aged(mono_s))
        return self._tracks(np.zeros(len(state.ids), np.bool_), ended, frame_index, mono_s)

    def pass_over(self, frame_index: int, mono_s: float) -> Tracks:
        """A frame that nobody had time to look at. What moved goes on meanwhile; the next look will find where to."""
        return self._tracks(np.zeros(len(self._state.ids), np.bool_), (), frame_index, mono_s)

    @property
    def is_following(self) -> bool:
        """Whether there is an object in view that is surely one and moves."""
        return bool((self._state.confirmed & (self._state.moving > _MOVES)).any())

    def update(
        self,
        found: Detections,
        moving: Floats,
        frame_wh_px: tuple[int, int],
        frame_index: int,
        mono_s: float,
        motion: MotionMap | None = None,
    ) -> Tracks:
        """Match what was found in one frame to the objects known.

        moving: float32 (n,), the share of each found box that moves. Class ids may be VEHICLE, too.
        motion: of the frame; None: it is not known what moves, so nothing is known to stand still, either.
        """
        state = self._state
        self._frame_wh_px = frame_wh_px
        self._looked_s = mono_s
        elapsed_s = self._predict(mono_s)
        matched = self._match(found, elapsed_s)
        rows = np.flatnonzero(matched >= 0)
        self._correct(rows, found, matched[rows], moving, mono_s)
        seen = matched >= 0
        state.looks += 1
        state.found += seen
        state.confirmed |= (state.evidence >= _CONFIRM_EVIDENCE) & seen & (state.found >= _FOUND * state.looks)
        if motion is not None:
            self._keep_standing(motion, seen, elapsed_s, mono_s)

        gone = self._aged(mono_s)
        centre = state.mean[:, :2]
        gone |= ~seen & ((centre < 0) | (centre > np.asarray(frame_wh_px, np.float32))).any(axis=1)
        gone |= self._doubles(seen)
        gone |= self._pieces(seen)
        ended = self._drop(gone)
        seen = seen[~gone]

        free = np.ones(len(found), np.bool_)
        free[matched[rows]] = False
        born = self._births(found, free, seen)
        if len(born):
            new = _State.of(found, born, moving, self.next_id, mono_s)
            moves = new.moving > _MOVES
            new.speed[moves, :2] = self._flow.guess(new.mean[moves, :2], frame_wh_px)
            state.extend(new)
            self.next_id += len(born)
            seen = np.concatenate([seen, np.ones(len(born), np.bool_)])
        self._confirm_travellers(seen, mono_s)
        self._learn_flow(seen, frame_wh_px, mono_s)
        return self._tracks(seen, ended, frame_index, mono_s)

    def expected(self, mono_s: float) -> Floats:
        """Where the objects seen more than once will be at mono_s, float32 (n, 4)."""
        state = self._state
        ahead = np.float32(0.0 if self._last_s is None else max(mono_s - self._last_s, 0.0))
        return _corners((state.mean + state.speed * ahead)[state.confirmed | (state.evidence > 0) | (state.path > 0)])

    def _keep_standing(self, motion: MotionMap, seen: Bools, elapsed_s: float, mono_s: float) -> None:
        """What stood, and where nothing has stirred since, stands there still, though the network does not find it: a
        person at a counter, the third car of a queue. It does not age, but for a bounded time."""
        state = self._state
        size = np.sqrt(state.mean[:, 2] * state.mean[:, 3])
        stood = np.hypot(state.speed[:, 0], state.speed[:, 1]) < _STANDS * size
        came = np.hypot(*(state.mean[:, :2] - state.born).T) > size  # a bush that is taken for a car has never come
        rows = np.flatnonzero(~seen & state.confirmed & stood & came & (mono_s - state.boxed_s < _STANDING_S))
        if len(rows):
            rows = rows[motion.fresh_share(state.box[rows]) < _STIRS]
            state.seen_s[rows] += elapsed_s
            state.mean[rows] = _centre_and_size(state.box[rows])
            state.speed[rows] = 0.0

    def _learn_flow(self, seen: Bools, frame_wh_px: tuple[int, int], mono_s: float) -> None:
        state = self._state
        known = seen & state.confirmed & (state.moving > _MOVES) & (mono_s - state.born_s > _LEARN_AFTER_S)
        rows = np.flatnonzero(known)
        self._flow.learn(state.mean[rows, :2], state.speed[rows, :2], frame_wh_px, mono_s)

    def _confirm_travellers(self, seen: Bools, mono_s: float) -> None:
        state = self._state
        gone = np.hypot(*(state.mean[:, :2] - state.born).T)
        size = np.sqrt(state.mean[:, 2] * state.mean[:, 3])
        known = state.votes[:, :VEHICLE].any(axis=1)
        far = gone > np.where(known, _TRAVELLED, _TRAVELLED_UNKNOWN) * size
        straight = gone > np.where(known, _STRAIGHT, _STRAIGHT_UNKNOWN) * state.path
        long = mono_s - state.born_s > np.where(known, _TRAVELLED_S, _TRAVELLED_UNKNOWN_S)
        often = state.found >= _FOUND * state.looks
        state.confirmed |= seen & far & straight & long & often

    def _aged(self, mono_s: float) -> Bools:
        state = self._state
        return mono_s - state.seen_s > np.where(state.confirmed, _LOST_S, _LOST_S / 3)

    def _drop(self, gone: Bools) -> tuple[int, ...]:
        ended = tuple(int(i) for i in self._state.ids[gone])
        if ended:
            self._state.keep(~gone)
        return ended

    def _predict(self, mono_s: float) -> float:
        """Move every object on by its speed, and be less sure of it; the seconds since the last frame."""
        elapsed_s = 0.0 if self._last_s is None else max(mono_s - self._last_s, 0.0)
        self._last_s = mono_s
        state = self._state
        if not len(state.ids) or elapsed_s == 0.0:
            return elapsed_s
        dt, noise = np.float32(elapsed_s), np.float32(_ACCELERATION**2)
        state.mean += state.speed * dt
        state.path += np.hypot(state.speed[:, 0], state.speed[:, 1]) * dt
        np.maximum(state.mean[:, 2:], 2.0, out=state.mean[:, 2:])
        state.var_mean += 2 * dt * state.var_cross + dt**2 * state.var_speed + noise * dt**4 / 4
        state.var_cross += dt * state.var_speed + noise * dt**3 / 2
        state.var_speed += noise * dt**2
        return elapsed_s

    def _match(self, found: Detections, elapsed_s: float) -> npt.NDArray[np.intp]:
        """For each track the row of its box, or -1: sure boxes first, confirmed tracks first."""
        state = self._state
        matched = np.full(len(state.ids), -1, np.intp)
        if not len(state.ids) or not len(found):
            return matched
        affinity = self._affinity(found.boxes_xyxy_px, found.class_ids)
        sure = found.scores >= _SURE_SCORE
        stage = np.where(state.confirmed[:, None], np.where(sure, 0, 1)[None, :], 2)
        free = np.ones(len(found), np.bool_)
        for row, column in _greedy(affinity, _MIN_OVERLAP, stage):
            free[column] = False
            matched[row] = column
        once = (state.boxed_s == state.born_s) & (matched < 0)
        for row, column in self._second_sightings(found, once, free & (found.scores >= _NEW_SCORE), elapsed_s):
            matched[row] = column
        return matched

    def _second_sightings(self, found: Detections, once: Bools, free: Bools, elapsed_s: float) -> list[tuple[int, int]]:
        """Objects seen once, and boxes too far off to overlap: nothing is known of their speed yet, and a motorcycle
        moves by more than its length between two frames. Paired where each is the other's nearest, of like size."""
        rows, columns = np.flatnonzero(once), np.flatnonzero(free)
        if not len(rows) or not len(columns):
            return []
        state = self._state
        here, there = state.mean[rows], _centre_and_size(found.boxes_xyxy_px[columns])
        size_here, size_there = np.sqrt(here[:, 2] * here[:, 3]), np.sqrt(there[:, 2] * there[:, 3])
        far = np.hypot(*(there[None, :, axis] - here[:, None, axis] for axis in (0, 1))) / size_here[:, None]
        alike = np.abs(np.log(size_there[None, :] / size_here[:, None])) < _LIKE_SIZE
        kin = _SMALL_ROAD_USER[state.votes[rows].argmax(axis=1)][:, None] == _SMALL_ROAD_USER[found.class_ids[columns]]
        far = np.where(alike & kin & (far < _FASTEST * min(elapsed_s, _LATELY_S)), far, np.inf)
        nearest = far.argmin(axis=1)
        mutual = (far.argmin(axis=0)[nearest] == np.arange(len(rows))) & np.isfinite(far.min(axis=1))
        return list(zip(rows[mutual].tolist(), columns[nearest[mutual]].tolist(), strict=True))

    def _affinity(self, boxes: Floats, class_ids: npt.NDArray[np.int32]) -> Floats:
        """(tracks, boxes): overlap of track and box, both grown by what the prediction is unsure of."""
        state = self._state
        half = state.mean[:, 2:] / 2
        growth = np.clip(np.sqrt(state.var_mean[:, 0]) - _MEASURED, 0.0, _MAX_GROWTH)[:, None]
        reach = half * (1 + 2 * growth)
        low_t, high_t = state.mean[:, :2] - reach, state.mean[:, :2] + reach
        sides = []
        for axis in (0, 1):  # apart: an innermost axis of two is slow
            low_b, high_b = boxes[:, axis], boxes[:, 2 + axis]
            margin = growth * (high_b - low_b)
            both = np.minimum(high_t[:, axis, None], high_b + margin) - np.maximum(low_t[:, axis, None], low_b - margin)
            sides.append(np.maximum(both, 0.0))
        shared = sides[0] * sides[1]
        area_b = geometry.areas(boxes) * (1 + 2 * growth) ** 2
        overlap = shared / np.maximum((4 * reach[:, 0] * reach[:, 1])[:, None] + area_b - shared, 1e-6)
        kin = _SMALL_ROAD_USER[state.votes.argmax(axis=1)][:, None] == _SMALL_ROAD_USER[class_ids][None]
        affinity: Floats = np.where(kin, overlap, overlap * np.float32(0.6))
        return affinity

    def _correct(
        self,
        rows: npt.NDArray[np.intp],
        found: Detections,
        columns: npt.NDArray[np.intp],
        moving: Floats,
        mono_s: float,
    ) -> None:
        """Kalman update of the matched rows, and what the boxes say of class and realness."""
        if not len(rows):
            return
        state = self._state
        box, score, moves = self._completed(rows, found.boxes_xyxy_px[columns]), found.scores[columns], moving[columns]
        self._place(rows, _centre_and_size(box), (_MEASURED * (2.0 - score)) ** 2)
        state.box[rows] = box
        since_s = np.minimum(mono_s - state.boxed_s[rows], 0.2).astype(np.float32)
        state.seen_s[rows] = state.boxed_s[rows] = mono_s
        rate = 1 - np.exp(-since_s / np.float32(_LATELY_S))
        state.moving[rows] += rate * (moves - state.moving[rows])
        state.score[rows] += rate * (score - state.score[rows])
        class_ids = found.class_ids[columns]
        pace = np.hypot(state.speed[rows, 0], state.speed[rows, 1]) / state.mean[rows, 3]
        rides = (class_ids == _PERSON) & (pace > _RUNNER)
        state.votes[rows, np.where(rides, _MOTORCYCLE, class_ids)] += score * np.where(
            rides, np.float32(0.5), np.float32(1)
        )
        score = np.where(class_ids == VEHICLE, 0, score)
        state.evidence[rows] += score * since_s * np.where(moves > _MOVES, np.float32(10), np.float32(4))

    def _completed(self, rows: npt.NDArray[np.intp], boxes: Floats) -> Floats:
        """The boxes (n, 4) of those tracks, and what is missing of them half given back: networks lose the lower half
        of a car behind another one, and find it again in the next picture, which is no movement."""
        state = self._state
        expected = _corners(state.mean[rows])
        inward = (boxes - expected) * np.array([1, 1, -1, -1], np.float32) / np.tile(state.mean[rows, 2:], 2)
        across = np.abs(np.roll(inward, 2, axis=1))
        whole = state.confirmed[rows] & (state.score[rows] > _SURELY_WHOLE)
        margin, frame = _EDGE * self._frame_wh_px[0], np.asarray(self._frame_wh_px, np.float32)
        whole &= ((expected[:, :2] > margin) & (expected[:, 2:] < frame - margin)).all(axis=1)
        lost = (inward > _DRAWN_IN) & (across < _AS_EXPECTED) & whole[:, None]
        completed: Floats = np.where(lost, expected + np.float32(_BELIEVED) * (boxes - expected), boxes)
        return completed

    def _place(self, rows: npt.NDArray[np.intp], measured: Floats, noise: Floats) -> None:
        """The Kalman equations; centre (2 columns) and size (2 columns) share them, each with its own variance."""
        state = self._state
        innovation = measured - state.mean[rows]
        before = state.mean[rows, :2]
        off = np.hypot(innovation[:, 0], innovation[:, 1]) / np.sqrt(state.mean[rows, 2] * state.mean[rows, 3])
        state.leap[rows] += _LEAP_WEIGHT * (off - state.leap[rows])
        spread = state.var_mean[rows] + noise[:, None]
        gain_mean, gain_speed = state.var_mean[rows] / spread, state.var_cross[rows] / spread
        state.mean[rows] += np.repeat(gain_mean, 2, axis=1) * innovation
        state.speed[rows] += np.repeat(gain_speed, 2, axis=1) * innovation
        state.path[rows] += np.hypot(*(state.mean[rows, :2] - before).T)
        state.var_speed[rows] -= gain_speed * state.var_cross[rows]
        state.var_mean[rows] *= 1 - gain_mean
        state.var_cross[rows] *= 1 - gain_mean

    def _doubles(self, seen: Bools) -> Bools:
        """Which tracks lie on an older one: the same object followed twice."""
        state = self._state
        if len(state.ids) < 2:
            return np.zeros(len(state.ids), np.bool_)
        # Rows are in the order of birth, so an older track has a smaller row.
        overlap = np.triu(geometry.iou(state.box, state.box), 1)
        double: Bools = np.asarray(((overlap > _DOUBLE_IOU) & seen[:, None]).any(axis=0))
        return double

    def _pieces(self, seen: Bools) -> Bools:
        """Which doubtful tracks have no box any more, and are expected within that of another."""
        state = self._state
        gone = np.zeros(len(state.ids), np.bool_)
        rows = np.flatnonzero(~seen & ~state.confirmed & (state.score < _UNSURE_SCORE))
        if len(rows) and seen.any():
            boxes = _corners(state.mean[rows])
            most = geometry.intersections(boxes, state.box[seen]).max(axis=1)
            gone[rows] = most > _PIECE_INSIDE * geometry.areas(boxes)
        return gone

    def _births(self, found: Detections, free: Bools, seen: Bools) -> npt.NDArray[np.intp]:
        """The free boxes that start an object."""
        wanted = np.full(len(found), _NEW_SCORE, np.float32)
        known = self._state.box[seen]
        if len(known) and free.any():
            # A window, a wheel, a driver, or a box around three cars: must be plain to be an object of its own.
            boxes = found.boxes_xyxy_px
            smaller = np.minimum(geometry.areas(boxes)[:, None], geometry.areas(known)[None, :])
            covered = (geometry.intersections(boxes, known) > _SAME_PLACE * smaller).any(axis=1)
            wanted[covered] = _NEW_COVERED_SCORE
        return np.flatnonzero(free & (found.scores >= wanted))

    def _erratic(self) -> Bools:
        """See Tracks.erratic."""
        state = self._state
        flow, speed = self._flow.guess(state.mean[:, :2], self._frame_wh_px), state.speed[:, :2]
        along = (flow * speed).sum(axis=1)
        against = along <= _ACROSS * np.hypot(*flow.T) * np.hypot(*speed.T)
        badly = (state.found < _RARELY * state.looks) | (state.leap > _LEAPS)
        known = flow.any(axis=1)
        erratic: Bools = against & badly & (state.score < np.where(known, _UNSURE_SCORE, _HARDLY_SEEN))
        return erratic

    def _tracks(self, seen: Bools, ended: tuple[int, ...], frame_index: int, mono_s: float) -> Tracks:
        state = self._state
        return Tracks(
            ids=state.ids.copy(),
            boxes_xyxy_px=state.box.copy(),
            class_ids=_voted(state.votes),
            scores=state.score.copy(),
            moving=state.moving.copy(),
            speeds_px_s=state.speed[:, :2].copy(),
            seen=seen,
            confirmed=state.confirmed.copy(),
            erratic=self._erratic(),
            ended=ended,
            frame_index=frame_index,
            mono_s=mono_s,
        )


def _greedy(affinity: Floats, least: float, stage: npt.NDArray[np.intp] | None = None) -> list[tuple[int, int]]:
    """Pairs of row and column, each used once: by stage, then by falling affinity; equal ones go by row and column, so
    that runs repeat exactly."""
    row, column = np.nonzero(affinity >= least)
    if not len(row):
        return []
    falling = -affinity[row, column]
    order = np.argsort(falling, kind="stable") if stage is None else np.lexsort((falling, stage[row, column]))
    pairs: list[tuple[int, int]] = []
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for r, c in zip(row[order].tolist(), column[order].tolist(), strict=True):
        if r not in used_rows and c not in used_columns:
            used_rows.add(r)
            used_columns.add(c)
            pairs.append((r, c))
    return pairs


def _centre_and_size(boxes_xyxy: Floats) -> Floats:
    return np.concatenate([(boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2, boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


def _corners(centre_and_size: Floats) -> Floats:
    half = centre_and_size[:, 2:] / 2
    return np.concatenate([centre_and_size[:, :2] - half, centre_and_size[:, :2] + half], axis=1)


def _voted(votes: Floats) -> npt.NDArray[np.int32]:
    """The class of each track. A rider is found as a person more often than the machine below is found at all, so a
    quarter of the votes for a two-wheeler outweighs three quarters for a person."""
    ridden = votes[:, _PERSON] > 0
    weighed = votes * _PRIOR * np.where(ridden[:, None], _RIDDEN, np.float32(1))
    voted: npt.NDArray[np.int32] = weighed.argmax(axis=1).astype(np.int32)
    return voted
