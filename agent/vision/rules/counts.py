"""How many crossed, per interval, line, direction and class; how full the zones were.

Fed with what the other rules said and the pipeline let through, so a count never says more than the single events do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agent.contract.event import Counts, Crossing, LineCount, ZoneOccupancy
from agent.vision.rules.base import Happening
from agent.vision.rules.zone import ZonePresence

_LONGEST_STEP_S = 2.0  # frames further apart than this: the camera gave no pictures in between


class IntervalCounts:
    """The counts of one camera, one body per interval_s."""

    def __init__(self, interval_s: float, zones: Sequence[ZonePresence]) -> None:
        self._interval_s = interval_s
        self._zones = zones
        self._crossed: Counter[tuple[str, str, str]] = Counter()
        self._began_s: float | None = None
        self._last_s = 0.0
        self._seen_s = 0.0

    def add(self, happened: Sequence[Happening]) -> None:
        for happening in happened:
            if isinstance(happening.body, Crossing):
                body = happening.body
                self._crossed[body.line, body.direction, body.object_class] += 1

    def update(self, frame_index: int, mono_s: float) -> list[Happening]:
        """Time has come to mono_s; the interval's counts if it is over. Intervals without a frame are passed over."""
        if self._began_s is None:
            self._began_s = self._last_s = mono_s
            return []
        step_s = mono_s - self._last_s
        self._seen_s += step_s if step_s <= _LONGEST_STEP_S else 0.0
        self._last_s = mono_s
        return self.flush(frame_index) if mono_s - self._began_s >= self._interval_s else []

    def flush(self, frame_index: int) -> list[Happening]:
        """End the interval now, at the time of the last frame."""
        if self._began_s is None or self._last_s <= self._began_s:
            return []
        length_s = self._last_s - self._began_s
        body = Counts(
            interval_s=round(length_s, 1),
            lines=tuple(
                LineCount.model_validate({"line": line, "direction": direction, "class": name, "n": n})
                for (line, direction, name), n in sorted(self._crossed.items())
            ),
            zones=tuple(
                ZoneOccupancy(zone=zone.zone, mean=round(held.object_s / length_s, 2), peak=held.peak)
                for zone in self._zones
                for held in (zone.take_occupancy(),)
            ),
            seen_s=round(min(self._seen_s, length_s), 1),
        )
        self._crossed.clear()
        self._began_s, self._seen_s = self._last_s, 0.0
        return [Happening(body, 0, frame_index, self._last_s)]
