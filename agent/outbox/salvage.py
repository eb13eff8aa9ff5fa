"""What can be read of a damaged outbox: rows, numbers, and which of them are lost. Never writes to the damaged file.

Two things are mended first, in a second log beside a second name of the file: commits that lie behind a damaged part of
the log count again, and a first page that cannot be read is replaced by a new one, since all of our files begin alike.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from agent.contract.event import Stream
from agent.contract.topics import check_id
from agent.outbox.log import Log, Page, written
from agent.outbox.store import (
    COLUMNS,
    NUMBER,
    SCHEMA,
    SCHEMA_VERSION,
    STREAM,
    Identity,
    Position,
    Row,
    Store,
    as_row,
    connect,
    read_log,
    stretches,
)


@contextmanager
def readable(damaged: Path) -> Iterator[Path]:
    """The damaged file under a name where as much as possible of it can be read; for the time of the with block."""
    view = Path(f"{damaged}.readable")
    forget(view)
    try:
        second_name(damaged, view)
        _write_log(damaged, view, first_page=False)
        if not _has_tables(view):
            _write_log(damaged, view, first_page=True)
        yield view
    finally:
        forget(view)


def second_name(file: Path, other: Path) -> None:
    """So that a file never has none."""
    try:
        os.link(file, other)
    except FileNotFoundError:
        return
    except OSError:  # a file system without second names
        shutil.copy2(file, other)


def forget(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _write_log(damaged: Path, view: Path, *, first_page: bool) -> None:
    log = Log(read_log(damaged))
    newest = {page.number: page for page in log.whole}
    pages = max(damaged.stat().st_size // log.page_bytes, log.pages_in_file, *newest, 1)
    if first_page:
        newest[1] = Page(1, _first_page(pages))
    for suffix in ("-wal", "-shm"):
        Path(f"{view}{suffix}").unlink(missing_ok=True)
    if newest:
        # A full disk has no room for it: then as much is read as SQLite sees.
        with suppress(OSError):
            Path(f"{view}-wal").write_bytes(written([*newest.values()], pages, log.page_bytes))


def _first_page(pages: int) -> bytes:
    """As every file of ours has it: the header, and where its tables begin."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute("pragma auto_vacuum = incremental")
        db.executescript(f"begin; {SCHEMA} pragma user_version = {SCHEMA_VERSION}; commit;")
        page = bytearray(db.serialize()[:4096])
    page[18:20] = b"\2\2"  # with a log
    struct.pack_into(">I", page, 28, pages)
    struct.pack_into(">2I", page, 32, 0, 0)  # no list of free pages: for reading, none is needed
    return bytes(page)


def _has_tables(path: Path) -> bool:
    try:
        with closing(connect(path, read_only=True)) as db:
            found = db.execute("select count(*) from sqlite_schema where type = 'table'").fetchone()
            return bool(found[0])
    except sqlite3.Error:
        return False


def salvage(damaged: Path, into: Store, *, copy: bool) -> tuple[int, list[tuple[Stream, int, int, int]]]:
    """Save what can be read of a damaged file. Returns the number of rows and what is known to be lost of them:
    (stream, epoch, first, last). Rows keep their epoch and number, so consumers that have them will know.

    copy: False = only find out what is lost, when there is no room for a copy. To be called in a transaction; errors of
    writing pass through, those of reading are what it is for.
    """
    saved = 0
    lost: list[tuple[Stream, int, int, int]] = []
    with closing(connect(damaged, read_only=True)) as db:
        for stream in Stream:
            numbers, complete = _salvage_stream(db, stream, into) if copy else (set[Position](), False)
            saved += len(numbers)
            if not complete:
                lost += _lost(db, stream, numbers)
        for number, epoch, reason, first, last in _ReadableRows(
            db, "select stream, epoch, reason, first, last from gap", ()
        ):
            if number in STREAM:
                into.note_gap(STREAM[number], epoch, reason, first, last)
        for boot, began_ms in _ReadableRows(db, "select boot, began_ms from boot", ()):
            into.note_clock(boot, began_ms)
    return saved, lost


def read_identity(path: Path) -> Identity | None:
    """Who a damaged file was, if that can still be read."""
    try:
        with closing(connect(path, read_only=True)) as db:
            row = db.execute("select era, epoch, boot, boot_id from ledger").fetchone()
            return Identity(*row) if row else None
    except sqlite3.Error:
        return None


def _salvage_stream(db: sqlite3.Connection, stream: Stream, into: Store) -> tuple[set[Position], bool]:
    """Read from the front, and where that breaks off, from the back too. Returns what was saved, and if that is all."""
    numbers: set[Position] = set()
    for order in ("era, seq", "era desc, seq desc"):
        rows = _ReadableRows(db, f"select {COLUMNS} from event where stream = ? order by {order}", (NUMBER[stream],))
        for values in rows:
            row = as_row(values)
            if (row.era, row.seq) in numbers or not _sound(row):
                continue
            with suppress(sqlite3.IntegrityError):  # breaks our own checks: damaged, though it could be read
                into.insert_row(row)
                numbers.add((row.era, row.seq))
        if rows.complete:
            return numbers, True
    return numbers, False


class _ReadableRows:
    """Used like a generator: the rows of a query until the damage begins. complete: there was none."""

    def __init__(self, db: sqlite3.Connection, query: str, values: tuple[int, ...]) -> None:
        self.complete = False
        self._db, self._query, self._values = db, query, values

    def __iter__(self) -> Iterator[Any]:
        try:
            cursor = self._db.execute(self._query, self._values)
            while (row := cursor.fetchone()) is not None:
                yield row
        except sqlite3.DatabaseError:
            return
        self.complete = True


def _lost(db: sqlite3.Connection, stream: Stream, saved: set[Position]) -> list[tuple[Stream, int, int, int]]:
    """Numbers that the counters say were waiting and that were not saved. Nothing if the counters are gone too."""
    try:
        era, epoch = db.execute("select era, epoch from ledger").fetchone()
        last_seq, rows = db.execute("select last_seq, rows from stream where stream = ?", (NUMBER[stream],)).fetchone()
    except (sqlite3.Error, TypeError):
        return []
    missing = [(era, seq) for seq in range(last_seq - rows + 1, last_seq + 1) if (era, seq) not in saved]
    return [(stream, epoch, first, last) for _, first, last in stretches(missing)]


def _sound(row: Row) -> bool:
    """It can still be sent: its body is an object, its source can stand in a topic."""
    try:
        check_id(row.source)
        return isinstance(json.loads(row.body), dict)
    except (ValueError, TypeError):
        return False
