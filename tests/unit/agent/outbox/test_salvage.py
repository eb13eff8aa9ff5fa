"""Damage to the file and to its log: what is whole is saved, what is not is named, and no number is given out twice."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from agent.clock import FakeClock
from agent.contract.event import Stream
from agent.contract.wire import Envelope, encode
from agent.errors import EventStoreError
from agent.outbox import Outbox
from agent.outbox.log import DamagedLog, Log
from agent.outbox.store import Store, connect
from tests.support.events import crossing

FRAME_BYTES = 4096 + 24
PUTS = 120  # fits in one log


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The files of a box that was killed: most of what it accepted is in the log alone."""
    alive, dead = tmp_path / "alive", tmp_path / "dead"
    alive.mkdir()
    dead.mkdir()
    outbox = Outbox(alive / "outbox.db", clock=FakeClock())
    for track in range(1, PUTS + 1):
        outbox.put(crossing(track))
    for suffix in ("", "-wal"):
        shutil.copy(alive / f"outbox.db{suffix}", dead / f"outbox.db{suffix}")
    outbox.close()
    return dead / "outbox.db"


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def frames(path: Path) -> int:
    return (log_of(path).stat().st_size - 32) // FRAME_BYTES


def account(outbox: Outbox, epoch: int) -> tuple[set[int], set[int]]:
    """Of the old epoch's counts: the tracks that wait, and the numbers that notices name as lost."""
    waiting = [w.row for w in outbox.peek(Stream.COUNT, limit=10_000)]
    notices = [json.loads(w.row.body) for w in outbox.peek(Stream.ALERT, limit=100)]
    named = {
        number
        for notice in notices
        if notice["kind"] == "gap" and notice["of"] == epoch
        for number in range(notice["first"], notice["last"] + 1)
    }
    return {json.loads(row.body)["track"] for row in waiting if row.epoch == epoch}, named


def eventually_read(outbox: Outbox) -> None:
    """A reader that meets damage is refused once, and finds the new file the next time."""
    for stream in Stream:
        for _ in range(3):
            with suppress(EventStoreError):
                outbox.peek(stream, limit=10_000)


def epoch_of(path: Path) -> int:
    outbox = Outbox(path, clock=FakeClock())
    epoch = outbox.epoch
    outbox.close()
    return epoch


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("within", [0, 12, 20, 1000], ids=["page number", "salt", "checksum", "page"])
def test_commits_behind_a_damaged_part_of_the_log_are_not_forgotten(killed: Path, part: float, within: int) -> None:
    copy = killed.with_name("copy.db")
    for suffix in ("", "-wal"):
        shutil.copy(f"{killed}{suffix}", f"{copy}{suffix}")
    epoch = epoch_of(copy)
    overwrite(log_of(killed), 32 + int(frames(killed) * part) * FRAME_BYTES + within, b"\xa5" * 4)
    outbox = Outbox(killed, clock=FakeClock())
    try:
        assert outbox.epoch != epoch, "numbers that may have been sent must not be given out again"
        saved, named = account(outbox, epoch)
        # Track and number are the same here. A page that was lost is there again in the next commit that touched it.
        assert saved | named == set(range(1, PUTS + 1))
        assert len(named) <= 40
    finally:
        outbox.close()


def test_rows_of_a_page_whose_older_state_is_read_without_an_error_are_named(tmp_path: Path) -> None:
    """Each part of a log in turn; the file below it is a whole database, only not the newest."""
    alive = Outbox(tmp_path / "alive.db", clock=FakeClock())
    numbers: dict[Stream, int] = dict.fromkeys(Stream, 0)

    def put(count: int) -> None:
        for _ in range(count):
            for stream in Stream:  # side by side, so that their pages are balanced against each other
                numbers[stream] += 1
                alive.put(crossing(numbers[stream], stream))

    put(94)
    assert alive._store is not None
    alive._store.checkpoint()
    put(3)
    data, log = (tmp_path / "alive.db").read_bytes(), (tmp_path / "alive.db-wal").read_bytes()
    epoch = alive.epoch
    alive.close()
    heads = range(32, len(log) - FRAME_BYTES + 1, FRAME_BYTES)
    ends = [n for n, at in enumerate(heads, 1) if any(log[at + 4 : at + 8])]
    assert len(ends) == 9
    for frame in range(ends[-3]):
        dead = tmp_path / f"dead-{frame}.db"
        dead.write_bytes(data)
        log_of(dead).write_bytes(log)
        overwrite(log_of(dead), 32 + frame * FRAME_BYTES + 1000, b"\xa5" * 64)
        outbox = Outbox(dead, clock=FakeClock())
        try:
            alerts = [w.row for w in outbox.peek(Stream.ALERT, limit=1000)]
            notices = [json.loads(row.body) for row in alerts if row.source == "box"]
            assert notices[0]["kind"] == "new-ledger"
            for stream in Stream:
                rows = [w.row for w in outbox.peek(stream, limit=1000)]
                saved = {row.seq for row in rows if row.epoch == epoch}
                named = {
                    number
                    for notice in notices
                    if notice["kind"] == "gap" and notice["stream"] == stream
                    for number in range(notice["first"], notice["last"] + 1)
                }
                assert saved | named == set(range(1, numbers[stream] + 1)), f"frame {frame}, {stream}"
                assert not saved & named, f"frame {frame}, {stream}"
        finally:
            outbox.close()


def test_a_second_damage_with_rows_of_the_first_still_waiting_names_only_numbers_that_were_given_out(
    tmp_path: Path,
) -> None:
    path = tmp_path / "outbox.db"
    epochs = []
    for count in (100, 60):
        outbox = Outbox(path, clock=FakeClock())
        for track in range(1, count + 1):
            outbox.put(crossing(track))
        epochs.append(outbox.epoch)
        outbox.close()
        overwrite(path, 0, b"\xa5" * 100)
    data = path.read_bytes()
    lost = [at for at in range(0, len(data), 4096) if b'"track":55}' in data[at : at + 4096]]
    assert lost
    for at in lost:
        overwrite(path, at, b"\xa5" * 4096)
    outbox = Outbox(path, clock=FakeClock())
    try:
        for track in range(1, 6):
            outbox.put(crossing(track))
        old, named_old = account(outbox, epochs[0])
        newer, named_newer = account(outbox, epochs[1])
        assert named_newer, "the second damage cost a page"
        assert old | named_old == set(range(1, 101))
        assert newer | named_newer == set(range(1, 61))
    finally:
        outbox.close()


@pytest.mark.parametrize("changed", [b"\x80rossing", b"crossin'"], ids=["no text", "still text"])
def test_a_changed_byte_in_a_body_costs_that_message_alone(killed: Path, changed: bytes) -> None:
    epoch = epoch_of(killed)
    data = killed.read_bytes()
    for at in range(0, len(data), 4096):  # pages keep old rows in their unused parts
        end = data[at : at + 4096].find(b'"track":55}')
        if end >= 0:
            found = data.rfind(b'crossing"', at, at + end)
            overwrite(killed, found, changed + (b"" if changed[0] == 0x80 else b"?"))
    outbox = Outbox(killed, clock=FakeClock())
    try:
        eventually_read(outbox)
        assert account(outbox, epoch) == (set(range(1, PUTS + 1)) - {55}, {55})
    finally:
        outbox.close()


def test_a_header_that_allows_reading_alone_is_damage(killed: Path) -> None:
    epoch = epoch_of(killed)
    overwrite(killed, 18, b"\x42")
    outbox = Outbox(killed, clock=FakeClock())
    try:
        outbox.put(crossing(1))
        assert account(outbox, epoch) == (set(range(1, PUTS + 1)), set())
    finally:
        outbox.close()


def test_rows_saved_without_their_ledger_and_new_ones_have_numbers_of_their_own(killed: Path) -> None:
    epoch = epoch_of(killed)
    with closing(connect(killed, read_only=True)) as db:
        (page,) = db.execute("select rootpage from sqlite_schema where name = 'ledger'").fetchone()
    overwrite(killed, (page - 1) * 4096, b"\xa5" * 4096)
    outbox = Outbox(killed, clock=FakeClock())
    try:
        outbox.put(crossing(PUTS + 1))
        waiting = [w.row for w in outbox.peek(Stream.COUNT, limit=1000)]
        assert [json.loads(row.body)["track"] for row in waiting] == [*range(1, PUTS + 2)]
        assert {row.epoch for row in waiting[:-1]} == {epoch} != {waiting[-1].epoch}
    finally:
        outbox.close()


@pytest.mark.parametrize("seed", range(40))
def test_whatever_bits_of_the_file_change_the_box_goes_on(killed: Path, seed: int) -> None:
    chance = random.Random(seed)
    epoch_of(killed)
    data = bytearray(killed.read_bytes())
    for _ in range(8):  # where pages say how they are read, and in their first rows
        at = chance.randrange(len(data) // 4096) * 4096 + chance.choice([chance.randrange(40), chance.randrange(4096)])
        data[at] ^= 1 << chance.randrange(8)
    killed.write_bytes(data)
    outbox = Outbox(killed, clock=FakeClock())
    try:
        for track in range(3):
            with suppress(EventStoreError):  # that is how it meets damage; once it has, it stores
                outbox.put(*[crossing(PUTS + track, stream) for stream in Stream])
        eventually_read(outbox)
        outbox.put(crossing(PUTS + 9))
        for stream in Stream:
            for waiting in outbox.peek(stream, limit=1000):
                encode(Envelope(waiting.row.epoch, waiting.row.seq, waiting.time_ms, 0), waiting.row.body, "cbor")
    finally:
        outbox.close()


def test_damage_that_reader_and_writer_met_at_once_costs_one_ledger(
    killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage() -> sqlite3.DatabaseError:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        return error

    reading, writing = threading.Event(), threading.Event()
    insert = Store.insert

    def met_by_the_reader(*_: object) -> None:
        reading.set()
        writing.wait()
        monkeypatch.undo()
        raise damage()

    def met_by_the_writer(*_: object) -> None:
        monkeypatch.setattr(Store, "insert", insert)
        writing.set()
        raise damage()

    def read() -> None:
        with pytest.raises(EventStoreError, match="cannot read events"):
            outbox.peek(Stream.COUNT)

    outbox = Outbox(killed, clock=FakeClock())
    try:
        monkeypatch.setattr("agent.outbox.store.read_rows", met_by_the_reader)
        reader = threading.Thread(target=read)
        reader.start()
        reading.wait()
        monkeypatch.setattr(Store, "insert", met_by_the_writer)
        outbox.put(crossing(PUTS + 1))
        reader.join()
        assert len([file for file in killed.parent.glob("*.damaged-*") if not file.name.endswith("-wal")]) == 1
        assert len(outbox.peek(Stream.COUNT, limit=1000)) == PUTS + 1
    finally:
        writing.set()
        outbox.close()


def test_a_log_whose_head_is_damaged_is_read_all_the_same(killed: Path) -> None:
    overwrite(log_of(killed), 0, b"\xa5" * 32)
    outbox = Outbox(killed, clock=FakeClock())
    try:
        tracks = [json.loads(w.row.body)["track"] for w in outbox.peek(Stream.COUNT, limit=10_000)]
        assert tracks == [*range(1, PUTS + 1)]
    finally:
        outbox.close()


def test_a_commit_cut_short_is_no_damage(killed: Path) -> None:
    log = log_of(killed)
    data = log.read_bytes()[: 32 + frames(killed) * FRAME_BYTES]
    log.write_bytes(data[:-FRAME_BYTES] + b"\0" * FRAME_BYTES)
    Log(log.read_bytes()).check()
    epoch = epoch_of(killed)
    assert epoch_of(killed) == epoch
    assert not list(killed.parent.glob("*.damaged-*"))


def test_what_a_commit_cut_short_left_behind_is_not_taken_for_damage_later(killed: Path) -> None:
    data = log_of(killed).read_bytes()
    cut = data[: 32 + (frames(killed) - 1) * FRAME_BYTES]  # its last frame did not get there
    log_of(killed).write_bytes(cut)
    outbox = Outbox(killed, clock=FakeClock())
    epoch = outbox.epoch
    outbox.put(crossing(1))
    Log(log_of(killed).read_bytes()).check()
    outbox.close()
    assert epoch_of(killed) == epoch


@pytest.mark.parametrize("damaged_bytes", [16, 100, 4096], ids=["magic", "header", "page"])
def test_a_damaged_first_page_costs_no_event(killed: Path, damaged_bytes: int) -> None:
    epoch = epoch_of(killed)  # and the log is in the file now
    overwrite(killed, 0, b"\xa5" * damaged_bytes)
    outbox = Outbox(killed, clock=FakeClock())
    try:
        saved, named = account(outbox, epoch)
        assert (saved, named) == (set(range(1, PUTS + 1)), set())
        notice = json.loads(outbox.peek(Stream.ALERT)[0].row.body)
        assert (notice["kind"], notice["of"], notice["salvaged"]) == ("new-ledger", epoch, PUTS)
        assert not [*killed.parent.glob("*.readable*")]
    finally:
        outbox.close()


def test_damage_in_a_log_is_found_and_what_is_behind_it_counted(killed: Path) -> None:
    data = bytearray(log_of(killed).read_bytes()[: 32 + frames(killed) * FRAME_BYTES])
    whole = Log(bytes(data))
    whole.check()
    assert (whole.seen, len(whole.whole), whole.hidden) == (frames(killed), frames(killed), 0)
    data[32 + 100] ^= 1  # in the first frame
    with pytest.raises(DamagedLog, match=f"after 0 frames; {frames(killed) - 1} whole ones are behind the damage"):
        Log(bytes(data)).check()


def test_a_commit_whose_end_reached_the_disk_before_its_beginning_is_a_power_cut_and_costs_no_accepted_event(
    killed: Path,
) -> None:
    outbox = Outbox(killed, clock=FakeClock())
    epoch = outbox.epoch
    for track in range(1, 4):
        outbox.put(crossing(1000 + track))
    synced, database = log_of(killed).read_bytes(), killed.read_bytes()
    outbox.put(crossing(2000), crossing(2001, Stream.ALERT))
    torn = bytearray(log_of(killed).read_bytes())
    outbox.close()
    first = next(at for at in range(32, len(torn), FRAME_BYTES) if synced[at:][:FRAME_BYTES] != torn[at:][:FRAME_BYTES])
    torn[first : first + FRAME_BYTES] = b"\0" * FRAME_BYTES
    killed.write_bytes(database)
    log_of(killed).write_bytes(torn)
    again = Outbox(killed, clock=FakeClock())
    try:
        assert again.epoch == epoch
        assert [waiting.row.seq for waiting in again.peek(Stream.COUNT, limit=1000)] == list(range(1, PUTS + 4))
    finally:
        again.close()
    assert not list(killed.parent.glob("*.damaged-*"))


def test_nothing_is_sent_from_a_file_that_the_writer_cannot_open(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its log may end in commits that were never synced: sent, then lost, their numbers would come again."""

    def read_only(*_: object) -> None:
        error = sqlite3.OperationalError("attempt to write a readonly database")
        error.sqlite_errorcode = sqlite3.SQLITE_READONLY
        raise error

    with monkeypatch.context() as disk:
        disk.setattr("agent.outbox.outbox.Store", read_only)
        outbox = Outbox(killed, clock=FakeClock())
        try:
            with pytest.raises(EventStoreError, match="readonly"):
                outbox.peek(Stream.COUNT)
        finally:
            disk.undo()
            outbox.put(crossing(PUTS + 1))
            assert len(outbox.peek(Stream.COUNT, limit=1000)) == PUTS + 1
            outbox.close()
