"""The box under test inside the guest, for `tests.fault.powercut`: a real outbox on a disk whose power will be cut.

    python -m tests.fault.powercut_box OUTBOX REPORT LIFE SYNCHRONOUS [--look]

First it opens the outbox, as after any boot, and reports what waits there. Then three stages, one stream each, put
numbered events as fast as they are stored, while a reader takes what `peek` gives, as the link does. It goes on until
the power is cut; with --look it ends after the first step. REPORT is a line to the outside, which survives the cut:

    opening                               the outbox is about to be opened
    row STREAM EPOCH SEQ TRACK            waits in it
    looked WORDS                          those were all; what SQLite's own check says, "ok" if all is well
    put STREAM TRACK                      `put` has returned: from now on this event must never be missing
    sent STREAM EPOCH SEQ TRACK           `peek` gave it: a link would have sent it, under this number
    damaged NAME                          the outbox found its file damaged, and set it aside under this name

SYNCHRONOUS is "full", as the outbox has it, or "normal" or "off": the control, which must lose events.
"""

from __future__ import annotations

import functools
import json
import os
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.contract.event import Crossing, Event, Stream
from agent.outbox import Outbox, Position, Waiting, store

LIFE = 10_000_000  # numbers for one life of the guest, a tenth of them for each stream
FULL = "full"
_PEEK_ROWS = 500
# A tenth of what the outbox has. An interpreted guest stores some 30 commits a second, and lives for seconds: with 500
# pages it would hardly ever come to where the log is full and is written anew over itself, as it is on a busy box.
_WAL_PAGES = 50
_START: Position = (0, 0)


class GuestClock(SystemClock):
    """The guest starts from a copy of its memory, and the kernel's boot id is in that. Each life is a boot all the
    same: the monotonic clock has gone back, and the outbox has to know."""

    def __init__(self, life: int) -> None:
        super().__init__()
        self.boot_id = f"life-{life}"


class Report:
    """One write is one or more whole lines, whichever thread it comes from."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY)
        self._lock = threading.Lock()

    def say(self, *lines: str) -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]


class Reader:
    """The link's way through the outbox: what it was given once it asks for no more."""

    def __init__(self, outbox: Outbox, report: Report) -> None:
        self._outbox, self._report = outbox, report
        self._after = dict.fromkeys(Stream, _START)

    def take(self, word: str) -> int:
        """Report, under this word, everything behind what was taken before. Returns how many rows."""
        rows = 0
        for stream in Stream:
            while waiting := self._outbox.peek(stream, self._after[stream], _PEEK_ROWS):
                self._after[stream] = waiting[-1].position
                self._report.say(*(f"{word} {in_words(message)}" for message in waiting))
                rows += len(waiting)
        return rows


def in_words(message: Waiting) -> str:
    row = message.row
    return f"{row.stream} {row.epoch} {row.seq} {json.loads(row.body).get('track', row.body)}"


def stage(outbox: Outbox, report: Report, clock: GuestClock, stream: Stream, track: int) -> None:
    while True:
        body = Crossing(line="gate", direction="in", object_class="car", track=track)
        outbox.put(Event(stream, "north", body, clock.stamp()))
        report.say(f"put {stream} {track}")
        track += 1


def check(path: Path) -> str:
    """What SQLite says of the file: "ok", or what is wrong."""
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return " ".join(row[0] for row in db.execute("pragma integrity_check"))
    except sqlite3.Error as exc:
        return str(exc)
    finally:
        db.close()


def weaken(synchronous: str) -> None:
    """Every connection from now on syncs less than it is told to."""
    asked = "pragma synchronous = full"

    class Weak(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            return super().execute(f"pragma synchronous = {synchronous}" if sql == asked else sql, *values)

    sqlite3.connect = functools.partial(sqlite3.connect, factory=Weak)  # type: ignore[assignment]


def main(path_: str, report_: str, life_: str, synchronous: str, *look: str) -> None:
    path, report, life = Path(path_), Report(Path(report_)), int(life_)
    if synchronous != FULL:
        weaken(synchronous)
    store.WAL_PAGES = _WAL_PAGES
    clock = GuestClock(life)
    report.say("opening")
    outbox = Outbox(path, clock=clock)
    reader = Reader(outbox, report)
    reader.take("row")
    report.say(*(f"damaged {file.name}" for file in path.parent.glob("*.damaged-*")), f"looked {check(path)}")
    if not look:
        stored = threading.Event()
        outbox.on_stored(stored.set)
        for offset, stream in enumerate(Stream):
            first = life * LIFE + offset * LIFE // 10 + 1
            threading.Thread(target=stage, args=(outbox, report, clock, stream, first)).start()
        while stored.wait():
            stored.clear()
            reader.take("sent")
    outbox.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
