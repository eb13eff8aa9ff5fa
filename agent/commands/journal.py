"""What was asked, and what was answered: so that one id is done at most once, whatever happens in between.

A request is written down before anything is done for it, and its answer before it is sent; the answer goes when the
broker has acknowledged it. An id is kept for as long as its token could come again. SQLite, each step on the disk when
its call has returned.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.commands.request import Request
from agent.contract.command import Reply, read_args
from agent.errors import EventStoreError

_log = logging.getLogger(__name__)

_MOST_REQUESTS = 20_000  # a few MB; nobody asks a box so much in a week
_MOST_ANSWERS = 500
# Also after its token has expired: the clock may have been ahead of the time when that was found.
_KEEP_S = 7 * 24 * 3600
_SCHEMA = """
CREATE TABLE IF NOT EXISTS request (
  id TEXT PRIMARY KEY, digest TEXT NOT NULL, expires_s INTEGER NOT NULL, signed_s INTEGER NOT NULL, name TEXT NOT NULL,
  args TEXT NOT NULL, role TEXT NOT NULL, by TEXT NOT NULL, doubt TEXT, topic TEXT, correlation BLOB, reply TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS answer (
  n INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT, correlation BLOB, reply TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Return:
    """Where an answer goes. topic: None = the box's own topic for replies."""

    topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    n: int
    to: Return
    reply: Reply


class JournalFull(Exception):
    """No further id can be remembered."""

    def __init__(self) -> None:
        super().__init__(f"{_MOST_REQUESTS} commands in a week are the most; ask again in a few days")


class Journal:
    """Any number of threads may use it. Raises EventStoreError, wherever it does something, if the disk does not."""

    def __init__(self, path: Path) -> None:
        """A damaged file is set aside. What was in it is forgotten, so nothing signed before now is believed: see
        `forgot`."""
        self.path = path
        self._lock = threading.Lock()
        self.forgot = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._db = self._open()
            except sqlite3.DatabaseError as exc:
                if isinstance(exc, sqlite3.OperationalError):
                    raise
                self._set_aside(exc)
                self._db = self._open()
        except (OSError, sqlite3.Error) as exc:
            raise EventStoreError(f"{path}: the journal of commands cannot be used: {exc}") from exc

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # ---- requests ----------------------------------------------------------------------------------------------------

    def known(self, request_id: str) -> tuple[str, Reply | None] | None:
        """The digest of the token that had this id, and its last answer; None: the id is new."""
        with self._look() as db:
            row = db.execute("SELECT digest, reply FROM request WHERE id = ?", (request_id,)).fetchone()
        return None if row is None else (row[0], None if row[1] is None else _reply(row[1]))

    def begin(self, request: Request, to: Return, now_s: float | None) -> None:
        """Write it down. now_s: UTC, Unix seconds, where the clock is set: then ids whose time is over are forgotten.
        Raises JournalFull."""
        with self._step() as db:
            if now_s is not None:
                db.execute(
                    "DELETE FROM request WHERE expires_s < ? AND json_extract(reply, '$.result') IN ('done', 'failed', "
                    "'refused')",
                    (int(now_s) - _KEEP_S,),
                )
            if db.execute("SELECT count(*) FROM request").fetchone()[0] >= _MOST_REQUESTS:
                raise JournalFull
            db.execute(
                "INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (
                    request.id,
                    request.digest,
                    request.expires_s,
                    request.signed_s,
                    request.name,
                    json.dumps(request.args.fields()),
                    request.role,
                    request.by,
                    request.doubt,
                    to.topic,
                    to.correlation,
                ),
            )

    def conclude(self, request: Request, reply: Reply) -> None:
        """Keep what is answered to it, to be sent where it came from."""
        text = _text(reply)
        with self._step() as db:
            db.execute("UPDATE request SET reply = ? WHERE id = ?", (text, request.id))
            row = db.execute("SELECT topic, correlation FROM request WHERE id = ?", (request.id,)).fetchone()
            self._answer(db, Return(*row), text)

    def pending(self) -> list[Request]:
        """What was begun and has not come to its end, oldest first."""
        with self._look() as db:
            rows = db.execute(
                "SELECT id, name, args, role, by, expires_s, signed_s, digest, doubt FROM request "
                "WHERE reply IS NULL OR json_extract(reply, '$.result') = 'accepted' ORDER BY rowid"
            ).fetchall()
        return [
            Request(
                id=row[0],
                name=row[1],
                args=read_args(row[1], json.loads(row[2])),
                role=row[3],
                by=row[4],
                expires_s=row[5],
                signed_s=row[6],
                digest=row[7],
                doubt=row[8],
            )
            for row in rows
        ]

    # ---- answers -----------------------------------------------------------------------------------------------------

    def answer(self, to: Return, reply: Reply) -> None:
        """An answer to what is not written down: a repeat, a refusal."""
        with self._step() as db:
            self._answer(db, to, _text(reply))

    def answers(self) -> list[Answer]:
        """Those that wait to be sent, oldest first."""
        with self._look() as db:
            rows = db.execute("SELECT n, topic, correlation, reply FROM answer ORDER BY n").fetchall()
        return [Answer(row[0], Return(row[1], row[2]), _reply(row[3])) for row in rows]

    def sent(self, numbers: list[int]) -> None:
        with self._step() as db:
            db.executemany("DELETE FROM answer WHERE n = ?", [(n,) for n in numbers])

    # ---- time --------------------------------------------------------------------------------------------------------

    def fact(self, name: str) -> int | None:
        with self._look() as db:
            row = db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def keep_fact(self, name: str, value: int) -> None:
        with self._step() as db:
            db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=5.0)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA journal_size_limit = 1048576")
            db.executescript(_SCHEMA)
            if (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(found)
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _set_aside(self, why: Exception) -> None:
        aside = self.path.with_suffix(".damaged")
        _log.error(
            "%s: damaged (%s); kept as %s, and nothing that was signed before now is done", self.path, why, aside
        )
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.path.replace(aside)
        self.forgot = True

    @staticmethod
    def _answer(db: sqlite3.Connection, to: Return, text: str) -> None:
        db.execute("INSERT INTO answer (topic, correlation, reply) VALUES (?, ?, ?)", (to.topic, to.correlation, text))
        db.execute("DELETE FROM answer WHERE n <= (SELECT max(n) FROM answer) - ?", (_MOST_ANSWERS,))

    @contextmanager
    def _look(self) -> Iterator[sqlite3.Connection]:
        """Reads only: also on a disk that takes nothing any more."""
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as exc:
                raise EventStoreError(f"{self.path}: {exc}") from exc

    @contextmanager
    def _step(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as exc:
                raise EventStoreError(f"{self.path}: {exc}") from exc


def _text(reply: Reply) -> str:
    return reply.model_dump_json(exclude_none=True)


def _reply(text: str) -> Reply:
    return Reply.model_validate_json(text)
