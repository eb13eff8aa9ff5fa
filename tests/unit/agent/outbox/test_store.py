"""The file itself: what it gives back, what a failed transaction leaves behind, how a power cut at birth looks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.clock import FakeClock
from agent.contract.event import Stream
from agent.outbox.store import SCHEMA_VERSION, Store, connect, read_rows

STAMP = FakeClock().stamp()


def test_space_of_removed_rows_goes_back_to_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    store = Store(path, "boot")
    with store.transaction():
        for _ in range(5000):
            store.insert(Stream.COUNT, "north", "{}" + " " * 100, STAMP)
    store.checkpoint()
    full_bytes = path.stat().st_size
    with store.transaction():
        store.remove(Stream.COUNT, [(1, seq) for seq in range(1, 5001)])
    store.give_back(100_000)
    store.checkpoint()
    assert path.stat().st_size < full_bytes / 10
    assert store.unused_pages() == 0
    store.close()


def test_a_failed_transaction_gives_out_no_numbers(tmp_path: Path) -> None:
    store = Store(tmp_path / "o.db", "boot")
    with pytest.raises(RuntimeError), store.transaction():  # noqa: PT012 - the transaction is what is tested
        store.insert(Stream.ALERT, "north", "{}", STAMP)
        raise RuntimeError("in the middle")
    assert store.counters[Stream.ALERT].last_seq == 0
    with store.transaction():
        store.insert(Stream.ALERT, "north", "{}", STAMP)
    store.close()
    db = connect(tmp_path / "o.db", read_only=True)
    assert [row.seq for row in read_rows(db, Stream.ALERT, (0, 0), 10)] == [1]
    db.close()


def test_boots_are_counted_once_each(tmp_path: Path) -> None:
    boots = []
    for boot_id in ("a", "a", "b", "b", "c"):
        store = Store(tmp_path / "o.db", boot_id)
        boots.append(store.identity.boot)
        store.close()
    assert boots == [1, 1, 2, 2, 3]


def test_the_counters_match_the_rows(tmp_path: Path) -> None:
    store = Store(tmp_path / "o.db", "boot")
    with store.transaction():
        for number in range(500):
            store.insert(Stream.READING, "cửa-bắc", '{"x":"' + "ộ" * (number % 50) + '"}', STAMP)
    with store.transaction():
        store.evict(Stream.READING, 120)
        store.remove(Stream.READING, [(1, seq) for seq in range(200, 300)] + [(1, 450)])
    assert store.counters[Stream.READING].rows == 500 - 120 - 101
    with store.transaction():
        store.remove(Stream.READING, [(1, seq) for seq in range(1, 501)])
    counter = store.counters[Stream.READING]
    assert (counter.rows, counter.bytes, counter.last_seq) == (0, 0, 500)
    store.close()


# ---- files of older versions ----------------------------------------------------------------------------------------

DATA = Path(__file__).with_name("data")


def old_file(path: Path, version: int) -> None:
    """As an agent of that version left it: two alerts taken of five, three waiting."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("pragma auto_vacuum = incremental")
        db.execute("pragma journal_mode = wal")
        db.executescript((DATA / f"schema-{version}.sql").read_text() + f"pragma user_version = {version};")
        db.execute("insert into ledger values (1, 1, 77, 3, 'boot')")
        db.execute("insert into stream values (0, 5, 3, 210, 1700000000000)")
        for seq in (3, 4, 5):
            db.execute("insert into event values (0, 1, ?, 77, 'north', '{}', 1700000000000, 5, 3, 1)", (seq,))
        db.execute("insert into gap values (0, 77, 'disk-full', 1, 1)")


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_file_of_an_older_agent_is_taken_over_with_its_numbers(tmp_path: Path, version: int) -> None:
    path = tmp_path / "o.db"
    old_file(path, version)
    store = Store(path, "boot")
    assert (store.identity.epoch, store.identity.boot, store.has_gaps) == (77, 3, True)
    with store.transaction():
        store.insert(Stream.ALERT, "north", "{}", STAMP)
        store.note_clock(3, 1_700_000_000_000)
    store.close()
    store = Store(path, "boot")
    assert store.began_ms == {3: 1_700_000_000_000}
    store.close()
    with closing(connect(path, read_only=True)) as db:
        assert [row.seq for row in read_rows(db, Stream.ALERT, (0, 0), 10)] == [3, 4, 5, 6]


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_file_taken_over_is_as_one_made_new(tmp_path: Path, version: int) -> None:
    """Tables in the same places, too: salvage gives a file whose first page is lost the first page of a new one."""
    old_file(tmp_path / "old.db", version)
    for name in ("old.db", "new.db"):
        Store(tmp_path / name, "boot").close()
    old, new = (places(tmp_path / name) for name in ("old.db", "new.db"))
    assert old == new


def places(path: Path) -> list[tuple[str, int]]:
    with closing(connect(path, read_only=True)) as db:
        assert db.execute("pragma user_version").fetchone()[0] == SCHEMA_VERSION
        return db.execute("select name, rootpage from sqlite_schema order by name").fetchall()


def test_boots_of_long_ago_are_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path / "o.db", "boot")
    with store.transaction():
        for boot in range(1, 1500):
            store.note_clock(boot, 1_700_000_000_000 + boot * 60_000)
    assert sorted(store.began_ms) == list(range(500, 1500))
    store.close()


def test_a_clock_that_is_set_anew_by_little_costs_no_write(tmp_path: Path) -> None:
    store = Store(tmp_path / "o.db", "boot")
    with store.transaction():
        for drift_ms in range(0, 900, 10):
            store.note_clock(1, 1_700_000_000_000 + drift_ms)
    assert store.began_ms == {1: 1_700_000_000_000}
    store.close()
