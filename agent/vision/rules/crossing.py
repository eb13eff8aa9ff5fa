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
from agent.vision.speed import Speedometer
from agent.vision.track import Tracks

# In shares of the object's own size, so that they hold for near and far alike.
_BEYOND = 0.12  # how far it must have come beyond the line
_TRAVEL = 0.9  # how far it must have come in all, from its farthest point on the one side to the other
_MOVING = 0.3  # of its box: a false box that wanders over a still road has not crossed anything
_SURE_SCORE = 0.3  # with this (0.6 of a still object's) it is believed all the same
_LATELY_S = 1.5
_SAME_PLACE = 0.5


@dataclass(slots=True)
class _Passage:
    side: int  # the side it is known to be on: -1 left, +1 right, 0 exactly on the line
    point: npt.NDArray[np.float32]
    frame_index: int
    mono_s: float
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
        speeds: Speedometer | None = None,
    ) -> None:
        self._line = line
        self._a = np.asarray(a_px, np.float32)
        self._b = np.asarray(b_px, np.float32)
        self._class_ids = class_ids
        self._anchor = anchor
        self._speeds = speeds
        self.said: list[Happening] = []  # by the last update, for rules that are about crossings
        self._passages: dict[int, _Passage] = {}
        self._lately: list[tuple[float, int, int]] = []  # time, track, side reached: who crossed lately

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
        met = geometry.where_segments_meet(before, points, self._a, self._b)

        happened: list[Happening] = []
        for i, row in enumerate(rows.tolist()):
            track, passage, side = int(tracks.ids[row]), known[i], int(np.sign(sides[i]))
            away_px = float(away[i])
            if passage is None:
                self._passages[track] = _Passage(side, points[i], tracks.frame_index, tracks.mono_s, away_px)
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
                if passage.met and passage.side and not self._counted_already(tracks, row, side):
                    self._lately.append((tracks.mono_s, track, side))
                    happened.append(self._say(tracks, row, side, passage.met))
                passage.side, passage.met, passage.farthest_px = side, None, away_px
            passage.point, passage.frame_index, passage.mono_s = points[i], tracks.frame_index, tracks.mono_s
        return happened

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
        one object, each followed by a track of its own. Whichever came first has been counted."""
        self._lately = [entry for entry in self._lately if tracks.mono_s - entry[0] <= _LATELY_S]
        others = np.flatnonzero(np.isin(tracks.ids, [track for _, track, reached in self._lately if reached == side]))
        others = others[others != row]
        if not len(others):
            return False
        mine, theirs = tracks.boxes_xyxy_px[row : row + 1], tracks.boxes_xyxy_px[others]
        smaller = np.minimum(geometry.areas(mine), geometry.areas(theirs))
        return bool((geometry.intersections(mine, theirs)[0] > _SAME_PLACE * smaller).any())
