"""What the board says of itself: how hot it is, whether it is slowed down, whether its supply is too weak.

All of it is in files below /sys that a board may or may not have; what is not there is not known, and is no error.
GATEWAY_AGENT_SYSFS=FOLDER takes another folder for /sys: how tests heat a box.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

ENVIRONMENT = "GATEWAY_AGENT_SYSFS"

# A board has many zones: radio, memory, battery, and on a Jetson Nano one that always says 100 °C (PMIC-Die). The
# processor's go by such names.
_PROCESSOR = ("cpu", "soc", "x86_pkg", "coretemp", "k10temp", "package")
_NOT_MEASURED = "pmic"

# Of the firmware of a Raspberry Pi: bits of what is so now; 16 bits higher, what has been so since the boot, which says
# nothing of what helps now, but much to a technician.
_UNDERVOLTAGE = 0x1
_SLOWED = 0x2 | 0x4 | 0x8  # frequency capped, throttled, soft temperature limit
_SINCE_BOOT = 16
_FIRMWARE = "devices/platform/soc/soc:firmware/get_throttled"


@dataclass(frozen=True, slots=True)
class BoardState:
    """cpu_c: the hottest of the processor's sensors, °C; None where the kernel names none.

    is_slowed: kernel or firmware makes the processor slower than it could be, because of heat or a weak supply.
    is_undervolted: the supply's voltage is too low, at this moment.
    was_slowed, was_undervolted: has been so since the boot; a Raspberry Pi's firmware remembers it.
    """

    cpu_c: float | None = None
    is_slowed: bool = False
    is_undervolted: bool = False
    was_slowed: bool = False
    was_undervolted: bool = False


class Board:
    """Opens, reads and closes small files; keeps nothing. sysfs: the folder that is /sys."""

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        self.sysfs = sysfs

    def state(self) -> BoardState:
        bits = _number(self.sysfs / _FIRMWARE, base=16) or 0
        return BoardState(
            cpu_c=self._cpu_c(),
            is_slowed=bool(bits & _SLOWED) or self._is_cooled_by_slowing(),
            is_undervolted=bool(bits & _UNDERVOLTAGE) or self._is_undervolted(),
            was_slowed=bool(bits >> _SINCE_BOOT & _SLOWED),
            was_undervolted=bool(bits >> _SINCE_BOOT & _UNDERVOLTAGE),
        )

    def _cpu_c(self) -> float | None:
        thermal = [(zone / "type", zone / "temp") for zone in self._each("thermal", "thermal_zone*")]
        hwmon = [
            (chip / "name", file) for chip in self._each("hwmon", "hwmon*") for file in sorted(chip.glob("temp*_input"))
        ]
        found = [
            (_text(name).lower(), value / 1000)
            for name, file in (*thermal, *hwmon)
            if (value := _number(file)) is not None
        ]
        processor = [celsius for name, celsius in found if any(part in name for part in _PROCESSOR)]
        return max(processor or [celsius for name, celsius in found if _NOT_MEASURED not in name], default=None)

    def _is_cooled_by_slowing(self) -> bool:
        """The kernel's own remedy: it cools a hot processor by a lower frequency, "cpufreq-cpu0" at a state above 0."""
        return any(
            "cpufreq" in _text(device / "type") and (_number(device / "cur_state") or 0) > 0
            for device in self._each("thermal", "cooling_device*")
        )

    def _is_undervolted(self) -> bool:
        """By the Raspberry Pi's hwmon driver, which newer kernels have in place of the firmware's file."""
        return any(
            _text(chip / "name") == "rpi_volt" and _number(chip / "in0_lcrit_alarm") == 1
            for chip in self._each("hwmon", "hwmon*")
        )

    def _each(self, kind: str, pattern: str) -> Iterable[Path]:
        return sorted((self.sysfs / "class" / kind).glob(pattern))


def board(environment: Mapping[str, str] = os.environ) -> Board:
    """This board, or the folder that the environment names in its place."""
    folder = environment.get(ENVIRONMENT, "")
    if not folder:
        return Board()
    _log.warning("%s=%s: heat and supply are read there, and not from this board", ENVIRONMENT, folder)
    return Board(Path(folder))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""  # some exist and cannot be read while their device sleeps


def _number(path: Path, base: int = 10) -> int | None:
    try:
        return int(_text(path), base)
    except ValueError:
        return None
