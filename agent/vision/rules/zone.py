"""Who is in which zone: enter, exit, and staying longer than allowed.

An object is inside while its anchor is in the polygon. Passing right through between two frames counts as an enter and
an exit: the path is tested, not only where it was seen. Leaving takes a short while, so that a box that trembles
over the border or is hidden behind a lorry does not leave and come back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.contract.event import Dwell, ZoneEnter, ZoneExit
from agent.vision import geometry
from agent.vision.rules.base import Happening, anchors, class_name
from agent.vision.track import Tracks

_LEAVE_S = 0.5  # outside for this long is gone
_INSET_PX = 1.0  # feet on the picture's lower edge are in a zone that reaches down to it


@dataclass(slots=True)
class _Stay:
    point: npt.NDArray[np.float32]
    frame_index: int
    mono_s: float
    entered: tuple[int, float] | None = None  # frame and time of entering; None while outside
    inside: tuple[int, float] = (0, 0.0)  # frame and time it was last known to be inside
    said_dwell: bool = False
    class_id: int = 0


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What a zone held lately: objects times seconds, and the most at once."""

    object_s: float
    peak: int


class ZonePresence:
    """One zone of one camera. Remembers each track until it has ended."""

    def __init__(
        self,
        zone: str,
        polygon_px: npt.NDArray[np.float32],
        *,
        frame_wh_px: tuple[int, int],
        class_ids: frozenset[int],
        dwell_s: float | None = None,
    ) -> None:
        self.zone = zone
        self._polygon = np.asarray(polygon_px, np.float32)
        self._limit = np.asarray(frame_wh_px, np.float32) - _INSET_PX
        self._class_ids = class_ids
        self._dwell_s = dwell_s
        self._stays: dict[int, _Stay] = {}
        self._object_s = 0.0
        self._peak = 0
        self._last_s: float | None = None

    def update(self, tracks: Tracks) -> list[Happening]:
        happened: list[Happening] = []
        for track in tracks.ended:
            stay = self._stays.pop(track, None)
            if stay is not None and stay.entered is not None:
                happened.append(self._exit(track, stay))
        for row in np.flatnonzero(tracks.seen):
            happened += self._seen(tracks, int(row))
        happened += self._pass_time(tracks)
        self._occupy(tracks)
        return sorted(happened, key=lambda h: h.mono_s)

    def end(self) -> list[Happening]:
        """No more tracks will come: everybody inside leaves, as they were last known to be there."""
        left = [self._exit(track, stay) for track, stay in self._stays.items() if stay.entered is not None]
        self._stays.clear()
        return left

    def inside(self) -> dict[int, float]:
        """Who is inside now, sure or not: track → when it came in, seconds on the frames' clock."""
        return {track: stay.entered[1] for track, stay in self._stays.items() if stay.entered is not None}

    def take_occupancy(self) -> Occupancy:
        """What the zone held since the last call."""
        taken = Occupancy(self._object_s, self._peak)
        self._object_s, self._peak = 0.0, 0
        return taken

    def _seen(self, tracks: Tracks, row: int) -> list[Happening]:
        track = int(tracks.ids[row])
        now = (tracks.frame_index, tracks.mono_s)
        point = np.clip(anchors(tracks.boxes_xyxy_px[row : row + 1], "bottom")[0], 0.0, self._limit)
        inside = bool(geometry.inside_polygon(point[None], self._polygon)[0])
        stay = self._stays.get(track)
        if stay is None:
            stay = self._stays[track] = _Stay(point, *now)
        stay.class_id = int(tracks.class_ids[row])
        happened: list[Happening] = []
        if inside:
            if stay.entered is None:
                stay.entered, stay.said_dwell = now, False
                happened.append(self._say(ZoneEnter, track, stay, now))
            stay.inside = now
        elif stay.entered is None and self._passed_through(stay.point, point):
            between = (round((stay.frame_index + now[0]) / 2), (stay.mono_s + now[1]) / 2)
            stay.entered = stay.inside = between
            happened.append(self._say(ZoneEnter, track, stay, between))
        stay.point, stay.frame_index, stay.mono_s = point, *now
        return happened

    def _pass_time(self, tracks: Tracks) -> list[Happening]:
        """What the clock alone decides: a stay is long enough, an absence is."""
        happened: list[Happening] = []
        known = {int(i) for i in tracks.ids}
        for track, stay in self._stays.items():
            if stay.entered is None or track not in known:
                continue
            # Seen outside since: gone after a while. Not seen at all: still where it was, until its track ends.
            if stay.mono_s > stay.inside[1] and tracks.mono_s - stay.inside[1] >= _LEAVE_S:
                happened.append(self._exit(track, stay))
            elif self._dwell_s is not None and not stay.said_dwell:
                stayed_s = tracks.mono_s - stay.entered[1]
                if stayed_s >= self._dwell_s:
                    stay.said_dwell = True
                    now = stay.inside = (tracks.frame_index, tracks.mono_s)  # an exit will not report a shorter stay
                    happened.append(self._say(Dwell, track, stay, now, dwell_s=round(stayed_s, 1)))
        return happened

    def _passed_through(self, before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> bool:
        """The path met the border at least twice: in and out again between two sightings."""
        met: set[float] = set()  # how far along the path; a corner that is only grazed is met by two edges at once
        for a, b in zip(self._polygon, np.roll(self._polygon, -1, axis=0), strict=True):
            part = float(geometry.where_segments_meet(before[None], after[None], a, b)[0])
            if not math.isnan(part):
                met.add(round(part, 4))
        return len(met) >= 2

    def _exit(self, track: int, stay: _Stay) -> Happening:
        assert stay.entered is not None
        dwell_s = max(stay.inside[1] - stay.entered[1], 0.0)
        said = self._say(ZoneExit, track, stay, stay.inside, dwell_s=round(dwell_s, 1))
        stay.entered = None
        return said

    def _say(
        self, kind: type[ZoneEnter | ZoneExit | Dwell], track: int, stay: _Stay, when: tuple[int, float], **more: float
    ) -> Happening:
        body = kind.model_validate({"zone": self.zone, "class": class_name(stay.class_id), "track": track, **more})
        return Happening(body, track, *when, self._class_ids)

    def _occupy(self, tracks: Tracks) -> None:
        counted = [class_id in self._class_ids for class_id in tracks.class_ids.tolist()]
        confirmed = set(tracks.ids[tracks.confirmed & np.array(counted, np.bool_)].tolist())
        inside = sum(stay.entered is not None and track in confirmed for track, stay in self._stays.items())
        if self._last_s is not None:
            self._object_s += inside * max(tracks.mono_s - self._last_s, 0.0)
        self._peak = max(self._peak, inside)
        self._last_s = tracks.mono_s
