"""Feeds systemd's watchdog while every stage moves; says which one does not, and lets it starve then.

What systemd does about it is in its unit: the service is ended with SIGABRT, which prints where each thread was, and is
started anew. Nothing else can end a call into a driver that never returns.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from agent.alive import Signs

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 15.0  # where no supervisor asks to be fed: what is stuck is still said


class Supervisor(Protocol):
    """Whom it feeds, as `agent.ops.notify`."""

    watchdog_s: float | None

    def fed(self) -> None: ...


class Watchdog:
    """In a thread of its own: the stages may wait for each other, and for the disk; it waits for nobody."""

    def __init__(self, signs: Sequence[Signs], supervisor: Supervisor) -> None:
        self._signs = signs
        self._supervisor = supervisor
        # Four times in its period, so that a machine under load is not taken for a hung one.
        self._every_s = _LOOK_EVERY_S if supervisor.watchdog_s is None else supervisor.watchdog_s / 4
        self._told: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """May be called twice, and before start()."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def look(self) -> bool:
        """Whether all stages move; fed then."""
        overdue_s = {signs.name: late_s for signs in self._signs if (late_s := signs.overdue_s()) > 0}
        for name in overdue_s.keys() - self._told:
            _log.error("%s is stuck: no sign of it for %.0f s longer than it may take", name, overdue_s[name])
        for name in self._told - overdue_s.keys():
            _log.warning("%s moves again", name)
        self._told = set(overdue_s)
        if not overdue_s:
            self._supervisor.fed()
        return not overdue_s

    def _run(self) -> None:
        while True:
            self.look()
            if self._stopping.wait(self._every_s):
                return
