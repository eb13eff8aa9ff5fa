"""Who stays in a zone longer than allowed, walking about or standing.

   ┌───────────────┐
───┼─▶ ~~~~~~~~~ ! │   after_s after it came in
   └───────────────┘
"""

from __future__ import annotations

from agent.contract.event import Loitering
from agent.vision.rules.base import Finding, plain
from agent.vision.rules.zone import ZonePresence
from agent.vision.track import Tracks


class LoiteringRule:
    """Asks its zone since when who is inside. Remembers which tracks have been plain to see, until they have ended."""

    def __init__(self, zone: ZonePresence, after_s: float) -> None:
        self._zone = zone
        self._after_s = after_s
        self._plain: set[int] = set()

    def update(self, tracks: Tracks) -> list[Finding]:
        self._plain.update(tracks.ids[plain(tracks)].tolist())
        self._plain.difference_update(tracks.ended)
        return [
            Finding(
                Loitering,
                {"zone": self._zone.zone, "dwell_s": round(tracks.mono_s - entered_s, 1)},
                track,
                tracks.frame_index,
                tracks.mono_s,
                track=track,
            )
            for track, entered_s in self._zone.inside().items()
            if track in self._plain and tracks.mono_s - entered_s >= self._after_s
        ]
