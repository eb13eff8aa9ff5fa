"""For the verbs `outbox` and `doctor`: what waits to be sent, read beside a running agent, or without one."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.contract.event import Stream
from agent.errors import EventStoreError
from agent.outbox import store as sql

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Figures:
    """rows, bytes: waiting, as the bound counts them. oldest_ms: of the oldest of them, as the box believed the time.

    aside: messages the broker will never take; aside_why: the last one's reason. damaged: files kept beside.
    """

    rows: int
    bytes: int
    oldest_ms: int | None
    file_bytes: int
    aside: int
    aside_why: str
    damaged: int
    streams: dict[str, dict[str, int | None]]


def figures(path: Path) -> Figures:
    """Beside a running agent or without one. Raises EventStoreError if the file cannot be read."""
    try:
        with closing(sql.connect(path, read_only=True)) as db:
            counters = sql.read_counters(db)
            oldest = [row.wall_ms for stream in Stream for row in sql.read_rows(db, stream, (0, 0), 1)]
            aside = sql.read_aside(db)
    except (sqlite3.Error, OSError) as exc:
        raise EventStoreError(f"{path}: cannot be read: {exc}") from exc
    return Figures(
        rows=sum(counter.rows for counter in counters.values()),
        bytes=sum(counter.bytes for counter in counters.values()),
        oldest_ms=min(oldest, default=None),
        file_bytes=sum(file.stat().st_size for file in _files(path)),
        aside=len(aside),
        aside_why=aside[-1][0] if aside else "",
        damaged=len(_damaged(path)),
        streams={
            stream.value: {"rows": counter.rows, "bytes": counter.bytes, "last": counter.last_seq}
            for stream, counter in counters.items()
        },
    )


def _files(path: Path) -> list[Path]:
    files = [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", ".reserve"))]
    return [file for file in files if file.exists()]


def _damaged(path: Path) -> list[Path]:
    return sorted(f for f in path.parent.glob(f"{path.name}.damaged-*") if not f.name.endswith(("-wal", "-shm")))


def show(path: Path, *, export: bool, aside: bool) -> int:
    """Print depth and numbers, or the messages themselves. Exit code: 0 fine, 1 cannot be read."""
    if not path.exists():
        print(f"outbox: {path}: no such file; has the agent run with this configuration?", file=sys.stderr)
        return 1
    try:
        with closing(sql.connect(path, read_only=True)) as db:
            if export:
                _export(db)
            elif aside:
                _aside(db)
            else:
                _show(db, path)
    except sqlite3.Error as exc:
        print(
            f"outbox: {path}: cannot be read: {exc}; the agent sets a damaged file aside when it starts",
            file=sys.stderr,
        )
        return 1
    except BrokenPipeError:
        pass  # `| head`
    return 0


def _show(db: sqlite3.Connection, path: Path) -> None:
    era, epoch, boot = db.execute("select era, epoch, boot from ledger").fetchone()
    counters = sql.read_counters(db)
    file_bytes = sum(file.stat().st_size for file in _files(path))
    print(f"{path}: {sum(counter.rows for counter in counters.values())} messages wait, {file_bytes} bytes on disk")
    print(f"epoch {epoch} (number {era} of this box), boot {boot}")
    for stream in Stream:
        counter = counters[stream]
        oldest = sql.read_rows(db, stream, (0, 0), 1)
        print(
            f"{stream.value:8} {counter.rows:8} waiting {counter.bytes:11} bytes   last number {counter.last_seq:8}   "
            f"oldest {_ago(oldest[0].wall_ms if oldest else None):12} last acknowledged {_ago(counter.acked_ms)}"
        )
    aside = len(sql.read_aside(db))
    if aside:
        print(f"{aside} messages set aside because the broker will not take them; see --aside")
    for file in _damaged(path):
        print(f"damaged file kept: {file}")


def _export(db: sqlite3.Connection) -> None:
    for stream in Stream:
        position = (0, 0)
        while rows := sql.read_rows(db, stream, position, _AT_ONCE):
            position = (rows[-1].era, rows[-1].seq)
            for row in rows:
                print(
                    json.dumps(
                        {
                            "stream": row.stream.value,
                            "source": row.source,
                            "epoch": row.epoch,
                            "seq": row.seq,
                            "time": row.wall_ms,
                            "clock_ok": row.clock_ok,
                            "up": row.mono_ms,
                            "boot": row.boot,
                            **json.loads(row.body),
                        },
                        ensure_ascii=False,
                    )
                )


def _aside(db: sqlite3.Connection) -> None:
    for reason, epoch, stream, seq, source, body, wall_ms in sql.read_aside(db):
        ledger = {"reason": reason, "stream": stream.value, "source": source, "epoch": epoch, "seq": seq}
        print(json.dumps({**ledger, "time": wall_ms, "body": json.loads(body)}, ensure_ascii=False))


def _ago(wall_ms: int | None) -> str:
    if wall_ms is None:
        return "-"
    seconds = time.time() - wall_ms / 1000
    if not 0 <= seconds < 10 * 365 * 86400:
        return f"{datetime.fromtimestamp(wall_ms / 1000, UTC):%Y-%m-%d}"
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit} ago"
    return f"{seconds:.0f} s ago"
