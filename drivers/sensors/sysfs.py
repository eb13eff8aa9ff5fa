"""What the kernel has read already: 1-wire thermometers (DS18B20), and the temperatures, voltages and fans of hwmon.

A file is opened, read and closed each time. The kernel gives no timeout for it: a 1-wire reading takes 0.75 s, and one
on a broken line may take longer than anybody waits. That is the bus thread's business, see `agent.sensing.bus`.
"""

from __future__ import annotations

import errno
import re
import time
from pathlib import Path

from drivers.base import Reading, SensorInvalid, SensorRefused, SensorUnavailable

_MAX_BYTES = 4096
_SCRATCHPAD = re.compile(r"((?:[0-9a-f]{2} ){9}): crc=([0-9a-f]{2}) (YES|NO)")
_TEMPERATURE = re.compile(r"((?:[0-9a-f]{2} ){9})t=(-?\d{1,6})")
_POWER_ON_C = 85.0  # what a DS18B20 says that lost its supply before it had measured anything

# hwmon and thermal zones count in thousandths (power: millionths); the start of the file's name says what.
_HWMON: tuple[tuple[str, str, str, float], ...] = (
    (r"temp\d+_input", "temperature", "°C", 0.001),
    (r"temp", "temperature", "°C", 0.001),  # /sys/class/thermal/thermal_zone0/temp
    (r"in\d+_input", "voltage", "V", 0.001),
    (r"curr\d+_input", "current", "A", 0.001),
    (r"power\d+_input", "power", "W", 0.000001),
    (r"humidity\d+_input", "humidity", "%", 0.001),
    (r"fan\d+_input", "fan", "1", 1.0),
)


class Ds18b20Sensor:
    """device: its folder below /sys/bus/w1/devices, such as 28-0316a2794aff; a whole path is taken as it is."""

    def __init__(self, sensor_id: str, device: str) -> None:
        self.sensor_id = sensor_id
        self.bus = "1-wire"
        self._file = Path("/sys/bus/w1/devices") / device / "w1_slave"
        self._is_open = False

    def open(self) -> None:
        if not self._file.exists():
            raise SensorUnavailable(
                f"sensor {self.sensor_id}: {self._file} is not there; is the thermometer connected, and 1-wire "
                "switched on (dtoverlay=w1-gpio)? `ls /sys/bus/w1/devices` lists what is found"
            )
        self._is_open = True

    def read(self, timeout_s: float) -> list[Reading]:
        if not self._is_open:
            raise SensorUnavailable(f"sensor {self.sensor_id} is not open; call open() first")
        text = _read(self.sensor_id, self._file)
        try:
            celsius = parse_w1(text)
        except SensorInvalid as exc:
            raise SensorInvalid(f"sensor {self.sensor_id}: {self._file.parent.name}: {exc}") from exc
        return [Reading("temperature", celsius, "°C", time.monotonic())]

    def close(self) -> None:
        self._is_open = False


class HwmonSensor:
    """path: a file of hwmon or of a thermal zone; with * in it, it must be the only one of its kind.

    hwmon0, hwmon1 … change their numbers from boot to boot: /sys/devices/platform/…/hwmon/hwmon*/temp1_input does not.
    """

    def __init__(self, sensor_id: str, path: str) -> None:
        self.sensor_id = sensor_id
        self.bus = f"sysfs {path}"
        self._pattern = Path(path)
        self._file: Path | None = None
        self._quantity, self._unit, self._scale = kind_of(self._pattern.name)

    def open(self) -> None:
        found = sorted(Path(self._pattern.anchor or ".").glob(str(self._pattern.relative_to(self._pattern.anchor))))
        if len(found) != 1:
            what = f"{len(found)} files: {', '.join(map(str, found[:3]))}" if found else "no file"
            raise SensorUnavailable(
                f"sensor {self.sensor_id}: {self._pattern} is {what}; wanted one. Is the path right, and the driver "
                "loaded?"
            )
        self._file = found[0]

    def read(self, timeout_s: float) -> list[Reading]:
        if self._file is None:
            raise SensorUnavailable(f"sensor {self.sensor_id} is not open; call open() first")
        text = _read(self.sensor_id, self._file)
        try:
            value = parse_hwmon(text, self._scale)
        except SensorInvalid as exc:
            raise SensorInvalid(f"sensor {self.sensor_id}: {self._file}: {exc}") from exc
        return [Reading(self._quantity, value, self._unit, time.monotonic())]

    def close(self) -> None:
        self._file = None


def kind_of(name: str) -> tuple[str, str, float]:
    """What a hwmon file's name says of its content: quantity, unit, and what one count of it is in that unit."""
    for pattern, quantity, unit, scale in _HWMON:
        if re.fullmatch(pattern, name):
            return quantity, unit, scale
    raise ValueError(
        f"{name!r} is no file of hwmon or of a thermal zone; wanted temp1_input, in1_input, curr1_input, power1_input, "
        "humidity1_input, fan1_input or temp"
    )


def parse_w1(text: str) -> float:
    """°C from what w1_slave says: two lines, both with the nine bytes that the thermometer sent.

        50 05 4b 46 7f ff 0c 10 1c : crc=1c YES
        50 05 4b 46 7f ff 0c 10 1c t=85000

    Raises SensorInvalid unless the kernel says YES, the checksum is right, and both lines and t= agree.
    """
    lines = text.splitlines()
    first = _SCRATCHPAD.fullmatch(lines[0].strip()) if len(lines) == 2 else None
    second = _TEMPERATURE.fullmatch(lines[1].strip()) if len(lines) == 2 else None
    if first is None or second is None:
        raise SensorInvalid(f"not the two lines of a thermometer: {text[:120]!r}")
    if first[3] != "YES":
        raise SensorInvalid(
            "wrong checksum (the kernel says NO); look at the cable, its length and the 4.7 kΩ resistor"
        )
    scratchpad = bytes.fromhex(first[1])
    if crc8(scratchpad[:8]) != scratchpad[8] or scratchpad != bytes.fromhex(second[1]):
        raise SensorInvalid(f"wrong checksum over {scratchpad.hex(' ')}")
    if not any(scratchpad):
        raise SensorInvalid("all bytes are zero, and so is their checksum: the line is held low; look at the cable")
    celsius = int(second[2]) / 1000
    # Resolutions below 12 bits leave the lowest bits undefined; the kernel may mask them.
    if abs(int.from_bytes(scratchpad[:2], "little", signed=True) / 16 - celsius) > 0.5:
        raise SensorInvalid(f"t={second[2]} is not what the bytes {scratchpad[:2].hex(' ')} say")
    if celsius == _POWER_ON_C:
        raise SensorInvalid("85.0 °C, what it says after losing its supply; look at supply and ground")
    if not -55.0 <= celsius <= 125.0:
        raise SensorInvalid(f"{celsius:g} °C; a DS18B20 measures -55 to 125 °C")
    return celsius


def parse_hwmon(text: str, scale: float) -> float:
    if not re.fullmatch(r"-?\d{1,12}\n?", text):
        raise SensorInvalid(f"{text[:40]!r}; wanted one whole number")
    return float(f"{int(text) * scale:.9g}")


def crc8(data: bytes) -> int:
    """Dallas/Maxim: x^8 + x^5 + x^4 + 1, lowest bit first (Maxim application note 27)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8C if crc & 1 else crc >> 1
    return crc


def _read(who: str, file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(_MAX_BYTES).decode("ascii", "replace")
    except FileNotFoundError as exc:
        raise SensorUnavailable(f"sensor {who}: {file} is gone; was it unplugged?") from exc
    except PermissionError as exc:
        raise SensorRefused(f"sensor {who}: {file}: {exc.strerror}; the service's user may not read it") from exc
    except OSError as exc:
        if exc.errno in (errno.EIO, errno.EAGAIN, errno.ENODATA, errno.ETIMEDOUT):
            raise SensorUnavailable(f"sensor {who}: {file}: {exc.strerror}; the kernel gets no answer from it") from exc
        raise SensorUnavailable(f"sensor {who}: {file}: {exc.strerror}") from exc
