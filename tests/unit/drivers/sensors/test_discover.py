"""What `gateway-agent devices` finds for sensors, in a tree as the kernel makes it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from drivers.sensors.discover import list_ports


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    for folder in ("sys/bus/w1/devices/28-0316a2794aff", "sys/class/thermal/thermal_zone0", "dev/serial/by-id"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("dev/serial/by-id/usb-FTDI-port0", "dev/ttyUSB0", "dev/ttyS0", "dev/i2c-1", "dev/gpiochip0"):
        (tmp_path / file).touch()
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").write_text("41000\n")
    (tmp_path / "sys/class/thermal/thermal_zone0/type").write_text("cpu-thermal\n")
    return tmp_path


def test_each_is_a_stanza_to_paste_and_to_complete(machine: Path) -> None:
    found = [tomllib.loads(port.stanza(f"sensor-{n}"))["sensor"][0] for n, port in enumerate(list_ports(machine))]
    assert [stanza["driver"] for stanza in found] == ["ds18b20", "nmea", "bme280", "gpio", "hwmon"]
    assert found[0] == {"id": "sensor-0", "driver": "ds18b20", "device": "28-0316a2794aff"}
    assert found[3]["quantity"] == [{"id": "door", "line": 17}]
    assert found[4]["path"] == "/sys/class/thermal/thermal_zone0/temp"


def test_a_serial_port_is_named_so_that_it_stays_when_plugs_change_places(machine: Path) -> None:
    ports = [port.where for port in list_ports(machine) if "serial" in port.what]
    assert ports == ["/dev/serial/by-id/usb-FTDI-port0"]
    (machine / ports[0].lstrip("/")).unlink()
    assert [port.where for port in list_ports(machine) if "serial" in port.what] == ["/dev/ttyUSB0"]


def test_on_a_machine_with_nothing_the_list_is_empty(tmp_path: Path) -> None:
    assert list_ports(tmp_path) == []
