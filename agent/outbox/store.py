"""The outbox's file: schema, rows and counters in SQLite. One Store is one connection, used by one thread at a time.

Knows nothing of threads, waiting, bounds or the network; `agent.outbox.outbox` decides, this file does. Errors of
SQLite pass through as they are, because what to do about them (free space, set the file aside) is decided there.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from agent.clock import Stamp
from agent.contract.event import GapReason, Stream
from agent.contract.topics import check_id
from agent.outbox.log import DamagedLog, Log

SCHEMA_VERSION = 2

SCHEMA = """
create table ledger (                     -- one row: how this box numbers its messages
  one       integer primary key check (one = 1),
  era       integer not null check (era >= 1),   -- counts the epochs of this box; orders rows across them
  epoch     integer not null check (epoch between 0 and 4294967295),  -- random; what consumers tell epochs apart by
  boot      integer not null check (boot >= 1),  -- counts the boots this box has seen
  boot_id   text not null                        -- the kernel's id of boot number `boot`
) strict;

create table stream (                     -- counters outlive the rows they count
  stream    integer primary key,          -- 0 alert, 1 count, 2 reading
  last_seq  integer not null,             -- last number given out in the current epoch; never goes back
  rows      integer not null,
  bytes     integer not null,             -- see row_bytes()
  acked_ms  integer                       -- wall clock when a row was last removed, as the box believed
) strict;

create table event (                      -- one row per message the broker has not acknowledged
  stream    integer not null check (stream in (0, 1, 2)),
  era       integer not null,
  seq       integer not null check (seq >= 1),
  epoch     integer not null,             -- again, so that a row torn from a damaged file still knows its number
  source    text not null,                -- camera's or sensor's id, or "box": the topic's last level
  body      text not null,                -- JSON, all of the message but its ledger fields
  wall_ms   integer not null,             -- UTC Unix ms as believed when it happened
  mono_ms   integer not null,             -- ms since boot number `boot`
  boot      integer not null,
  clock_ok  integer not null check (clock_ok in (0, 1)),  -- 0: the wall clock had not been set
  primary key (stream, era, seq)          -- the order in which they leave; oldest first is also how they are evicted
) strict, without rowid;

create table gap (                        -- what was dropped and not yet announced; stretches grow while they can
  stream    integer not null,
  epoch     integer not null,
  reason    text not null,
  first     integer not null,
  last      integer not null,
  primary key (stream, epoch, reason, first)
) strict, without rowid;

create table aside (                      -- messages the broker will never take, kept for a person to look at
  id        integer primary key,
  reason    text not null,
  epoch     integer not null,
  stream    integer not null,
  seq       integer not null,
  source    text not null,
  body      text not null,
  wall_ms   integer not null
) strict;

create table boot (                       -- the boots in which the wall clock came to be set; new ones go last in here,
  boot      integer primary key,          -- so that old and new files begin alike (salvage relies on it)
  began_ms  integer not null              -- UTC Unix ms at which that boot's monotonic clock stood at 0
) strict;
"""

_MIGRATIONS = {
    1: """
create table boot (
  boot      integer primary key,
  began_ms  integer not null
) strict;
""",
}
"""From each older version to the next, each in one transaction with the new number."""

NUMBER = {Stream.ALERT: 0, Stream.COUNT: 1, Stream.READING: 2}
STREAM = {number: stream for stream, number in NUMBER.items()}
COLUMNS = "stream, era, seq, epoch, source, body, wall_ms, mono_ms, boot, clock_ok"

WAL_PAGES = 500  # checkpoint after 2 MB of log; the reserve for a full disk must be larger than this
_ROW_BYTES = 50  # what a row costs in the file beyond its texts, measured with tests/bench/outbox.py
_ASIDE_ROWS = 100
_BOOTS = 1000  # remembered; more than a backlog spans
_ERAS = 1 << 31  # a box has a new one when its file was damaged: more than this is not a number of ours
_EPOCHS = 1 << 32
_WRITE_VERSION_AT, _WITH_LOG = 18, 2  # https://sqlite.org/fileformat2.html#file_format_version_numbers
_CLOCK_STEP_MS = 1000  # a wall clock that is set anew by less is not worth a write

SMALL_CACHE = "pragma cache_size = -512"
"""kB, for each connection: rows are written and read in order, so a page is rarely needed twice."""

Position = tuple[int, int]
"""(era, seq): where a row stands in its stream."""

Noted = tuple[Stream, int, GapReason, int, int]
"""A gap: (stream, epoch, reason, first, last)."""


@dataclass(frozen=True, slots=True)
class Row:
    """A stored message as it stands in the file, its clock not yet corrected."""

    stream: Stream
    era: int
    seq: int
    epoch: int
    source: str
    body: str
    wall_ms: int
    mono_ms: int
    boot: int
    clock_ok: bool


@dataclass(frozen=True, slots=True)
class Counter:
    last_seq: int = 0
    rows: int = 0
    bytes: int = 0
    acked_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    era: int
    epoch: int
    boot: int
    boot_id: str


def row_bytes(source: str, body: str) -> int:
    """What a row counts against the bound: close to what it takes in the file."""
    return len(source.encode()) + len(body.encode()) + _ROW_BYTES


def is_full(exc: sqlite3.Error) -> bool:
    return _code(exc) == sqlite3.SQLITE_FULL


def is_damage(exc: sqlite3.Error) -> bool:
    """The file's content is wrong, or not for this version, so that trying again cannot help."""
    if isinstance(exc, WrongSchema | WrongContent | DamagedLog):
        return True
    # A number that is given out anew and stands there already: the counters are wrong.
    taken = getattr(exc, "sqlite_errorcode", 0) == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
    return taken or _code(exc) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_closed_to_us(exc: sqlite3.Error) -> bool:
    """The file cannot be written through this connection any more: moved away, or its disk mounted read-only."""
    return _code(exc) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def _code(exc: sqlite3.Error) -> int:
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF  # errors of the module itself carry no code


class WrongSchema(sqlite3.DatabaseError):
    """The file is a healthy database, but not one this version reads."""


class WrongContent(sqlite3.DatabaseError):
    """What was read is not what was written: SQLite has no checksums, and passes changed bits on."""


class Store:
    """Opens the file, or makes it. Raises sqlite3.Error (see is_damage, is_full), OSError."""

    def __init__(self, path: Path, boot_id: str, *, after: Identity | None = None) -> None:
        """after: the identity of a file set aside before this one, so that a new file's numbering follows on."""
        self.path = path
        unfinished = read_log(path)
        Log(unfinished).check()
        _check_head(path)
        self._db = connect(path)
        try:
            self._open(boot_id, after, log_is_empty=not unfinished)
        except UnicodeDecodeError as exc:  # an error of SQLite whose words quote the schema
            self._db.close()
            raise WrongContent(f"schema is not as it was written: {exc.object!r:.100}") from exc
        except BaseException:
            self._db.close()
            raise

    def _open(self, boot_id: str, after: Identity | None, *, log_is_empty: bool) -> None:
        # Before the first table, or it has no effect; frees pages back to the file system in small steps.
        self._db.execute("pragma auto_vacuum = incremental")
        self._db.execute("pragma journal_mode = wal")
        # FULL: the log is synced at each commit. NORMAL loses the last seconds when the power fails.
        self._db.execute("pragma synchronous = full")
        if not log_is_empty:
            try:
                self.checkpoint()  # see there: a kill may have left the beginning of a commit in it
            except sqlite3.Error as exc:
                if not is_full(exc):
                    raise
        self._db.execute(SMALL_CACHE)
        self._db.execute(f"pragma wal_autocheckpoint = {WAL_PAGES}")
        self._db.execute(f"pragma journal_size_limit = {WAL_PAGES * 4096}")
        version = int(self._db.execute("pragma user_version").fetchone()[0])
        if version == 0:
            self._create(boot_id, after)
        elif version not in (*_MIGRATIONS, SCHEMA_VERSION):
            raise WrongSchema(f"schema {version}, this agent reads up to {SCHEMA_VERSION}")
        else:
            self._migrate(version)
        self.identity = read_ledger(self._db)
        self.counters = read_counters(self._db)
        if self.identity.boot_id != boot_id:
            self.identity = replace(self.identity, boot=self.identity.boot + 1, boot_id=boot_id)
            with self.transaction():
                self._db.execute("update ledger set boot = ?, boot_id = ?", (self.identity.boot, boot_id))
        self.has_gaps = self._db.execute("select 1 from gap").fetchone() is not None
        self.began_ms = read_boots(self._db)

    def _migrate(self, version: int) -> None:
        for older in range(version, SCHEMA_VERSION):
            # One transaction, so that a power cut leaves the old form or the new one.
            self._db.executescript(f"begin immediate; {_MIGRATIONS[older]} pragma user_version = {older + 1}; commit;")

    def _create(self, boot_id: str, after: Identity | None) -> None:
        era, boot = (after.era + 1, after.boot + (after.boot_id != boot_id)) if after else (1, 1)
        # One transaction, so that a power cut leaves either no table or all of them.
        self._db.executescript(f"begin immediate; {SCHEMA} pragma user_version = {SCHEMA_VERSION};")
        self._db.execute("insert into ledger values (1, ?, ?, ?, ?)", (era, secrets.randbits(32), boot, boot_id))
        self._db.execute("commit")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is done inside reaches the disk before this returns, or none of it was done."""
        counters, has_gaps = dict(self.counters), getattr(self, "has_gaps", False)
        began_ms = getattr(self, "began_ms", {})
        self._db.execute("begin immediate")
        try:
            yield
            self._db.executemany(
                "insert or replace into stream values (?, ?, ?, ?, ?)",
                [
                    (NUMBER[stream], counter.last_seq, counter.rows, counter.bytes, counter.acked_ms)
                    for stream, counter in self.counters.items()
                    if counter != counters[stream]
                ],
            )
            self._db.execute("commit")
        except BaseException:
            self.counters, self.has_gaps, self.began_ms = counters, has_gaps, began_ms
            if self._db.in_transaction:  # some errors roll back by themselves
                self._db.execute("rollback")
            raise

    def insert(self, stream: Stream, source: str, body: str, stamp: Stamp) -> None:
        counter = self.counters[stream]
        seq = counter.last_seq + 1
        self._db.execute(
            f"insert into event ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                NUMBER[stream],
                self.identity.era,
                seq,
                self.identity.epoch,
                source,
                body,
                stamp.wall_ms,
                stamp.mono_ms,
                self.identity.boot,
                int(stamp.trusted),
            ),
        )
        self.counters[stream] = replace(
            counter, last_seq=seq, rows=counter.rows + 1, bytes=counter.bytes + row_bytes(source, body)
        )

    def insert_row(self, row: Row) -> None:
        """A row saved from another file, under the number it had there."""
        self._db.execute(
            f"insert or ignore into event ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                NUMBER[row.stream],
                row.era,
                row.seq,
                row.epoch,
                row.source,
                row.body,
                row.wall_ms,
                row.mono_ms,
                row.boot,
                int(row.clock_ok),
            ),
        )
        if self._db.execute("select changes()").fetchone()[0]:
            counter = self.counters[row.stream]
            self.counters[row.stream] = replace(
                counter, rows=counter.rows + 1, bytes=counter.bytes + row_bytes(row.source, row.body)
            )

    def begin_after(self, era: int) -> None:
        """Number in a later era than this one, whose rows have been saved into this file."""
        if self.identity.era <= era:
            self.identity = replace(self.identity, era=era + 1)
            self._db.execute("update ledger set era = ?", (self.identity.era,))

    def remove(self, stream: Stream, positions: Iterable[Position], acked_ms: int | None = None) -> None:
        """Delete rows; those already gone are no error."""
        for era, first, last in stretches(positions):
            self._delete(stream, era, first, last)
        if acked_ms is not None:
            self.counters[stream] = replace(self.counters[stream], acked_ms=acked_ms)

    def set_aside(self, row: Row, reason: GapReason) -> None:
        """Take one message out of the stream for good, keep it for a person to look at, and note the gap."""
        self._db.execute(
            "insert into aside (reason, epoch, stream, seq, source, body, wall_ms) values (?, ?, ?, ?, ?, ?, ?)",
            (reason, row.epoch, NUMBER[row.stream], row.seq, row.source, row.body, row.wall_ms),
        )
        self._db.execute("delete from aside where id <= (select max(id) from aside) - ?", (_ASIDE_ROWS,))
        self._delete(row.stream, row.era, row.seq, row.seq)
        self.note_gap(row.stream, row.epoch, reason, row.seq, row.seq)

    def evict(self, stream: Stream, at_most: int) -> int:
        """Drop the oldest rows of a stream, at most so many, and note the gap. Returns how many."""
        rows = self._db.execute(
            "select era, epoch, seq from event where stream = ? order by era, seq limit ?", (NUMBER[stream], at_most)
        ).fetchall()
        if not rows:
            return 0
        era, epoch, first = rows[0]
        last = max(seq for row_era, _, seq in rows if row_era == era)
        self._delete(stream, era, first, last)
        self.note_gap(stream, epoch, "disk-full", first, last)
        return sum(row_era == era for row_era, _, _ in rows)

    def note_gap(self, stream: Stream, epoch: int, reason: GapReason, first: int, last: int) -> None:
        cursor = self._db.execute(
            "update gap set last = ? where stream = ? and epoch = ? and reason = ? and last = ?",
            (last, NUMBER[stream], epoch, reason, first - 1),
        )
        if cursor.rowcount == 0:
            self._db.execute(
                "insert or replace into gap values (?, ?, ?, ?, ?)", (NUMBER[stream], epoch, reason, first, last)
            )
        self.has_gaps = True

    def take_gaps(self) -> list[Noted]:
        """What is to be announced; no longer noted afterwards."""
        gaps = [as_gap(values) for values in self._db.execute("select stream, epoch, reason, first, last from gap")]
        self._db.execute("delete from gap")
        self.has_gaps = False
        return gaps

    def _delete(self, stream: Stream, era: int, first: int, last: int) -> None:
        where = "where stream = ? and era = ? and seq between ? and ?"
        key = (NUMBER[stream], era, first, last)
        size = f"length(cast(source as blob)) + length(cast(body as blob)) + {_ROW_BYTES}"
        rows, size_bytes = self._db.execute(f"select count(*), total({size}) from event {where}", key).fetchone()
        if rows:
            self._db.execute(f"delete from event {where}", key)
            counter = self.counters[stream]
            self.counters[stream] = replace(counter, rows=counter.rows - rows, bytes=counter.bytes - int(size_bytes))

    def note_clock(self, boot: int, began_ms: int) -> None:
        """Remember what the wall clock showed when a boot began, so that its events can be dated later."""
        if abs(self.began_ms.get(boot, 0) - began_ms) < _CLOCK_STEP_MS:
            return
        self._db.execute("insert or replace into boot values (?, ?)", (boot, began_ms))
        self._db.execute("delete from boot where boot <= ?", (boot - _BOOTS,))
        self.began_ms = read_boots(self._db)

    def checkpoint(self) -> bool:
        """Move the log into the file and give the log's space back. False if a reader was in the way.

        Also what makes a log trustworthy again after a commit that failed or was cut short: what that has left behind
        the commits that count could later be taken for commits behind damage.
        """
        busy, *_ = self._db.execute("pragma wal_checkpoint(truncate)").fetchone()
        return not busy

    def give_back(self, pages: int) -> None:
        """Return so many unused pages to the file system."""
        # As a script: this pragma works page by page, a row of no columns for each, and execute() stops at the first.
        self._db.executescript(f"pragma incremental_vacuum({pages})")

    def unused_pages(self) -> int:
        return int(self._db.execute("pragma freelist_count").fetchone()[0])

    def close(self) -> None:
        self._db.close()


def read_log(path: Path) -> bytes:
    """The write-ahead log of a file that nobody has open; empty when it was closed properly."""
    try:
        return Path(f"{path}-wal").read_bytes()
    except FileNotFoundError:
        return b""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection that begins no transaction by itself. read_only: refuses to write, and does not create the file."""
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0)
    db.text_factory = _text
    return db


def read_ledger(db: sqlite3.Connection) -> Identity:
    """Raises WrongContent, and what SQLite raises."""
    row = db.execute("select era, epoch, boot, boot_id from ledger").fetchone()
    if row is None:
        raise WrongContent("no row in table ledger")
    era, epoch, boot, boot_id = row
    whole = _are_counts(era, epoch, boot) and isinstance(boot_id, str)
    if not (whole and 0 < era < _ERAS and epoch < _EPOCHS and boot > 0):
        raise WrongContent(f"ledger is not as it was written: {row!r}")
    return Identity(era, epoch, boot, boot_id)


def read_counters(db: sqlite3.Connection) -> dict[Stream, Counter]:
    """Raises WrongContent, and what SQLite raises."""
    counters = {stream: Counter() for stream in Stream}
    for number, last_seq, rows, bytes_, acked_ms in db.execute(
        "select stream, last_seq, rows, bytes, acked_ms from stream"
    ):
        acked_ms_is_whole = acked_ms is None or isinstance(acked_ms, int)
        if not (_are_counts(last_seq, rows, bytes_) and acked_ms_is_whole and number in STREAM):
            raise WrongContent(f"counters of stream {number!r}: {last_seq!r}, {rows!r}, {bytes_!r}, {acked_ms!r}")
        counters[STREAM[number]] = Counter(last_seq, rows, bytes_, acked_ms)
    return counters


def read_boots(db: sqlite3.Connection) -> dict[int, int]:
    """What the wall clock showed, ms, when each boot began. One that is not whole only leaves its events undated."""
    return dict(filter(is_boot, db.execute("select boot, began_ms from boot")))


def read_rows(db: sqlite3.Connection, stream: Stream, after: Position, limit: int) -> list[Row]:
    """The next rows of a stream, in order. after: (0, 0) for the oldest. Raises WrongContent, what SQLite raises."""
    # Two steps, so that SQLite walks the primary key: within the era, then on to later ones.
    era, seq = after
    sql = f"select {COLUMNS} from event where stream = ? and {{}} order by era, seq limit ?"
    rows = db.execute(sql.format("era = ? and seq > ?"), (NUMBER[stream], era, seq, limit)).fetchall()
    if len(rows) < limit:
        rows += db.execute(sql.format("era > ?"), (NUMBER[stream], era, limit - len(rows))).fetchall()
    return [as_row(row) for row in rows]


def read_aside(db: sqlite3.Connection) -> list[tuple[str, int, Stream, int, str, str, int]]:
    """(reason, epoch, stream, seq, source, body, wall_ms) of the messages set aside."""
    rows = db.execute("select reason, epoch, stream, seq, source, body, wall_ms from aside order by id").fetchall()
    return [(reason, epoch, STREAM[number], *rest) for reason, epoch, number, *rest in rows]


def as_row(values: tuple[Any, ...]) -> Row:
    """Of COLUMNS as read. Raises WrongContent for what could not be sent: a source that cannot stand in a topic, a body
    that is no object, numbers that nobody gave out."""
    number, era, seq, epoch, source, body, wall_ms, mono_ms, boot, clock_ok = values
    whole = _are_counts(number, era, seq, epoch, boot) and isinstance(wall_ms, int) and isinstance(mono_ms, int)
    whole = whole and number in STREAM and 0 < era < _ERAS and seq > 0 and epoch < _EPOCHS
    if not (whole and _can_be_sent(source, body)):
        raise WrongContent(f"event {number!r} {era!r} {seq!r} is not as it was written: {body!r:.60}")
    return Row(STREAM[number], era, seq, epoch, source, body, wall_ms, mono_ms, boot, bool(clock_ok))


def as_gap(values: tuple[Any, ...]) -> Noted:
    """Of a gap's row as read. Raises WrongContent."""
    number, epoch, reason, first, last = values
    whole = _are_counts(number, epoch, first, last) and number in STREAM and epoch < _EPOCHS
    if not (whole and 0 < first <= last and reason in get_args(GapReason)):
        raise WrongContent(f"gap is not as it was written: {values!r}")
    return STREAM[number], epoch, reason, first, last


def is_boot(values: tuple[Any, ...]) -> bool:
    """(boot, began_ms) as read are whole."""
    return all(isinstance(value, int) for value in values)


def _are_counts(*values: Any) -> bool:
    return all(isinstance(value, int) and value >= 0 for value in values)


def _can_be_sent(source: Any, body: Any) -> bool:
    try:
        check_id(source)
        return isinstance(body, str) and isinstance(json.loads(body), dict)
    except (TypeError, ValueError):
        return False


def _text(data: bytes) -> str | bytes:
    """Text as SQLite has it. What is none stays bytes, for the rows around it to be read."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _check_head(path: Path) -> None:
    """A file for a later version of SQLite is opened, for reading only, and nothing could ever be stored. Raises
    WrongContent, OSError."""
    try:
        with path.open("rb") as file:
            head = file.read(_WRITE_VERSION_AT + 1)
    except FileNotFoundError:
        return
    if len(head) > _WRITE_VERSION_AT and head[_WRITE_VERSION_AT] > _WITH_LOG:
        raise WrongContent(f"the file's header says version {head[_WRITE_VERSION_AT]}, wanted {_WITH_LOG}")


def stretches(positions: Iterable[Position]) -> Iterator[tuple[int, int, int]]:
    """(era, first, last) of runs of consecutive numbers."""
    run: tuple[int, int, int] | None = None
    for era, seq in sorted(positions):
        if run and run[0] == era and run[2] + 1 == seq:
            run = (era, run[1], seq)
        else:
            if run:
                yield run
            run = (era, seq, seq)
    if run:
        yield run
