"""A TCP proxy between the box and its broker: can be shut, severed, and can refuse messages in the broker's name.

What it lets through it does not change, so that broker and box are both the real ones.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType

PUBLISH = 3
CONNECT = 1
QUOTA_EXCEEDED = 0x97


class Road:
    """host: the address to listen on; port of this end is `port`. refusing: a PUBACK code for every ledger message."""

    def __init__(self, broker_port: int, host: str = "127.0.0.1") -> None:
        self.host = host
        self.refusing: int | None = None
        self._broker_port = broker_port
        self._listener: socket.socket | None = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._ways: set[_Way] = set()
        self._acceptor = self._accept_on(self._listener)

    def shut(self) -> None:
        """Connections end at once, and new ones are refused."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.join(5)
            self._listener.close()
            self._listener = None
        self.sever()

    def open(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server((self.host, self.port))
            self._acceptor = self._accept_on(self._listener)

    def sever(self) -> None:
        """Every connection that is open ends with a reset."""
        with self._lock:
            ways = list(self._ways)
        for way in ways:
            way.end()

    def __enter__(self) -> Road:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()

    def _accept_on(self, listener: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=self._accept, args=(listener,), name="road", daemon=True)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                box, _ = listener.accept()
            except OSError:
                return  # shut
            try:
                broker = socket.create_connection(("127.0.0.1", self._broker_port), timeout=5)
            except OSError:
                box.close()
                continue
            way = _Way(self, box, broker)
            with self._lock:
                self._ways.add(way)
            way.start()

    def left(self, way: _Way) -> None:
        with self._lock:
            self._ways.discard(way)


class _Way:
    """One connection and its two directions."""

    def __init__(self, road: Road, box: socket.socket, broker: socket.socket) -> None:
        self._road = road
        self._box, self._broker = box, broker
        self._to_box = threading.Lock()  # its PUBACKs come from two threads
        self._level = 5
        for sock in (box, broker):
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._threads = [
            threading.Thread(target=self._pump, args=(way,), name="road", daemon=True) for way in (self._up, self._down)
        ]
        self._running = 2

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        for sock in (self._box, self._broker):
            with contextlib.suppress(OSError):  # closed meanwhile
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _pump(self, carry: object) -> None:
        try:
            carry()  # type: ignore[operator]
        except OSError:
            pass
        finally:
            for sock in (self._box, self._broker):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            with self._to_box:
                self._running -= 1
                last = self._running == 0
            if last:
                self._box.close()
                self._broker.close()
                self._road.left(self)

    def _down(self) -> None:
        while data := self._broker.recv(65536):
            with self._to_box:
                self._box.sendall(data)

    def _up(self) -> None:
        rest = b""
        while data := self._box.recv(65536):
            rest += data
            begin, forward = 0, []
            while (end := _packet_end(rest, begin)) is not None:
                packet = rest[begin:end]
                begin = end
                if packet[0] >> 4 == CONNECT:
                    self._level = packet[packet.index(b"MQTT") + 4]
                if not self._refused(packet):
                    forward.append(packet)
            rest = rest[begin:]
            self._broker.sendall(b"".join(forward))

    def _refused(self, packet: bytes) -> bool:
        code = self._road.refusing
        if code is None or packet[0] >> 4 != PUBLISH or not packet[0] & 0b110:
            return False
        at = 2
        while packet[at - 1] & 0x80:
            at += 1
        length = int.from_bytes(packet[at : at + 2], "big")
        topic, mid = packet[at + 2 : at + 2 + length], packet[at + 2 + length : at + 4 + length]
        if topic.endswith(b"/state"):
            return False
        if self._level < 5:
            raise ConnectionAbortedError("before MQTT 5 a broker refuses by hanging up")
        with self._to_box:
            self._box.sendall(b"\x40\x03" + mid + bytes([code]))
        return True


def _packet_end(data: bytes, begin: int) -> int | None:
    """Where the MQTT packet that starts at begin ends, or None if it is not complete."""
    length, shift = 0, 0
    for at in range(begin + 1, min(begin + 5, len(data))):
        length |= (data[at] & 0x7F) << shift
        shift += 7
        if not data[at] & 0x80:
            end = at + 1 + length
            return end if end <= len(data) else None
    return None
