"""The last hours of a few figures, for small curves; one sample in half a minute, bounded, in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from agent.contract.box import Health

EVERY_S = 30.0
_SAMPLES = 240  # two hours
_MOST_CURVES = 300
WIDTH, HEIGHT = 120, 28  # of a curve, in its own units


@dataclass(frozen=True, slots=True)
class Curve:
    """points: of an SVG polyline in WIDTH x HEIGHT. lowest, highest: what its lower and its upper edge stand for."""

    points: str
    lowest: float
    highest: float


class History:
    """Used by one thread."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, ...], deque[float | None]] = {}

    def sample(self, health: Health) -> None:
        now: dict[tuple[str, ...], float | None] = {("cpu_c",): health.cpu_c}
        if health.outbox is not None:
            now["outbox",] = float(health.outbox.rows)
        for sensor_id, sensor in (health.sensors or {}).items():
            is_known = sensor.state == "ok"  # else it is the last good value, and a curve would say it is so now
            now |= {("sensor", sensor_id, name): value if is_known else None for name, value in sensor.values.items()}
        for key in {*self._values, *now}:
            if key in self._values or len(self._values) < _MOST_CURVES:
                self._values.setdefault(key, deque(maxlen=_SAMPLES)).append(now.get(key))

    def curve(self, *key: str) -> Curve | None:
        """None before there are two values."""
        return _curve(self._values.get(key, ()))


def _curve(values: Sequence[float | None]) -> Curve | None:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    lowest, highest = min(known), max(known)
    span = highest - lowest or 1.0
    step = WIDTH / (_SAMPLES - 1)
    left = WIDTH - (len(values) - 1) * step  # the newest is at the right edge
    points = [
        f"{left + n * step:.1f},{HEIGHT - 2 - (value - lowest) / span * (HEIGHT - 4):.1f}"
        for n, value in enumerate(values)
        if value is not None
    ]
    return Curve(" ".join(points), lowest, highest)
