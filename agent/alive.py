"""Signs of life: a thread that does the box's work gives one at each step, and says how long that step may take.

Whoever supervises sees which threads are overdue: hung in a driver, a lock or a disk, or ended by a bug. A thread
that gets nothing done for a good reason (a camera that is away, a broker that is down, a full disk) gives its signs all
the same, since it goes on trying.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from agent.clock import Clock


class Signs:
    """Of one thread, given by it and read by another. Before the first and after end() none are expected."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        self._within_s = 0.0
        self._due_s: float | None = None

    def give(self, within_s: float) -> None:
        """Alive. The next sign comes within so many seconds, or this thread is stuck."""
        self._within_s = within_s
        self._due_s = self._clock.mono_s() + within_s
        _own.signs = self

    def end(self) -> None:
        self._due_s = None

    def overdue_s(self) -> float:
        """0.0: as expected."""
        due_s = self._due_s
        return 0.0 if due_s is None else max(self._clock.mono_s() - due_s, 0.0)


class _Own(threading.local):
    """The signs of the thread that asks."""

    signs: Signs | None = None


_own = _Own()


def give_again() -> None:
    """The step that this thread announced has to be done once more. Nothing, in a thread that gives no signs."""
    if (signs := _own.signs) is not None:
        signs.give(signs._within_s)


@contextmanager
def excused() -> Iterator[None]:
    """While this thread waits for another one that gives signs of its own, none are expected of this one."""
    if (signs := _own.signs) is not None:
        signs.end()
    try:
        yield
    finally:
        give_again()
