"""QEMU's own control socket: one command, one answer. https://www.qemu.org/docs/master/interop/qmp-spec.html"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from tests.guest.tools import GuestError


class Qmp:
    """Events are read and dropped: what is waited for is asked for."""

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        """path: the socket. Raises GuestError if nobody answers there in time."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_s)
        self._timeout_s = timeout_s
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError as exc:
                if time.monotonic() > deadline_s:
                    self._socket.close()
                    raise GuestError(f"{path}: QEMU does not answer: {exc}") from exc
                time.sleep(0.02)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._read()  # its greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Returns what the command returns. Raises GuestError with QEMU's own words."""
        line = json.dumps({"execute": command, "arguments": arguments})
        try:
            self._socket.sendall(line.encode() + b"\n")
            while True:
                answer = self._read()
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise GuestError(f"QEMU refused {line}: {answer['error']['desc']}")
        except OSError as exc:
            raise GuestError(f"QEMU does not answer to {line} within {self._timeout_s:g} s: {exc}") from exc

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise GuestError("QEMU has ended; see qemu.log and console.log in the guest's folder")
        answer: dict[str, Any] = json.loads(line)
        return answer
