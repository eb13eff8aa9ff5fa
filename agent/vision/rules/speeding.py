"""Which vehicle is faster than the limit, by more than the measurement may be wrong.

        limit
          │      ├───●───┤   told: even the slowest it may have been is above
       ├──┼──●───┤           not told

At a line the speed of the last second before it counts; in a zone the first one that is beyond doubt. It is a reason
to look, not evidence for a fine.
"""

from __future__ import annotations

from agent.contract.event import Crossing, Speeding
from agent.vision.rules.base import Finding
from agent.vision.rules.crossing import LineCrossing
from agent.vision.rules.zone import ZonePresence
from agent.vision.speed import Speed, Speedometer
from agent.vision.track import Tracks


class SpeedingRule:
    """Asks its line who has just passed, or its zone who is inside, and the speedometer how fast; remembers nothing."""

    def __init__(self, where: LineCrossing | ZonePresence, speeds: Speedometer, limit_kmh: float) -> None:
        self._where = where
        self._speeds = speeds
        self._limit_kmh = limit_kmh

    def update(self, tracks: Tracks) -> list[Finding]:
        found: list[Finding] = []
        if isinstance(self._where, LineCrossing):
            for said in self._where.said:
                speed = self._beyond(said.track)
                if speed is not None and isinstance(said.body, Crossing):
                    found.append(self._find(speed, said.track, said.frame_index, said.mono_s, line=said.body.line))
        else:
            for track in self._where.inside():
                speed = self._beyond(track)
                if speed is not None:
                    found.append(self._find(speed, track, tracks.frame_index, tracks.mono_s, zone=self._where.zone))
        return found

    def _beyond(self, track: int) -> Speed | None:
        speed = self._speeds.speed(track)
        return speed if speed is not None and speed.kmh - speed.error_kmh > self._limit_kmh else None

    def _find(self, speed: Speed, track: int, frame_index: int, mono_s: float, **where: str) -> Finding:
        fields = {
            **where,
            "speed_kmh": round(speed.kmh, 1),
            "speed_error_kmh": round(speed.error_kmh, 1),
            "limit_kmh": self._limit_kmh,
        }
        return Finding(Speeding, fields, track, frame_index, mono_s, track=track, lasts="zone" in where)
