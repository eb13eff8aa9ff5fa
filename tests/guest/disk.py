"""Disks for a guest: a file with an ext4 on it, and a disk that forgets what was not flushed when its power is cut."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from tests.guest.tools import run

SECTOR_BYTES = 512

# The NBD protocol, as much of it as QEMU's client needs; all numbers are big-endian.
_GREETING = struct.pack(">8s8sH", b"NBDMAGIC", b"IHAVEOPT", 0b11)  # fixed newstyle, no zeroes at the end
_OPTION = struct.Struct(">8sII")  # IHAVEOPT, option, length
_OPTION_REPLY = struct.Struct(">QIII")  # magic, option, kind of reply, length
_OPTION_REPLY_MAGIC = 0x3E889045565A9
_ABORT, _GO = 2, 7
_ACK, _INFO, _UNSUPPORTED = 1, 3, 0x80000001
_INFO_EXPORT, _INFO_BLOCK_SIZE = 0, 3
_HAS_FLUSH = 0b101  # has flags, has flush; no FUA: the client then flushes after such a write
_REQUEST = struct.Struct(">IHHQQI")  # magic, flags, command, handle, offset, length
_REQUEST_MAGIC = 0x25609513
_REPLY = struct.Struct(">IIQ")  # magic, error, handle
_REPLY_MAGIC = 0x67446698
_READ, _WRITE, _DISCONNECT, _FLUSH = 0, 1, 2, 3
_EINVAL = 22


class Disk(Protocol):
    """What can be attached to a guest."""

    @property
    def node(self) -> dict[str, Any]:
        """How QEMU's blockdev-add is told of it, but for the name."""
        ...


def make_ext4(path: Path, size_bytes: int, folder: Path | None = None) -> None:
    """A sparse file with an ext4 in it. folder: what it shall hold."""
    # The tables complete: the guest's kernel would write the rest in its own time, beside what is tested.
    with path.open("wb") as file:
        file.truncate(size_bytes)
    content = ["-d", str(folder)] if folder else []
    run(
        ["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-E", "lazy_itable_init=0", *content, str(path)],
        timeout_s=600,
    )


class FileDisk:
    """A raw file. What the guest wrote to it is there after a power cut, flushed or not."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only

    @property
    def node(self) -> dict[str, Any]:
        file = {"driver": "file", "filename": str(self._path)}
        return {"driver": "raw", "read-only": self._read_only, "file": file}


class CachedDisk:
    """A disk with a volatile write cache, as SSDs and SD cards have: a write is durable once a flush has followed it.

    A raw file on its own cannot show that. QEMU killed loses the guest's memory, but what the guest had handed to its
    disk is in this machine's page cache and comes back, flushed or not. So QEMU speaks NBD to this class, which keeps
    writes in memory until the guest flushes. After the guest is gone, `cut()` decides piece by piece what of the rest
    reached the medium, in any order: a file system or database that left out a flush is then likely to be caught.

    Served on a Unix socket, to one guest at a time, for as long as the `with` block lasts, by a thread of its own: it
    alone touches the cache while a guest has the disk, and `cut` waits until none has.
    """

    def __init__(self, path: Path, socket_path: Path) -> None:
        """path: a raw file, whole sectors long, which holds what is durable."""
        self.flushes = 0
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._size_bytes = os.fstat(self._fd).st_size
        self._cache: dict[int, list[bytes]] = {}  # by sector: what was written to it since the last flush, in order
        self._writes_left: int | None = None
        self._failed = threading.Event()
        self._socket_path = socket_path
        self._listener = socket.socket(socket.AF_UNIX)
        self._connection: socket.socket | None = None
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._serve, name="cached-disk", daemon=True)

    def __enter__(self) -> CachedDisk:
        self._listener.bind(str(self._socket_path))
        self._listener.listen(1)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        with suppress(OSError, AttributeError):
            self._connection.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        self._thread.join(10)
        self._socket_path.unlink(missing_ok=True)
        os.close(self._fd)

    @property
    def node(self) -> dict[str, Any]:
        server = {"type": "unix", "path": str(self._socket_path)}
        return {"driver": "raw", "file": {"driver": "nbd", "server": server}}

    # ---- the disk ---------------------------------------------------------------------------------------------------

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(os.pread(self._fd, length, offset))
        if self._cache:
            first = offset // SECTOR_BYTES
            for index in range(length // SECTOR_BYTES):
                if versions := self._cache.get(first + index):
                    data[index * SECTOR_BYTES : (index + 1) * SECTOR_BYTES] = versions[-1]
        return bytes(data)

    def write(self, offset: int, data: bytes) -> None:
        first = offset // SECTOR_BYTES
        for index in range(len(data) // SECTOR_BYTES):
            sector = data[index * SECTOR_BYTES : (index + 1) * SECTOR_BYTES]
            self._cache.setdefault(first + index, []).append(sector)

    def flush(self) -> None:
        for number, versions in self._cache.items():
            os.pwrite(self._fd, versions[-1], number * SECTOR_BYTES)
        self._cache.clear()
        self.flushes += 1

    def fail_at_write(self, count: int) -> threading.Event:
        """With the count-th write from now on, which is still taken, the disk falls silent: a moment that is in the
        middle of writing for certain. The event says that it has come; the guest is to be ended then.
        """
        self._failed.clear()
        self._writes_left = count
        return self._failed

    def cut(self, survives: float, chance: random.Random, *, piece_bytes: int = SECTOR_BYTES) -> int:
        """The power is gone. Each piece of the disk is written to the medium with probability `survives`, in one of the
        versions that it has had since the last flush. Returns how many sectors were not flushed.
        """
        if not self._idle.wait(10):
            raise RuntimeError("the guest still holds this disk; end it before its power is cut")
        fates: dict[int, float | None] = {}  # of a piece: how far into its versions it had come, or None
        for number, versions in sorted(self._cache.items()):
            piece = number * SECTOR_BYTES // piece_bytes
            if piece not in fates:
                fates[piece] = chance.random() if chance.random() < survives else None
            if (fate := fates[piece]) is not None:
                os.pwrite(self._fd, versions[int(fate * len(versions))], number * SECTOR_BYTES)
        unflushed = len(self._cache)
        self._cache.clear()
        self._writes_left = None
        return unflushed

    # ---- the protocol -----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._idle.clear()
            self._connection = connection
            with connection, suppress(OSError, EOFError):  # the guest was killed: that is what this is for
                if self._negotiate(connection):
                    self._transmit(connection)
            self._idle.set()

    def _negotiate(self, connection: socket.socket) -> bool:
        connection.sendall(_GREETING)
        _receive(connection, 4)  # the client's flags
        while True:
            _, option, length = _OPTION.unpack(_receive(connection, _OPTION.size))
            _receive(connection, length)
            if option == _GO:
                export = struct.pack(">HQH", _INFO_EXPORT, self._size_bytes, _HAS_FLUSH)
                sizes = struct.pack(">HIII", _INFO_BLOCK_SIZE, SECTOR_BYTES, 4096, 32 << 20)
                for kind, data in ((_INFO, export), (_INFO, sizes), (_ACK, b"")):
                    connection.sendall(_OPTION_REPLY.pack(_OPTION_REPLY_MAGIC, option, kind, len(data)) + data)
                return True
            answer = _ACK if option == _ABORT else _UNSUPPORTED
            connection.sendall(_OPTION_REPLY.pack(_OPTION_REPLY_MAGIC, option, answer, 0))
            if option == _ABORT:
                return False

    def _transmit(self, connection: socket.socket) -> None:
        """One request after the other, so a flush covers every write that was answered before it."""
        while True:
            magic, _, command, handle, offset, length = _REQUEST.unpack(_receive(connection, _REQUEST.size))
            if magic != _REQUEST_MAGIC or command == _DISCONNECT:
                return
            answer, error = b"", 0
            if command == _READ:
                answer = self.read(offset, length)
            elif command == _WRITE:
                self.write(offset, _receive(connection, length))
                if self._writes_left is not None:
                    self._writes_left -= 1
                    if self._writes_left <= 0:
                        self._failed.set()
                        while connection.recv(1 << 16):
                            pass  # until the guest is gone
                        return
            elif command == _FLUSH:
                self.flush()
            else:
                error = _EINVAL
            connection.sendall(_REPLY.pack(_REPLY_MAGIC, error, handle) + answer)


def _receive(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
