"""What the journal is sent, and where a line goes that it does not take."""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.ops.journal import JournalHandler, stderr_is_the_journal


class Journal:
    """Journald's end of the socket: takes messages apart as its protocol says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        self._sock.setblocking(False)

    def entry(self) -> dict[str, str]:
        data, fields = self._sock.recv(1 << 20), {}
        while data:
            line, _, data = data.partition(b"\n")
            name, has_value, value = line.partition(b"=")
            if not has_value:
                (length,) = struct.unpack("<Q", data[:8])
                value, data = data[8 : 8 + length], data[8 + length + 1 :]
            fields[name.decode()] = value.decode()
        return fields

    def close(self) -> None:
        self._sock.close()


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    one = Journal(tmp_path / "socket")
    yield one
    one.close()


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def log(journal: Journal, kept: Kept) -> Iterator[logging.Logger]:
    handler = JournalHandler(kept, journal.path)
    logger = logging.Logger("agent.vision.capture")
    logger.addHandler(handler)
    yield logger
    handler.close()


def test_a_line_has_its_part_its_thread_and_its_place(log: logging.Logger, journal: Journal) -> None:
    thread = threading.Thread(target=lambda: log.warning("camera %s: gone", "north"), name="capture-north")
    thread.start()
    thread.join()
    entry = journal.entry()
    assert int(entry.pop("CODE_LINE")) > 0
    assert entry == {
        "MESSAGE": "camera north: gone",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "gateway-agent",
        "GATEWAY_LOGGER": "agent.vision.capture",
        "GATEWAY_THREAD": "capture-north",
        "CODE_FILE": __file__,
        "CODE_FUNC": "<lambda>",
    }


@pytest.mark.parametrize(
    ("level", "priority"), [("DEBUG", "7"), ("INFO", "6"), ("WARNING", "4"), ("ERROR", "3"), ("CRITICAL", "2")]
)
def test_levels_are_the_journals_priorities(log: logging.Logger, journal: Journal, level: str, priority: str) -> None:
    log.log(logging.getLevelNamesMapping()[level], "words")
    assert journal.entry()["PRIORITY"] == priority


def test_a_stack_is_one_entry_and_no_line_of_it_passes_for_a_field(log: logging.Logger, journal: Journal) -> None:
    try:
        raise ValueError("first\nPRIORITY=0\nlast")
    except ValueError:
        log.exception("bug in a stage")
    entry = journal.entry()
    assert entry["MESSAGE"].startswith("bug in a stage\nTraceback")
    assert entry["MESSAGE"].endswith("ValueError: first\nPRIORITY=0\nlast")
    assert entry["PRIORITY"] == "3"


def test_of_a_line_without_an_end_the_beginning_is_kept(log: logging.Logger, journal: Journal) -> None:
    log.error("%s", "x" * 10_000_000)
    assert set(journal.entry()["MESSAGE"]) == {"x"}


def test_what_the_journal_does_not_take_goes_where_lines_go_without_it(
    log: logging.Logger, journal: Journal, kept: Kept
) -> None:
    journal.close()
    log.error("the journal is gone")
    journal.path.unlink()
    log.error("and so is its socket")
    assert [record.getMessage() for record in kept.records] == ["the journal is gone", "and so is its socket"]


def test_a_journal_that_does_not_read_makes_nobody_wait(log: logging.Logger, kept: Kept) -> None:
    for number in range(2000):  # far more than a socket holds
        log.info("line %d", number)
    assert kept.records[-1].getMessage() == "line 1999"


def test_it_is_for_a_standard_error_that_systemd_has_connected(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("wb") as stream:
        status = os.fstat(stream.fileno())
        said = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert stderr_is_the_journal(said, stream.fileno())
        assert not stderr_is_the_journal({}, stream.fileno())
        with (tmp_path / "other").open("wb") as other:
            assert not stderr_is_the_journal(said, other.fileno())
    assert not stderr_is_the_journal(said, 1_000_000)  # closed
