"""Log records to systemd's journal with their fields, so that one camera's or one part's lines can be asked for:
`journalctl -u gateway-agent GATEWAY_THREAD=vision-north`.

The native protocol is a datagram of NAME=value lines (systemd.io/JOURNAL_NATIVE_PROTOCOL). Where standard error is not
the journal, as on a desk, lines go there as they always did; and so does each that the journal does not take.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
# More than a datagram holds on a kernel as it comes; a line that long is a mistake, and its beginning says which.
_MAX_TEXT_BYTES = 48 * 1024


def stderr_is_the_journal(environment: Mapping[str, str] = os.environ, descriptor: int = 2) -> bool:
    """As systemd says it: JOURNAL_STREAM has device and inode of the stream that it has connected."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class JournalHandler(logging.Handler):
    """otherwise: what takes a record that the journal did not; the journal may be restarted, or be full."""

    def __init__(self, otherwise: logging.Handler, path: Path = SOCKET) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter())  # the words alone: level and part have fields
        self._otherwise = otherwise
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)  # a journal that does not read must not make a camera wait

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = _message(record, self.format(record))
        except Exception:
            self.handleError(record)
            return
        try:
            self._socket.sendto(message, self._path)
        except OSError:
            self._otherwise.handle(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def _message(record: logging.LogRecord, text: str) -> bytes:
    fields = {
        "MESSAGE": text,
        "PRIORITY": _priority(record.levelno),
        "SYSLOG_IDENTIFIER": "gateway-agent",
        "GATEWAY_LOGGER": record.name,
        "GATEWAY_THREAD": record.threadName or "",
        "CODE_FILE": record.pathname,
        "CODE_LINE": str(record.lineno),
        "CODE_FUNC": record.funcName or "",
    }
    return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    """A value of several lines goes with its length before it, so that no line of it can pass for a field."""
    data = value.encode("utf-8", "replace")[:_MAX_TEXT_BYTES]
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"


def _priority(level: int) -> str:
    """The kernel's numbers, of which 0 is the worst."""
    for least, priority in ((logging.CRITICAL, "2"), (logging.ERROR, "3"), (logging.WARNING, "4"), (logging.INFO, "6")):
        if level >= least:
            return priority
    return "7"
