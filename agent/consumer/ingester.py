"""From a source into the database, batch by batch. The source hears that a message is safe after the commit, and never
before: whatever dies at whatever moment, a message is in the database, or with the broker, or both.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.consumer.database import Database, RowsRefused
from agent.consumer.rows import Rows, rows_of, set_aside
from agent.consumer.source import Delivery, Leaving, Source
from agent.errors import ConfigError, DatabaseDown, UplinkDown

_log = logging.getLogger(__name__)

_TAKE_WAIT_S = 1.0
_LEAVE_WAIT_S = 3.0  # nothing came for so long: nothing is left
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_TELL_EVERY_S = 60.0


@dataclass(slots=True)
class Tally:
    """Since the start. taken: from the source; new: stored now; repeats: were in the database already; set_aside: could
    not be stored; acknowledged: told to the source."""

    taken: int = 0
    new: int = 0
    repeats: int = 0
    set_aside: int = 0
    acknowledged: int = 0

    def __str__(self) -> str:
        return (
            f"{self.taken} taken, {self.new} new, {self.repeats} repeats, {self.set_aside} set aside, "
            f"{self.acknowledged} acknowledged"
        )


class Ingester:
    """One thread. stop: asked between batches; a batch that was begun is finished unless the database is away."""

    def __init__(
        self, source: Source, database: Database, *, batch: int, pictures: bool = False, stop: Callable[[], bool]
    ) -> None:
        self.tally = Tally()
        self._source = source
        self._database = database
        self._batch = batch
        self._pictures = pictures
        self._stop = stop
        self._next_tell_s = time.monotonic() + _TELL_EVERY_S

    def run(self) -> None:
        """Until stop(). Raises ConfigError for a database or a broker that cannot serve us."""
        self._prepare_database()
        while not self._stop():
            if not self._reach_source():
                return
            try:
                while not self._stop():
                    self.step(_TAKE_WAIT_S)
            except UplinkDown as exc:
                _log.warning("%s; connecting again", exc)
        self._tell()

    def leave(self) -> None:
        """Out of the group for good: no new messages, what waits for us is stored. Raises UplinkDown, and ConfigError
        for a source where there is nothing to leave."""
        if not isinstance(self._source, Leaving):
            raise ConfigError("--leave is for mqtt: elsewhere what one ingester leaves goes to the others by itself")
        self._prepare_database()
        self._source.connect()
        self._source.leave()
        while self.step(_LEAVE_WAIT_S):
            pass
        self._tell()

    def step(self, wait_s: float) -> bool:
        """One batch: taken, stored, acknowledged. False if there was none. Raises UplinkDown."""
        deliveries = self._source.take(self._batch, wait_s)
        if deliveries:
            self.tally.taken += len(deliveries)
            if self._store(deliveries):
                self._source.acknowledge(deliveries)
                self.tally.acknowledged += len(deliveries)
        if time.monotonic() >= self._next_tell_s:
            self._tell()
        return bool(deliveries)

    def _store(self, deliveries: Sequence[Delivery]) -> bool:
        """False if we were stopped first. Raises UplinkDown if the source went away meanwhile: it will come again."""
        rows = rows_of(deliveries, pictures=self._pictures)
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                self._enter(rows, self._database.write(rows))
                return True
            except RowsRefused as exc:
                return self._store_apart(deliveries, str(exc))
            except DatabaseDown as exc:
                _log.warning("%s; nothing is acknowledged, trying again in %.1f s", exc, pause_s)
            if self._stop():
                return False
            self._source.rest(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _store_apart(self, deliveries: Sequence[Delivery], reason: str) -> bool:
        """The database objects to something in it: find out to what by halves, and set that aside."""
        if len(deliveries) == 1:
            return self._set_aside(deliveries[0], reason)
        middle = len(deliveries) // 2
        return self._store(deliveries[:middle]) and self._store(deliveries[middle:])

    def _set_aside(self, delivery: Delivery, reason: str) -> bool:
        rows = Rows(set_aside=[set_aside(delivery, f"the database refuses it: {reason}")])
        pause_s = _FIRST_PAUSE_S
        while not self._stop():
            try:
                self._enter(rows, self._database.write(rows))
                return True
            except DatabaseDown as exc:
                _log.warning("%s; nothing is acknowledged, trying again in %.1f s", exc, pause_s)
            self._source.rest(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        return False

    def _enter(self, rows: Rows, new: int) -> None:
        self.tally.new += new
        self.tally.repeats += len(rows.messages) - new
        self.tally.set_aside += len(rows.set_aside)
        for row in rows.set_aside:
            _log.warning("set aside, from %s: %s", row["topic"], row["reason"])

    def _prepare_database(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stop():
            try:
                self._database.setup()
                return
            except DatabaseDown as exc:
                _log.warning("%s; trying again in %.1f s", exc, pause_s)
            self._wait(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _reach_source(self) -> bool:
        """False if we were stopped first."""
        pause_s = _FIRST_PAUSE_S
        while not self._stop():
            try:
                self._source.connect()
                return True
            except UplinkDown as exc:
                _log.warning("%s; trying again in %.1f s", exc, pause_s)
            self._wait(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        return False

    def _wait(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while not self._stop() and (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.2))

    def _tell(self) -> None:
        self._next_tell_s = time.monotonic() + _TELL_EVERY_S
        _log.info("%s", self.tally)
