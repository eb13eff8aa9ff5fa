"""The parsers of sensors' answers, each with answers that are true, a way to ask it, and a judge."""

from __future__ import annotations

import math
import random
import re
import struct
from collections.abc import Callable
from typing import Protocol

from drivers.base import Reading, SensorInvalid, SensorRefused, SensorUnavailable
from drivers.sensors.fakes import FakeGnss, FakeModbusWire, w1_slave
from drivers.sensors.i2c import Bme280Sensor, Calibration, Ina219Sensor
from drivers.sensors.modbus import ModbusSensor, Register
from drivers.sensors.modbus_wire import ModbusLink
from drivers.sensors.nmea import parse, quality, when, where
from drivers.sensors.nut import answer, flags, number
from drivers.sensors.sysfs import parse_hwmon, parse_w1
from drivers.units import absurd
from tests.fuzz.damage import damaged
from tests.fuzz.run import Outcome, Target

Values = dict[str, float]
_REFUSALS = (SensorInvalid, SensorRefused, SensorUnavailable)
_FILLINGS = (b"\x00", b"\xff", b"\n", b"\r\n", b"$", b"*", b",", b" ", b'"', b"\\", b"YES", b"t=85000", b"ERR ")


class Parser(Protocol):
    """examples: true answers. read: the values in one, or raises one of _REFUSALS; anything else is a crash.

    bears_checksum: whether bytes of which values were taken bear the format's own checksum and form, by other code.
    None: the format has none, and only the ranges hold.
    """

    name: str

    def examples(self, chance: random.Random) -> list[bytes]: ...
    def read(self, data: bytes) -> Values: ...
    def bears_checksum(self, data: bytes, values: Values) -> bool | None: ...


def target(parser: Parser) -> Target:
    examples = parser.examples(random.Random(parser.name))  # the same in each run: an input is its number alone
    assert any(_read(parser, example) for example in examples), f"{parser.name}: no example is read at all"

    def once(chance: random.Random) -> Outcome:
        data = damaged(chance.choice(examples), chance, (*_FILLINGS, *chance.sample(examples, 3)))
        values = _read(parser, data)
        if values is None:
            return Outcome.REFUSED
        if not values:
            return Outcome.NOTHING
        assert parser.bears_checksum(data, values) is not False, f"took {values} from {data!r}"
        return Outcome.TAKEN

    return Target(parser.name, once)


def _read(parser: Parser, data: bytes) -> Values | None:
    try:
        return parser.read(data)
    except _REFUSALS:
        return None


def checked(readings: list[Reading]) -> Values:
    """As the agent takes them: what is marked, or cannot be in its unit, is no reading."""
    good = [r for r in readings if r.invalid is None and absurd(r.value, r.unit) is None]
    assert all(math.isfinite(reading.value) for reading in good)
    return {reading.quantity: reading.value for reading in good}


class Modbus:
    """One device asked for two registers; the wire gives what the fuzzer wants."""

    _REGISTERS = (Register("pm25", "µg/m³", 0, scale=0.1), Register("temperature", "°C", 1, kind="int16", scale=0.1))

    def __init__(self, *, rtu: bool) -> None:
        self.name = "modbus-rtu" if rtu else "modbus-tcp"
        self._rtu = rtu
        self._values = [231, 305]
        registers: dict[tuple[str, int], int | Callable[[], int]] = {
            ("holding", 0): lambda: self._values[0],
            ("holding", 1): lambda: self._values[1],
        }
        self._wire = _QuickWire({7: registers}, rtu=rtu)
        self._link = ModbusLink(self._wire, "rtu" if rtu else "socket")
        self._sensor = ModbusSensor("fuzz", self._link, 7, self._REGISTERS)
        self._sensor.open()

    def examples(self, chance: random.Random) -> list[bytes]:
        found = []
        for _ in range(20):
            self._values = [chance.randrange(1000), chance.randrange(-200, 500) & 0xFFFF]
            self._link._transaction = 0x1233  # so that the example answers what read() asks
            seen: list[bytes] = []
            self._wire.garble = lambda frame, seen=seen: seen.append(frame) or frame  # type: ignore[misc]
            self._sensor.read(1.0)
            found += seen
        return found

    def read(self, data: bytes) -> Values:
        self._link._transaction = 0x1233
        self._wire.garble = lambda frame: data
        self._sensor.open()  # an answer that breaks off closes it
        return checked(self._sensor.read(1.0))

    def bears_checksum(self, data: bytes, values: Values) -> bool | None:
        """A frame that answers the request must be in the bytes, and hold these very values."""
        size = 9 if self._rtu else 13
        for start in range(len(data) - size + 1):
            frame = data[start : start + size]
            if self._rtu:
                body = frame[3:7]
                well = frame[:3] == b"\x07\x03\x04" and frame[7:] == _crc16(frame[:7])
            else:
                body = frame[9:]
                well = frame[:9] == struct.pack(">HHHBBB", 0x1234, 0, 7, 7, 3, 4)
            first, second = struct.unpack(">Hh", body)
            told = {"pm25": first / 10, "temperature": second / 10}
            if well and all(math.isclose(told[name], value, abs_tol=1e-9) for name, value in values.items()):
                return True
        return False


class _QuickWire(FakeModbusWire):
    """Says at once that nothing more will come, in place of a wait for the deadline."""

    def receive(self, timeout_s: float) -> bytes:
        if not self._answers:
            raise TimeoutError("nothing more comes")
        return super().receive(timeout_s)


def _crc16(data: bytes) -> bytes:
    """Modbus's, bit by bit from its polynomial x^16 + x^15 + x^2 + 1: no table, no code of the drivers'."""
    crc = 0xFFFF
    for byte in data:
        for bit in range(8):
            carry = (crc ^ byte >> bit) & 1
            crc >>= 1
            if carry:
                crc ^= 0xA001
    return bytes([crc & 0xFF, crc >> 8])


class Nmea:
    name = "nmea"

    def examples(self, chance: random.Random) -> list[bytes]:
        found = []
        for _ in range(40):
            gnss = FakeGnss(
                latitude=chance.uniform(-89, 89),
                longitude=chance.uniform(-179, 179),
                satellites=chance.randrange(3, 15),
            )
            found += gnss.talks(1_795_500_000_000 + chance.randrange(10**11)).splitlines()
        return found

    def read(self, data: bytes) -> Values:
        sentence = parse(data.strip().decode("ascii", "replace"))
        if sentence is None:
            return {}
        if sentence.sentence_type == "GGA":
            return checked(quality(sentence, 0.0))
        values = checked(where(sentence, 0.0) or [])
        utc_ms = when(sentence)
        return values if utc_ms is None else {**values, "utc_ms": float(utc_ms)}

    def bears_checksum(self, data: bytes, values: Values) -> bool | None:
        text = data.strip()
        body, star, given = text[1:].partition(b"*")
        checksum = 0
        for byte in body:
            checksum ^= byte
        position = -90 <= values.get("latitude", 0) <= 90 and -180 <= values.get("longitude", 0) <= 180
        return star == b"*" and len(given) == 2 and given.upper() == b"%02X" % checksum and position


class OneWire:
    name = "1-wire"

    def examples(self, chance: random.Random) -> list[bytes]:
        return [w1_slave(chance.randrange(-800, 1900) / 16).encode() for _ in range(40)]

    def read(self, data: bytes) -> Values:
        return checked([Reading("temperature", parse_w1(data.decode("ascii", "replace")), "°C", 0.0)])

    def bears_checksum(self, data: bytes, values: Values) -> bool | None:
        """The kernel's YES, Dallas's checksum by long division, and the temperature that the bytes hold."""
        match = re.search(rb"((?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} YES", data)
        if match is None:
            return False
        scratchpad = bytes.fromhex(match[1].decode())
        bits = [byte >> i & 1 for byte in scratchpad for i in range(8)]
        for start in range(len(bits) - 8):
            if bits[start]:
                for tap in (0, 3, 4, 8):  # x^8 + x^5 + x^4 + 1
                    bits[start + tap] ^= 1
        (counts,) = struct.unpack("<h", scratchpad[:2])
        near = abs(counts / 16 - values["temperature"]) <= 0.5
        return not any(bits[-8:]) and near and -55 <= values["temperature"] <= 125


class Hwmon:
    name = "hwmon"

    def examples(self, chance: random.Random) -> list[bytes]:
        return [b"%d\n" % chance.randrange(-20_000, 90_000) for _ in range(40)]

    def read(self, data: bytes) -> Values:
        return checked([Reading("temperature", parse_hwmon(data.decode("ascii", "replace"), 0.001), "°C", 0.0)])

    def bears_checksum(self, data: bytes, values: Values) -> bool | None:
        return None


class Nut:
    name = "nut"

    def examples(self, chance: random.Random) -> list[bytes]:
        found = [b'VAR ups battery.charge "%d"' % chance.randrange(101) for _ in range(20)]
        found += [b'VAR ups ups.status "%s"' % status for status in (b"OL", b"OB", b"OB LB", b"OL CHRG", b"OL RB")]
        return [*found, b"ERR DATA-STALE", b"ERR VAR-NOT-SUPPORTED"]

    def read(self, data: bytes) -> Values:
        line = data.split(b"\n")[0]
        name = "ups.status" if b"status" in line else "battery.charge"
        text = answer("fuzz", "ups", name, line)
        if text is None:
            return {}
        return checked(flags("fuzz", text, 0.0) if name == "ups.status" else [number(name, text, 0.0)])

    def bears_checksum(self, data: bytes, values: Values) -> bool | None:
        """No checksum, but a form: the very variable that was asked for, and one value in quotes."""
        line = data.split(b"\n")[0].rstrip(b"\r").decode("utf-8", "replace")
        charge = re.fullmatch(r'VAR ups battery\.charge "(\d+(?:\.\d+)?)"', line)
        if charge is not None:
            return values == {"battery_charge": float(charge[1])} and 0 <= float(charge[1]) <= 100
        status = re.fullmatch(r'VAR ups ups\.status "([A-Z ]+)"', line)
        return status is not None and ("OB" in status[1].split()) == bool(values["mains_lost"])


class Chips:
    """I2C has no checksum: any bytes are an answer, and only what the chip can measure is a reading."""

    name = "i2c-chips"

    def __init__(self) -> None:
        self._bme = Bme280Sensor.__new__(Bme280Sensor)
        self._bme.sensor_id = "fuzz"
        self._ina = Ina219Sensor.__new__(Ina219Sensor)
        self._ina.sensor_id, self._ina._shunt_ohm = "fuzz", 0.1

    def examples(self, chance: random.Random) -> list[bytes]:
        return [chance.randbytes(26 + 7 + 8 + 4) for _ in range(40)]

    def read(self, data: bytes) -> Values:
        data = data.ljust(45, b"\x00")
        calibration = Calibration.of(data[:26], data[26:33])
        values = checked(self._ina.decode(data[41:43], data[43:45], 0.0))
        return {**values, **checked(self._bme.decode(data[33:41], calibration, 0.0))}

    def bears_checksum(self, data: bytes, values: Values) -> bool | None:
        ranges = {"temperature": (-40, 85), "humidity": (0, 100), "pressure": (300, 1100), "voltage": (0, 32)}
        return all(low <= values[name] <= high for name, (low, high) in ranges.items() if name in values) or False


def targets() -> list[Target]:
    return [target(one) for one in (Modbus(rtu=True), Modbus(rtu=False), Nmea(), OneWire(), Hwmon(), Nut(), Chips())]
