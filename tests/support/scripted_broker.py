"""A broker that says exactly what a test tells it to, byte by byte: for what a real one cannot be made to do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from types import TracebackType


class ScriptedBroker:
    """scripts: for each connection in turn, what is sent after CONNECT came (the last one serves all later ones).

    After its script a connection is closed, unless `hold`, which keeps it open and reads on.
    """

    def __init__(self, scripts: Sequence[bytes], *, hold: bool = False) -> None:
        self.connects: list[bytes] = []
        self.received: list[bytes] = []  # all of it, by connection
        self._scripts = list(scripts)
        self._hold = hold
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> ScriptedBroker:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(5)
        self._listener.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(0.1)
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        self.received.append(b"")
        self.connects.append(self._read(connection))
        script = self._scripts[min(len(self.connects), len(self._scripts)) - 1]
        connection.sendall(script)
        while self._hold and not self._ended.is_set() and self._read(connection):
            pass

    def _read(self, connection: socket.socket) -> bytes:
        """What came, or b"" when the other side has closed."""
        while not self._ended.is_set():
            try:
                data = connection.recv(65536)
                self.received[-1] += data
                return data
            except TimeoutError:
                continue
            except ConnectionError:
                return b""
        return b""
