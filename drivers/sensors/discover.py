"""What sensors could be connected to on this machine, with the lines to paste into a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class FoundPort:
    """where: what to write; lines: of a `[[sensor]]`, without its id."""

    where: str
    lines: tuple[str, ...]
    what: str

    def stanza(self, sensor_id: str) -> str:
        text = "".join(f"{line}\n" for line in self.lines)
        return f'# {self.what}\n[[sensor]]\nid = "{sensor_id}"\n{text}'


def list_ports(root: Path = _ROOT) -> list[FoundPort]:
    """1-wire thermometers, serial ports, I2C adapters, GPIO chips and the kernel's own temperatures, in this order."""
    found = []
    for folder in _sorted(root, "sys/bus/w1/devices/28-*"):
        thermometer = ('driver = "ds18b20"', f'device = "{folder.name}"')
        found.append(FoundPort(folder.name, thermometer, "a 1-wire thermometer"))
    # Names below by-id stay; ttyUSB0 and ttyUSB1 change places when both are plugged in anew.
    serial = _sorted(root, "dev/serial/by-id/*") or _sorted(root, "dev/tty[AU][MS][AB]*")
    for port in serial:
        where = f"/{port.relative_to(root)}"
        what = 'a serial port; a GNSS receiver here, or driver = "modbus-rtu" with the registers of a device'
        found.append(FoundPort(where, ('driver = "nmea"', f'port = "{where}"'), what))
    for adapter in _sorted(root, "dev/i2c-*"):
        where = f"/{adapter.relative_to(root)}"
        what = f"an I2C adapter; `i2cdetect -y {adapter.name[4:]}` shows what answers on it"
        found.append(FoundPort(where, ('driver = "bme280"', f'port = "{where}"'), what))
    for chip in _sorted(root, "dev/gpiochip*"):
        where = f"/{chip.relative_to(root)}"
        lines = ('driver = "gpio"', f'chip = "{where}"', "  [[sensor.quantity]]", '  id = "door"', "  line = 17")
        found.append(FoundPort(where, lines, "GPIO lines; `gpioinfo` lists them"))
    for zone in _sorted(root, "sys/class/thermal/thermal_zone*/temp"):
        where = f"/{zone.relative_to(root)}"
        kind = zone.with_name("type")
        name = kind.read_text().strip() if kind.exists() else "unnamed"
        found.append(FoundPort(where, ('driver = "hwmon"', f'path = "{where}"'), f"a temperature of the board: {name}"))
    return found


def _sorted(root: Path, pattern: str) -> list[Path]:
    return sorted(root.glob(pattern))
