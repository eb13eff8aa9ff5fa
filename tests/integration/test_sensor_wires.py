"""The drivers over real sockets and real terminals, against pymodbus's own server, a NUT server, a talking port."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from drivers.base import Sensor, SensorRefused, SensorUnavailable
from drivers.sensors.fakes import Battery, FakeGnss, FakeUps
from drivers.sensors.modbus import ModbusSensor, Register
from drivers.sensors.modbus_wire import ModbusLink, SerialWire, TcpWire
from drivers.sensors.nmea import NmeaSensor
from drivers.sensors.nut import NutSensor
from drivers.sensors.serial_port import SerialPort
from tests.support.mosquitto import free_port
from tests.support.sensor_rig import ModbusServer, PtyPair, TalkingPort, UpsServer, float_registers, running

REGISTERS = [Register("pm25", "µg/m³", 0, scale=0.1), Register("level", "m", 1, kind="float32")]


def told() -> list[int]:
    return [231, *float_registers(1.25)]


def values(sensor: Sensor, timeout_s: float = 3.0) -> dict[str, float]:
    return {reading.quantity: reading.value for reading in sensor.read(timeout_s)}


def soon(read: Callable[[], dict[str, float]], sensor: Sensor) -> dict[str, float]:
    """Open and read until it answers; a server takes its time to be back."""
    deadline_s = time.monotonic() + 10
    while True:
        try:
            sensor.open()
            return read()
        except SensorUnavailable:
            sensor.close()
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)


@pytest.fixture
def cable() -> Iterator[PtyPair]:
    made = PtyPair()
    yield made
    made.close()


def test_modbus_tcp_against_pymodbus_own_server_and_through_its_restart() -> None:
    port = free_port()
    server = ModbusServer(port, told)
    sensor = ModbusSensor("air", ModbusLink(TcpWire("127.0.0.1", port), "socket"), 1, REGISTERS)
    with pytest.raises(SensorUnavailable, match=r"^sensor air: cannot reach 127.0.0.1:\d+: Connection refused"):
        sensor.open()
    with running(server):
        sensor.open()
        assert values(sensor) == {"pm25": 23.1, "level": 1.25}
        server.stop()
        with pytest.raises(SensorUnavailable, match=r"^sensor air: 127.0.0.1:\d+: .*; was it unplugged"):
            sensor.read(1.0)
        sensor.close()
        server.start()
        assert soon(lambda: values(sensor), sensor) == {"pm25": 23.1, "level": 1.25}
        sensor.close()


def test_a_register_that_is_not_there_is_refused_by_a_real_server() -> None:
    port = free_port()
    with running(ModbusServer(port, told)):
        link = ModbusLink(TcpWire("127.0.0.1", port), "socket")
        sensor = ModbusSensor("air", link, 1, [Register("no2", "µg/m³", 999)])
        sensor.open()
        with pytest.raises(SensorRefused, match=r"refuses holding 999 \(exception 2\)"):
            sensor.read(3.0)
        sensor.close()


def test_modbus_rtu_over_terminals_with_two_devices_of_which_one_is_dead(cable: PtyPair) -> None:
    with running(ModbusServer(cable.ends[0], told, device=3)):
        link = ModbusLink(SerialWire(SerialPort(cable.ends[1], baud=9600)), "rtu")
        alive = ModbusSensor("air", link, 3, REGISTERS)
        dead = ModbusSensor("noise", link, 4, [Register("level", "dBA", 0)])
        alive.open()
        dead.open()
        for _ in range(2):
            assert values(alive) == {"pm25": 23.1, "level": 1.25}
            began_s = time.monotonic()
            # The server refuses for a device that it has not; a real line is silent. Both are no answer of the device.
            with pytest.raises(SensorUnavailable):
                dead.read(0.3)
            assert time.monotonic() - began_s < 1.0
        dead.close()
        assert values(alive) == {"pm25": 23.1, "level": 1.25}
        alive.close()


def test_a_serial_port_that_is_not_there_is_told_by_name() -> None:
    link = ModbusLink(SerialWire(SerialPort("/dev/serial/by-id/none", baud=9600)), "rtu")
    with pytest.raises(SensorUnavailable, match="cannot reach /dev/serial/by-id/none"):
        ModbusSensor("air", link, 3, REGISTERS).open()


def test_a_port_that_another_program_uses_is_told_as_such(cable: PtyPair) -> None:
    first, second = (NmeaSensor(name, SerialPort(cable.ends[0], baud=9600)) for name in ("gnss", "other"))
    first.open()
    with pytest.raises(SensorUnavailable, match=r"sensor other: /dev/pts/\d+: another program uses it"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_a_file_that_is_no_serial_port_is_told_as_such() -> None:
    with pytest.raises(SensorUnavailable, match=r"sensor gnss: /dev/null: .*"):
        NmeaSensor("gnss", SerialPort("/dev/null", baud=9600)).open()


def test_a_gnss_receiver_on_a_terminal_tells_place_and_time() -> None:
    gnss = FakeGnss()
    port = TalkingPort(lambda: gnss.talks(time.time_ns() // 1_000_000), 0.1)
    try:
        sensor = NmeaSensor("gnss", SerialPort(port.path, baud=9600))
        sensor.open()
        assert values(sensor)["latitude"] == pytest.approx(21.0285)
        offer = sensor.time_offer()
        assert offer is not None
        now_ms = time.time_ns() // 1_000_000 - (time.monotonic() - offer.mono_s) * 1000
        assert abs(offer.utc_ms - now_ms) < 1000
        sensor.close()
    finally:
        port.close()


def test_a_ups_server_in_the_network_and_through_its_restart() -> None:
    battery = Battery(capacity_wh=100, load_w=50, charger_w=20, mono_s=time.monotonic)
    server = UpsServer(FakeUps("ups", battery))
    sensor = NutSensor("ups", "127.0.0.1", "ups", port=server.port)
    with pytest.raises(SensorUnavailable, match="does nut-server run"):
        sensor.open()
    with running(server):
        sensor.open()
        assert values(sensor)["mains_lost"] == 0
        battery.mains = False
        assert values(sensor)["mains_lost"] == 1
        server.stop()
        with pytest.raises(SensorUnavailable):
            sensor.read(1.0)
        sensor.close()
        server.start()
        assert soon(lambda: values(sensor), sensor)["input_voltage"] == 0
        sensor.close()
