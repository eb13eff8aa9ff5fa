"""From the audit log onto the ledger: what anybody noted is published, in order, and nothing twice if it can be helped.

An entry goes into the outbox first and is remembered then: a power cut between the two publishes it twice, under one
number and hash.
"""

from __future__ import annotations

import logging
from pathlib import Path

from agent.audit.log import AuditLog, verify
from agent.clock import Clock
from agent.contract.event import Audit, Event, Stream
from agent.durable import Memo
from agent.errors import EventStoreError
from agent.raised import Put

_log = logging.getLogger(__name__)

_AT_ONCE = 100
_MOST_AGAIN = 1000  # published anew where it is not known how far we were


class AuditReporter:
    """Used by one thread."""

    def __init__(self, log: AuditLog, memo: Path, put: Put, *, clock: Clock) -> None:
        self._audit = log
        self._memo = Memo(memo)
        self._put = put
        self._clock = clock
        self._seen: tuple[str, int] | None = None
        self._failing = False
        self._told = self._remembered()

    def update(self) -> None:
        """Publish what is new. To be called every second or so; looks at the newest file's size, no more."""
        seen = self._newest()
        if seen == self._seen:
            return
        try:
            new = self._audit.since(self._told)[:_AT_ONCE]
            if new:
                self._put(*(Event(Stream.ALERT, "box", entry, self._clock.stamp()) for entry in new))
        except (OSError, EventStoreError) as exc:
            if not self._failing:
                _log.error("the audit log waits to be published: %s", exc)
            self._failing = True
            return
        self._failing = False
        if new:
            self._remember(new[-1])
        if len(new) < _AT_ONCE:
            self._seen = seen

    def _newest(self) -> tuple[str, int] | None:
        try:
            newest = max(self._audit.folder.glob("*.log"), default=None)
            return None if newest is None else (newest.name, newest.stat().st_size)
        except OSError:
            return None

    def _remember(self, entry: Audit) -> None:
        self._told = entry.n
        self._memo.write(str(entry.n).encode())

    def _remembered(self) -> int:
        try:
            return int(self._memo.path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return max(self._newest_number() - _MOST_AGAIN, 0)

    def _newest_number(self) -> int:
        last = verify(self._audit.folder).last if self._audit.folder.is_dir() else None
        return 0 if last is None else last.n
