"""The page's listening socket: it takes so many connections and no more, of one address fewer.

Without it, whoever opens connections and says nothing would use up the files that the agent may have open, and a
camera could not be opened again. What is too much is closed at once; the agent does not notice.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from typing import Any

MOST, MOST_OF_ONE = 96, 48


class Listener(socket.socket):
    """accept() as of any socket that does not block, bounded."""

    def __init__(self, address: str, port: int) -> None:
        """Raises OSError if the address is not there or the port is taken."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__(family, socket.SOCK_STREAM)
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind((address, port))
            self.listen(64)
            self.setblocking(False)
        except OSError:
            self.close()
            raise

    @property
    def port(self) -> int:
        port: int = self.getsockname()[1]
        return port

    def accept(self) -> tuple[socket.socket, Any]:
        taken, address = super().accept()
        source = str(address[0])
        with self._lock:
            fits = self._open.total() < MOST and self._open[source] < MOST_OF_ONE
            if fits:
                self._open[source] += 1
        if not fits:
            taken.close()
            raise BlockingIOError("no more connections than these")  # as if nobody were there, until the next
        return _Connection(taken, self, source), address

    def has_closed(self, source: str) -> None:
        with self._lock:
            self._open[source] -= 1
            if self._open[source] <= 0:
                del self._open[source]


class _Connection(socket.socket):
    def __init__(self, taken: socket.socket, listener: Listener, source: str) -> None:
        super().__init__(taken.family, taken.type, taken.proto, fileno=taken.detach())
        self._listener: Listener | None = listener
        self._source = source

    def close(self) -> None:
        super().close()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.has_closed(self._source)
