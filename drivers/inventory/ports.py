"""Where sensors can be connected, and what the board measures itself: with the lines of a `[[sensor]]` for each."""

from __future__ import annotations

import os
import re
from pathlib import Path

from drivers.inventory import gpio, i2c
from drivers.inventory.found import Found, word

LOOKED_IN = (
    *("/sys/bus/w1/devices", "/dev/serial/by-id", "/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyAMA*", "/dev/i2c-*"),
    *("/dev/gpiochip*", "/sys/class/thermal", "/sys/class/hwmon"),
)
_SERIAL = ("dev/ttyUSB[0-9]*", "dev/ttyACM[0-9]*", "dev/ttyAMA[0-9]*", "dev/ttyTHS[0-9]*")
_BME280 = (0x76, 0x77)
_INA219 = range(0x40, 0x50)
_LINES_SHOWN = 40


def list_ports(root: Path = Path("/"), *, probe: bool = False) -> list[Found]:
    """probe: also ask on the I2C buses which addresses answer."""
    return [*_thermometers(root), *_serial(root), *_i2c(root, probe), *_gpio(root), *_temperatures(root)]


def _thermometers(root: Path) -> list[Found]:
    return [
        Found("a 1-wire thermometer", lines=('driver = "ds18b20"', f'device = "{folder.name}"'))
        for folder in sorted(root.glob("sys/bus/w1/devices/28-*"))
    ]


def _serial(root: Path) -> list[Found]:
    """By the names that stay, where there are any: ttyUSB0 and ttyUSB1 change places when both are plugged in anew."""
    stable = {os.path.realpath(link): link for link in sorted(root.glob("dev/serial/by-id/*"))}
    nodes = sorted({*(Path(node) for node in stable), *(node for kind in _SERIAL for node in root.glob(kind))})
    found = []
    for node in nodes:
        link = stable.get(os.path.realpath(node), node)
        where = _from(root, link)
        what = "a serial port" if link is node else f"a serial port, now {_from(root, node)}"
        note = 'as it stands for a GNSS receiver; a meter: driver = "modbus-rtu", and the registers of its manual'
        found.append(Found(what, (note,), lines=('driver = "nmea"', f'port = "{where}"')))
    return found


def _i2c(root: Path, probe: bool) -> list[Found]:
    found: list[Found] = []
    for node in sorted(root.glob("dev/i2c-[0-9]*"), key=_number):
        number = _number(node)
        where = _from(root, node)
        name = word(root / f"sys/class/i2c-dev/i2c-{number}/name") or "no name"
        notes = [
            f"0x{device.name.rpartition('-')[2][-2:]}: {word(device / 'name') or 'unnamed'}, known to the kernel"
            for device in sorted(root.glob(f"sys/bus/i2c/devices/{number}-*"))
        ]
        answers = None
        if probe:
            try:
                answers = i2c.probe(node)
            except OSError as exc:
                notes.append(f"cannot be opened: {exc.strerror}; is this user in group 'i2c'?")
        if answers is None:
            found.append(Found(f"I2C bus {where} ({name}); devices --probe asks which addresses answer", tuple(notes)))
            continue
        notes.append(f"answering: {_addresses(answers.free)}; in use by the kernel: {_addresses(answers.taken)}")
        found.append(Found(f"I2C bus {where} ({name})", tuple(notes)))
        found += [chip for address in answers.free if (chip := _chip(where, address)) is not None]
    return found


def _chip(where: str, address: int) -> Found | None:
    driver = "bme280" if address in _BME280 else "ina219" if address in _INA219 else None
    if driver is None:
        return None
    lines = (f'driver = "{driver}"', f'port = "{where}"', f"address = 0x{address:02x}")
    return Found(
        f"0x{address:02x} on {where} answers: this, if it is such a chip; others share its address", lines=lines
    )


def _addresses(addresses: tuple[int, ...]) -> str:
    return " ".join(f"0x{address:02x}" for address in addresses) or "none"


def _gpio(root: Path) -> list[Found]:
    found = []
    for node in sorted(root.glob("dev/gpiochip[0-9]*"), key=_number):
        where = _from(root, node)
        try:
            chip = gpio.describe(node)
        except OSError as exc:
            found.append(Found(f"GPIO chip {where}: cannot be asked: {exc.strerror}; is this user in group 'gpio'?"))
            continue
        shown = [f"{line} {name}" + (f" (used by {user})" if user else "") for line, name, user in chip.named]
        notes = [f"named lines: {', '.join(shown[:_LINES_SHOWN])}"] if shown else []
        notes += ["and more; `gpioinfo` lists all"] if len(shown) > _LINES_SHOWN else []
        free = next((line for line, name, user in chip.named if name.startswith("GPIO") and not user), 17)
        lines = ('driver = "gpio"', f'chip = "{where}"', "  [[sensor.quantity]]", '  id = "door"', f"  line = {free}")
        found.append(Found(f"GPIO chip {where} ({chip.label}), {chip.lines} lines", tuple(notes), lines=lines))
    return found


def _temperatures(root: Path) -> list[Found]:
    found = []
    for file in (
        *_sorted(root, "sys/class/thermal/thermal_zone*/temp"),
        *_sorted(root, "sys/class/hwmon/*/temp*_input"),
    ):
        digits = word(file)
        if re.fullmatch(r"-?[0-9]{1,9}", digits) is None:
            continue  # some exist and cannot be read while their device sleeps
        label = word(file.with_name(file.name.replace("_input", "_label"))) if file.name != "temp" else ""
        name = label or word(file.with_name("type")) or word(file.with_name("name")) or "unnamed"
        what = f"a temperature of the board: {name}, now {int(digits) / 1000:.1f} °C"
        found.append(Found(what, lines=('driver = "hwmon"', f'path = "{_from(root, file)}"')))
    return found


def _sorted(root: Path, pattern: str) -> list[Path]:
    return sorted(root.glob(pattern), key=lambda path: [_number(part) for part in (path.parent, path)])


def _number(path: Path) -> int:
    """The last one in its name: 1 for i2c-1 and temp1_input."""
    digits = re.findall(r"\d+", path.name)
    return int(digits[-1]) if digits else -1


def _from(root: Path, path: Path) -> str:
    return f"/{path.relative_to(root)}"
