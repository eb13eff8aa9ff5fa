"""A serial port as Modbus RTU and NMEA use it: pyserial with our deadlines and the operating system's errors."""

from __future__ import annotations

import errno
import termios
from typing import Literal, Protocol

import serial

from drivers.base import SensorUnavailable

Parity = Literal["none", "even", "odd"]


class Port(Protocol):
    """What drivers use of a serial port. All methods raise OSError for what the operating system says."""

    path: str
    character_s: float  # how long one character takes

    def open(self) -> None: ...
    def discard(self) -> None: ...
    def write(self, data: bytes, timeout_s: float) -> None: ...
    def read_some(self, timeout_s: float) -> bytes:
        """What came, waiting for the first byte. Empty: nothing in time."""

    def close(self) -> None: ...


class SerialPort:
    """A port of the kernel, with 8 data bits. pyserial's own errors are OSErrors."""

    def __init__(self, path: str, *, baud: int, parity: Parity = "none", stop_bits: int = 1) -> None:
        self.path = path
        self.character_s = (9 + stop_bits + (parity != "none")) / baud
        self._settings = {
            "baudrate": baud,
            "parity": {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}[parity],
            "stopbits": stop_bits,
        }
        self._port: serial.Serial | None = None

    def open(self) -> None:
        self.close()
        try:
            # exclusive: of two programs that talk on one line, each gets half of the other's answers.
            self._port = serial.Serial(self.path, exclusive=True, timeout=0, **self._settings)
        except OSError as exc:
            if exc.errno == errno.EAGAIN:
                raise OSError(errno.EBUSY, "another program uses it") from exc
            raise
        except (termios.error, ValueError) as exc:
            # Neither is an OSError, and pyserial lets both through: no terminal, or a rate that the port cannot do.
            raise OSError(f"not a serial port, or it cannot do {self._settings['baudrate']} baud: {exc}") from exc

    def discard(self) -> None:
        with _Errors():
            self._opened().reset_input_buffer()

    def write(self, data: bytes, timeout_s: float) -> None:
        port = self._opened()
        with _Errors():
            port.write_timeout = timeout_s
            port.write(data)

    def read_some(self, timeout_s: float) -> bytes:
        port = self._opened()
        with _Errors():
            port.timeout = max(timeout_s, 0.001)
            first: bytes = port.read(1)
            return first + port.read(min(port.in_waiting, 4096)) if first else b""

    def close(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            with _Errors():
                port.close()

    def _opened(self) -> serial.Serial:
        if self._port is None:
            raise OSError("the port is not open")
        return self._port


class _Errors:
    """termios.error is what a port that was unplugged raises, and it is not an OSError."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: object) -> None:
        if isinstance(value, termios.error):
            raise OSError(*value.args) from value


def unavailable(who: str, path: str, exc: OSError) -> SensorUnavailable:
    """What opening a port or a device file failed with, and what to do."""
    said = exc.strerror or str(exc)
    if isinstance(exc, FileNotFoundError) or exc.errno == 2:
        return SensorUnavailable(f"sensor {who}: {path} is not there; is it plugged in?")
    if isinstance(exc, PermissionError) or exc.errno == 13:
        return SensorUnavailable(
            f"sensor {who}: {path}: {said}; the service's user must be in the group that `ls -l {path}` shows"
        )
    return SensorUnavailable(f"sensor {who}: {path}: {said}")
