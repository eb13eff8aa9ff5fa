"""The agent's part: it tells the operations centre what became of updates, and shows the updater that it works.

The reports are the updater's and stay in its file; which of them are told is remembered in a file of the agent's own. A
report goes into the outbox first and is remembered then: a power cut between the two tells it twice, under one
`update` and result, and never not at all.
"""

from __future__ import annotations

import logging
from pathlib import Path

from agent.clock import Clock
from agent.contract.event import BoxUpdate, Event, Severity, Stream
from agent.durable import Memo
from agent.errors import EventStoreError
from agent.raised import Put
from agent.update.places import Places
from agent.update.state import Report, Result, read_reports

_log = logging.getLogger(__name__)

_SEVERITY: dict[Result, Severity] = {
    "accepted": "info",
    "confirmed": "info",
    "refused": "warning",
    "rolled-back": "critical",
}


class UpdateReporter:
    """Used by one thread. told: the number of the last report that is stored."""

    def __init__(self, places: Places, memo: Path, put: Put, *, clock: Clock) -> None:
        self._state = places.state
        self._memo = Memo(memo)
        self._put = put
        self._clock = clock
        self._seen: tuple[int, int] | None = None
        self._cannot_tell = False
        self.told = self._remembered()

    def update(self) -> None:
        """Look for new reports and tell them. To be called every second or so."""
        try:
            info = self._state.stat()
        except OSError:  # no updates on this box, ever: a developer's, or one set up by hand
            return
        seen = (info.st_ino, info.st_mtime_ns)
        if seen == self._seen:
            return
        try:
            new = [report for report in read_reports(self._state) if report.n > self.told]
        except (OSError, ValueError) as exc:
            _log.error("%s: reports of updates cannot be read: %s", self._state, exc)
            self._seen = seen
            return
        if not new:
            self._seen = seen
            return
        try:
            self._put(*(Event(Stream.ALERT, "box", _body(report), self._clock.stamp()) for report in new))
        except EventStoreError as exc:
            if not self._cannot_tell:
                _log.error("%d report(s) of updates wait to be stored: %s", len(new), exc)
            self._cannot_tell = True
            return
        self._seen, self._cannot_tell = seen, False
        self.told = new[-1].n
        self._memo.write(str(self.told).encode())

    def _remembered(self) -> int:
        try:
            return int(self._memo.path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0


def _body(report: Report) -> BoxUpdate:
    return BoxUpdate.model_validate(
        {
            "result": report.result,
            "severity": _SEVERITY[report.result],
            "file": report.file,
            "update": report.update_id,
            "artifact": report.kind,
            "name": report.name,
            "version": report.version,
            "previous": report.previous,
            "reason": report.reason,
        }
    )
