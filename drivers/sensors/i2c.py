"""Chips on an I2C bus: BME280 (air: temperature, humidity, pressure) and INA219 (voltage, current, power).

I2C has no checksums: what a chip says is held against what it can measure, and what can be read back is.
"""

from __future__ import annotations

import errno
import math
import struct
import time
from dataclasses import astuple, dataclass
from typing import Protocol

from smbus2 import SMBus

from drivers.base import Reading, SensorInvalid, SensorRefused, SensorUnavailable


class I2cBus(Protocol):
    """Registers of chips on one adapter. All raise OSError for what the kernel says."""

    where: str  # "/dev/i2c-1"

    def open(self, who: str) -> None: ...
    def read(self, address: int, register: int, count: int) -> bytes: ...
    def write(self, address: int, register: int, data: bytes) -> None: ...
    def close(self, who: str) -> None:
        """who does not need it any more; closed with the last."""


class SystemI2cBus:
    """An adapter of the kernel, by block transfers of at most 32 bytes each.

    Two bytes go as an SMBus word, low byte first: on the wire it is the same, adapters that know no blocks know it too,
    and the kernel's i2c-stub takes it for one register of a chip whose registers are 16 bits wide.
    """

    def __init__(self, path: str) -> None:
        self.where = path
        self._bus: SMBus | None = None
        self._users: set[str] = set()

    def open(self, who: str) -> None:
        if self._bus is None:
            self._bus = SMBus(self.where)
        self._users.add(who)

    def read(self, address: int, register: int, count: int) -> bytes:
        if self._bus is None:
            raise OSError(errno.EBADF, "not open")
        if count == 2:
            return self._bus.read_word_data(address, register).to_bytes(2, "little")
        return bytes(self._bus.read_i2c_block_data(address, register, count))

    def write(self, address: int, register: int, data: bytes) -> None:
        if self._bus is None:
            raise OSError(errno.EBADF, "not open")
        if len(data) == 2:
            self._bus.write_word_data(address, register, int.from_bytes(data, "little"))
        else:
            self._bus.write_i2c_block_data(address, register, list(data))

    def close(self, who: str) -> None:
        self._users.discard(who)
        if self._bus is not None and not self._users:
            self._bus.close()
            self._bus = None


class _Chip:
    """What both chips share: one address on one bus, and errors in a technician's words."""

    def __init__(self, sensor_id: str, bus: I2cBus, address: int) -> None:
        self.sensor_id = sensor_id
        self.bus = f"i2c {bus.where}"
        self._bus = bus
        self._address = address
        self._is_open = False

    def close(self) -> None:
        self._is_open = False
        self._bus.close(self.sensor_id)

    def _need_open(self) -> None:
        if not self._is_open:
            raise SensorUnavailable(f"sensor {self.sensor_id} is not open; call open() first")

    def _get(self, register: int, count: int) -> bytes:
        try:
            data = self._bus.read(self._address, register, count)
        except OSError as exc:
            raise self._error(exc) from exc
        if len(data) != count:
            raise SensorInvalid(f"sensor {self.sensor_id}: asked for {count} bytes, got {len(data)}")
        return data

    def _put(self, register: int, data: bytes) -> None:
        try:
            self._bus.write(self._address, register, data)
        except OSError as exc:
            raise self._error(exc) from exc

    def _error(self, exc: OSError) -> SensorUnavailable:
        at = f"sensor {self.sensor_id}: {self._bus.where}, address 0x{self._address:02x}"
        if exc.errno == errno.ENOENT:
            return SensorUnavailable(
                f"sensor {self.sensor_id}: {self._bus.where} is not there; is I2C switched on (dtparam=i2c_arm=on)?"
            )
        if exc.errno in (errno.EACCES, errno.EPERM):
            return SensorRefused(
                f"sensor {self.sensor_id}: {self._bus.where}: {exc.strerror}; the service's user must be in group 'i2c'"
            )
        if exc.errno in (errno.ENXIO, errno.EREMOTEIO, errno.ENODEV):
            return SensorUnavailable(f"{at}: no chip answers; look at its wiring and address (`i2cdetect -y 1`)")
        if exc.errno == errno.EBUSY:
            return SensorUnavailable(f'{at}: a driver of the kernel uses it; read it there (driver = "hwmon")')
        return SensorUnavailable(f"{at}: {exc.strerror or exc}; does something hold the bus's wires down?")


@dataclass(frozen=True, slots=True)
class Calibration:
    """What Bosch measured of one BME280 and wrote into it (BST-BME280-DS002, table 16)."""

    t1: int
    t2: int
    t3: int
    p1: int
    p2: int
    p3: int
    p4: int
    p5: int
    p6: int
    p7: int
    p8: int
    p9: int
    h1: int
    h2: int
    h3: int
    h4: int
    h5: int
    h6: int

    @staticmethod
    def of(low: bytes, high: bytes) -> Calibration:
        """low: 26 bytes from 0x88, high: 7 bytes from 0xE1. H4 and H5 are twelve bits each and share a byte."""
        first = struct.unpack("<HhhHhhhhhhhh", low[:24])
        h2, h3 = struct.unpack("<hB", high[:3])
        h4 = struct.unpack("b", high[3:4])[0] * 16 | high[4] & 0x0F
        h5 = struct.unpack("b", high[5:6])[0] * 16 | high[4] >> 4
        (h6,) = struct.unpack("b", high[6:7])
        return Calibration(*(*first, low[25], h2, h3, h4, h5, h6))


def compensate(adc_t: int, adc_p: int, adc_h: int, c: Calibration) -> tuple[float, float, float]:
    """°C, Pa and % from what the chip counted: the formulas of BST-BME280-DS002, section 8.1 (floating point).

    Pressure and humidity need the temperature of the same measurement.
    """
    a = (adc_t / 16384 - c.t1 / 1024) * c.t2
    b = (adc_t / 131072 - c.t1 / 8192) ** 2 * c.t3
    fine = a + b
    celsius = fine / 5120
    x = fine / 2 - 64000
    y = x * x * c.p6 / 32768
    y += x * c.p5 * 2
    y = y / 4 + c.p4 * 65536
    x = (c.p3 * x * x / 524288 + c.p2 * x) / 524288
    x = (1 + x / 32768) * c.p1
    if x == 0:
        pascal = math.nan  # a chip without calibration; the data sheet avoids this division too
    else:
        pascal = (1048576 - adc_p - y / 4096) * 6250 / x
        pascal += (c.p9 * pascal * pascal / 2147483648 + pascal * c.p8 / 32768 + c.p7) / 16
    h = fine - 76800
    h = (adc_h - (c.h4 * 64 + c.h5 / 16384 * h)) * (
        c.h2 / 65536 * (1 + c.h6 / 67108864 * h * (1 + c.h3 / 67108864 * h))
    )
    h *= 1 - c.h1 * h / 524288
    return celsius, pascal, min(max(h, 0.0), 100.0)


class Bme280Sensor(_Chip):
    """One measurement per read, and sleep in between: a chip that measures all the time warms itself."""

    _ID, _RESET, _HUMIDITY, _STATUS, _MEASURE, _DATA = 0xD0, 0xE0, 0xF2, 0xF3, 0xF4, 0xF7
    _ONCE = 0b001_001_01  # temperature and pressure once, forced mode; takes 9.3 ms at most (section 9.1)
    _SKIPPED_20, _SKIPPED_16 = 0x80000, 0x8000

    def __init__(self, sensor_id: str, bus: I2cBus, address: int = 0x76) -> None:
        super().__init__(sensor_id, bus, address)
        self._calibration: Calibration | None = None

    def open(self) -> None:
        try:
            self._bus.open(self.sensor_id)
        except OSError as exc:
            raise self._error(exc) from exc
        found = self._get(self._ID, 1)[0]
        if found != 0x60:
            hint = "; that is a BMP280, which has no humidity" if found == 0x58 else ""
            raise SensorRefused(
                f"sensor {self.sensor_id}: the chip at 0x{self._address:02x} says it is 0x{found:02x}, not 0x60{hint}"
            )
        self._calibration = Calibration.of(self._get(0x88, 26), self._get(0xE1, 7))
        if len(set(astuple(self._calibration))) < 4:
            raise SensorUnavailable(f"sensor {self.sensor_id}: the chip gives no calibration; look at its supply")
        self._is_open = True

    def read(self, timeout_s: float) -> list[Reading]:
        self._need_open()
        assert self._calibration is not None
        deadline_s = time.monotonic() + timeout_s
        self._put(self._HUMIDITY, b"\x01")
        self._put(self._MEASURE, bytes([self._ONCE]))
        while self._get(self._STATUS, 1)[0] & 0x08 or self._get(self._MEASURE, 1)[0] & 0x03:
            if time.monotonic() >= deadline_s:
                raise SensorUnavailable(
                    f"sensor {self.sensor_id}: still measuring after {timeout_s:g} s; look at its supply"
                )
            time.sleep(0.002)
        return self.decode(self._get(self._DATA, 8), self._calibration, time.monotonic())

    def decode(self, data: bytes, calibration: Calibration, mono_s: float) -> list[Reading]:
        """data: the eight bytes from 0xF7. The ranges are those the chip measures in."""
        adc_p = data[0] << 12 | data[1] << 4 | data[2] >> 4
        adc_t = data[3] << 12 | data[4] << 4 | data[5] >> 4
        adc_h = data[6] << 8 | data[7]
        if self._SKIPPED_20 in (adc_p, adc_t) or adc_h == self._SKIPPED_16:
            raise SensorInvalid(f"sensor {self.sensor_id}: the chip was reset and has not measured; look at its supply")
        celsius, pascal, percent = compensate(adc_t, adc_p, adc_h, calibration)
        return [
            _ranged("temperature", celsius, "°C", mono_s, -40, 85, 2),
            _ranged("humidity", percent, "%", mono_s, 0, 100, 1),
            _ranged("pressure", pascal / 100, "hPa", mono_s, 300, 1100, 2),
        ]


class Ina219Sensor(_Chip):
    """shunt_ohm: the resistor that the current flows through; 0.1 on the usual boards.

    Registers and their steps: Texas Instruments SBOS448, section 8.6.
    """

    _CONFIG, _SHUNT, _BUS = 0x00, 0x01, 0x02
    _SETTING = 0x399F  # up to 32 V, shunt up to 320 mV, 12 bits, measuring all the time
    _SHUNT_FULL = 32000  # 320 mV in steps of 10 µV

    def __init__(self, sensor_id: str, bus: I2cBus, address: int = 0x40, *, shunt_ohm: float = 0.1) -> None:
        super().__init__(sensor_id, bus, address)
        self._shunt_ohm = shunt_ohm

    def open(self) -> None:
        try:
            self._bus.open(self.sensor_id)
        except OSError as exc:
            raise self._error(exc) from exc
        self._put(self._CONFIG, self._SETTING.to_bytes(2, "big"))
        self._is_open = True

    def read(self, timeout_s: float) -> list[Reading]:
        self._need_open()
        setting = int.from_bytes(self._get(self._CONFIG, 2), "big")
        if setting != self._SETTING:
            self._is_open = False
            raise SensorUnavailable(
                f"sensor {self.sensor_id}: the chip at 0x{self._address:02x} has the setting 0x{setting:04x}; wanted "
                f"0x{self._SETTING:04x}. Was it without supply, or is it no INA219?"
            )
        return self.decode(self._get(self._SHUNT, 2), self._get(self._BUS, 2), time.monotonic())

    def decode(self, shunt: bytes, bus: bytes, mono_s: float) -> list[Reading]:
        (steps,) = struct.unpack(">h", shunt)
        volt = (int.from_bytes(bus, "big") >> 3) * 0.004
        ampere = steps * 10e-6 / self._shunt_ohm
        over = "the shunt's range is exceeded; wanted a smaller shunt_ohm" if abs(steps) >= self._SHUNT_FULL else None
        return [
            _ranged("voltage", volt, "V", mono_s, 0, 32, 3),
            Reading("current", round(ampere, 5), "A", mono_s, over),
            Reading("power", round(volt * ampere, 4), "W", mono_s, over),
        ]


def _ranged(quantity: str, value: float, unit: str, mono_s: float, low: float, high: float, digits: int) -> Reading:
    invalid = None if low <= value <= high else f"{value:g} {unit}; the chip measures {low:g} to {high:g}"
    return Reading(quantity, round(value, digits) if math.isfinite(value) else math.nan, unit, mono_s, invalid)
