"""The stream of an MJPEG camera, multipart/x-mixed-replace, cut into its parts. Bytes in, bytes out; reads nothing.

Cameras are careless here: boundaries announced with their dashes or without, lengths missing or wrong, line ends of one
byte. A part ends where its Content-Length says, or, without one, where the next boundary begins; after a part whatever
stands before the next boundary is passed over. Memory is bounded by the longest part that is accepted.
"""

from __future__ import annotations

import re
from typing import Literal

MAX_PART_BYTES = 16 * 1024 * 1024
_MAX_HEAD_BYTES = 8192
_MAX_BOUNDARY_BYTES = 200
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,12})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]*)"|([^\s;]*))', re.IGNORECASE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class NotMultipart(Exception):
    """These bytes are no such stream, or hold a part that is too long. The text is for people."""


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type header names; None: it names none, and the stream will show it."""
    match = _BOUNDARY.search(content_type)
    name = (match[1] or match[2] or "") if match else ""
    return name.strip("-").encode("latin-1", "replace")[:_MAX_BOUNDARY_BYTES] or None


class Multipart:
    """feed() it what comes; next_part() gives the parts' bodies one after another, None when it needs more."""

    def __init__(self, boundary: bytes | None, *, max_part_bytes: int = MAX_PART_BYTES) -> None:
        """boundary: without leading and trailing dashes, see boundary_of."""
        self._boundary = boundary
        self._max_part_bytes = max_part_bytes
        self._buffer = bytearray()
        self._searched = 0  # up to here the buffer holds no boundary
        self._state: Literal["between", "head", "body"] = "between"
        self._length: int | None = None  # of the part that is being read, if it says so

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_part(self) -> bytes | None:
        """Raises NotMultipart when no sense can be made of what was fed; feed it no more then."""
        while True:
            if self._state == "between":
                if not self._skip_boundary():
                    return None
                self._state = "head"
            if self._state == "head":
                if not self._read_head():
                    return None
                self._state = "body"
            part = self._read_body()
            if part is None:
                return None
            self._state = "between"
            if part:
                return part

    def _skip_boundary(self) -> bool:
        if self._boundary is None:
            self._boundary = self._first_line()
        if self._boundary is None:
            return False
        at = self._find(self._boundary)
        if at < 0:
            return False
        self._drop(at + len(self._boundary))
        return True

    def _first_line(self) -> bytes | None:
        """The boundary, where the Content-Type did not name it: the first line, if that begins with two dashes."""
        start = bytes(self._buffer[:_MAX_BOUNDARY_BYTES]).lstrip(b"\r\n")
        line, end, _ = start.partition(b"\n")
        if not end and len(self._buffer) < _MAX_BOUNDARY_BYTES:
            return None
        name = line.strip().strip(b"-")
        if not end or not line.startswith(b"--") or not name:
            raise NotMultipart("it names no boundary between its pictures, and none is found")
        return name

    def _read_head(self) -> bool:
        end = _HEAD_END.search(self._buffer, 0, _MAX_HEAD_BYTES)
        if end is None:
            if len(self._buffer) >= _MAX_HEAD_BYTES:
                raise NotMultipart(f"the headers of a picture are longer than {_MAX_HEAD_BYTES} bytes")
            return False
        length = _LENGTH.search(self._buffer, 0, end.end())
        self._length = int(length[1]) if length else None
        if self._length is not None and self._length > self._max_part_bytes:
            raise NotMultipart(f"a picture of {self._length} bytes, more than the {self._max_part_bytes} accepted")
        self._drop(end.end())
        return True

    def _read_body(self) -> bytes | None:
        if self._length is not None:
            if len(self._buffer) < self._length:
                return None
            body = bytes(self._buffer[: self._length])
            self._drop(self._length)
            return body
        assert self._boundary is not None
        at = self._find(self._boundary)
        if at < 0:
            return None
        body = bytes(self._buffer[:at])
        self._drop(at)  # the boundary itself stays, to be skipped
        return body.removesuffix(b"--").removesuffix(b"\n").removesuffix(b"\r")

    def _find(self, boundary: bytes) -> int:
        at = self._buffer.find(boundary, self._searched)
        if at < 0:
            self._searched = max(0, len(self._buffer) - len(boundary) + 1)
            if len(self._buffer) > self._max_part_bytes:
                raise NotMultipart(f"more than {self._max_part_bytes} bytes without a boundary between two pictures")
        return at

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._searched = 0
