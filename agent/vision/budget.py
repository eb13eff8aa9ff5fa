"""How many inferences a second all cameras of a box may make together, and whose turn it is.

One object shared by the threads of all cameras. Each camera that asks has a bucket of its own, filled by its share of
the limit: one with objects in view has a larger share than one in which leaves move, and one that does not ask has
none, so an idle camera costs the others nothing. What a full bucket cannot hold goes to a spare one for whoever is
short. Time is the frames' own: nothing here reads a clock, and a recording replayed alone is served the same every
time.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

_ASKED_LATELY_S = 2.0  # a camera that has not asked for so long has no share
_BURST_S = 0.5  # a bucket holds what flows in during this time, and at least _LEAST_BURST
_LEAST_BURST = 4.0
_IDLE_WEIGHT = 0.25  # the share of a camera with nothing to follow, where one with live tracks has 1


@dataclass(frozen=True, slots=True)
class BudgetState:
    """For health. granted and refused count inferences from the start."""

    max_per_s: float  # as configured
    limit_per_s: float  # as of now: less under heat or load
    granted: int
    refused: int


@dataclass(slots=True)
class _Account:
    asked_s: float
    weight: float
    tokens: float


class InferenceBudget:
    """Safe to share between threads. Remembers one small account per camera."""

    def __init__(self, max_per_s: float) -> None:
        self._max_per_s = max_per_s
        self._lock = threading.Lock()
        # Below: guarded by _lock.
        self._limit_per_s = max_per_s
        self._accounts: dict[str, _Account] = {}
        self._spare = 0.0
        self._now_s: float | None = None
        self._granted = 0
        self._refused = 0

    def limit(self, share: float) -> None:
        """Allow only this share (0..1) of the configured rate from now on: heat, load, a battery."""
        with self._lock:
            self._limit_per_s = self._max_per_s * min(max(share, 0.0), 1.0)

    def take(self, camera_id: str, wanted: int, mono_s: float, *, live: bool) -> int:
        """How many of the wanted inferences camera_id may run for its frame of mono_s. live: it follows something."""
        with self._lock:
            self._flow(mono_s)
            account = self._accounts.get(camera_id)
            if account is None or mono_s - account.asked_s > _ASKED_LATELY_S:
                # Whoever comes back finds a bucket to begin with: its first look must not wait.
                account = self._accounts[camera_id] = _Account(mono_s, 1.0, self._least_burst())
            account.asked_s, account.weight = mono_s, 1.0 if live else _IDLE_WEIGHT
            granted = min(wanted, int(account.tokens + self._spare))
            own = min(account.tokens, float(granted))
            account.tokens -= own
            self._spare -= granted - own
            self._granted += granted
            self._refused += wanted - granted
            return granted

    def state(self) -> BudgetState:
        with self._lock:
            return BudgetState(self._max_per_s, self._limit_per_s, self._granted, self._refused)

    def _least_burst(self) -> float:
        """Never less than the one inference that is asked for: a bucket for half of it would never be full enough."""
        return min(_LEAST_BURST, max(self._limit_per_s, 1.0)) if self._limit_per_s > 0 else 0.0

    def _flow(self, mono_s: float) -> None:
        """Share out what the time since the last call is worth. Cameras' frames may come a little out of order."""
        elapsed_s = 0.0 if self._now_s is None else min(max(mono_s - self._now_s, 0.0), _ASKED_LATELY_S)
        self._now_s = mono_s if self._now_s is None else max(self._now_s, mono_s)
        if not elapsed_s:
            return
        active = [a for a in self._accounts.values() if self._now_s - a.asked_s <= _ASKED_LATELY_S]
        weights = sum(a.weight for a in active)
        for account in active:
            rate = self._limit_per_s * account.weight / weights
            full = max(rate * _BURST_S, self._least_burst())
            account.tokens += rate * elapsed_s
            self._spare += max(account.tokens - full, 0.0)
            account.tokens = min(account.tokens, full)
        self._spare = min(self._spare, self._limit_per_s * _BURST_S)
