"""What can be read of a damaged outbox: rows, numbers, and which of them are lost. Never writes to the damaged file.

Two things are mended first, in a second log beside a second name of the file: commits that lie behind a damaged part of
the log count again, and a first page that cannot be read is replaced by a new one, since all of our files begin alike.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from agent.contract.event import Stream
from agent.outbox.log import Log, Page, written
from agent.outbox.store import (
    COLUMNS,
    NUMBER,
    SCHEMA,
    SCHEMA_VERSION,
    Identity,
    Position,
    Store,
    WrongContent,
    as_gap,
    as_row,
    connect,
    is_boot,
    read_counters,
    read_ledger,
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
    except (sqlite3.Error, UnicodeDecodeError):  # the latter where an error quotes the schema
        return False


def salvage(damaged: Path, into: Store, *, copy: bool) -> tuple[int, list[tuple[Stream, int, int, int]]]:
    """Save what can be read of a damaged file. Returns the number of rows and what is known to be lost of them:
    (stream, epoch, first, last). Rows keep their epoch and number, so consumers that have them will know.

    copy: False = only find out what is lost, when there is no room for a copy. To be called in a transaction; errors of
    writing pass through, those of reading are what it is for.
    """
    lost: list[tuple[Stream, int, int, int]] = []
    with closing(connect(damaged, read_only=True)) as db:
        found = _salvage_rows(db, into if copy else None)
        for stream, epochs in found.items():
            missing = _missing(db, stream, epochs)
            if not copy:
                missing += [(epochs[era, first], first, last) for era, first, last in stretches(epochs)]
            lost += [(stream, *stretch) for stretch in sorted(missing)]
        into.begin_after(max((era for epochs in found.values() for era, _ in epochs), default=0))
        for values in _ReadableRows(db, "select stream, epoch, reason, first, last from gap", ()):
            with suppress(WrongContent):
                into.note_gap(*as_gap(values))
        for values in filter(is_boot, _ReadableRows(db, "select boot, began_ms from boot", ())):
            into.note_clock(*values)
    return sum(map(len, found.values())) if copy else 0, lost


def read_identity(path: Path) -> Identity | None:
    """Who a damaged file was, if that can still be read."""
    try:
        with closing(connect(path, read_only=True)) as db:
            return read_ledger(db)
    except sqlite3.Error:
        return None


def _salvage_rows(db: sqlite3.Connection, into: Store | None) -> dict[Stream, dict[Position, int]]:
    """Read each stream from the front, and unless that was all, from the back too. Returns the epoch of each row found,
    also of one that stands among those of another stream, as it may where an old page is read for a newer one."""
    found: dict[Stream, dict[Position, int]] = {stream: {} for stream in Stream}
    for stream in Stream:
        for order in ("era, seq", "era desc, seq desc"):
            query = f"select {COLUMNS} from event where stream = ? order by {order}"
            rows = _ReadableRows(db, query, (NUMBER[stream],))
            for values in rows:
                try:
                    row = as_row(values)
                except WrongContent:
                    continue
                if into is not None:
                    into.insert_row(row)
                found[row.stream].setdefault((row.era, row.seq), row.epoch)
            if rows.complete and not _missing(db, stream, found[stream]):
                break
    return found


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


def _missing(db: sqlite3.Connection, stream: Stream, found: dict[Position, int]) -> list[tuple[int, int, int]]:
    """(epoch, first, last) of what the counters say was waiting and was not found: where a page was lost with the log,
    an older state of it may be read without any error. Nothing if the counters are gone too.

    Rows leave from the front. So while there are more than numbers were given out in this era, the others are of older
    ones. Of those only the count is known: what is missing is looked for between two of them, then before the first.
    """
    try:
        now = read_ledger(db)
        counter = read_counters(db)[stream]
    except sqlite3.Error:
        return []
    waited = min(counter.rows, counter.last_seq)
    of_this_era = {(now.era, seq) for seq in range(counter.last_seq - waited + 1, counter.last_seq + 1)}
    missing = [(now.epoch, first, last) for _, first, last in stretches(of_this_era - found.keys())]
    older = sorted(position for position in found if position[0] < now.era)
    left = counter.rows - waited - len(older)
    if left <= 0 or not older:
        return missing
    for (one_era, one), (next_era, following) in pairwise(older):
        if one_era == next_era and one + 1 < following:
            missing.append((found[one_era, one], one + 1, following - 1))
            left -= following - one - 1
    first, last = older[0][1], older[-1][1]
    before = min(max(left, 0), first - 1)
    if before:
        missing.append((found[older[0]], first - before, first - 1))
    if left > before:
        missing.append((found[older[-1]], last + 1, last + left - before))
    return missing
