"""Sensors that act out physics: a tank fills, a battery runs down, a chip counts what its air is like.

They are below the drivers, not in their place: the real driver talks to a fake wire, bus, port or folder, so that what
is tried is what runs. For tests, for trying the agent without hardware, and for drivers of your own. `FakeSensor` alone
stands in a driver's place, for those who test what reads sensors.
"""

from __future__ import annotations

import errno
import math
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from drivers.base import Reading, SensorUnavailable
from drivers.sensors.gpio import Change, Line, Lines
from drivers.sensors.i2c import Calibration, compensate
from drivers.sensors.sysfs import crc8

Step = float | Sequence[Reading] | Exception | None | Callable[[], float]


class FakeSensor:
    """Plays a script: a number is a reading, an exception is raised, None is silence for the timeout.

    A callable is called, which may block for ever: a driver that hangs. At the end the last number comes again.
    wait: called with the seconds a real sensor would have taken; give a fake clock's sleep, or nothing to run at once.
    """

    def __init__(
        self,
        sensor_id: str,
        script: Iterable[Step],
        *,
        quantity: str = "temperature",
        unit: str = "°C",
        bus: str | None = None,
        mono_s: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = lambda seconds: None,
        open_errors: Iterable[Exception | None] = (),
    ) -> None:
        self.sensor_id = sensor_id
        self.bus = bus or f"fake {sensor_id}"
        self.opens = self.reads = self.closes = 0
        self._script: Iterator[Step] = iter(script)
        self._quantity, self._unit = quantity, unit
        self._mono_s, self._wait = mono_s, wait
        self._open_errors = iter(open_errors)
        self._is_open = False
        self._last: float | None = None

    def open(self) -> None:
        self.opens += 1
        error = next(self._open_errors, None)
        if error is not None:
            raise error
        self._is_open = True

    def read(self, timeout_s: float) -> Sequence[Reading]:
        self.reads += 1
        if not self._is_open:
            raise SensorUnavailable(f"sensor {self.sensor_id} is not open; call open() first")
        step = next(self._script, self._last)
        if step is None:
            self._wait(timeout_s)
            raise SensorUnavailable(f"sensor {self.sensor_id}: no answer for {timeout_s:g} s")
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Sequence):
            return step
        value = step() if callable(step) else step
        self._last = float(value)
        return [Reading(self._quantity, self._last, self._unit, self._mono_s())]

    def close(self) -> None:
        self._is_open = False
        self.closes += 1


# ---- things in the world ---------------------------------------------------------------------------------------------


class Tank:
    """Water between two walls: the level moves as water flows in and out, and cannot leave the tank."""

    def __init__(self, *, area_m2: float, height_m: float, level_m: float, mono_s: Callable[[], float]) -> None:
        self.inflow_m3_s = 0.0
        self._area_m2, self._height_m, self._level_m = area_m2, height_m, level_m
        self._mono_s, self._then_s = mono_s, mono_s()

    def level_m(self) -> float:
        now_s = self._mono_s()
        self._level_m += self.inflow_m3_s * (now_s - self._then_s) / self._area_m2
        self._level_m = min(max(self._level_m, 0.0), self._height_m)
        self._then_s = now_s
        return self._level_m


class Battery:
    """Runs down by its load while the mains is away and charges while it is there."""

    def __init__(self, *, capacity_wh: float, load_w: float, charger_w: float, mono_s: Callable[[], float]) -> None:
        self.mains = True
        self._capacity_wh, self._load_w, self._charger_w = capacity_wh, load_w, charger_w
        self._energy_wh = capacity_wh
        self._mono_s, self._then_s = mono_s, mono_s()

    def charge(self) -> float:
        """0 to 1."""
        now_s = self._mono_s()
        power_w = self._charger_w if self.mains else -self._load_w
        self._energy_wh = min(max(self._energy_wh + power_w * (now_s - self._then_s) / 3600, 0.0), self._capacity_wh)
        self._then_s = now_s
        return self._energy_wh / self._capacity_wh

    def runtime_s(self) -> float:
        return self.charge() * self._capacity_wh / self._load_w * 3600


# ---- Modbus ----------------------------------------------------------------------------------------------------------


class FakeModbusWire:
    """A line with devices on it, for `ModbusLink`: takes a request's bytes, gives back a device's.

    devices: number → (table, address) → a value from 0 to 65535, or what gives one.
    silent: devices that do not answer. garble: what the cable makes of an answer. unplugged: the port is gone.
    """

    where = "fake"
    _FUNCTIONS: Mapping[int, str] = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}

    def __init__(self, devices: Mapping[int, Mapping[tuple[str, int], int | Callable[[], int]]], *, rtu: bool) -> None:
        self.devices = devices
        self.silent: set[int] = set()
        self.garble: Callable[[bytes], bytes] = bytes
        self.unplugged = False
        self._rtu = rtu
        self._is_open = False
        self._answers: deque[bytes] = deque()

    def open(self, timeout_s: float) -> None:
        self._check()
        self._is_open = True

    def discard(self) -> None:
        self._check()
        self._answers.clear()

    def send(self, data: bytes, timeout_s: float) -> None:
        self._check()
        head, pdu = (data[:1], data[1:-2]) if self._rtu else (data[:7], data[7:])
        if head[-1] in self.devices and head[-1] not in self.silent:
            answer = self._answer(self.devices[head[-1]], pdu)
            self._answers.append(self.garble(self._framed(head, answer)))

    def receive(self, timeout_s: float) -> bytes:
        self._check()
        return self._answers.popleft() if self._answers else b""

    def close(self) -> None:
        self._is_open = False
        self._answers.clear()

    def _check(self) -> None:
        if self.unplugged:
            raise OSError(errno.EIO, "Input/output error")

    def _answer(self, values: Mapping[tuple[str, int], int | Callable[[], int]], pdu: bytes) -> bytes:
        function, address, count = struct.unpack(">BHH", pdu)
        table = self._FUNCTIONS[function]
        asked = [values.get((table, address + i)) for i in range(count)]
        numbers = [value() if callable(value) else value for value in asked if value is not None]
        if len(numbers) < count:
            return bytes([function | 0x80, 2])  # no such register
        if table in ("coil", "discrete"):
            bits = sum(bit << i for i, bit in enumerate(numbers))
            data = bits.to_bytes((count + 7) // 8, "little")
        else:
            data = struct.pack(f">{count}H", *numbers)
        return bytes([function, len(data)]) + data

    def _framed(self, head: bytes, pdu: bytes) -> bytes:
        if self._rtu:
            return head + pdu + crc16(head + pdu)
        return head[:4] + struct.pack(">HB", len(pdu) + 1, head[6]) + pdu


def crc16(data: bytes) -> bytes:
    """Modbus's checksum, low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "little")


# ---- I2C -------------------------------------------------------------------------------------------------------------


class FakeI2cBus:
    """chips: address → chip. One that is not there does not acknowledge, as on a real bus."""

    where = "fake"

    def __init__(self, chips: Mapping[int, FakeBme280 | FakeIna219]) -> None:
        self.chips = dict(chips)

    def open(self, who: str) -> None:
        pass

    def read(self, address: int, register: int, count: int) -> bytes:
        return self._chip(address).read(register, count)

    def write(self, address: int, register: int, data: bytes) -> None:
        self._chip(address).write(register, data)

    def close(self, who: str) -> None:
        pass

    def _chip(self, address: int) -> FakeBme280 | FakeIna219:
        if address not in self.chips:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        return self.chips[address]


class FakeBme280:
    """Counts what the air around it is like, by the calibration of a real chip."""

    LOW = bytes.fromhex("706b436718fc7d8e43d6d00b270b8c00f9ff8c3cf8c67017004b")
    HIGH = bytes.fromhex("6d01001328031e")

    def __init__(self, *, celsius: float = 25.0, hectopascal: float = 1010.0, percent: float = 60.0) -> None:
        self.celsius, self.hectopascal, self.percent = celsius, hectopascal, percent
        self._registers = bytearray(256)
        self._registers[0xD0] = 0x60
        self._registers[0x88 : 0x88 + 26] = self.LOW
        self._registers[0xE1 : 0xE1 + 7] = self.HIGH
        self._registers[0xF7 : 0xF7 + 8] = bytes.fromhex("8000008000008000")  # after a reset: not measured yet

    def read(self, register: int, count: int) -> bytes:
        return bytes(self._registers[register : register + count])

    def write(self, register: int, data: bytes) -> None:
        self._registers[register : register + len(data)] = data
        if register == 0xF4 and data[0] & 0x03:
            self._measure()
            self._registers[0xF4] &= ~0x03  # asleep again

    def _measure(self) -> None:
        c = Calibration.of(self.LOW, self.HIGH)
        t = _invert(lambda adc: compensate(adc, 0, 0, c)[0], self.celsius, 20)
        p = _invert(lambda adc: -compensate(t, adc, 0, c)[1], -self.hectopascal * 100, 20)
        h = _invert(lambda adc: compensate(t, 0, adc, c)[2], self.percent, 16)
        data = (p << 4).to_bytes(3, "big") + (t << 4).to_bytes(3, "big") + h.to_bytes(2, "big")
        self._registers[0xF7 : 0xF7 + 8] = data


class FakeIna219:
    """A shunt with a current through it. Loses its setting with its supply."""

    def __init__(self, *, volt: float = 12.0, ampere: float = 0.5, shunt_ohm: float = 0.1) -> None:
        self.volt, self.ampere, self.shunt_ohm = volt, ampere, shunt_ohm
        self._setting = b"\x00\x00"

    def read(self, register: int, count: int) -> bytes:
        if register == 0x00:
            return self._setting
        if register == 0x01:
            steps = round(self.ampere * self.shunt_ohm / 10e-6)
            return struct.pack(">h", min(max(steps, -32000), 32000))
        return (round(self.volt / 0.004) << 3 | 0b10).to_bytes(2, "big")

    def write(self, register: int, data: bytes) -> None:
        if register == 0x00:
            self._setting = data

    def lose_supply(self) -> None:
        self._setting = b"\x00\x00"


def _invert(rising: Callable[[int], float], wanted: float, bits: int) -> int:
    """The count whose value comes closest to the wanted one."""
    low, high = 0, (1 << bits) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if rising(middle) < wanted else (low, middle)
    return low


# ---- serial: GNSS ----------------------------------------------------------------------------------------------------


class FakeGnss:
    """A receiver that stands still under a moving time. talks(): what it sends each second."""

    def __init__(self, *, latitude: float = 21.0285, longitude: float = 105.8542, satellites: int = 9) -> None:
        self.latitude, self.longitude, self.satellites = latitude, longitude, satellites

    def talks(self, utc_ms: int) -> bytes:
        now = datetime.fromtimestamp(utc_ms / 1000, UTC)
        clock = f"{now:%H%M%S}.{now.microsecond // 10000:02d}"
        fix = self.satellites >= 4
        latitude = f"{_minutes(self.latitude, 2)},{'NS'[self.latitude < 0]}"
        longitude = f"{_minutes(self.longitude, 3)},{'EW'[self.longitude < 0]}"
        place = f"{latitude},{longitude}" if fix else ",,,"
        gga = f"GPGGA,{clock},{place},{int(fix)},{self.satellites:02d},1.1,{'12.4,M,-28.0,M' if fix else ',,,'},,"
        rmc = f"GPRMC,{clock},{'A' if fix else 'V'},{place},0.0,0.0,{now:%d%m%y},,,{'A' if fix else 'N'}"
        return b"".join(sentence(body) for body in (gga, rmc))


def sentence(body: str) -> bytes:
    """A line of NMEA 0183 with its checksum."""
    checksum = 0
    for character in body.encode():
        checksum ^= character
    return f"${body}*{checksum:02X}\r\n".encode()


def _minutes(degrees: float, digits: int) -> str:
    whole = int(abs(degrees))
    return f"{whole:0{digits}d}{(abs(degrees) - whole) * 60:08.5f}"


class FakeSerialPort:
    """A port that gives what it is fed: bytes are read, an OSError is raised, nothing more is silence."""

    character_s = 0.001

    def __init__(self, fed: Iterable[bytes | OSError] = (), *, path: str = "/dev/fake") -> None:
        self.path = path
        self.there = True
        self._fed = deque(fed)

    def feed(self, *steps: bytes | OSError) -> None:
        self._fed.extend(steps)

    def open(self) -> None:
        if not self.there:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", self.path)

    def discard(self) -> None:
        self._fed.clear()

    def write(self, data: bytes, timeout_s: float) -> None:
        pass

    def read_some(self, timeout_s: float) -> bytes:
        if not self.there:
            raise OSError(errno.EIO, "Input/output error")
        step = self._fed.popleft() if self._fed else b""
        if isinstance(step, OSError):
            raise step
        return step

    def close(self) -> None:
        pass


# ---- UPS -------------------------------------------------------------------------------------------------------------


class FakeUps:
    """NUT's server for one UPS with a battery in it: answer() gives a line for a line."""

    def __init__(self, name: str, battery: Battery) -> None:
        self.name, self.battery = name, battery
        self.stale = False  # the server has lost the UPS

    def answer(self, line: str) -> str:
        words = line.split()
        if len(words) != 4 or words[:2] != ["GET", "VAR"]:
            return "ERR UNKNOWN-COMMAND"
        if words[2] != self.name:
            return "ERR UNKNOWN-UPS"
        if self.stale:
            return "ERR DATA-STALE"
        charge = self.battery.charge()
        mains = self.battery.mains
        status = [
            "OL" if mains else "OB",
            *(["LB"] if charge < 0.2 else []),
            *(["CHRG"] if mains and charge < 1 else []),
        ]
        values = {
            "ups.status": " ".join(status),
            "battery.charge": f"{charge * 100:.0f}",
            "battery.runtime": f"{self.battery.runtime_s():.0f}",
            "input.voltage": "228.0" if mains else "0.0",
        }
        return f'VAR {self.name} {words[3]} "{values[words[3]]}"' if words[3] in values else "ERR VAR-NOT-SUPPORTED"


class FakeConnection:
    """A socket to a server that is in this process. answer: a line for a line; None hangs up."""

    def __init__(self, answer: Callable[[str], str | None]) -> None:
        self._answer = answer
        self._came: deque[bytes] = deque()

    def settimeout(self, value: float) -> None:
        pass

    def sendall(self, data: bytes) -> None:
        answer = self._answer(data.decode().strip())
        self._came.append(b"" if answer is None else answer.encode() + b"\n")

    def recv(self, size: int) -> bytes:
        if not self._came:
            raise TimeoutError("timed out")
        return self._came.popleft()

    def close(self) -> None:
        pass


# ---- 1-wire and GPIO: files ------------------------------------------------------------------------------------------


def w1_slave(celsius: float) -> str:
    """What the kernel says of a DS18B20 at this temperature."""
    counts = round(celsius * 16)
    data = struct.pack("<h", counts) + bytes([0x4B, 0x46, 0x7F, 0xFF, 0x0C, 0x10])
    text = (data + bytes([crc8(data)])).hex(" ")
    return f"{text} : crc={crc8(data):02x} YES\n{text} t={counts * 1000 // 16}\n"


class FolderPins:
    """GPIO whose lines are files: FOLDER/17 holds the voltage on line 17, 0 or 1. Another process may write it.

    A line that has no file is pulled as its bias says, and down without one. Outputs are files too.
    sleep: how to wait between two looks; a test's own moves contacts while it waits.
    """

    def __init__(self, folder: str | Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.folder = Path(folder)
        self._sleep = sleep

    def inputs(self, chip: str, lines: Sequence[Line]) -> Lines:
        return self._take(lines)

    def output(self, chip: str, line: Line) -> Lines:
        taken = self._take([line])
        taken.set(False)
        return taken

    def drive(self, line: int | str, high: bool) -> None:
        """Put a voltage on a line, whole at once: a reader never finds half a file."""
        partial = self.folder / f".{line}.new"
        partial.write_text(f"{int(high)}\n")
        partial.rename(self.folder / str(line))

    def _take(self, lines: Sequence[Line]) -> Lines:
        if not self.folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self.folder))
        return _FolderLines(self, lines, self._sleep)


class _FolderLines:
    _LOOK_EVERY_S = 0.01

    def __init__(self, pins: FolderPins, lines: Sequence[Line], sleep: Callable[[float], None]) -> None:
        self._pins, self._lines, self._sleep = pins, lines, sleep
        self._known = self.on()

    def changes(self, timeout_s: float) -> list[Change]:
        for _ in range(max(math.ceil(timeout_s / self._LOOK_EVERY_S), 1)):
            now = self.on()
            changed = [Change(name, on, time.monotonic()) for name, on in now.items() if on != self._known[name]]
            self._known = now
            if changed or timeout_s <= 0:
                return changed
            self._sleep(self._LOOK_EVERY_S)
        return []

    def on(self) -> dict[str, bool]:
        if not self._pins.folder.is_dir():
            raise OSError(errno.ENODEV, "No such device")
        return {line.id: self._is_high(line) != line.active_low for line in self._lines}

    def set(self, on: bool) -> None:
        self._pins.drive(self._lines[0].line, on != self._lines[0].active_low)

    def release(self) -> None:
        pass

    def _is_high(self, line: Line) -> bool:
        try:
            return (self._pins.folder / str(line.line)).read_text().strip() == "1"
        except FileNotFoundError:
            return line.bias == "pull-up"
