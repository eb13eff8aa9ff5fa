"""More people in a zone than it is meant for.

people   ──── raised above more_than, for after_s ────
          ▲         ╭──╮
          │    ╭────╯  ╰──╮
          │ ───╯          ╰───  cleared below nine tenths of it, for after_s
"""

from __future__ import annotations

from agent.contract.event import Crowd, StateAlert
from agent.vision.rules.base import Finding
from agent.vision.rules.steady import Average, Switch
from agent.vision.rules.zone import ZonePresence
from agent.vision.track import Tracks

_LATELY_S = 2.0  # in a throng somebody is always hidden for a moment
_CLEARED = 0.9


class CrowdRule:
    """Asks its zone who is inside, and counts the confirmed ones of its classes; remembers only how many."""

    def __init__(self, zone: ZonePresence, more_than: int, after_s: float, class_ids: frozenset[int]) -> None:
        self._zone = zone
        self._more_than = more_than
        self._class_ids = class_ids
        self._people = Average(_LATELY_S)
        self._crowded = Switch(after_s)

    def resume(self, body: StateAlert) -> bool:
        is_ours = isinstance(body, Crowd) and body.zone == self._zone.zone
        if is_ours:
            self._crowded.resume()
        return is_ours

    def update(self, tracks: Tracks) -> list[Finding]:
        inside = self._zone.inside()
        now = sum(
            track in inside and class_id in self._class_ids
            for track, class_id in zip(
                tracks.ids[tracks.confirmed].tolist(), tracks.class_ids[tracks.confirmed].tolist(), strict=True
            )
        )
        people = self._people.update(now, tracks.mono_s)
        # Half a person above: an average of whole numbers comes near more_than + 1 and does not reach it.
        on, off = people > self._more_than + 0.5, people < _CLEARED * (self._more_than + 0.5)
        if not self._crowded.update(tracks.mono_s, on=on, off=off):
            return []
        fields = {"zone": self._zone.zone, "people": round(people, 1)}
        return [Finding(Crowd, fields, 0, tracks.frame_index, tracks.mono_s)]
