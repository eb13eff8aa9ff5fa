"""Two ways to make a decision that does not tremble: an average over the last seconds, and a switch with patience."""

from __future__ import annotations

import math


class Average:
    """What a value has been lately: an average that forgets with a time constant."""

    def __init__(self, time_constant_s: float) -> None:
        self._time_constant_s = time_constant_s
        self._last_s: float | None = None
        self.value = 0.0

    def update(self, value: float, mono_s: float) -> float:
        share = 1.0 if self._last_s is None else 1.0 - math.exp(-(mono_s - self._last_s) / self._time_constant_s)
        self._last_s = mono_s
        self.value += share * (value - self.value)
        return self.value


class Switch:
    """On after it should have been on for patience_s without a break, off after it should have been off for as long.

    In between, where it neither should be on nor off, it stays what it is.

        should be on   ····███████████████··············
        should be off  ███·················█████████████
        is on          ·········██████████████████······
                           └───┘           └─────┘
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since_s: float | None = None  # since when it should be other than it is
        self.is_on = False

    def update(self, mono_s: float, *, on: bool, off: bool) -> bool:
        if not (off if self.is_on else on):
            self._since_s = None
        elif self._since_s is None:
            self._since_s = mono_s
        if self._since_s is not None and mono_s - self._since_s >= self._patience_s:
            self.is_on, self._since_s = not self.is_on, None
        return self.is_on
