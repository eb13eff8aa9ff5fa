"""Who crossed which line, in which direction.

Tested on the path between two sightings, not on being near the line: what is left of it in one frame and right of
it in the next has crossed. A crossing counts once the object has come a margin, a share of its own size, beyond the
line, so a queue that trembles on the line is not counted again and again.

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
from agent.vision.track import Tracks

# In shares of the object's own size, so that they hold for near and far alike.
_BEYOND = 0.12  # how far it must have come beyond the line
_TRAVEL = 0.9  # how far it must have come in all, from its farthest point on the one side to the other
_MOVING = 0.3  # of its box: a false box that wanders over a still road has not crossed anything
_SURE_SCORE = 0.3  # with this (0.6 of a still object's) it is believed all the same
_JUMP = 0.5
_BACK = 0.25
TWO = True
_SLANT = 2.0
_ABREAST = 0.5
_HEADWAY = 0.5
_LATELY_S = 1.5
_SAME_PLACE = 0.5


@dataclass(slots=True)
class _Passage:
    side: int  # the side it is known to be on: -1 left, +1 right, 0 exactly on the line
    point: npt.NDArray[np.float32]
    frame_index: int
    mono_s: float
    speed_px_s: npt.NDArray[np.float32]
    farthest_px: float = 0.0  # how far from the line it has been on `side`
    met: tuple[int, float] | None = None  # frame and time at which its path met the line since it was on `side`


class LineCrossing:
    """One line of one camera. Remembers each track until it has ended."""

    def __init__(
        self,
        line: str,
        a_px: npt.NDArray[np.float32],
        b_px: npt.NDArray[np.float32],
        *,
        class_ids: frozenset[int],
        anchor: Anchor = "bottom",
    ) -> None:
        self._line = line
        self._a = np.asarray(a_px, np.float32)
        self._b = np.asarray(b_px, np.float32)
        self._class_ids = class_ids
        self._anchor = anchor
        self._passages: dict[int, _Passage] = {}
        self._bodies: list[tuple[float, int, float, float, float, float]] = []
        self._lately: list[tuple[float, int, int]] = []  # time, track, side reached: who crossed lately

    def update(self, tracks: Tracks) -> list[Happening]:
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
            away_px = float(away[i])
            if passage is None:
                self._passages[track] = _Passage(side, points[i], tracks.frame_index, tracks.mono_s, tracks.speeds_px_s[row], away_px)
                continue
            if self._jumped(passage, points[i], tracks, row, float(size[i])):
                passage.side, passage.farthest_px, passage.met = side, away_px, None
                passage.point, passage.frame_index, passage.mono_s = points[i], tracks.frame_index, tracks.mono_s
                passage.speed_px_s = tracks.speeds_px_s[row]
                continue
            if not np.isnan(met[i]):
                part = float(met[i])
                passage.met = (
                    round(passage.frame_index + part * (tracks.frame_index - passage.frame_index)),
                    passage.mono_s + part * (tracks.mono_s - passage.mono_s),
                )
            if side == passage.side:
                passage.farthest_px = max(passage.farthest_px, away_px)
                if away_px > _BEYOND * size[i]:
                    passage.met = None  # it came back without having gone beyond
            elif away_px > _BEYOND * size[i] and away_px + passage.farthest_px > _TRAVEL * size[i]:
                if passage.met and passage.side and not self._counted_already(tracks, row, side) and not (TWO and self._same_body(tracks, row, side, passage.met[1], points[i])):
                    self._lately.append((tracks.mono_s, track, side))
                    self._bodies.append(self._body(tracks, row, side, passage.met[1], points[i]))
                    happened.append(self._say(tracks, row, side, passage.met))
                passage.side, passage.met, passage.farthest_px = side, None, away_px
            passage.point, passage.frame_index, passage.mono_s = points[i], tracks.frame_index, tracks.mono_s
            passage.speed_px_s = tracks.speeds_px_s[row]
        return happened

    def _where_met(
        self, before: npt.NDArray[np.float32], points: npt.NDArray[np.float32], tracks: Tracks, rows: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.float32]:
        """How far along each path the line is met, NaN where it is not.

        When is judged by the anchor, where by the body: half-way between the places at which the anchor and the middle
        of the box pass. A box's bottom edge passes beside the end of a line that the vehicle itself drives over.
        """
        along = self._b - self._a
        length = float(np.hypot(*along))
        along /= length
        normal = np.array([-along[1], along[0]], np.float32)
        start, end = (before - self._a) @ normal, (points - self._a) @ normal
        with np.errstate(divide="ignore", invalid="ignore"):
            part = start / (start - end)
            place = (before + part[:, None] * (points - before) - self._a) @ along
            if self._anchor == "bottom":
                up = anchors(tracks.boxes_xyxy_px[rows], "center") - points
                speed = tracks.speeds_px_s[rows]
                slant = np.clip(np.nan_to_num((speed @ along) / (speed @ normal)), -_SLANT, _SLANT)
                place = place + (up @ along - (up @ normal) * slant) / 2
            met = ((start < 0) & (end >= 0)) | ((start > 0) & (end <= 0))
            met &= (place >= 0) & (place <= length)
        result: npt.NDArray[np.float32] = np.where(met, part, np.nan).astype(np.float32)
        return result

    def _jumped(self, passage: _Passage, point: npt.NDArray[np.float32], tracks: Tracks, row: int, size: float) -> bool:
        """It is not where it was going but back where it came from: the track has gone over to another object."""
        step = point - passage.point
        ahead = passage.speed_px_s * np.float32(tracks.mono_s - passage.mono_s)
        off = float(np.hypot(*(step - ahead)))
        return off > _JUMP * size and float(step @ ahead) < 0 and float(np.hypot(*step)) > _BACK * size

    def _say(self, tracks: Tracks, row: int, side: int, when: tuple[int, float]) -> Happening:
        body = Crossing(
            line=self._line,
            direction="in" if side > 0 else "out",
            object_class=class_name(int(tracks.class_ids[row])),
            track=int(tracks.ids[row]),
        )
        return Happening(body, body.track, *when, self._class_ids)

    def _body(self, tracks: Tracks, row: int, side: int, met_s: float, point: npt.NDArray[np.float32]) -> tuple[float, int, float, float, float, float]:
        """When and where on the line it crossed, how wide it is there, and how long it takes to go its own length."""
        along = (self._b - self._a) / np.hypot(*(self._b - self._a))
        box = tracks.boxes_xyxy_px[row]
        wide, high = box[2:] - box[:2]
        width = abs(along[0]) * wide + abs(along[1]) * high
        length = abs(along[1]) * wide + abs(along[0]) * high
        speed = abs(float(tracks.speeds_px_s[row] @ np.array([-along[1], along[0]])))
        return met_s, side, float((point - self._a) @ along), float(width), float(length), speed

    def _same_body(self, tracks: Tracks, row: int, side: int, met_s: float, point: npt.NDArray[np.float32]) -> bool:
        """Two bodies do not fit into one place: who crosses where another one just crossed, before that one can have
        gone its own length, is the same."""
        self._bodies = [b for b in self._bodies if tracks.mono_s - b[0] <= 3.0]
        mine = self._body(tracks, row, side, met_s, point)
        return any(
            b[1] == side and abs(b[2] - mine[2]) < _ABREAST * (b[3] + mine[3]) / 2 and abs(b[0] - met_s) < min(_HEADWAY * min(b[4], mine[4]) / max(min(b[5], mine[5]), 1e-3), _LATELY_S)
            for b in self._bodies
        )

    def _counted_already(self, tracks: Tracks, row: int, side: int) -> bool:
        """Another track that lies over this one has just crossed the same way: a part and its whole, or two boxes of
        one object, each followed by a track of its own. Whichever came first has been counted."""
        self._lately = [entry for entry in self._lately if tracks.mono_s - entry[0] <= _LATELY_S]
        others = np.flatnonzero(np.isin(tracks.ids, [track for _, track, reached in self._lately if reached == side]))
        others = others[others != row]
        if not len(others):
            return False
        mine, theirs = tracks.boxes_xyxy_px[row : row + 1], tracks.boxes_xyxy_px[others]
        smaller = np.minimum(geometry.areas(mine), geometry.areas(theirs))
        return bool((geometry.intersections(mine, theirs)[0] > _SAME_PLACE * smaller).any())
