"""What the box has stored since the agent started, as far as a person at the box wants to see it; bounded, in memory.

One way for all, as for `agent.raised`: whatever is stored passes by here (`noting`).
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from agent.contract.event import (
    Alert,
    BoxStrained,
    CameraFault,
    CameraSilent,
    Crossing,
    Event,
    Evidence,
    Lasting,
    SensorAlert,
)

_ALERTS = 30
_HOURS = 24
_MOST_COUNTERS = 2000

Put = Callable[..., None]
Told = Alert | CameraFault | CameraSilent | SensorAlert | BoxStrained


@dataclass(slots=True)
class Noted:
    """An alert. over_s: it was raised, has been cleared, and lasted so long."""

    source: str
    body: Told
    at: datetime
    is_time_known: bool
    over_s: float | None = None

    @property
    def is_open(self) -> bool:
        """It was raised, and goes on."""
        return isinstance(self.body, Lasting) and self.over_s is None

    @property
    def evidence(self) -> Evidence | None:
        return self.body.evidence if isinstance(self.body, Alert) else None


@dataclass(frozen=True, slots=True)
class Hour:
    began: datetime
    by_direction: dict[str, int]  # "in", "out"


class Diary:
    """Any number of threads may use it."""

    def __init__(self, timezone: str) -> None:
        self.zone = _zone(timezone)
        self._lock = threading.Lock()
        self._alerts: deque[Noted] = deque(maxlen=_ALERTS)
        self._told: Counter[tuple[str, str]] = Counter()
        self._crossed: Counter[tuple[str, str, str, str]] = Counter()
        self._hours: dict[tuple[str, int], Counter[str]] = {}  # by camera and hour since 1970

    def noting(self, put: Put) -> Put:
        """put, and what it has stored is noted."""

        def put_and_note(*events: Event) -> None:
            put(*events)
            with self._lock:
                for event in events:
                    self._note(event)

        return put_and_note

    def alerts(self) -> list[Noted]:
        """The newest first."""
        with self._lock:
            return list(reversed(self._alerts))

    def evidence_ids(self) -> set[str]:
        with self._lock:
            return {noted.evidence.id for noted in self._alerts if noted.evidence is not None}

    def told(self) -> dict[tuple[str, str], int]:
        """(source, kind) → alerts since start."""
        with self._lock:
            return dict(self._told)

    def crossed(self) -> dict[tuple[str, str, str, str], int]:
        """(camera, line, direction, class) → crossings since start."""
        with self._lock:
            return dict(self._crossed)

    def counts(self, camera: str) -> dict[str, dict[str, int]]:
        """line → direction → crossings since start."""
        found: dict[str, dict[str, int]] = {}
        for (of, line, direction, _), n in self.crossed().items():
            if of == camera:
                there = found.setdefault(line, {"in": 0, "out": 0})
                there[direction] += n
        return found

    def hours(self, camera: str, now_ms: int, most: int = _HOURS) -> list[Hour]:
        """The last hours, the one that runs being the last."""
        last = _hour(now_ms)
        with self._lock:
            by_hour = {hour: dict(n) for (of, hour), n in self._hours.items() if of == camera}
        began = self._local(last * 3_600_000)
        return [Hour(began - timedelta(hours=ago), by_hour.get(last - ago, {})) for ago in reversed(range(most))]

    def _note(self, event: Event) -> None:
        body = event.body
        if isinstance(body, Crossing):
            key = (event.source, body.line, body.direction, body.object_class)
            if key in self._crossed or len(self._crossed) < _MOST_COUNTERS:
                self._crossed[key] += 1
            self._count(event.source, body.direction, event.stamp.wall_ms)
        elif isinstance(body, Told):
            self._tell(event, body)

    def _count(self, camera: str, direction: str, wall_ms: int) -> None:
        hour = _hour(wall_ms)
        self._hours.setdefault((camera, hour), Counter())[direction] += 1
        # A clock that is set jumps, forwards as a rule: what belongs to another day is not shown, and goes.
        self._hours = {key: n for key, n in self._hours.items() if abs(key[1] - hour) <= _HOURS}

    def _tell(self, event: Event, body: Told) -> None:
        if isinstance(body, Lasting) and body.state == "cleared":
            for noted in self._alerts:
                if isinstance(noted.body, Lasting) and noted.body.alert == body.alert:
                    noted.over_s = body.lasted_s or 0.0
            return
        self._told[event.source, body.kind] += 1  # type: ignore[union-attr]  # every kind of them has one
        at = self._local(event.stamp.wall_ms)
        self._alerts.append(Noted(event.source, body, at, event.stamp.trusted))

    def _local(self, wall_ms: int) -> datetime:
        return datetime.fromtimestamp(wall_ms / 1000, self.zone)


def _zone(name: str) -> tzinfo:
    """UTC on a system without tzdata, where no schedule is either (see `agent.config`)."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return UTC


def _hour(wall_ms: int) -> int:
    return wall_ms // 3_600_000
