"""Who crossed which line, in which direction.

Tested on the path between two sightings, not on being near the line: what is left of it in one frame and right of
it in the next has crossed. A crossing counts once the object has come a margin, a share of its own size, beyond the
line, so a queue that trembles on the line is not counted again and again; and once where two boxes lie over each
other: a rider and his machine, a car and its front.

              in
        a ────┼────▶ b        standing at a, looking to b: left hand ─▶ right hand is "in"
              ▼
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.contract.event import Crossing
from agent.vision import geometry
from agent.vision.rules.base import Anchor, Happening, anchors, class_name
from agent.vision.speed import Speedometer
from agent.vision.track import Tracks

# In shares of the object's own size, so that they hold for near and far alike.
_BEYOND = 0.12  # how far it must have come beyond the line
_TRAVEL = 0.9  # how far it must have come in all, from its farthest point on the one side to the other
_MOVING = 0.3  # of its box: a false box that wanders over a still road has not crossed anything
_SURE_SCORE = 0.3  # with this (0.6 of a still object's) it is believed all the same
_JUMP = 0.5  # so far from where it was going, and
_BACK = 0.25  # so far back: the track has gone over to the object behind
_STEEPEST = 2.0  # along the line over across it: what goes along it has no place where it crosses
_LATELY_S = 1.5
_SAME_PLACE = 0.5


@dataclass(slots=True)
class _Passage:
    side: int  # the side it is known to be on: -1 left, +1 right, 0 exactly on the line
    point: npt.NDArray[np.float32]
    speed_px_s: npt.NDArray[np.float32]
    frame_index: int
    mono_s: float
    farthest_px: float = 0.0  # how far from the line it has been on `side`
    met: tuple[int, float] | None = None  # frame and time at which its path met the line since it was on `side`


@dataclass(frozen=True, slots=True)
class _Crossed:
    """Who crossed lately, to which side, and when that was said."""

    track: int
    side: int
    said_s: float


class LineCrossing:
    """One line of one camera. Remembers each track until it has ended, and who crossed for a second or two."""

    def __init__(
        self,
        line: str,
        a_px: npt.NDArray[np.float32],
        b_px: npt.NDArray[np.float32],
        *,
        class_ids: frozenset[int],
        anchor: Anchor = "bottom",
        speeds: Speedometer | None = None,
    ) -> None:
        self._line = line
        self._a = np.asarray(a_px, np.float32)
        self._b = np.asarray(b_px, np.float32)
        self._length_px = float(np.hypot(*(self._b - self._a)))
        self._along = (self._b - self._a) / np.float32(self._length_px)
        self._across = np.array([-self._along[1], self._along[0]], np.float32)  # to the right hand
        self._class_ids = class_ids
        self._anchor = anchor
        self._speeds = speeds
        self.said: list[Happening] = []  # by the last update, for rules that are about crossings
        self._passages: dict[int, _Passage] = {}
        self._lately: list[_Crossed] = []

    def update(self, tracks: Tracks) -> list[Happening]:
        self.said = self._crossed(tracks)
        return self.said

    def _crossed(self, tracks: Tracks) -> list[Happening]:
        for track in tracks.ended:
            self._passages.pop(track, None)
        rows = np.flatnonzero(tracks.seen & ((tracks.moving >= _MOVING) | (tracks.scores >= _SURE_SCORE)))
        if not len(rows):
            return []
        boxes = tracks.boxes_xyxy_px[rows]
        points = anchors(boxes, self._anchor)
        sides = geometry.side_of_line(self._a, self._b, points)
        size = np.sqrt(geometry.areas(boxes))
        away = np.abs(sides)
        known = [self._passages.get(int(i)) for i in tracks.ids[rows]]
        before = np.array([p.point if p else point for p, point in zip(known, points, strict=True)], np.float32)
        met = self._where_met(before, points, tracks, rows)

        happened: list[Happening] = []
        for i, row in enumerate(rows.tolist()):
            track, passage, side = int(tracks.ids[row]), known[i], int(np.sign(sides[i]))
            away_px, size_px = float(away[i]), float(size[i])
            if passage is None or self._jumped(passage, points[i], tracks.mono_s, size_px):
                self._passages[track] = _Passage(
                    side, points[i], tracks.speeds_px_s[row], tracks.frame_index, tracks.mono_s, away_px
                )
                continue
            if not np.isnan(met[i]):
                part = float(met[i])
                passage.met = (
                    round(passage.frame_index + part * (tracks.frame_index - passage.frame_index)),
                    passage.mono_s + part * (tracks.mono_s - passage.mono_s),
                )
            if side == passage.side:
                passage.farthest_px = max(passage.farthest_px, away_px)
                if away_px > _BEYOND * size_px:
                    passage.met = None  # it came back without having gone beyond
            elif away_px > _BEYOND * size_px and away_px + passage.farthest_px > _TRAVEL * size_px:
                believed = not tracks.erratic[row] and not self._counted_already(tracks, row, side)
                if passage.met and passage.side and believed:
                    self._lately.append(_Crossed(track, side, tracks.mono_s))
                    happened.append(self._say(tracks, row, side, self._when(passage, passage.met, tracks, row)))
                passage.side, passage.met, passage.farthest_px = side, None, away_px
            passage.point, passage.speed_px_s = points[i], tracks.speeds_px_s[row]
            passage.frame_index, passage.mono_s = tracks.frame_index, tracks.mono_s
        return happened

    def _where_met(
        self,
        before: npt.NDArray[np.float32],
        points: npt.NDArray[np.float32],
        tracks: Tracks,
        rows: npt.NDArray[np.intp],
    ) -> npt.NDArray[np.float32]:
        """How far along each path (n, 2) → (n, 2) the line is met: (n,) in 0..1, NaN where it is not.

        That it is met is judged by the anchor; where, and so whether between the line's ends, by the body: half-way
        between the places at which the anchor and the middle of the box pass. The bottom edge of a box alone, with the
        shadow in it, passes beside the end of a line that the vehicle drives over.
        """
        start, end = (before - self._a) @ self._across, (points - self._a) @ self._across
        with np.errstate(divide="ignore", invalid="ignore"):
            part = start / (start - end)
            place = (before + part[:, None] * (points - before) - self._a) @ self._along
            up = anchors(tracks.boxes_xyxy_px[rows], "center") - points
            speed = tracks.speeds_px_s[rows]
            steep = np.clip(np.nan_to_num((speed @ self._along) / (speed @ self._across)), -_STEEPEST, _STEEPEST)
            place = place + (up @ self._along - (up @ self._across) * steep) / 2
            met = ((start < 0) & (end >= 0)) | ((start > 0) & (end <= 0))
            met &= (place >= 0) & (place <= self._length_px)
        result: npt.NDArray[np.float32] = np.where(met, part, np.nan).astype(np.float32)
        return result

    def _when(self, passage: _Passage, met: tuple[int, float], tracks: Tracks, row: int) -> tuple[int, float]:
        """Frame and time at which the body crossed, not its shadow, which comes first, or its tail: half-way between
        the anchor and the middle of the box. Not later than now."""
        frame_index, met_s = met
        passed_s = tracks.mono_s - passage.mono_s
        speed_px_s = float(tracks.speeds_px_s[row] @ self._across)
        if passed_s <= 0.0 or abs(speed_px_s) < 1.0:
            return met
        box = tracks.boxes_xyxy_px[row : row + 1]
        up = anchors(box, "center")[0] - anchors(box, self._anchor)[0]
        later_s = min(max(-float(up @ self._across) / 2 / speed_px_s, -_LATELY_S), _LATELY_S, tracks.mono_s - met_s)
        frames_per_s = (tracks.frame_index - passage.frame_index) / passed_s
        return round(frame_index + later_s * frames_per_s), met_s + later_s

    @staticmethod
    def _jumped(passage: _Passage, point: npt.NDArray[np.float32], mono_s: float, size_px: float) -> bool:
        """It is not where it was going but back where it came from: its track has gone over to another object."""
        step = point - passage.point
        ahead = passage.speed_px_s * np.float32(mono_s - passage.mono_s)
        back = float(step @ ahead) < 0.0 and float(np.hypot(*step)) > _BACK * size_px
        return back and float(np.hypot(*(step - ahead))) > _JUMP * size_px

    def _say(self, tracks: Tracks, row: int, side: int, when: tuple[int, float]) -> Happening:
        track = int(tracks.ids[row])
        speed = self._speeds.speed(track) if self._speeds is not None else None
        body = Crossing(
            line=self._line,
            direction="in" if side > 0 else "out",
            object_class=class_name(int(tracks.class_ids[row])),
            track=track,
            speed_kmh=round(speed.kmh, 1) if speed else None,
            speed_error_kmh=round(speed.error_kmh, 1) if speed else None,
        )
        return Happening(body, body.track, *when, self._class_ids)

    def _counted_already(self, tracks: Tracks, row: int, side: int) -> bool:
        """Another track that lies over this one has just crossed the same way: a part and its whole, or two boxes of
        one object. Whichever came first has been counted."""
        self._lately = [entry for entry in self._lately if tracks.mono_s - entry.said_s <= _LATELY_S]
        lately = [entry.track for entry in self._lately if entry.side == side and entry.track != tracks.ids[row]]
        others = np.flatnonzero(np.isin(tracks.ids, lately))
        if not len(others):
            return False
        mine, theirs = tracks.boxes_xyxy_px[row : row + 1], tracks.boxes_xyxy_px[others]
        smaller = np.minimum(geometry.areas(mine), geometry.areas(theirs))
        return bool((geometry.intersections(mine, theirs)[0] > _SAME_PLACE * smaller).any())
