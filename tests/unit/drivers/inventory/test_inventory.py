"""What `devices` lists beside cameras, from made-up file systems; questions to device nodes are answered by fakes."""

from __future__ import annotations

import errno
import os
import struct
import tomllib
from pathlib import Path

import pytest

from agent import config
from drivers.inventory import gpio, i2c, list_accelerators, list_ports


def make(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def texts(root: Path, *, probe: bool = False) -> list[str]:
    return [found.stanza(f"s{number}") for number, found in enumerate(list_ports(root, probe=probe))]


def test_an_empty_machine_has_nothing(tmp_path: Path) -> None:
    assert list_ports(tmp_path, probe=True) == []
    assert list_accelerators(tmp_path) == []


def test_a_serial_port_is_named_by_what_stays(tmp_path: Path) -> None:
    make(tmp_path, {"dev/ttyUSB0": "", "dev/ttyAMA0": "", "dev/ttyS0": ""})
    (tmp_path / "dev/serial/by-id").mkdir(parents=True)
    (tmp_path / "dev/serial/by-id/usb-FTDI_FT232-if00").symlink_to("../../ttyUSB0")
    board, usb = texts(tmp_path)
    assert board.startswith("# a serial port\n")
    assert tomllib.loads(board) == {"sensor": [{"id": "s0", "driver": "nmea", "port": "/dev/ttyAMA0"}]}
    assert usb.startswith("# a serial port, now /dev/ttyUSB0\n")
    assert tomllib.loads(usb)["sensor"][0]["port"] == "/dev/serial/by-id/usb-FTDI_FT232-if00"


def an_i2c_bus(root: Path) -> None:
    make(
        root,
        {
            "dev/i2c-1": "",
            "sys/class/i2c-dev/i2c-1/name": "bcm2835 (i2c@7e804000)\n",
            "sys/bus/i2c/devices/1-0068/name": "ds3231\n",
        },
    )


def test_an_i2c_bus_is_listed_without_being_spoken_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def speak(fd: int, address: int) -> None:
        raise AssertionError("nobody asked for --probe")

    monkeypatch.setattr(i2c, "ask", speak)
    an_i2c_bus(tmp_path)
    assert texts(tmp_path) == [
        "# I2C bus /dev/i2c-1 (bcm2835 (i2c@7e804000)); devices --probe asks which addresses answer\n"
        "# 0x68: ds3231, known to the kernel\n"
    ]


def test_probing_tells_who_answers_and_leaves_the_kernels_devices_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask(fd: int, address: int) -> None:
        asked.append(address)
        if address == 0x68:
            raise OSError(errno.EBUSY, "Device or resource busy")
        if address not in (0x40, 0x76, 0x20):
            raise OSError(errno.EREMOTEIO, "Remote I/O error")

    monkeypatch.setattr(i2c, "ask", ask)
    an_i2c_bus(tmp_path)
    bus, power, air = texts(tmp_path, probe=True)
    assert "# answering: 0x20 0x40 0x76; in use by the kernel: 0x68\n" in bus
    sensor = {"driver": "ina219", "port": "/dev/i2c-1", "address": 0x40}
    assert tomllib.loads(power)["sensor"] == [{"id": "s1", **sensor}]
    assert tomllib.loads(air)["sensor"] == [{"id": "s2", **sensor, "driver": "bme280", "address": 0x76}]
    assert asked == list(range(0x08, 0x78))


def test_all_lines_to_paste_are_taken_by_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask_i2c(fd: int, address: int) -> None:
        if address not in (0x40, 0x76):
            raise OSError(errno.EREMOTEIO, "Remote I/O error")

    def ask_gpio(fd: int, request: int, argument: bytes) -> bytes:
        return struct.pack("<32s32sI", b"gpiochip0", b"pinctrl", 0)

    monkeypatch.setattr(i2c, "ask", ask_i2c)
    monkeypatch.setattr(gpio, "ask", ask_gpio)
    an_i2c_bus(tmp_path)
    make(
        tmp_path,
        {
            "dev/ttyUSB0": "",
            "dev/gpiochip0": "",
            "sys/bus/w1/devices/28-0316a2796bff/temperature": "",
            "sys/class/thermal/thermal_zone0/temp": "48312\n",
            "dev/apex_0": "",
        },
    )
    text = "".join(texts(tmp_path, probe=True)) + list_accelerators(tmp_path)[0].stanza()
    camera = '[[camera]]\nid = "north"\nsource = "csi:0"\n'
    parsed = config.parse(f'[box]\nsite = "test"\nid = "gw"\n{camera}{text}', "pasted")
    assert [sensor.driver for sensor in parsed.sensor] == ["ds18b20", "nmea", "ina219", "bme280", "gpio", "hwmon"]
    assert parsed.detector.delegate == "edgetpu"


def test_a_bus_that_may_not_be_opened_says_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    an_i2c_bus(tmp_path)

    def refuse(*_: object) -> int:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    (bus,) = texts(tmp_path, probe=True)
    assert "cannot be opened: Permission denied; is this user in group 'i2c'?" in bus


def test_a_gpio_chip_shows_its_named_lines_and_a_free_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [(b"ID_SDA", b""), (b"GPIO1", b"door"), (b"GPIO2", b""), (b"", b"")]

    def ask(fd: int, request: int, argument: bytes) -> bytes:
        assert request >> 16 & 0x3FFF == len(argument), "the number of an ioctl holds the size of its argument"
        if request == 0x8044B401:
            return struct.pack("<32s32sI", b"gpiochip0", b"pinctrl-bcm2711", len(lines))
        offset = struct.unpack_from("<I", argument, 64)[0]
        return struct.pack("<32s32sIIQ160x16x", *lines[offset], offset, 0, 0)

    monkeypatch.setattr(gpio, "ask", ask)
    make(tmp_path, {"dev/gpiochip0": ""})
    (chip,) = texts(tmp_path)
    assert chip.startswith(
        "# GPIO chip /dev/gpiochip0 (pinctrl-bcm2711), 4 lines\n"
        "# named lines: 0 ID_SDA, 1 GPIO1 (used by door), 2 GPIO2\n"
    )
    (sensor,) = tomllib.loads(chip)["sensor"]
    assert sensor["chip"] == "/dev/gpiochip0"
    assert sensor["quantity"] == [{"id": "door", "line": 2}]


def test_a_file_in_the_place_of_a_gpio_chip_is_told(tmp_path: Path) -> None:
    make(tmp_path, {"dev/gpiochip0": ""})
    assert "cannot be asked: Inappropriate ioctl for device" in texts(tmp_path)[0]


def test_temperatures_come_with_their_names_and_what_they_are_now(tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "sys/class/thermal/thermal_zone0/temp": "48312\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone1/temp": "",  # exists, and cannot be read while its device sleeps
            "sys/class/thermal/thermal_zone2/temp": "--48312\n",  # no driver should, and one that does stops nothing
            "sys/class/hwmon/hwmon2/temp1_input": "-1500\n",
            "sys/class/hwmon/hwmon2/name": "nvme\n",
            "sys/class/hwmon/hwmon2/temp2_input": "41000\n",
            "sys/class/hwmon/hwmon2/temp2_label": "Sensor 1\n",
        },
    )
    heads = [text.splitlines()[0] for text in texts(tmp_path)]
    assert heads == [
        "# a temperature of the board: cpu-thermal, now 48.3 °C",
        "# a temperature of the board: nvme, now -1.5 °C",
        "# a temperature of the board: Sensor 1, now 41.0 °C",
    ]
    assert 'path = "/sys/class/thermal/thermal_zone0/temp"' in texts(tmp_path)[0]


@pytest.mark.parametrize(
    ("files", "what", "lines"),
    [
        pytest.param(
            {"sys/bus/usb/devices/1-1/idVendor": "1a6e\n", "sys/bus/usb/devices/1-1/idProduct": "089a\n"},
            "Edge TPU on USB 1-1, not started yet",
            ('delegate = "edgetpu"',),
            id="USB, before its firmware",
        ),
        pytest.param(
            {"sys/bus/usb/devices/2-1/idVendor": "18d1\n", "sys/bus/usb/devices/2-1/idProduct": "9302\n"},
            "Edge TPU on USB 2-1, started",
            ('delegate = "edgetpu"',),
            id="USB, with its firmware",
        ),
        pytest.param(
            {
                "sys/bus/pci/devices/0000:01:00.0/vendor": "0x1ac1\n",
                "sys/bus/pci/devices/0000:01:00.0/device": "0x089a\n",
                "dev/apex_0": "",
            },
            "Edge TPU on PCI 0000:01:00.0, /dev/apex_0",
            ('delegate = "edgetpu"',),
            id="PCI",
        ),
        pytest.param(
            {
                "sys/bus/pci/devices/0000:01:00.0/vendor": "0x1ac1\n",
                "sys/bus/pci/devices/0000:01:00.0/device": "0x089a\n",
            },
            "Edge TPU on PCI 0000:01:00.0; no /dev/apex_*: its driver (gasket, apex) is not loaded",
            ('delegate = "edgetpu"',),
            id="PCI, without a driver",
        ),
        pytest.param(
            {"dev/galcore": ""},
            "VeriSilicon NPU (/dev/galcore)",
            ('delegate = "/usr/lib/libvx_delegate.so"',),
            id="NPU of an i.MX 8",
        ),
        pytest.param(
            {"proc/device-tree/compatible": "nvidia,p3768\0nvidia,tegra234\0", "proc/device-tree/model": "Orin Nano\0"},
            "Orin Nano: its GPU is not used by the detector; its ribbon-cable cameras are (csi:0)",
            (),
            id="Jetson",
        ),
        pytest.param(
            {
                "sys/bus/pci/devices/0000:01:00.0/vendor": "0x1e60\n",
                "sys/bus/pci/devices/0000:01:00.0/device": "0x2864\n",
            },
            "Hailo-8 on PCI 0000:01:00.0: there is no TFLite delegate for it",
            (),
            id="one that cannot be used",
        ),
    ],
)
def test_an_accelerator_is_known_by_its_ids(
    tmp_path: Path, files: dict[str, str], what: str, lines: tuple[str, ...]
) -> None:
    make(tmp_path, files)
    (found,) = list_accelerators(tmp_path)
    assert (found.what, found.lines) == (what, lines)
    assert ("[detector]" in found.stanza()) == bool(lines)
