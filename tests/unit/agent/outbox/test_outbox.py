"""The outbox: what was accepted is there after anything, in order, numbered without a break, within its bounds."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.clock import FakeClock
from agent.contract.event import Crossing, Event, Stream
from agent.errors import EventStoreError
from agent.outbox import Outbox, Waiting
from tests.support.events import crossing

Opener = Callable[..., Outbox]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Opener]:
    boxes: list[Outbox] = []

    def open_(**options: object) -> Outbox:
        for box in boxes:
            box.close()
        boxes.append(Outbox(path, **{"clock": FakeClock(), **options}))  # type: ignore[arg-type]
        return boxes[-1]

    yield open_
    for box in boxes:
        box.close()


def everything(outbox: Outbox, stream: Stream) -> list[Waiting]:
    rows: list[Waiting] = []
    while more := outbox.peek(stream, rows[-1].position if rows else (0, 0), 7):
        rows += more
    return rows


def seqs(outbox: Outbox, stream: Stream = Stream.COUNT) -> list[int]:
    return [waiting.row.seq for waiting in everything(outbox, stream)]


def bodies(outbox: Outbox, stream: Stream = Stream.ALERT) -> list[dict[str, object]]:
    return [json.loads(waiting.row.body) for waiting in everything(outbox, stream)]


def test_what_was_put_is_there_after_reopening_in_order(opened: Opener) -> None:
    outbox = opened()
    for track in range(1, 30):
        outbox.put(crossing(track))
    epoch = outbox.epoch
    outbox = opened()
    assert outbox.epoch == epoch
    assert [json.loads(waiting.row.body)["track"] for waiting in everything(outbox, Stream.COUNT)] == [*range(1, 30)]
    assert seqs(outbox) == [*range(1, 30)]


def test_streams_are_numbered_apart(opened: Opener) -> None:
    outbox = opened()
    outbox.put(crossing(1, Stream.ALERT), crossing(2, Stream.COUNT), crossing(3, Stream.COUNT))
    assert (seqs(outbox, Stream.ALERT), seqs(outbox, Stream.COUNT), seqs(outbox, Stream.READING)) == ([1], [1, 2], [])
    assert outbox.depth().last == {"alert": 1, "count": 2}


def test_numbers_go_on_after_everything_was_removed_and_the_box_restarted(opened: Opener) -> None:
    outbox = opened()
    outbox.put(crossing(1), crossing(2))
    outbox.remove(Stream.COUNT, [(1, 1), (1, 2)])
    outbox = opened()
    assert outbox.depth().rows == 0
    outbox.put(crossing(3))
    assert seqs(outbox) == [3]


def test_removing_takes_what_was_named_and_is_harmless_when_repeated(opened: Opener) -> None:
    outbox = opened()
    outbox.put(*[crossing(track) for track in range(1, 11)])
    for _ in range(2):
        outbox.remove(Stream.COUNT, [(1, 2), (1, 9), (1, 3)])
        outbox.flush()
    assert seqs(outbox) == [1, 4, 5, 6, 7, 8, 10]
    assert outbox.depth().streams[Stream.COUNT].rows == 7


def test_what_was_acknowledged_leaves_the_depth_soon_on_a_quiet_box(opened: Opener) -> None:
    outbox = opened()
    outbox.put(crossing(1))
    outbox.remove(Stream.COUNT, [waiting.position for waiting in outbox.peek(Stream.COUNT)])
    deadline_s = time.monotonic() + 5  # far less than the time between two tidyings
    while outbox.depth().rows and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert outbox.depth().rows == 0


def test_many_threads_put_and_each_event_is_stored_once(opened: Opener) -> None:
    outbox = opened()

    def stage(first: int) -> None:
        for track in range(first, first + 20):
            outbox.put(crossing(track))

    stages = [threading.Thread(target=stage, args=(1 + 20 * number,)) for number in range(16)]
    for thread in stages:
        thread.start()
    for thread in stages:
        thread.join()
    tracks = [json.loads(waiting.row.body)["track"] for waiting in everything(outbox, Stream.COUNT)]
    assert sorted(tracks) == [*range(1, 321)]
    for first in range(1, 321, 20):
        own = [track for track in tracks if first <= track < first + 20]
        assert own == sorted(own), "one thread's events keep their order"


def test_new_rows_wake_the_link(opened: Opener) -> None:
    outbox, woken = opened(), threading.Event()
    outbox.on_stored(woken.set)
    outbox.put(crossing(1))
    assert woken.wait(5)


def test_put_after_close_is_refused(opened: Opener) -> None:
    outbox = opened()
    outbox.close()
    with pytest.raises(EventStoreError, match="closed"):
        outbox.put(crossing(1))


def test_two_agents_cannot_share_one_outbox(opened: Opener, path: Path) -> None:
    opened()
    with pytest.raises(EventStoreError, match="another agent is using this outbox"):
        Outbox(path)


def test_an_event_too_large_to_be_one_is_refused(opened: Opener) -> None:
    outbox = opened()
    huge = Event(
        Stream.ALERT,
        "north",
        Crossing(line="x" * 200_000, direction="in", object_class="car", track=1),
        FakeClock().stamp(),
    )
    with pytest.raises(EventStoreError, match="at most"):
        outbox.put(huge)


# ---- bounds ---------------------------------------------------------------------------------------------------------


def fill(outbox: Outbox, stream: Stream, number: int) -> None:
    for first in range(0, number, 100):
        outbox.put(*[crossing(first + i + 1, stream) for i in range(min(100, number - first))])


def test_readings_go_before_counts_and_counts_before_alerts(opened: Opener) -> None:
    outbox = opened(max_bytes=200_000, alert_reserve_bytes=50_000)
    fill(outbox, Stream.READING, 600)
    fill(outbox, Stream.COUNT, 800)
    fill(outbox, Stream.ALERT, 300)
    depth = outbox.depth()
    assert depth.bytes <= 200_000
    assert seqs(outbox, Stream.ALERT)[:300] == [*range(1, 301)]
    assert depth.streams[Stream.COUNT].rows == 800
    left = seqs(outbox, Stream.READING)
    assert left == [*range(left[0], 601)], "the newest stay"
    assert left[0] > 1


def test_bulk_cannot_use_the_alerts_reserve(opened: Opener) -> None:
    outbox = opened(max_bytes=200_000, alert_reserve_bytes=50_000)
    fill(outbox, Stream.COUNT, 3000)
    assert outbox.depth().bytes <= 150_000
    fill(outbox, Stream.ALERT, 300)
    assert seqs(outbox, Stream.ALERT)[:300] == [*range(1, 301)]


def test_alerts_alone_evict_the_oldest_alerts(opened: Opener) -> None:
    outbox = opened(max_bytes=100_000, alert_reserve_bytes=50_000)
    fill(outbox, Stream.ALERT, 2000)
    left = seqs(outbox, Stream.ALERT)
    assert outbox.depth().bytes <= 100_000
    assert 1 not in left
    assert 2000 in left


def test_what_is_evicted_is_announced_in_one_notice(opened: Opener) -> None:
    outbox = opened(max_bytes=100_000, alert_reserve_bytes=10_000)
    fill(outbox, Stream.COUNT, 3000)
    left = seqs(outbox)
    assert bodies(outbox) == [
        {"kind": "gap", "stream": "count", "first": 1, "last": left[0] - 1, "reason": "disk-full"},
    ]


def test_a_notice_not_yet_sent_survives_a_restart(opened: Opener) -> None:
    fill(opened(max_bytes=100_000, alert_reserve_bytes=10_000), Stream.COUNT, 3000)
    assert [body["kind"] for body in bodies(opened())] == ["gap"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(Stream)), st.integers(1, 400)), min_size=1, max_size=12))
def test_every_number_is_waiting_or_announced(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[Stream, int]]
) -> None:
    outbox = Outbox(
        tmp_path_factory.mktemp("bounds") / "o.db", max_bytes=60_000, alert_reserve_bytes=20_000, clock=FakeClock()
    )
    try:
        for stream, number in batches:
            fill(outbox, stream, number)
        here = {stream: set(seqs(outbox, stream)) for stream in (Stream.ALERT, Stream.COUNT, Stream.READING)}
        for gap in bodies(outbox):
            if gap["kind"] == "gap":
                here[Stream(str(gap["stream"]))] |= set(range(int(str(gap["first"])), int(str(gap["last"])) + 1))
        assert outbox.depth().bytes <= 60_000
        for stream, last in outbox.depth().last.items():
            assert here[Stream(stream)] >= set(range(1, last + 1)), f"{stream}: some numbers are neither"
    finally:
        outbox.close()


def test_a_message_set_aside_is_kept_and_announced(opened: Opener, path: Path) -> None:
    outbox = opened()
    outbox.put(crossing(1), crossing(2), crossing(3))
    outbox.set_aside(outbox.peek(Stream.COUNT)[1], "too-big")
    assert seqs(outbox) == [1, 3]
    assert bodies(outbox) == [{"kind": "gap", "stream": "count", "first": 2, "last": 2, "reason": "too-big"}]
    outbox.close()
    with sqlite3.connect(path) as db:
        assert db.execute("select reason, seq from aside").fetchall() == [("too-big", 2)]
    db.close()


# ---- clock ----------------------------------------------------------------------------------------------------------


def one(outbox: Outbox) -> Waiting:
    (waiting,) = outbox.peek(Stream.COUNT)
    return waiting


def test_time_is_corrected_once_the_clock_is_set(opened: Opener) -> None:
    clock = FakeClock(wall_ms=0, mono_s=50.0, trusted=False)
    outbox = opened(clock=clock)
    outbox.put(crossing(1, stamp=clock.stamp()))
    clock.sleep(5.0)
    assert (one(outbox).time_ms, one(outbox).clock_unset) == (0, True)
    clock.wall_ms, clock.is_trusted = 1_800_000_000_000, True
    assert (one(outbox).time_ms, one(outbox).clock_unset) == (1_800_000_000_000 - 5_000, False)


def test_time_of_an_earlier_boot_stays_marked(opened: Opener) -> None:
    clock = FakeClock(wall_ms=0, mono_s=50.0, trusted=False)
    opened(clock=clock).put(crossing(1, stamp=clock.stamp()))
    rebooted = FakeClock(wall_ms=1_800_000_000_000, mono_s=9.0, trusted=True)
    rebooted.boot_id = "another boot"
    outbox = opened(clock=rebooted)
    waiting = one(outbox)
    assert (waiting.time_ms, waiting.clock_unset, waiting.boot, waiting.late_s) == (0, True, 1, None)
    assert outbox.boot == 2


def test_time_of_an_earlier_boot_is_corrected_if_its_clock_came_to_be_set(opened: Opener) -> None:
    clock = FakeClock(wall_ms=0, mono_s=50.0, trusted=False)
    outbox = opened(clock=clock)
    outbox.put(crossing(1, stamp=clock.stamp()))
    clock.sleep(10.0)
    clock.wall_ms, clock.is_trusted = 1_800_000_000_000, True
    outbox.put(crossing(2, Stream.ALERT, stamp=clock.stamp()))
    outbox.close()
    rebooted = FakeClock(wall_ms=1_800_000_000_000 + 600_000, mono_s=9.0, trusted=True)
    rebooted.boot_id = "another boot"
    waiting = one(opened(clock=rebooted))
    assert (waiting.time_ms, waiting.clock_unset, waiting.boot) == (1_800_000_000_000 - 10_000, False, 1)
    assert waiting.late_s == 610


def test_a_damaged_file_still_dates_the_events_of_its_boots(opened: Opener, path: Path) -> None:
    clock = FakeClock(wall_ms=0, mono_s=50.0, trusted=False)
    outbox = opened(clock=clock)
    outbox.put(crossing(1, stamp=clock.stamp()))
    clock.wall_ms, clock.is_trusted = 1_800_000_000_000, True
    outbox.put(crossing(2, Stream.ALERT, stamp=clock.stamp()))
    outbox.close()
    with path.open("r+b") as file:
        file.write(b"\0" * 100)
    rebooted = FakeClock(wall_ms=1_800_000_000_000 + 600_000, mono_s=9.0, trusted=True)
    rebooted.boot_id = "another boot"
    waiting = one(opened(clock=rebooted))
    assert damaged_files(path)
    assert (waiting.time_ms, waiting.clock_unset) == (1_800_000_000_000, False)


def test_a_trusted_time_is_never_touched(opened: Opener) -> None:
    clock = FakeClock(wall_ms=1_700_000_000_000, mono_s=50.0, trusted=True)
    outbox = opened(clock=clock)
    outbox.put(crossing(1, stamp=clock.stamp()))
    clock.wall_ms += 86_400_000  # somebody set the clock a day ahead
    assert (one(outbox).time_ms, one(outbox).clock_unset) == (1_700_000_000_000, False)


@pytest.mark.parametrize(("waited_s", "late_s"), [(9.9, None), (10.0, 10), (86_400.0, 86_400)])
def test_late_messages_say_so(opened: Opener, waited_s: float, late_s: int | None) -> None:
    clock = FakeClock(trusted=False)
    outbox = opened(clock=clock)
    outbox.put(crossing(1, stamp=clock.stamp()))
    clock.sleep(waited_s)
    assert one(outbox).late_s == late_s


# ---- damage ---------------------------------------------------------------------------------------------------------


def damaged_files(path: Path) -> list[Path]:
    return [file for file in path.parent.glob("outbox.db.damaged-*") if not file.name.endswith(("-wal", "-shm"))]


@pytest.mark.parametrize("content", [b"this is no database" * 500, b""], ids=["another file", "empty file"])
def test_a_file_that_is_no_database_never_stops_the_box(opened: Opener, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    outbox = opened()
    outbox.put(crossing(1))
    assert seqs(outbox) == [1]
    assert [file.read_bytes() for file in damaged_files(path)] == ([content] if content else [])


def test_a_damaged_page_costs_its_rows_and_says_which(opened: Opener, path: Path) -> None:
    outbox = opened()
    fill(outbox, Stream.COUNT, 2000)
    fill(outbox, Stream.ALERT, 10)
    epoch = outbox.epoch
    outbox.close()
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(data)

    outbox = opened()
    for _ in range(3):  # the damage is found when the page is read
        try:
            rows = everything(outbox, Stream.COUNT)
        except EventStoreError:
            continue
        break
    assert outbox.epoch != epoch
    assert {waiting.row.epoch for waiting in rows} == {epoch}, "saved rows keep the numbers they had"
    notices = bodies(outbox)
    assert next(body for body in notices if body["kind"] == "new-ledger")["of"] == epoch
    saved = {waiting.row.seq for waiting in rows}
    lost = {
        seq
        for body in notices
        if body["kind"] == "gap"
        for seq in range(int(str(body["first"])), int(str(body["last"])) + 1)
    }
    assert len(saved) > 1900
    assert lost == set(range(1, 2001)) - saved
    assert len(damaged_files(path)) == 1
    outbox.put(crossing(1))
    assert [waiting.row.seq for waiting in everything(outbox, Stream.COUNT) if waiting.row.epoch == outbox.epoch] == [1]


def test_damage_found_while_putting_costs_no_event(opened: Opener, path: Path) -> None:
    outbox = opened()
    fill(outbox, Stream.COUNT, 50)
    outbox.close()
    with sqlite3.connect(path) as db:
        root = db.execute("select rootpage from sqlite_master where name = 'event'").fetchone()[0]
    db.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    path.write_bytes(data)
    outbox = opened()
    outbox.put(crossing(7))
    rows = everything(outbox, Stream.COUNT)
    assert [json.loads(waiting.row.body)["track"] for waiting in rows][-1] == 7
    assert "new-ledger" in [body["kind"] for body in bodies(outbox)]


def test_a_file_of_a_newer_agent_is_set_aside_not_overwritten(opened: Opener, path: Path) -> None:
    opened().put(crossing(1))
    opened().close()
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version = 99")
    db.close()
    outbox = opened()
    (notice,) = [body for body in bodies(outbox) if body["kind"] == "new-ledger"]
    assert "schema 99, this agent reads up to 2" in str(notice["reason"])
    assert seqs(outbox) == [1], "its rows could be read, and leave under their old numbers"


def test_an_outbox_that_cannot_be_written_reports_and_recovers(opened: Opener, path: Path) -> None:
    path.mkdir()  # stands for any reason the file cannot be opened
    outbox = opened()
    with pytest.raises(EventStoreError, match="cannot store events"):
        outbox.put(crossing(1))
    assert outbox.depth().error
    path.rmdir()
    outbox.put(crossing(1))
    assert outbox.depth().error is None
    assert seqs(outbox) == [1]


def damage(path: Path) -> None:
    """Make the file one that can be opened, and whose rows can be read, but not all of its pages."""
    data = bytearray(path.read_bytes())
    last = len(data) - 4096
    data[last:] = b"\xff" * 4096
    path.write_bytes(data)


def test_a_replacement_cut_short_is_made_again(opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(opened(), Stream.COUNT, 2000)
    opened().close()
    damage(path)

    def power_cut(*_: object) -> None:
        raise OSError("the power went")

    with monkeypatch.context() as cut:
        cut.setattr("agent.outbox.outbox.os.replace", power_cut)
        outbox = opened()
        with pytest.raises(EventStoreError):
            everything(outbox, Stream.COUNT)
        outbox.close()
    assert path.exists()
    outbox = opened()
    with pytest.raises(EventStoreError):
        everything(outbox, Stream.COUNT)
    assert len(everything(outbox, Stream.COUNT)) > 1900
    assert [body["kind"] for body in bodies(outbox)].count("new-ledger") == 1


def test_a_replacement_cut_short_at_the_last_step_is_finished(opened: Opener, path: Path) -> None:
    fill(opened(), Stream.COUNT, 10)
    epoch = opened().epoch
    opened().close()
    path.rename(f"{path}.new")
    path.write_bytes(b"the damaged one")
    Path(f"{path}-wal").write_bytes(b"and its log")
    outbox = opened()
    assert outbox.epoch == epoch
    assert seqs(outbox) == [*range(1, 11)]


def test_damage_on_a_disk_without_room_for_a_copy_names_what_is_missing(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(opened(), Stream.COUNT, 2000)
    opened().close()
    damage(path)

    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    outbox = opened()
    with monkeypatch.context() as disk:
        disk.setattr("agent.outbox.store.Store.insert_row", full)
        with pytest.raises(EventStoreError):
            everything(outbox, Stream.COUNT)
    gaps = [(body["first"], body["last"]) for body in bodies(outbox) if body["kind"] == "gap"]
    assert gaps == [(1, 2000)]
    assert len(damaged_files(path)) == 1


def test_a_source_that_cannot_stand_in_a_topic_is_refused(opened: Opener) -> None:
    with pytest.raises(ValueError, match="source 'a/b'"):
        opened().put(crossing(1, source="a/b"))


def test_a_bug_in_the_writer_is_reported_and_survived(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = opened()
    with monkeypatch.context() as bug:
        bug.setattr("agent.outbox.store.Store.insert", lambda *_: [][0])
        with pytest.raises(EventStoreError, match="IndexError"):
            outbox.put(crossing(1))
    outbox.put(crossing(2))
    assert seqs(outbox) == [1]
