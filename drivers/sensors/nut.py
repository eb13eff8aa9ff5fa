"""A UPS by way of Network UPS Tools (NUT): its server's plain protocol, one line asked, one line answered.

Reading needs no login. Ours is a small client, as the Python ones that exist are GPL or want an event loop. The
protocol: https://networkupstools.org/docs/developer-guide.chunked/net-protocol.html
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from typing import Protocol

from drivers.base import Reading, SensorInvalid, SensorRefused, SensorUnavailable

_MAX_LINE_BYTES = 1024
_NUMBER = re.compile(r"-?\d{1,7}(\.\d{1,6})?")

# NUT's name → our quantity, its unit, and the range in which it can be.
_VARIABLES: dict[str, tuple[str, str, float, float]] = {
    "battery.charge": ("battery_charge", "%", 0, 100),
    "battery.runtime": ("battery_runtime", "s", 0, 1e7),
    "battery.voltage": ("battery_voltage", "V", 0, 1000),
    "input.voltage": ("input_voltage", "V", 0, 1000),
    "ups.load": ("load", "%", 0, 100),
    "ups.temperature": ("temperature", "°C", -40, 120),
}
_STATUS = "ups.status"
# Words of ups.status → our quantities.
_FLAGS = {"OB": "mains_lost", "LB": "battery_low", "RB": "battery_replace"}


class Connection(Protocol):
    """What of a socket is used here."""

    def settimeout(self, value: float) -> None: ...
    def sendall(self, data: bytes) -> None: ...
    def recv(self, size: int) -> bytes: ...
    def close(self) -> None: ...


class NutSensor:
    """ups: its name on the server, the part in brackets of ups.conf. connect: socket.create_connection, or a fake."""

    def __init__(
        self,
        sensor_id: str,
        host: str,
        ups: str,
        *,
        port: int = 3493,
        connect: Callable[[tuple[str, int], float], Connection] = socket.create_connection,
    ) -> None:
        self.sensor_id = sensor_id
        self.bus = f"nut {host}:{port} {ups}"
        self._address = (host, port)
        self._ups = ups
        self._connect = connect
        self._socket: Connection | None = None
        self._rest = b""
        self._names: list[str] | None = None  # what this UPS tells; found at the first reading

    def open(self) -> None:
        self.close()
        try:
            self._socket = self._connect(self._address, 3.0)
        except OSError as exc:
            where = f"{self._address[0]}:{self._address[1]}"
            raise SensorUnavailable(
                f"sensor {self.sensor_id}: cannot reach the UPS server at {where}: {_said(exc)}; does nut-server run?"
            ) from exc

    def read(self, timeout_s: float) -> list[Reading]:
        deadline_s = time.monotonic() + timeout_s
        now_s = time.monotonic()
        status = self._get(_STATUS, deadline_s)
        if status is None:
            raise SensorInvalid(
                f"sensor {self.sensor_id}: the UPS tells no {_STATUS}; is its driver in NUT the right one?"
            )
        readings = flags(self.sensor_id, status, now_s)
        found = []
        for name in self._names if self._names is not None else _VARIABLES:
            text = self._get(name, deadline_s)
            if text is not None:
                found.append(name)
                readings.append(number(name, text, now_s))
        self._names = found
        return readings

    def close(self) -> None:
        self._rest, self._names = b"", None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _get(self, name: str, deadline_s: float) -> str | None:
        return answer(self.sensor_id, self._ups, name, self._ask(f"GET VAR {self._ups} {name}", deadline_s))

    def _ask(self, line: str, deadline_s: float) -> bytes:
        if self._socket is None:
            raise SensorUnavailable(f"sensor {self.sensor_id} is not open; call open() first")
        try:
            self._socket.settimeout(max(deadline_s - time.monotonic(), 0.001))
            self._socket.sendall(line.encode() + b"\n")
            while b"\n" not in self._rest:
                self._socket.settimeout(max(deadline_s - time.monotonic(), 0.001))
                data = self._socket.recv(4096)
                if not data:
                    raise SensorUnavailable(f"sensor {self.sensor_id}: the UPS server closed the connection")
                self._rest += data
                if len(self._rest) > _MAX_LINE_BYTES:
                    raise SensorInvalid(
                        f"sensor {self.sensor_id}: a line of more than {_MAX_LINE_BYTES} bytes; is this NUT?"
                    )
        except OSError as exc:
            raise SensorUnavailable(f"sensor {self.sensor_id}: UPS server: {_said(exc)}") from exc
        found, _, self._rest = self._rest.partition(b"\n")
        return found


def answer(who: str, ups: str, name: str, line: bytes) -> str | None:
    """The value in the answer to GET VAR, None where this UPS has no such variable."""
    text = line.decode("utf-8", "replace").rstrip("\r")
    if text == "ERR VAR-NOT-SUPPORTED":
        return None
    if text in ("ERR DATA-STALE", "ERR DRIVER-NOT-CONNECTED"):
        raise SensorUnavailable(f"sensor {who}: the UPS server has lost the UPS ({text[4:]}); look at its cable")
    if text == "ERR UNKNOWN-UPS":
        raise SensorRefused(f"sensor {who}: the server knows no UPS {ups!r}; `upsc -l` there lists them")
    if text.startswith("ERR "):
        raise SensorRefused(f"sensor {who}: the UPS server refuses: {text[4:60]}")
    match = re.fullmatch(rf'VAR {re.escape(ups)} {re.escape(name)} "((?:[^"\\]|\\["\\])*)"', text)
    if match is None:
        raise SensorInvalid(f"sensor {who}: asked for {name}, answered {text[:60]!r}")
    return re.sub(r"\\(.)", r"\1", match[1])


def flags(who: str, status: str, mono_s: float) -> list[Reading]:
    """ups.status as on and off: "OL CHRG" is mains there; "OB LB" is mains lost and the battery low."""
    words = status.split(" ")
    if ("OL" in words) == ("OB" in words) or not re.fullmatch(r"[A-Z ]{2,60}", status):
        raise SensorInvalid(f"sensor {who}: status {status[:40]!r}; wanted one of OL (mains) and OB (battery) in it")
    return [Reading(quantity, float(word in words), "bool", mono_s) for word, quantity in _FLAGS.items()]


def number(name: str, text: str, mono_s: float) -> Reading:
    quantity, unit, low, high = _VARIABLES[name]
    if not _NUMBER.fullmatch(text):
        return Reading(quantity, float("nan"), unit, mono_s, f"{name} is {text[:40]!r}; wanted a number")
    value = float(text)
    invalid = None if low <= value <= high else f"{name} is {text}; wanted {low:g} to {high:g}"
    return Reading(quantity, value, unit, mono_s, invalid)


def _said(exc: OSError) -> str:
    return "no answer (timed out)" if isinstance(exc, TimeoutError) else exc.strerror or str(exc)
