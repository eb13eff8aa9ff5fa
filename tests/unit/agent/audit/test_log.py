"""The audit log: whole after any end of the writer, and any change of it shows."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.audit import AuditLog, AuditReporter, Entry, verify
from agent.clock import FakeClock
from agent.contract.audit import FIRST, hash_of
from agent.contract.event import Audit, Event
from agent.contract.wire import Envelope, body_json, encode, parse
from agent.errors import EventStoreError


def log_in(folder: Path, **options: int) -> AuditLog:
    return AuditLog(folder / "audit", clock=FakeClock(), **options)


def entry(did: str = "ping", **more: str) -> Entry:
    return Entry(did, "done", "Lan (ioc)", "mqtt", **more)


def written(folder: Path, n: int = 5) -> Path:
    log = log_in(folder)
    for number in range(n):
        log.note(entry(f"step-{number}", what='{"café":"ü"}'))
    [path] = (folder / "audit").glob("*.log")
    return path


def test_entries_are_numbered_and_each_names_the_one_before(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    first, second = log.note(entry()), log.note(entry())
    assert (first.n, first.before, second.n, second.before) == (1, FIRST, 2, first.hash)
    assert hash_of(second) == second.hash
    assert log.since(1) == [second]
    found = verify(log.folder)
    assert (found.entries, found.begins, found.last, found.trouble) == (2, 1, second, None)


def test_another_process_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    log_in(tmp_path).note(entry())
    assert log_in(tmp_path).note(entry()).n == 2
    assert verify(tmp_path / "audit").trouble is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [*lines[:1], lines[1].replace(b"step-1", b"step-9"), *lines[2:]],
        lambda lines: [*lines[:1], *lines[2:]],
        lambda lines: lines[1:3] + lines[:1],
        lambda lines: [*lines[:2], lines[1], *lines[2:]],
        lambda lines: [*lines[:2], b"rubbish\n", *lines[2:]],
        lambda lines: [*lines[:-1], lines[-1][:-10]],
    ],
    ids=["changed", "taken out", "swapped", "put in again", "rubbish put in", "cut short"],
)
def test_whatever_is_done_to_the_middle_shows(tmp_path: Path, damage: object) -> None:
    path = written(tmp_path)
    path.write_bytes(b"".join(damage(path.read_bytes().splitlines(keepends=True))))  # type: ignore[operator]
    assert verify(path.parent).trouble is not None


@settings(max_examples=200, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_bit_of_it_can_be_changed(tmp_path_factory: pytest.TempPathFactory, where: float, bit: int) -> None:
    path = written(tmp_path_factory.mktemp("log"), 2)
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    path.write_bytes(data)
    assert verify(path.parent).trouble is not None


def test_what_a_power_cut_left_of_a_line_goes_and_the_chain_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    for cut in (1, 20, 60):
        whole = path.read_bytes()
        path.write_bytes(whole + whole.splitlines(keepends=True)[-1][:-cut])
        n = verify(path.parent).entries
        assert log_in(tmp_path).note(entry()).n == n + 1
        assert verify(path.parent).trouble is None


def test_a_file_that_was_begun_and_never_written_is_begun_again(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    (path.parent / "000000000004.log").write_bytes(b"half an en")
    assert log_in(tmp_path).note(entry()).n == 4
    assert verify(path.parent).trouble is None


def test_it_is_bounded_and_what_is_kept_is_a_chain(tmp_path: Path) -> None:
    log = log_in(tmp_path, file_bytes=1000)
    for _ in range(100):
        log.note(entry())
    found = verify(log.folder)
    assert (found.trouble, found.last and found.last.n) == (None, 100)
    assert found.begins > 50
    assert len(list(log.folder.glob("*.log"))) == 8
    assert [one.n for one in log.since(95)] == [96, 97, 98, 99, 100]


def test_many_writers_at_once_make_one_chain(tmp_path: Path) -> None:
    threads = [threading.Thread(target=lambda: [log_in(tmp_path).note(entry()) for _ in range(20)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = verify(tmp_path / "audit")
    assert (found.entries, found.trouble) == (100, None)


def test_what_a_stranger_wrote_is_one_line_and_not_long(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    made = log.note(Entry("a\nb\x1b[2J", "refused", "x" * 1000, "mqtt", why="\ud800" + "y" * 9999))
    assert (made.did, len(made.by), len(made.why or "")) == ("a?b?[2J", 140, 500)
    assert len((log.folder / "000000000001.log").read_bytes().splitlines()) == 1
    assert verify(log.folder).trouble is None


def test_whoever_reads_it_from_the_ledger_finds_the_same_hash(tmp_path: Path) -> None:
    made = log_in(tmp_path).note(entry(what='{"x":1}', id="q1"))
    for form in ("json", "cbor"):
        body = parse(encode(Envelope(1, 1, 1, 1), body_json(made), form)).body  # type: ignore[arg-type]
        assert isinstance(body, Audit)
        assert hash_of(body) == made.hash == body.hash


def test_an_entry_of_a_box_without_the_time_has_none(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit", clock=FakeClock(trusted=False))
    assert log.note(entry()).at is None


# ---- onto the ledger -------------------------------------------------------------------------------------------------


class Ledger:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.full = False

    def put(self, *events: Event) -> None:
        if self.full:
            raise EventStoreError("disk full")
        self.events += events

    def numbers(self) -> list[int]:
        return [event.body.n for event in self.events if isinstance(event.body, Audit)]


def reporter(folder: Path, ledger: Ledger) -> AuditReporter:
    return AuditReporter(log_in(folder), folder / "audit.told", ledger.put, clock=FakeClock())


def test_what_anybody_noted_is_published_once_and_in_order(tmp_path: Path) -> None:
    ledger = Ledger()
    ours = reporter(tmp_path, ledger)
    ours.update()
    for _ in range(3):
        log_in(tmp_path).note(entry())
        ours.update()
        ours.update()
    reporter(tmp_path, ledger).update()
    log_in(tmp_path).note(entry())
    reporter(tmp_path, ledger).update()
    assert ledger.numbers() == [1, 2, 3, 4]


def test_what_could_not_be_stored_is_published_later(tmp_path: Path) -> None:
    ledger = Ledger()
    ours = reporter(tmp_path, ledger)
    ledger.full = True
    for _ in range(250):
        log_in(tmp_path).note(entry())
        ours.update()
    ledger.full = False
    for _ in range(5):
        ours.update()
    assert ledger.numbers() == list(range(1, 251))


def test_where_it_is_not_known_how_far_it_was_not_everything_comes_again(tmp_path: Path) -> None:
    ledger = Ledger()
    for _ in range(1200):
        log_in(tmp_path).note(entry())
    ours = reporter(tmp_path, ledger)
    for _ in range(20):
        ours.update()
    assert ledger.numbers() == list(range(201, 1201))
