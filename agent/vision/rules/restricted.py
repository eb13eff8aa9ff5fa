"""Who is in a zone where none of its class may be; with a schedule, at the hours at which it may not.

┌─────────┐
│    !    │ ◀── comes in, or is there when the hours begin
└─────────┘
"""

from __future__ import annotations

from agent.contract.event import Restricted
from agent.vision.rules.base import Finding, plain
from agent.vision.rules.zone import ZonePresence
from agent.vision.track import Tracks


class RestrictedRule:
    """Asks its zone who is inside. Remembers which tracks have been plain to see, until they have ended."""

    def __init__(self, zone: ZonePresence) -> None:
        self._zone = zone
        self._plain: set[int] = set()

    def update(self, tracks: Tracks) -> list[Finding]:
        self._plain.update(tracks.ids[plain(tracks)].tolist())
        self._plain.difference_update(tracks.ended)
        return [
            Finding(Restricted, {"zone": self._zone.zone}, track, tracks.frame_index, tracks.mono_s, track=track)
            for track in self._zone.inside()
            if track in self._plain
        ]
