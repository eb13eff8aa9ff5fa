"""The doctor's advice, for whoever looks: found in a thread of its own, at most so often, and only while somebody asks.

What takes seconds (a broker that does not answer, a camera that is away) never keeps a page waiting: it has what was
found last, and says how old that is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.clock import Clock
from agent.ops.findings import Finding, in_order

_log = logging.getLogger(__name__)

_EVERY_S = 120.0
_UNTOLD = {"doctor-blind"}  # what this process may not see is no matter of the box

Examine = Callable[[], Sequence[Finding]]


@dataclass(frozen=True, slots=True)
class Advice:
    """findings: in the order of importance. age_s: since they were found."""

    findings: tuple[Finding, ...]
    age_s: float

    @property
    def problems(self) -> int:
        return sum(one.level == "problem" for one in self.findings)


class Advisor:
    """Any number of threads may use it."""

    def __init__(self, examine: Examine, clock: Clock) -> None:
        self._examine = examine
        self._clock = clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._found: tuple[tuple[Finding, ...], float] | None = None
        self._asked_s = float("-inf")

    def advice(self) -> Advice | None:
        """At once; None as long as nothing was found out yet. It is looked anew if the last look is too old."""
        with self._lock:
            now_s = self._clock.mono_s()
            is_busy = self._thread is not None and self._thread.is_alive()
            if not is_busy and now_s - self._asked_s >= _EVERY_S:
                self._asked_s = now_s
                self._thread = threading.Thread(target=self._look, name="web-doctor", daemon=True)
                self._thread.start()
            return None if self._found is None else Advice(self._found[0], now_s - self._found[1])

    def wait(self, timeout_s: float) -> None:
        """Until what is being looked at is seen."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _look(self) -> None:
        try:
            found = tuple(one for one in in_order(self._examine()) if one.kind not in _UNTOLD)
        except Exception:  # a bug in a probe: the page has no advice, and the box goes on
            _log.exception("page: bug in looking for advice")
            return
        with self._lock:
            self._found = (found, self._clock.mono_s())
