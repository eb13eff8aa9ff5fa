"""What the tracks of one picture size come to: the rules at work, and what of their words is let through.

Tracks in, what is told out. The live pipeline has one, and so has whoever tries other lines on tracks that were
recorded: both are told the same by the same tracks. It reads no clock and no picture but for the instruments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from agent.vision.rules.base import Happening, Instrument, Rule, class_name
from agent.vision.rules.counts import IntervalCounts
from agent.vision.rules.crossing import LineCrossing
from agent.vision.rules.policy import Policy
from agent.vision.rules.zone import ZonePresence
from agent.vision.track import Tracks
from drivers.base import Frame

_HELD_BACK_S = 2.0  # a track that is not confirmed by then had its say


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one camera for one frame size, and what they are made with. Each may ask those before it."""

    lines: tuple[LineCrossing, ...]
    zones: tuple[ZonePresence, ...]
    alerts: tuple[Policy, ...] = ()
    instruments: tuple[Instrument, ...] = ()

    @property
    def all(self) -> tuple[Rule, ...]:
        return (*self.lines, *self.zones, *self.alerts)


class Rulebook:
    """Remembers tracks until they have ended, and their words until they are confirmed."""

    def __init__(
        self,
        rules: Rules,
        *,
        count_interval_s: float,
        attributes: Callable[[int], dict[str, str]] | None = None,
    ) -> None:
        """attributes: what readers know of a track by now, by their names; None: nobody reads."""
        self.rules = rules
        self._attributes = attributes
        self._counts = IntervalCounts(count_interval_s, rules.zones)
        self._held: dict[int, list[Happening]] = {}
        self._confirmed: set[int] = set()
        self._class_ids: dict[int, int] = {}
        self._last_index = 0

    def update(self, frame: Frame, tracks: Tracks) -> list[Happening]:
        """The next frame, and the objects in it; what may be told now."""
        for instrument in self.rules.instruments:
            instrument.update(frame, tracks)
        happened = self._let_through([h for rule in self.rules.all for h in rule.update(tracks)], tracks)
        self._counts.add(happened)
        return happened + self._counts.update(tracks.frame_index, tracks.mono_s)

    def finish(self) -> list[Happening]:
        """Nothing more comes of this picture: whoever is in a zone leaves it, what is raised is cleared, and the
        interval that runs ends."""
        left = [h for zone in self.rules.zones for h in zone.end()]
        said = [self._described(h) for h in left if self._is_believed(h)]
        said += [h for alert in self.rules.alerts for h in alert.end()]
        return said + self._counts.flush(self._last_index)

    def _let_through(self, said: list[Happening], tracks: Tracks) -> list[Happening]:
        """What confirmed tracks did, now or while they were not confirmed yet; forget what came to nothing."""
        self._last_index = tracks.frame_index
        for happening in said:
            self._held.setdefault(happening.track, []).append(happening)
        self._confirmed.update(int(i) for i in tracks.ids[tracks.confirmed])
        self._class_ids.update(zip(tracks.ids.tolist(), tracks.class_ids.tolist(), strict=True))
        passed = self._held.pop(0, [])  # speaks of no object, so there is none to be confirmed
        for track in list(self._held):
            if track in self._confirmed:
                passed += [self._described(h) for h in self._held.pop(track) if self._is_believed(h)]
            elif track in tracks.ended or tracks.mono_s - self._held[track][0].mono_s > _HELD_BACK_S:
                del self._held[track]
        self._confirmed.difference_update(tracks.ended)
        for track in tracks.ended:
            self._class_ids.pop(track, None)
        return sorted(passed, key=lambda h: (h.mono_s, h.track))

    def _is_believed(self, happening: Happening) -> bool:
        return happening.track in self._confirmed and self._class_ids[happening.track] in happening.class_ids

    def _described(self, happening: Happening) -> Happening:
        """With what is known of the object by now: its class and, where the body has a place for them, attributes."""
        known: dict[str, object] = {"object_class": class_name(self._class_ids[happening.track])}
        if self._attributes is not None and "attributes" in type(happening.body).model_fields:
            known["attributes"] = self._attributes(happening.track) or None
        return replace(happening, body=happening.body.model_copy(update=known))
