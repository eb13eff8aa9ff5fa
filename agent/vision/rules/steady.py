"""Two ways to make a decision that does not tremble: an average over the last seconds, and a switch with patience."""

from __future__ import annotations

import math

_LOOK_AROUND_S = 10.0  # after a start: who is there is found, and the averages have reached what is so


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
        self._settled_s: float | None = -math.inf  # from when on it may change; None: some time after the next update
        self.is_on = False

    def resume(self) -> None:
        """It was on when the agent ended, and stays so until there was time to look around."""
        self.is_on, self._settled_s = True, None

    def update(self, mono_s: float, *, on: bool, off: bool) -> bool:
        if self._settled_s is None:
            self._settled_s = mono_s + _LOOK_AROUND_S
        if mono_s < self._settled_s or not (off if self.is_on else on):
            self._since_s = None
        elif self._since_s is None:
            self._since_s = mono_s
        if self._since_s is not None and mono_s - self._since_s >= self._patience_s:
            self.is_on, self._since_s = not self.is_on, None
        return self.is_on
