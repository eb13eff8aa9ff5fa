from __future__ import annotations

from pathlib import Path

import pytest

from drivers.base import SensorInvalid, SensorUnavailable
from drivers.sensors.fakes import w1_slave
from drivers.sensors.sysfs import HwmonSensor, crc8, kind_of, parse_hwmon, parse_w1

# An example that is in many guides to 1-wire on Linux; its checksum is right by the kernel and by us.
KERNEL = "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n"


def test_a_thermometers_two_lines_are_read() -> None:
    assert parse_w1(KERNEL) == 23.125


@pytest.mark.parametrize("celsius", [-55.0, -10.125, -0.0625, 0.0, 0.0625, 25.0625, 125.0])
def test_the_fake_writes_what_the_kernel_would(celsius: float) -> None:
    assert parse_w1(w1_slave(celsius)) == pytest.approx(celsius, abs=0.001)


def test_the_checksum_is_dallas() -> None:
    assert crc8(bytes.fromhex("72 01 4b 46 7f ff 0e 10")) == 0x57


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(KERNEL.replace("YES", "NO"), "the kernel says NO", id="no"),
        pytest.param(w1_slave(85.0), "85.0 °C, what it says after losing its supply", id="power-on value"),
        pytest.param(KERNEL.replace("72 01", "73 01"), "wrong checksum", id="bytes changed in both lines"),
        pytest.param(KERNEL.replace("t=23125", "t=33125"), "is not what the bytes", id="t changed"),
        pytest.param(KERNEL.splitlines()[0], "not the two lines", id="one line"),
        pytest.param("00 " * 9 + ": crc=00 YES\n" + "00 " * 9 + "t=0\n", "held low", id="a short circuit"),
        pytest.param("", "not the two lines", id="nothing"),
        pytest.param(KERNEL * 2, "not the two lines", id="twice"),
        pytest.param(KERNEL.replace("t=23125", "t="), "not the two lines", id="no number"),
    ],
)
def test_what_a_thermometer_did_not_measure_is_refused(text: str, words: str) -> None:
    with pytest.raises(SensorInvalid, match=words):
        parse_w1(text)


@pytest.mark.parametrize(
    ("name", "text", "value", "unit"),
    [
        ("temp1_input", "48312\n", 48.312, "°C"),
        ("temp", "-4500\n", -4.5, "°C"),
        ("in0_input", "12034\n", 12.034, "V"),
        ("curr1_input", "250\n", 0.25, "A"),
        ("power1_input", "3250000\n", 3.25, "W"),
        ("humidity1_input", "78500\n", 78.5, "%"),
        ("fan1_input", "1200\n", 1200.0, "1"),
    ],
)
def test_a_files_name_says_what_is_in_it(name: str, text: str, value: float, unit: str) -> None:
    _, found_unit, scale = kind_of(name)
    assert (parse_hwmon(text, scale), found_unit) == (value, unit)


@pytest.mark.parametrize("text", ["", "abc\n", "1.5\n", "1\n2\n", "1" * 40, "\x001\n", "0x10\n"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(SensorInvalid, match="wanted one whole number"):
        parse_hwmon(text, 1.0)


def test_a_name_that_says_nothing_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="wanted temp1_input"):
        kind_of("uevent")


def test_a_pattern_must_fit_one_file(tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / f"hwmon{number}").mkdir()
        (tmp_path / f"hwmon{number}" / "temp1_input").write_text("1000\n")
    with pytest.raises(SensorUnavailable, match=r"is 2 files: .*; wanted one"):
        HwmonSensor("board", str(tmp_path / "hwmon*" / "temp1_input")).open()
