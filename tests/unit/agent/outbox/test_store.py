"""The file itself: what it gives back, what a failed transaction leaves behind, how a power cut at birth looks."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.clock import FakeClock
from agent.contract.event import Stream
from agent.outbox.store import Store, connect, read_rows

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
