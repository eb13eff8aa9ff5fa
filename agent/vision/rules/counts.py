"""How many crossed, per interval, line, direction and class, how fast and how close behind each other; how full the
zones were.

Fed with what the other rules said and the pipeline let through, so a count never says more than the single events do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from agent.contract.event import Counts, Crossing, Direction, LineCount, LineFlow, ZoneOccupancy
from agent.vision.rules.base import Happening
from agent.vision.rules.zone import ZonePresence

_LONGEST_STEP_S = 2.0  # frames further apart than this: the camera gave no pictures in between


@dataclass(slots=True)
class _Flow:
    """The vehicles of one line and direction."""

    last_s: float | None = None  # when the last one crossed; kept from interval to interval
    gaps_s: list[float] = field(default_factory=list)
    speeds_kmh: list[float] = field(default_factory=list)


class IntervalCounts:
    """The counts of one camera, one body per interval_s."""

    def __init__(self, interval_s: float, zones: Sequence[ZonePresence]) -> None:
        self._interval_s = interval_s
        self._zones = zones
        self._crossed: Counter[tuple[str, str, str]] = Counter()
        self._flows: dict[tuple[str, Direction], _Flow] = {}
        self._began_s: float | None = None
        self._last_s = 0.0
        self._seen_s = 0.0

    def add(self, happened: Sequence[Happening]) -> None:
        for happening in happened:
            if isinstance(happening.body, Crossing):
                body = happening.body
                self._crossed[body.line, body.direction, body.object_class] += 1
                if body.object_class != "person":
                    self._follow(body, happening.mono_s)

    def update(self, frame_index: int, mono_s: float) -> list[Happening]:
        """Time has come to mono_s; the interval's counts if it is over. Intervals without a frame are passed over."""
        if self._began_s is None:
            self._began_s = self._last_s = mono_s
            return []
        step_s = mono_s - self._last_s
        if step_s <= _LONGEST_STEP_S:
            self._seen_s += step_s
        else:
            for flow in self._flows.values():
                flow.last_s = None  # who passed meanwhile was not seen: the next gap would be none
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
            flows=self._take_flows(),
            seen_s=round(min(self._seen_s, length_s), 1),
        )
        self._crossed.clear()
        self._began_s, self._seen_s = self._last_s, 0.0
        return [Happening(body, 0, frame_index, self._last_s)]

    def _follow(self, body: Crossing, mono_s: float) -> None:
        flow = self._flows.setdefault((body.line, body.direction), _Flow())
        if flow.last_s is not None:
            # Told late and out of order now and then: a gap is not negative.
            flow.gaps_s.append(max(mono_s - flow.last_s, 0.0))
        flow.last_s = mono_s if flow.last_s is None else max(mono_s, flow.last_s)
        if body.speed_kmh is not None:
            flow.speeds_kmh.append(body.speed_kmh)

    def _take_flows(self) -> tuple[LineFlow, ...] | None:
        """What there is to say of the interval's flows."""
        said: list[LineFlow] = []
        for (line, direction), flow in sorted(self._flows.items()):
            if flow.gaps_s or flow.speeds_kmh:
                said.append(
                    LineFlow(
                        line=line,
                        direction=direction,
                        mean_speed_kmh=round(fmean(flow.speeds_kmh), 1) if flow.speeds_kmh else None,
                        headway_s=round(fmean(flow.gaps_s), 2) if flow.gaps_s else None,
                    )
                )
                flow.gaps_s, flow.speeds_kmh = [], []
        return tuple(said) or None
