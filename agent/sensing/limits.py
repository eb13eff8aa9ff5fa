"""Limits of one quantity: too high, too low, rising or falling too fast. Values in, "raised" and "cleared" out.

Reads no clock: every value comes with its time. A value that hovers at its limit raises one alert and not hundreds: it
must come back behind `clear`, and stay beyond or behind for `hold_s`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

Bound = Literal["above", "below", "rising", "falling"]
Turn = Literal["raised", "cleared"]


@dataclass(frozen=True, slots=True)
class Limit:
    """What the configuration says of one limit.

    at: in the quantity's unit; for rising and falling per minute, as a positive number.
    clear: where it is over, on the good side of `at`.
    over_s: rising and falling are measured over so long.
    """

    id: str
    bound: Bound
    at: float
    clear: float
    hold_s: float = 0.0
    over_s: float = 60.0
    severity: Literal["info", "warning", "critical"] = "warning"


class Latch:
    """Turns when its condition has held for hold_s without a break, both ways."""

    def __init__(self, hold_s: float) -> None:
        self.is_on = False
        self._hold_s = hold_s
        self._against_since_s: float | None = None
        self._on_since_s = 0.0

    def update(self, on: bool, mono_s: float) -> Turn | None:
        if on == self.is_on:
            self._against_since_s = None
            return None
        if self._against_since_s is None:
            self._against_since_s = mono_s
        if mono_s - self._against_since_s < self._hold_s:
            return None
        self.is_on, self._against_since_s = on, None
        if on:
            self._on_since_s = mono_s
        return "raised" if on else "cleared"

    def resume(self, on_since_s: float) -> None:
        """It was on when the agent ended; whether it still is, the next update tells."""
        self.is_on, self._on_since_s = True, on_since_s

    def lasted_s(self, mono_s: float) -> float:
        """Since it was raised."""
        return mono_s - self._on_since_s


class Slope:
    """How fast a value changes, per minute: a straight line through the last over_s (least squares).

    A single wrong value cannot tip it as it tips a difference. None until half of over_s has been seen, and again after
    a pause of over_s. Memory is bounded: values closer together than a hundredth of over_s are passed over.
    """

    _MOST = 100

    def __init__(self, over_s: float) -> None:
        self._over_s = over_s
        self._values: deque[tuple[float, float]] = deque(maxlen=self._MOST + 1)

    def per_min(self, value: float, mono_s: float) -> float | None:
        if not self._values or mono_s - self._values[-1][0] >= self._over_s / self._MOST:
            self._values.append((mono_s, value))
        while self._values and mono_s - self._values[0][0] > self._over_s:
            self._values.popleft()
        n = len(self._values)
        if n < 3 or self._values[-1][0] - self._values[0][0] < self._over_s / 2:
            return None
        mean_s = sum(s for s, _ in self._values) / n
        mean = sum(v for _, v in self._values) / n
        spread = sum((s - mean_s) ** 2 for s, _ in self._values)
        return sum((s - mean_s) * (v - mean) for s, v in self._values) / spread * 60


class LimitWatch:
    """One limit and where the quantity stands."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.alert: str | None = None  # the id of the alert that is raised
        self._latch = Latch(limit.hold_s)
        self._slope = Slope(limit.over_s) if limit.bound in ("rising", "falling") else None

    def update(self, value: float, mono_s: float) -> tuple[Turn, float] | None:
        """Whether it turned, and what it is measured by: the value, or its change per minute."""
        measured = value
        if self._slope is not None:
            slope = self._slope.per_min(value, mono_s)
            if slope is None:
                return None
            measured = slope if self.limit.bound == "rising" else -slope
        threshold = self.limit.clear if self._latch.is_on else self.limit.at
        beyond = measured < threshold if self.limit.bound == "below" else measured > threshold
        turn = self._latch.update(beyond, mono_s)
        return None if turn is None else (turn, measured)

    def resume(self, alert: str, on_since_s: float) -> None:
        self.alert = alert
        self._latch.resume(on_since_s)

    def lasted_s(self, mono_s: float) -> float:
        return self._latch.lasted_s(mono_s)
