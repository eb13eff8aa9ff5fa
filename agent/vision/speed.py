r"""How fast a tracked object is: in km/h where the ground is calibrated, in its own lengths per second everywhere.

    picture: four points on the road             ground, in metres
           1 ___ 2                                1 ┌──┐ 2
            /   \                                   │  │
           /     \              ──homography──▶     │  │
        4 /_______\ 3                             4 └──┘ 3

The middle of the lower edge of an object's box is taken for the place where it stands. Its places of the last second
are laid onto the ground, and a straight line through them, the near ones weighing more than the far ones, gives the
speed: that of half a second ago, when it brakes or accelerates.

A speed comes with its error, the half width of an interval that holds 19 of 20 true speeds. Three things make it:
how the places scatter (as seen, and as boxes of this size are known to), a box that ends a little above or below the
wheels all the time, and a calibration that was measured with a tape. Where the error is large there is no speed.
It is a measurement for traffic, not for a fine: nobody has certified the camera, the lens is taken for a perfect one
and the road for a plane.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from agent.vision.track import Tracks
from drivers.base import Frame

Doubles = npt.NDArray[np.float64]

_WINDOW_S = 1.0
_LEAST_POINTS = 4
_LEAST_SPAN_S = 0.3
_EDGE_PX = 2.0  # a box that ends at the picture's edge is cut off there, and not where the wheels are

# Of a box's edge, in shares of the box's size (the root of its area), on top of a pixel.
_SCATTER = 0.03
_ALIKE_S = (
    0.2  # time constant: boxes that follow each other err alike, so that many of them tell less than they seem to
)
_ASIDE = 0.05  # of the box's height: how far its lower edge may be off all the time
_EXPECTED_WEIGHT = 4.0  # what is known of scatter counts as much as so many sightings

_NEAR = 0.15  # of the calibrated area's sides: so far outside it still holds
_MOST_SHARE = 0.25  # of the speed: an error beyond it says nothing
_MOST_KMH = 3.0  # but that it stands or creeps can be said all the same


@dataclass(frozen=True, slots=True)
class Speed:
    kmh: float
    error_kmh: float


class GroundPlane:
    """The homography of one camera, and the ones it might be if the metres were measured a little wrong."""

    def __init__(
        self,
        points_px: npt.NDArray[np.float32],
        metres: Sequence[tuple[float, float]],
        *,
        tolerance_m: float,
    ) -> None:
        """points_px: (4, 2), corners in order around an area of the ground. metres: the same corners on the ground.
        tolerance_m: each of their coordinates may be off by so much."""
        source, target = np.asarray(points_px, np.float32), np.asarray(metres, np.float32)
        moved = [target]
        for corner, axis in product(range(4), range(2)):
            other = target.copy()
            other[corner, axis] += tolerance_m
            moved.append(other)
        self._all: Doubles = np.stack([cv2.getPerspectiveTransform(source, other) for other in moved])
        unit = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
        self._unit = np.asarray(cv2.getPerspectiveTransform(source, unit)[None], np.float64)

    def metres(self, points_px: Doubles) -> Doubles:
        """(n, 2) on the picture → (1 + 8, n, 2) on the ground: as calibrated, then once for each metre in doubt."""
        return _mapped(self._all, points_px)

    def holds_for(self, points_px: Doubles) -> bool:
        """Whether all points lie in the calibrated area or near it."""
        unit = _mapped(self._unit, points_px)[0]
        return bool(np.all((unit > -_NEAR) & (unit < 1.0 + _NEAR)))


class Speedometer:
    """The speeds of the objects of one camera. Remembers the last second of each track, until it has ended."""

    def __init__(self, frame_wh_px: tuple[int, int], ground: GroundPlane | None = None) -> None:
        self._size = np.asarray(frame_wh_px, np.float32)
        self._ground = ground
        self._seen: dict[int, deque[tuple[float, npt.NDArray[np.float32]]]] = {}  # time and box
        self._now_s = 0.0
        self._told: dict[int, Speed | None] = {}  # for this frame, as several rules ask

    def update(self, frame: Frame, tracks: Tracks) -> None:
        self._now_s = tracks.mono_s
        self._told.clear()
        for track in tracks.ended:
            self._seen.pop(track, None)
        boxes = tracks.boxes_xyxy_px
        whole = tracks.seen & (boxes[:, :1] > _EDGE_PX).all(axis=1)
        whole &= (boxes[:, 2:] < self._size - _EDGE_PX).all(axis=1)
        for track in tracks.ids[tracks.seen & ~whole].tolist():
            self._seen.pop(track, None)
        for row in np.flatnonzero(whole).tolist():
            self._seen.setdefault(int(tracks.ids[row]), deque()).append((tracks.mono_s, boxes[row]))
        for seen in self._seen.values():
            # The last sightings stay: with the gate shut nothing is looked at, and nothing moves.
            while len(seen) > _LEAST_POINTS and tracks.mono_s - seen[0][0] > _WINDOW_S:
                seen.popleft()

    def speed(self, track: int) -> Speed | None:
        """None where the camera is not calibrated, or too little of it was seen where it is."""
        if self._ground is None or track not in self._seen:
            return None
        if track not in self._told:
            self._told[track] = self._measured(track, self._ground)
        return self._told[track]

    def lengths_per_s(self, track: int) -> float | None:
        """In roots of its own box's area, as seen in the picture; None before enough of it was seen."""
        if track not in self._seen:
            return None
        if self._stands(track):
            return 0.0
        times_s, boxes = self._lately(track)
        if len(times_s) < _LEAST_POINTS or times_s[-1] - times_s[0] < _LEAST_SPAN_S:
            return None
        sides = boxes[:, 2:] - boxes[:, :2]
        slope = _slope(times_s, (boxes[:, :2] + boxes[:, 2:]) / 2, np.ones(len(times_s)))
        return float(np.hypot(*slope) / np.sqrt(np.prod(sides, axis=1).mean()))

    def _measured(self, track: int, ground: GroundPlane) -> Speed | None:
        if self._stands(track):
            return Speed(0.0, _MOST_KMH)
        times_s, boxes = self._lately(track)
        if len(times_s) < _LEAST_POINTS or times_s[-1] - times_s[0] < _LEAST_SPAN_S:
            return None
        places_px = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], axis=1)
        return _fitted(ground, times_s, places_px, boxes) if ground.holds_for(places_px) else None

    def _stands(self, track: int) -> bool:
        """Not looked for any more, and not ended either: the gate is shut, because nothing moves."""
        return self._now_s - self._seen[track][-1][0] > _WINDOW_S

    def _lately(self, track: int) -> tuple[Doubles, Doubles]:
        """Times (n,) and boxes (n, 4) of the last second, or the last few, where looks are further apart."""
        seen = [entry for entry in self._seen[track] if self._now_s - entry[0] <= _WINDOW_S]
        if len(seen) < _LEAST_POINTS:
            seen = list(self._seen[track])[-_LEAST_POINTS:]
        return np.array([at_s for at_s, _ in seen]), np.array([box for _, box in seen], np.float64).reshape(-1, 4)


def _fitted(ground: GroundPlane, times_s: Doubles, places_px: Doubles, boxes: Doubles) -> Speed | None:
    sides = boxes[:, 2:] - boxes[:, :2]
    scatter_px = 1.0 + _SCATTER * np.sqrt(sides[:, 0] * sides[:, 1])
    aside_px = np.stack([np.zeros(len(times_s)), _ASIDE * sides[:, 1]], axis=1)
    across_px, along_px = np.eye(2)
    moved = np.stack([places_px + step for step in (0, across_px, along_px, aside_px, -aside_px)])
    seen_m, across_m, along_m, below_m, above_m = ground.metres(moved.reshape(-1, 2))[0].reshape(5, -1, 2)
    per_px = np.stack([across_m - seen_m, along_m - seen_m])  # (2, n, 2)
    # Which way it goes, and then, with that known, the fit proper: far down the road a pixel is metres along it and
    # centimetres across.
    roughly = _slope(times_s, seen_m, 1 / (scatter_px**2 * (per_px**2).sum(axis=(0, 2))))
    way = roughly / max(float(np.hypot(*roughly)), 1e-9)
    scatter_m = scatter_px * np.sqrt(((per_px @ way) ** 2).sum(axis=0))
    weights = 1 / scatter_m**2
    others_m = ground.metres(places_px)[1:]
    velocity, below, above, *others = _slope(times_s, np.stack([seen_m, below_m, above_m, *others_m]), weights)
    speed = float(np.hypot(*velocity))

    share = weights / weights.sum()
    apart_s = times_s - share @ times_s
    left_m = (seen_m - share @ seen_m - apart_s[:, None] * velocity) @ way
    scattered = (_EXPECTED_WEIGHT + weights @ left_m**2) / (_EXPECTED_WEIGHT + len(times_s) - 2)  # 1: as expected
    alike = np.exp(-np.diff(times_s).mean() / _ALIKE_S)
    by_scatter = 2 * np.sqrt(scattered / (weights @ apart_s**2) * (1 + alike) / (1 - alike))
    by_aside = max(abs(float(np.hypot(*other)) - speed) for other in (below, above))
    by_calibration = np.sqrt(np.square(np.hypot(*np.array(others).T) - speed).sum())

    kmh, error_kmh = 3.6 * speed, 3.6 * float(np.sqrt(by_scatter**2 + by_aside**2 + by_calibration**2))
    return Speed(kmh, error_kmh) if error_kmh <= max(_MOST_SHARE * kmh, _MOST_KMH) else None


def _slope(times_s: Doubles, places: Doubles, weights: Doubles) -> Doubles:
    """The change per second of the places (…, n, 2), by weighted least squares: (…, 2)."""
    apart_s = times_s - (weights @ times_s) / weights.sum()
    weighed = weights * apart_s
    slope: Doubles = (weighed @ places) / (weighed @ apart_s)
    return slope


def _mapped(homographies: Doubles, points: Doubles) -> Doubles:
    """(k, 3, 3) and (n, 2) → (k, n, 2)."""
    raised = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ homographies.transpose(0, 2, 1)
    mapped: Doubles = raised[..., :2] / raised[..., 2:]
    return mapped
