"""Which alerts are raised, in a small file that outlives the agent.

So that an alert which was raised when the power failed is not left open for ever: after the start it either goes on
under its own id or is cleared under it. One way for all: everything that is stored passes by here (`noting`), and at
the start each alert is offered to whoever watches what it is about (`resume`). The file is written after an alert is on
its way, whole or not at all: a power cut in the few milliseconds between the two leaves an alert open. A disk that
cannot be read or written costs this memory, with a line in the log, and nothing else.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.clock import Clock, Stamp
from agent.contract.event import Event, Lasting, Stream, cleared
from agent.contract.topics import check_id
from agent.contract.wire import PayloadError, body_json, read_body
from agent.durable import Memo

_log = logging.getLogger(__name__)

_MOST = 1000  # more than a box has rules and sensors; a file that says more is not ours

Put = Callable[..., None]
"""Stores events, or raises EventStoreError."""


@dataclass(frozen=True, slots=True)
class Raised:
    """One alert that is raised. since: when it was, by the clocks of the boot it happened in."""

    source: str
    body: Lasting
    since: Stamp
    boot_id: str

    def lasted_s(self, now: Stamp, boot_id: str) -> float:
        """Until now. 0 if it was in another boot, and one of the two did not know the time."""
        if self.boot_id == boot_id:
            return max(now.mono_ms - self.since.mono_ms, 0) / 1000
        return max(now.wall_ms - self.since.wall_ms, 0) / 1000 if now.trusted and self.since.trusted else 0.0


class RaisedAlerts:
    """Any number of threads may use it."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._memo = Memo(path)
        self._clock = clock
        self._lock = threading.Lock()
        self._raised = {raised.body.alert: raised for raised in self._read()}

    def noting(self, put: Put) -> Put:
        """put, and what it has stored is noted."""

        def put_and_note(*events: Event) -> None:
            put(*events)
            self._note(events)

        return put_and_note

    def resume(self, goes_on: Callable[[str, Lasting, float], bool]) -> list[Event]:
        """Before anything starts: offer what was raised when the agent ended to those who watch for it.

        goes_on(source, body, since_s): goes on with it, since_s by the monotonic clock, or says False. What nobody goes
        on with is over: the events that say so, to be stored.
        """
        with self._lock:
            remembered = list(self._raised.values())
        now, now_s = self._clock.stamp(), self._clock.mono_s()
        over = []
        for raised in remembered:
            lasted_s = raised.lasted_s(now, self._clock.boot_id)
            if not goes_on(raised.source, raised.body, now_s - lasted_s):
                over.append(Event(Stream.ALERT, raised.source, cleared(raised.body, lasted_s), now))
        return over

    def _note(self, events: tuple[Event, ...]) -> None:
        with self._lock:
            before = dict(self._raised)
            for event in events:
                if not isinstance(event.body, Lasting):
                    continue
                if event.body.state == "raised":
                    self._raised[event.body.alert] = Raised(event.source, event.body, event.stamp, self._clock.boot_id)
                else:
                    self._raised.pop(event.body.alert, None)
            if self._raised != before:
                self._write()

    def _read(self) -> list[Raised]:
        try:
            entries = json.loads(self._memo.path.read_text(encoding="utf-8"))
            return [_raised(entry) for entry in entries[:_MOST]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as exc:  # PayloadError is a ValueError
            _log.warning("%s: cannot be read; what was raised before is not cleared any more: %s", self._memo.path, exc)
            return []

    def _write(self) -> None:
        entries = [
            {"source": r.source, "body": body_json(r.body), "since": asdict(r.since), "boot_id": r.boot_id}
            for r in self._raised.values()
        ]
        self._memo.write(json.dumps(entries, ensure_ascii=False).encode())


def _raised(entry: dict[str, object]) -> Raised:
    body, since = read_body(str(entry["body"])), entry["since"]
    if not isinstance(body, Lasting) or not isinstance(since, dict):
        raise PayloadError(f"{entry!r} is no alert that lasts")
    stamp = Stamp(int(since["wall_ms"]), int(since["mono_ms"]), bool(since["trusted"]))
    return Raised(check_id(str(entry["source"]), "source"), body, stamp, str(entry["boot_id"]))
