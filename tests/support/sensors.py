"""A rig for each driver: the real driver over a fake of what it talks to, which can be broken, spoiled and mended."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from drivers.sensors.fakes import (
    Battery,
    FakeBme280,
    FakeConnection,
    FakeGnss,
    FakeI2cBus,
    FakeIna219,
    FakeModbusWire,
    FakeSensor,
    FakeSerialPort,
    FakeUps,
    FolderPins,
    w1_slave,
)
from drivers.sensors.gpio import GpioSensor, Line
from drivers.sensors.i2c import Bme280Sensor, Ina219Sensor
from drivers.sensors.modbus import ModbusSensor, Register
from drivers.sensors.modbus_wire import ModbusLink
from drivers.sensors.nmea import NmeaSensor
from drivers.sensors.nut import NutSensor
from drivers.sensors.sysfs import Ds18b20Sensor, HwmonSensor
from tests.support.sensor_contract import Rig

NOW_MS = 1_795_500_000_000
ID = "probe"


def modbus(folder: Path, *, rtu: bool) -> Rig:
    wire = FakeModbusWire({7: {("holding", 0): 231, ("holding", 1): 0xFFF6, ("discrete", 3): 1}}, rtu=rtu)
    registers = [
        Register("pm25", "µg/m³", 0, scale=0.1),
        Register("temperature", "°C", 1, kind="int16", scale=0.1),
        Register("door", "bool", 3, table="discrete"),
    ]
    sensor = ModbusSensor(ID, ModbusLink(wire, "rtu" if rtu else "socket"), 7, registers)

    def spoil() -> None:
        wire.garble = lambda answer: answer[:-1] + bytes([answer[-1] ^ 1]) if rtu else answer[:5] + b"\x04" + answer[6:]

    def mend() -> None:
        wire.unplugged, wire.garble = False, bytes

    return Rig(
        sensor,
        {"pm25": (23.1, 0), "temperature": (-1.0, 0), "door": (1.0, 0)},
        breaks=lambda: setattr(wire, "unplugged", True),
        mends=mend,
        spoils=spoil,
    )


def gpio(folder: Path) -> Rig:
    pins_folder = folder / "pins"
    pins_folder.mkdir()
    pins = FolderPins(pins_folder, sleep=lambda seconds: None)
    pins.drive(17, True)
    lines = [Line("door", 17), Line("mains_lost", 27, active_low=True, bias="pull-up")]
    sensor = GpioSensor(ID, "/dev/gpiochip0", lines, pins=pins)
    away = folder / "away"
    return Rig(
        sensor,
        {"door": (1.0, 0), "mains_lost": (0.0, 0)},
        breaks=lambda: pins_folder.rename(away),
        mends=lambda: away.rename(pins_folder),
    )


def nmea(folder: Path) -> Rig:
    port = FakeSerialPort()
    gnss = FakeGnss(latitude=21.0285, longitude=-105.8542)

    class Talking(FakeSerialPort):
        def read_some(self, timeout_s: float) -> bytes:
            said = super().read_some(timeout_s) if not self._fed else b""
            return said or self.garble(gnss.talks(NOW_MS))

        def garble(self, talks: bytes) -> bytes:
            return talks.replace(b"A*", b"V*") if self.spoiled else talks

        spoiled = False

    port = Talking()

    def mend() -> None:
        port.there, port.spoiled = True, False

    return Rig(
        NmeaSensor(ID, port),
        {"latitude": (21.0285, 1e-6), "longitude": (-105.8542, 1e-6), "satellites": (9, 0), "altitude": (12.4, 0)},
        breaks=lambda: setattr(port, "there", False),
        mends=mend,
        spoils=lambda: setattr(port, "spoiled", True),
    )


def bme280(folder: Path) -> Rig:
    chip = FakeBme280(celsius=31.5, hectopascal=1004.2, percent=78.0)
    bus = FakeI2cBus({0x76: chip})

    def mend() -> None:
        bus.chips[0x76] = chip
        chip.celsius = 31.5

    return Rig(
        Bme280Sensor(ID, bus, 0x76),
        {"temperature": (31.5, 0.02), "humidity": (78.0, 0.1), "pressure": (1004.2, 0.1)},
        breaks=lambda: bus.chips.clear(),
        mends=mend,
        spoils=lambda: setattr(chip, "celsius", 120.0),
    )


def ina219(folder: Path) -> Rig:
    chip = FakeIna219(volt=12.6, ampere=1.25)
    bus = FakeI2cBus({0x40: chip})

    def mend() -> None:
        bus.chips[0x40] = chip
        chip.ampere = 1.25

    return Rig(
        Ina219Sensor(ID, bus, 0x40),
        {"voltage": (12.6, 0.004), "current": (1.25, 0.0001), "power": (15.75, 0.01)},
        breaks=lambda: bus.chips.clear(),
        mends=mend,
        spoils=lambda: setattr(chip, "ampere", 9.0),
    )


def ds18b20(folder: Path) -> Rig:
    device = folder / "28-0316a2794aff"
    device.mkdir()
    file = device / "w1_slave"
    file.write_text(w1_slave(27.5))
    return Rig(
        Ds18b20Sensor(ID, str(device)),
        {"temperature": (27.5, 0)},
        breaks=file.unlink,
        mends=lambda: file.write_text(w1_slave(27.5)),
        spoils=lambda: file.write_text(w1_slave(27.5).replace("YES", "NO")),
    )


def hwmon(folder: Path) -> Rig:
    file = folder / "hwmon3" / "temp1_input"
    file.parent.mkdir()
    file.write_text("48312\n")
    return Rig(
        HwmonSensor(ID, str(folder / "hwmon*" / "temp1_input")),
        {"temperature": (48.312, 0)},
        breaks=file.unlink,
        mends=lambda: file.write_text("48312\n"),
        spoils=lambda: file.write_text("asleep\n"),
    )


def nut(folder: Path) -> Rig:
    battery = Battery(capacity_wh=100, load_w=50, charger_w=20, mono_s=lambda: 0.0)
    ups = FakeUps("ups", battery)
    there = [True]
    spoiled = [False]

    def answer(line: str) -> str | None:
        if not there[0]:
            return None
        said = ups.answer(line)
        return said.replace('"OL"', '"??"') if spoiled[0] else said

    def connect(address: tuple[str, int], timeout_s: float) -> FakeConnection:
        if not there[0]:
            raise ConnectionRefusedError(111, "Connection refused")
        return FakeConnection(answer)

    def mend() -> None:
        there[0], spoiled[0] = True, False

    return Rig(
        NutSensor(ID, "127.0.0.1", "ups", connect=connect),
        {"mains_lost": (0, 0), "battery_low": (0, 0), "battery_charge": (100, 0), "input_voltage": (228, 0)},
        breaks=lambda: there.__setitem__(0, False),
        mends=mend,
        spoils=lambda: spoiled.__setitem__(0, True),
    )


def fake(folder: Path) -> Rig:
    from drivers.base import SensorInvalid, SensorUnavailable

    state = ["well"]

    def value() -> float:
        if state[0] == "broken":
            raise SensorUnavailable(f"sensor {ID}: unplugged")
        if state[0] == "spoiled":
            raise SensorInvalid(f"sensor {ID}: nonsense")
        return 20.0

    return Rig(
        FakeSensor(ID, [value] * 100, mono_s=time.monotonic),
        {"temperature": (20.0, 0)},
        breaks=lambda: state.__setitem__(0, "broken"),
        mends=lambda: state.__setitem__(0, "well"),
        spoils=lambda: state.__setitem__(0, "spoiled"),
    )


RIGS: dict[str, Callable[[Path], Rig]] = {
    "modbus-rtu": lambda folder: modbus(folder, rtu=True),
    "modbus-tcp": lambda folder: modbus(folder, rtu=False),
    "gpio": gpio,
    "nmea": nmea,
    "bme280": bme280,
    "ina219": ina219,
    "ds18b20": ds18b20,
    "hwmon": hwmon,
    "nut": nut,
    "fake": fake,
}
