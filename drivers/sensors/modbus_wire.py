"""Modbus over TCP and over a serial line: one request, one answer, by a deadline.

Frames and messages are built and taken apart by pymodbus; sending and waiting is ours. Its own clients measure their
timeouts on the wall clock, which a box without a clock battery sets by decades while they wait; and they accept an
answer to another function, or with another number of registers, than was asked.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Literal, Protocol

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from drivers.base import SensorInvalid, SensorRefused, SensorUnavailable
from drivers.sensors.serial_port import Port

# What is wrong with an answer is in our errors; its lines about the same would fill a log within days.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

Table = Literal["holding", "input", "coil", "discrete"]

_REQUESTS: dict[Table, type[ModbusPDU]] = {
    "coil": ReadCoilsRequest,
    "discrete": ReadDiscreteInputsRequest,
    "holding": ReadHoldingRegistersRequest,
    "input": ReadInputRegistersRequest,
}
_BITS = ("coil", "discrete")
_MOST_HEARD_BYTES = 1024  # a frame has 260 at most: more is noise, and endless
_REFUSALS = {
    1: "it knows no such function; is `table` right?",
    2: "it has no such register; is `register` right? Data sheets often count from 1, or from 40001",
    3: "it takes no such request; is `type` right?",
}
_TROUBLES = {
    4: "it reports a failure of its own",
    5: "it is still working on an earlier request",
    6: "it is busy",
    8: "its memory is damaged",
    10: "the gateway in between has no path to it",
    11: "the gateway in between gets no answer from it; is it switched on, and is `device` right?",
}


class Wire(Protocol):
    """Bytes to and from a device. All raise OSError for what the operating system says."""

    where: str  # for errors: "10.0.0.7:502", "/dev/ttyUSB0"

    def open(self, timeout_s: float) -> None: ...
    def discard(self) -> None:
        """Forget what came unasked: a late answer must not pass for that to the next request."""

    def send(self, data: bytes, timeout_s: float) -> None: ...
    def receive(self, timeout_s: float) -> bytes:
        """What came, waiting for the first byte. Empty: nothing in time."""

    def close(self) -> None: ...


class TcpWire:
    def __init__(self, host: str, port: int) -> None:
        self.where = f"{host}:{port}"
        self._address = (host, port)
        self._socket: socket.socket | None = None

    def open(self, timeout_s: float) -> None:
        self._socket = socket.create_connection(self._address, timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def discard(self) -> None:
        while self._socket is not None and select.select([self._socket], [], [], 0)[0]:
            if not self._socket.recv(4096):
                raise ConnectionResetError("the device closed the connection")

    def send(self, data: bytes, timeout_s: float) -> None:
        assert self._socket is not None
        self._socket.settimeout(timeout_s)
        self._socket.sendall(data)

    def receive(self, timeout_s: float) -> bytes:
        assert self._socket is not None
        self._socket.settimeout(max(timeout_s, 0.001))
        try:
            data = self._socket.recv(4096)
        except TimeoutError:
            return b""
        if not data:
            raise ConnectionResetError("the device closed the connection")
        return data

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class SerialWire:
    """A serial line keeps 3.5 characters of silence between frames; without it devices take two for one."""

    def __init__(self, port: Port) -> None:
        self.where = port.path
        self._port = port
        self._quiet_s = max(3.5 * port.character_s, 0.00175)

    def open(self, timeout_s: float) -> None:
        self._port.open()

    def discard(self) -> None:
        time.sleep(self._quiet_s)
        self._port.discard()

    def send(self, data: bytes, timeout_s: float) -> None:
        self._port.write(data, timeout_s)

    def receive(self, timeout_s: float) -> bytes:
        return self._port.read_some(timeout_s)

    def close(self) -> None:
        self._port.close()


class ModbusLink:
    """One wire and the devices behind it. Opened by the first that uses it, closed by the last.

    framing: "rtu" on serial lines (and behind plain serial-to-TCP converters), "socket" for Modbus TCP.
    """

    def __init__(self, wire: Wire, framing: Literal["rtu", "socket"]) -> None:
        self.where = wire.where
        self._wire = wire
        decoder = DecodePDU(False)
        self._framer = FramerRTU(decoder) if framing == "rtu" else FramerSocket(decoder)
        self._transaction = 0
        self._users: set[str] = set()
        self._is_open = False
        # Sensors of one bus take turns anyway, unless one of them was left behind in a call that hangs.
        self._lock = threading.Lock()

    def open(self, who: str, timeout_s: float) -> None:
        with self._held(who, timeout_s):
            if not self._is_open:
                try:
                    self._wire.open(timeout_s)
                except OSError as exc:
                    self._wire.close()
                    raise SensorUnavailable(
                        f"sensor {who}: cannot reach {self.where}: {_said(exc)}; is it connected and switched on?"
                    ) from exc
                self._is_open = True
            self._users.add(who)

    def close(self, who: str) -> None:
        self._users.discard(who)
        if not self._users:
            self._reset()

    def ask(self, who: str, device: int, table: Table, address: int, count: int, timeout_s: float) -> list[int]:
        """count registers (0 to 65535 each) or bits (0 or 1 each) from address on.

        Raises SensorUnavailable without an answer, SensorRefused for a refusal, SensorInvalid for what is no answer.
        """
        with self._held(who, timeout_s):
            if not self._is_open:
                raise SensorUnavailable(f"sensor {who} is not open; call open() first")
            try:
                answer = self._exchange(who, device, table, address, count, time.monotonic() + timeout_s)
            except OSError as exc:
                self._reset()
                raise SensorUnavailable(f"sensor {who}: {self.where}: {_said(exc)}; was it unplugged?") from exc
        if isinstance(answer, ExceptionResponse) and answer.function_code & 0x7F == _REQUESTS[table].function_code:
            raise _refusal(who, device, answer.exception_code, table, address)
        return _content(who, answer, table, count)

    def _exchange(self, who: str, device: int, table: Table, address: int, count: int, deadline_s: float) -> ModbusPDU:
        self._transaction = self._transaction % 0xFFFF + 1
        request = _REQUESTS[table](address=address, count=count, dev_id=device, transaction_id=self._transaction)
        try:
            self._wire.discard()
        except ConnectionError:
            # Many devices and gateways hang up on who has not asked for some seconds. Nothing was sent: call again.
            self._wire.close()
            self._wire.open(max(deadline_s - time.monotonic(), 0.001))
        self._wire.send(self._framer.buildFrame(request), max(deadline_s - time.monotonic(), 0.001))
        heard = received = b""
        while (left_s := deadline_s - time.monotonic()) > 0 and len(heard) < _MOST_HEARD_BYTES:
            came = self._wire.receive(left_s)
            heard += came
            received += came
            if isinstance(self._framer, FramerRTU):
                received = _from_head(received, device, request.function_code)
            try:
                used, answer = self._framer.handleFrame(received, device, self._transaction)
            except (ModbusException, ValueError, IndexError, struct.error) as exc:
                raise SensorInvalid(
                    f"sensor {who}: device {device} at {self.where} answered {_dump(heard)}: {exc}"
                ) from exc
            if answer is not None:
                if isinstance(self._framer, FramerSocket) and not _is_whole(received[:used], self._transaction, device):
                    break
                return answer
            if isinstance(self._framer, FramerRTU) and used:
                break  # a whole frame, and its checksum is wrong: nothing more will come
            received = received[used:]
        if heard:
            raise SensorInvalid(
                f"sensor {who}: device {device} at {self.where} answered {_dump(heard)}, which is no frame with a "
                "right checksum or length; are baud rate, parity and the wiring (A, B, terminator) right, and is each "
                "`device` number there once?"
            )
        raise SensorUnavailable(
            f"sensor {who}: no answer from device {device} at {self.where}; is it switched on, and are `device`, "
            "baud rate and wiring right?"
        )

    def _reset(self) -> None:
        self._is_open = False
        with suppress(OSError):
            self._wire.close()

    def _held(self, who: str, timeout_s: float) -> _Held:
        return _Held(self._lock, who, self.where, timeout_s)


class _Held:
    """The link's lock, but never waited for longer than the sensor may take."""

    def __init__(self, lock: threading.Lock, who: str, where: str, timeout_s: float) -> None:
        self._lock, self._who, self._where, self._timeout_s = lock, who, where, timeout_s

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._timeout_s):
            raise SensorUnavailable(f"sensor {self._who}: {self._where} is held by a call that does not return")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _from_head(received: bytes, device: int, function: int) -> bytes:
    """What was received without what cannot begin an answer to us.

    Switching an RS-485 line around often makes a byte of noise; pymodbus takes it for the number of another device.
    """
    for start, byte in enumerate(received):
        if byte == device and (start + 1 == len(received) or received[start + 1] & 0x7F == function):
            return received[start:]
    return b""


def _is_whole(received: bytes, transaction: int, device: int) -> bool:
    """Whether what was received ends in one frame of Modbus TCP that answers us and whose two lengths agree.

    pymodbus takes transaction 0 for any, device 0 for any, and lets the count of bytes be less than there are.
    """
    for size in range(9, len(received) + 1):
        frame = received[-size:]
        if frame[:7] == struct.pack(">HHHB", transaction, 0, size - 6, device):
            return frame[7] > 0x80 or frame[8] == size - 9
    return False


def _content(who: str, answer: ModbusPDU, table: Table, count: int) -> list[int]:
    wanted_function = _REQUESTS[table].function_code
    if answer.function_code != wanted_function:
        raise SensorInvalid(
            f"sensor {who}: asked function {wanted_function}, answered function {answer.function_code}; "
            "do two devices have the same number?"
        )
    if table in _BITS:
        bits = [int(bit) for bit in answer.bits]
        # Bits come in whole bytes: as many as needed, no more.
        if len(bits) != (count + 7) // 8 * 8:
            raise SensorInvalid(f"sensor {who}: asked for {count} bits, got {len(bits)}")
        return bits[:count]
    if len(answer.registers) != count:
        raise SensorInvalid(f"sensor {who}: asked for {count} registers, got {len(answer.registers)}")
    return list(answer.registers)


def _refusal(who: str, device: int, code: int, table: Table, address: int) -> SensorUnavailable:
    what = f"sensor {who}: device {device} refuses {table} {address} (exception {code})"
    if code in _REFUSALS:
        return SensorRefused(f"{what}: {_REFUSALS[code]}")
    return SensorUnavailable(f"{what}: {_TROUBLES.get(code, 'not a reason that Modbus knows')}")


def _said(exc: OSError) -> str:
    return "no answer (timed out)" if isinstance(exc, TimeoutError) else exc.strerror or str(exc)


def _dump(data: bytes) -> str:
    text = data[:16].hex(" ")
    return f"{len(data)} bytes ({text}{' …' if len(data) > 16 else ''})"
