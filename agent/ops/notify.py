"""What systemd is told: ready, stopping, a line for `systemctl status`, and that the watchdog is fed.

The protocol is a datagram of lines NAME=value to the socket in NOTIFY_SOCKET (sd_notify(3)). Started by hand there is
none, and nothing is sent. Never blocks and never raises: a box without its supervisor still watches.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class Notifier:
    """watchdog_s: systemd wants to be told `fed` at least so often; None: it does not ask."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._is_failing = False
        self.watchdog_s = _watchdog_s(environment) if self._address else None

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, line: str) -> None:
        self._send("STATUS=" + line.replace("\n", " "))

    def fed(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self, step_s: float) -> None:
        """To be called at each step of a long end: systemd waits for the next one for step_s."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round(step_s * 1e6)}")

    def _send(self, lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)  # a supervisor that does not read is no reason to stand still
                sock.connect(self._address)
                sock.sendall(lines.encode())
        except OSError as exc:
            if not self._is_failing:
                _log.warning("cannot tell systemd %s: %s", lines.splitlines()[0], exc)
            self._is_failing = True
        else:
            self._is_failing = False


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    try:
        period_s = int(environment.get("WATCHDOG_USEC", "")) / 1e6
        is_ours = int(environment.get("WATCHDOG_PID") or os.getpid()) == os.getpid()
    except ValueError:
        return None
    return period_s if is_ours and period_s > 0 else None
