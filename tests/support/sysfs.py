"""A folder that looks like /sys on a board, and can be heated."""

from __future__ import annotations

from pathlib import Path


class FakeSysfs:
    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(file.name + ".new")
        new.write_text(f"{text}\n", encoding="ascii")
        new.replace(file)  # as the kernel's own: whoever reads gets one value or the next, never none

    def zone(self, number: int, kind: str, celsius: float) -> None:
        self.write(f"class/thermal/thermal_zone{number}/type", kind)
        self.write(f"class/thermal/thermal_zone{number}/temp", str(round(celsius * 1000)))

    def heat(self, celsius: float) -> None:
        """The processor's zone, as a Raspberry Pi names it."""
        self.zone(0, "cpu-thermal", celsius)

    def firmware(self, bits: int) -> None:
        """What a Raspberry Pi's says: hexadecimal, without 0x."""
        self.write("devices/platform/soc/soc:firmware/get_throttled", f"{bits:x}")

    def voltage_alarm(self, on: bool) -> None:
        self.write("class/hwmon/hwmon1/name", "rpi_volt")
        self.write("class/hwmon/hwmon1/in0_lcrit_alarm", str(int(on)))

    def cooling(self, number: int, kind: str, state: int) -> None:
        self.write(f"class/thermal/cooling_device{number}/type", kind)
        self.write(f"class/thermal/cooling_device{number}/cur_state", str(state))
