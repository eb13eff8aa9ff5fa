"""A box's way to its broker, which is cut now and then, and what went over it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

from agent.errors import UplinkDown
from agent.uplink.link import Link
from agent.uplink.settings import Broker

# struct tcp_info of linux/tcp.h: acknowledged and received bytes, segments out and in; all since the connection began.
_AT = 120
_FIELDS = struct.Struct("=QQII")


class Road:
    """cut() while nothing gets through. Counts the bytes of all connections, as the kernel does: TLS is in them, the
    headers of TCP and IP are not (segments are counted for those)."""

    def __init__(self, is_cut: Callable[[], bool]) -> None:
        self.is_cut = is_cut
        self.sent_bytes = 0
        self.received_bytes = 0
        self.segments = 0
        self.connections = 0

    def link(self, broker: Broker, **options: Any) -> Link:
        """What an Uplink makes its connections with."""
        return _CutLink(self, broker, **options)

    def count(self, sock: socket.socket) -> None:
        """Before it is closed."""
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        sent, received, segments_out, segments_in = _FIELDS.unpack_from(info, _AT)
        self.sent_bytes += sent
        self.received_bytes += received
        self.segments += segments_out + segments_in
        self.connections += 1


class _CutLink(Link):
    """The agent's own link, on a road: cut, the socket is closed without a goodbye, and no other gets through."""

    def __init__(self, road: Road, broker: Broker, **options: Any) -> None:
        super().__init__(broker, **options)
        self._road = road
        self._counted = False

    def open(self) -> None:
        self._refuse_if_cut()
        super().open()

    def drive(self, timeout_s: float, wake: socket.socket | None = None) -> None:
        self._refuse_if_cut()
        super().drive(timeout_s, wake)

    def close(self, *, polite: bool = False) -> None:
        sock = self._client.socket()
        if isinstance(sock, socket.socket) and sock.fileno() >= 0 and not self._counted:
            self._counted = True
            self._road.count(sock)
        super().close(polite=polite)

    def _refuse_if_cut(self) -> None:
        if self._road.is_cut():
            raise UplinkDown(f"{self.broker}: no way there (simulated outage)")
