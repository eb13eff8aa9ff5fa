"""SQLite's write-ahead log, read as bytes: finds damage that SQLite passes over, and saves what lies behind it.

At the first frame whose checksum is wrong SQLite takes the log to have ended, and says nothing: that is how a commit
cut short by a power failure looks. A damaged byte looks the same, and then every commit behind it is gone, though it
was synced and accepted, and its numbers would be given out again. What tells the two apart is behind the break. With
synchronous=FULL a commit begins when the one before it has been synced, so of what was never synced there is one commit
at most, and its blocks may have reached the disk in any order: whole frames behind the break up to the end of a commit
may be its. Whole frames behind that end were written after a sync, and the break is damage. So damage in the newest one
or two commits cannot be told from a power cut, and is taken for one, as SQLite does.

Format: https://sqlite.org/fileformat2.html#the_write_ahead_log. Knows nothing of our tables.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct(">8I")  # magic, version, page size, checkpoint number, salt 1 and 2, checksum 1 and 2
_FRAME = struct.Struct(">6I")  # page number, pages in the file after a commit or 0, salt 1 and 2, checksum 1 and 2
_MAGIC = 0x377F0682  # its lowest bit says how the words of the checksums are read
_BIG_ENDIAN = 1
_VERSION = 3007000

Sum = tuple[int, int]


class DamagedLog(sqlite3.DatabaseError):
    """Commits that had been synced lie behind a damaged part of the log, where SQLite does not see them."""


@dataclass(frozen=True, slots=True)
class Page:
    number: int
    content: bytes


class Log:
    """The content of a `-wal` file. page_bytes: of the database, used where the log's own header cannot be read."""

    def __init__(self, data: bytes, page_bytes: int = 4096) -> None:
        self._data = data
        self.page_bytes = page_bytes
        self._order = "<"
        self.whole: list[Page] = []  # of the commits that count, the pages whose checksum is right; oldest first
        self.seen = 0  # how many frames SQLite sees
        self.hidden = 0  # of commits that had been synced, how many whole frames are where SQLite does not see them
        self.pages_in_file = 0  # as the last of these commits says
        self._read()

    def check(self) -> None:
        """Raises DamagedLog."""
        if self.hidden:
            raise DamagedLog(
                f"the log is damaged after {self.seen} frames; {self.hidden} whole ones are behind the damage"
            )

    def _read(self) -> None:
        if len(self._data) < _HEADER.size + _FRAME.size:
            return
        magic, _, page_bytes, _, salt_1, salt_2, sum_1, sum_2 = _HEADER.unpack_from(self._data)
        chained = magic & ~_BIG_ENDIAN == _MAGIC
        self._order = ">" if chained and magic & _BIG_ENDIAN else "<"
        chained = chained and self._sum(self._data[:24], (0, 0)) == (sum_1, sum_2)
        if chained:
            self.page_bytes = page_bytes
            salts = (salt_1, salt_2)
        else:
            salts = _FRAME.unpack_from(self._data, _HEADER.size)[2:4]
        before = (sum_1, sum_2)
        found: list[tuple[Page, int]] = []  # whole frames, and how large the file is if one ends a commit
        chain = 0  # how many of them come before the first break
        for head, content in self._frames():
            number, pages, *frame_salts, frame_sum_1, frame_sum_2 = _FRAME.unpack(head)
            whole = tuple(frame_salts) == salts and number > 0
            whole = whole and self._sum(content, self._sum(head[:8], before)) == (frame_sum_1, frame_sum_2)
            chained = chained and whole
            if whole:
                found.append((Page(number, content), pages))
                chain += chained
            before = (frame_sum_1, frame_sum_2)  # as written: so one damaged frame does not spoil those behind it
        self._judge(found, chain)

    def _judge(self, found: list[tuple[Page, int]], chain: int) -> None:
        ends = [n for n, (_, pages) in enumerate(found, 1) if pages]  # commits end after so many frames
        self.seen = max((end for end in ends if end <= chain), default=0)
        behind = [end for end in ends if end > chain]
        counts = self.seen
        if behind and len(found) > behind[0]:
            counts = behind[-1]
            self.hidden = counts - chain
        self.whole = [page for page, _ in found[:counts]]
        self.pages_in_file = found[counts - 1][1] if counts else 0

    def _frames(self) -> Iterator[tuple[bytes, bytes]]:
        step = _FRAME.size + self.page_bytes
        for at in range(_HEADER.size, len(self._data) - step + 1, step):
            yield self._data[at : at + _FRAME.size], self._data[at + _FRAME.size : at + step]

    def _sum(self, data: bytes, start: Sum) -> Sum:
        return _checksum(data, start, self._order)


def written(pages: list[Page], pages_in_file: int, page_bytes: int) -> bytes:
    """A log of one commit with these pages, which a database file can be opened with."""
    head = _HEADER.pack(_MAGIC, _VERSION, page_bytes, 0, 1, 1, 0, 0)[:24]
    total = _checksum(head, (0, 0), "<")
    out = [head, struct.pack(">2I", *total)]
    for page in pages:
        start = struct.pack(">2I", page.number, pages_in_file if page is pages[-1] else 0)
        total = _checksum(page.content, _checksum(start, total, "<"), "<")
        out += [start, struct.pack(">4I", 1, 1, *total), page.content]
    return b"".join(out)


def _checksum(data: bytes, start: Sum, order: str) -> Sum:
    one, two = start
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & 0xFFFFFFFF
        two = (two + odd + one) & 0xFFFFFFFF
    return one, two
