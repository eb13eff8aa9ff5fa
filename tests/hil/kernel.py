"""Devices that the kernel itself acts: gpio-sim, i2c-stub and vivid. As root, on a kernel that has these modules.

To the drivers they are devices as any other: the same nodes, the same calls. Unplugging is unbinding the kernel's own
driver.
"""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

from smbus2 import SMBus

from drivers.sensors.fakes import FakeBme280, FakeIna219

_CONFIG = Path("/sys/kernel/config/gpio-sim")
_DRIVERS = Path("/sys/bus/platform/drivers")
_DEVICES = Path("/sys/devices/platform")
_VIVID = "vivid.0"
_BME280, _INA219 = 0x76, 0x40
_NODE_S = 20.0  # until udev has made or taken away a node; a moment


def load_modules() -> None:
    """Raises RuntimeError if the kernel has them not."""
    for command in (
        ["modprobe", "-a", "gpio-sim", "i2c-dev"],
        ["modprobe", "i2c-stub", f"chip_addr={_BME280:#x},{_INA219:#x}"],
        # One webcam, and none of the outputs, radios and tuners that it could act as well.
        ["modprobe", "vivid", "n_devs=1", "node_types=0x1", "num_inputs=1", "input_types=0x0"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}; wanted root and a kernel with this module")


class GpioSim:
    """A chip of 32 lines. link: the name that leads to its node, whose number changes with each plugging in."""

    def __init__(self, name: str, link: Path, names: dict[int, str]) -> None:
        self._link = link
        self._levels: dict[int, bool] = {}
        config = _CONFIG / name
        bank = config / "bank0"
        bank.mkdir(parents=True)
        (bank / "num_lines").write_text("32")
        (bank / "label").write_text(name)
        for line, line_name in names.items():
            (bank / f"line{line}").mkdir()
            (bank / f"line{line}" / "name").write_text(line_name)
        (config / "live").write_text("1")
        self._device = (config / "dev_name").read_text().strip()
        self._connect()

    def drive(self, line: int, high: bool) -> None:
        """What a contact does: pulls the line up or down."""
        self._levels[line] = high
        if self._link.is_symlink():
            self._put(line)

    def value_file(self, line: int) -> str:
        """Holds 1 while the line is high, whoever makes it so. A pattern: the chip's number changes, too."""
        return f"{_DEVICES / self._device}/gpiochip*/sim_gpio{line}/value"

    def unplug(self) -> None:
        self._link.unlink()
        (_DRIVERS / "gpio-sim" / "unbind").write_text(self._device)

    def plug(self) -> None:
        (_DRIVERS / "gpio-sim" / "bind").write_text(self._device)
        self._connect()

    def _connect(self) -> None:
        (self._chip,) = (_DEVICES / self._device).glob("gpiochip*")
        node = Path("/dev") / self._chip.name
        _until_there(node)
        for line in self._levels:
            self._put(line)
        self._link.symlink_to(node)

    def _put(self, line: int) -> None:
        (self._chip / f"sim_gpio{line}" / "pull").write_text("pull-up" if self._levels[line] else "pull-down")


class StubbedChips:
    """A BME280 and an INA219 on the bus of i2c-stub, which keeps registers and does nothing by itself.

    What the chips do with them, a thread does. Without supply (`powered`) the BME280 measures no more.
    """

    _MEASURE = 0xF4

    def __init__(self) -> None:
        self.port = next(
            f"/dev/{name.parent.name}"
            for name in Path("/sys/bus/i2c/devices").glob("i2c-*/name")
            if "stub" in name.read_text().lower()
        )
        _until_there(Path(self.port))
        self.powered = True
        self._air = FakeBme280(celsius=31.5, hectopascal=1004.2, percent=78.0)
        self._supply = FakeIna219(volt=12.6, ampere=1.25)
        self._bus = SMBus(self.port)
        for register in range(256):
            self._bus.write_byte_data(_BME280, register, self._air.read(register, 1)[0])
        for register in (1, 2):
            high, low = self._supply.read(register, 2)
            self._bus.write_word_data(_INA219, register, low << 8 | high)  # a word goes with its low byte first
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._act, name="chips")
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._bus.close()

    def _act(self) -> None:
        while not self._stopping.wait(0.02):
            measure = self._bus.read_byte_data(_BME280, self._MEASURE)
            if measure & 0x03 and self.powered:
                self._air.write(self._MEASURE, bytes([measure]))
                self._bus.write_i2c_block_data(_BME280, 0xF7, list(self._air.read(0xF7, 8)))
                self._bus.write_byte_data(_BME280, self._MEASURE, measure & ~0x03)


class Vivid:
    """A webcam with a test picture in it, whose clock moves."""

    path = Path(f"/dev/v4l/by-path/platform-{_VIVID}-video-index0")

    def __init__(self) -> None:
        _until_there(self.path)

    def unplug(self) -> None:
        (_DRIVERS / "vivid" / "unbind").write_text(_VIVID)

    def plug(self) -> None:
        (_DRIVERS / "vivid" / "bind").write_text(_VIVID)


def _until_there(node: Path) -> None:
    deadline_s = time.monotonic() + _NODE_S
    while not node.exists():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"{node} did not appear in {_NODE_S:g} s; does udev run?")
        time.sleep(0.02)
