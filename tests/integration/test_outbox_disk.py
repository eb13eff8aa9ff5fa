"""A disk that is full, for real: a small file system of its own, filled up by somebody else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.contract.event import Stream
from agent.errors import EventStoreError
from agent.outbox import Outbox
from tests.support.events import crossing
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with small_disk(request.param, tmp_path, 24) as mounted:
        yield mounted


def hog(disk: Path) -> Path:
    """Take every byte that is left."""
    file = disk / "hog"
    with file.open("ab", buffering=0) as out:
        for size in (1 << 20, 4096, 512):
            while True:
                try:
                    if out.write(b"\0" * size) < size:
                        break
                except OSError:
                    break
    return file


def fill_until_refused(outbox: Outbox, stream: Stream) -> int:
    """How many were accepted before one was refused."""
    for number in range(100_000):
        try:
            outbox.put(crossing(number + 1, stream))
        except EventStoreError:
            return number
    raise AssertionError("the disk never filled up")


def test_a_full_disk_refuses_readings_takes_alerts_and_still_deletes(disk: Path) -> None:
    outbox = Outbox(disk / "outbox.db")
    try:
        for first in range(1, 5001, 500):
            outbox.put(*[crossing(first + i, Stream.READING) for i in range(500)])
        hogged = hog(disk)
        accepted = 5000 + fill_until_refused(outbox, Stream.READING)
        assert accepted < 50_000
        assert "database or disk is full; free some space on this disk" in str(outbox.depth().error)

        # Alerts are stored all the same, at the expense of the oldest readings.
        for track in range(1, 301):
            outbox.put(crossing(track, Stream.ALERT))
        alerts = outbox.peek(Stream.ALERT, limit=1000)
        assert [waiting.row.seq for waiting in alerts][:300] == [*range(1, 301)]
        readings = outbox.depth().streams[Stream.READING]
        assert readings.last_seq == accepted, "what was refused got no number"
        assert readings.rows < accepted

        # What is acknowledged can be deleted.
        outbox.remove(Stream.READING, [waiting.position for waiting in outbox.peek(Stream.READING, limit=500)])
        outbox.flush()
        assert outbox.depth().streams[Stream.READING].rows == readings.rows - 500

        hogged.unlink()
        outbox.put(crossing(1, Stream.READING))
        assert outbox.depth().error is None
    finally:
        outbox.close()

    outbox = Outbox(disk / "outbox.db")
    try:
        depth = outbox.depth()
        assert depth.streams[Stream.READING].last_seq == accepted + 1
        here = {waiting.row.seq for waiting in outbox.peek(Stream.ALERT, limit=1000)}
        assert set(range(1, 301)) <= here
    finally:
        outbox.close()


def test_an_outbox_can_be_opened_on_a_full_disk_and_stores_when_there_is_room_again(disk: Path) -> None:
    hogged = hog(disk)
    outbox = Outbox(disk / "outbox.db")
    try:
        with pytest.raises(EventStoreError):
            outbox.put(crossing(1))
        hogged.unlink()
        outbox.put(crossing(2))
        assert len(outbox.peek(Stream.COUNT)) == 1
    finally:
        outbox.close()
