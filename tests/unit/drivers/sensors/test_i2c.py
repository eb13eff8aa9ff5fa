"""Chips by their data sheets."""

from __future__ import annotations

import errno

import pytest

from drivers.base import SensorInvalid, SensorRefused, SensorUnavailable
from drivers.sensors.fakes import FakeBme280, FakeI2cBus, FakeIna219
from drivers.sensors.i2c import Bme280Sensor, Calibration, Ina219Sensor, SystemI2cBus, compensate

# Bosch, BST-BMP280-DS001, section 3.12: its worked example; the BME280's formulas for both are the same.
EXAMPLE = Calibration(
    27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000, *[75, 361, 0, 311, 50, 30]
)


def test_the_worked_example_of_the_data_sheet_comes_out() -> None:
    celsius, pascal, _ = compensate(519888, 415148, 30000, EXAMPLE)
    assert celsius == pytest.approx(25.08, abs=0.005)
    assert pascal == pytest.approx(100653.27, abs=0.05)


def test_the_humidity_agrees_with_the_data_sheets_integer_formula() -> None:
    # Section 4.2.3 has a second, integer formula for the same: two ways, one result.
    for adc in (20000, 26000, 30000, 34000):
        celsius, _, percent = compensate(519888, 415148, adc, EXAMPLE)
        t_fine = round(celsius * 5120)
        c = EXAMPLE
        v = t_fine - 76800
        v = ((((adc << 14) - (c.h4 << 20) - (c.h5 * v)) + 16384) >> 15) * (
            (((((((v * c.h6) >> 10) * (((v * c.h3) >> 11) + 32768)) >> 10) + 2097152) * c.h2) + 8192) >> 14
        )
        v -= ((((v >> 15) * (v >> 15)) >> 7) * c.h1) >> 4
        v = min(max(v, 0), 419430400)
        assert percent == pytest.approx((v >> 12) / 1024, abs=0.05)


def test_humidity_coefficients_that_share_a_byte_are_told_apart() -> None:
    low = bytes(24) + b"\x00\x4b"
    high = bytes([0x69, 0x01, 0x00, 0x13, 0x27, 0x03, 0x1E])
    c = Calibration.of(low, high)
    assert (c.h1, c.h2, c.h3, c.h4, c.h5, c.h6) == (75, 361, 0, 0x137, 0x032, 30)


def test_negative_humidity_coefficients_keep_their_sign() -> None:
    high = bytes([0x69, 0x01, 0x00, 0xFF, 0x0F, 0xFF, 0xE2])
    c = Calibration.of(bytes(26), high)
    assert (c.h4, c.h5, c.h6) == (-1, -16, -30)


def bme(chip: FakeBme280) -> Bme280Sensor:
    return Bme280Sensor("roof", FakeI2cBus({0x76: chip}), 0x76)


@pytest.mark.parametrize(
    ("celsius", "hectopascal", "percent"), [(-20, 950, 5), (0, 1013, 50), (25, 1004, 78), (60, 1050, 95)]
)
def test_the_air_around_the_chip_is_what_is_read(celsius: float, hectopascal: float, percent: float) -> None:
    sensor = bme(FakeBme280(celsius=celsius, hectopascal=hectopascal, percent=percent))
    sensor.open()
    values = [reading.value for reading in sensor.read(0.1)]
    assert values == pytest.approx([celsius, percent, hectopascal], abs=0.1)


def test_a_chip_that_was_reset_in_between_has_not_measured() -> None:
    chip = FakeBme280()
    chip._measure = lambda: None  # type: ignore[method-assign]
    sensor = bme(chip)
    sensor.open()
    with pytest.raises(SensorInvalid, match="was reset and has not measured"):
        sensor.read(0.1)


def test_a_chip_that_never_ends_measuring_is_given_up() -> None:
    chip = FakeBme280()
    sensor = bme(chip)
    sensor.open()
    chip._registers[0xF3] = 0x08
    with pytest.raises(SensorUnavailable, match="still measuring"):
        sensor.read(0.01)


def test_another_chip_at_the_address_is_named() -> None:
    chip = FakeBme280()
    chip._registers[0xD0] = 0x58
    with pytest.raises(SensorRefused, match="says it is 0x58, not 0x60; that is a BMP280, which has no humidity"):
        bme(chip).open()


def test_a_chip_whose_wires_are_cut_reads_as_ones_and_is_refused() -> None:
    chip = FakeBme280()
    chip._registers[0x88:0xE8] = b"\xff" * 0x60
    chip._registers[0xD0] = 0x60
    with pytest.raises(SensorUnavailable, match="gives no calibration"):
        bme(chip).open()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOENT, "is I2C switched on"),
        (errno.EACCES, "must be in group 'i2c'"),
        (errno.EREMOTEIO, "no chip answers"),
        (errno.ENODEV, "no chip answers"),
        (errno.EBUSY, "a driver of the kernel uses it"),
        (errno.ETIMEDOUT, "hold the bus's wires down"),
    ],
)
def test_the_kernels_errors_are_told_with_what_to_do(number: int, words: str) -> None:
    bus = FakeI2cBus({})

    def fail(who: str) -> None:
        raise OSError(number, "as the kernel says")

    bus.open = fail  # type: ignore[method-assign]
    with pytest.raises(SensorUnavailable, match=words):
        Bme280Sensor("roof", bus).open()


def test_an_ina219_that_lost_its_supply_is_set_up_anew() -> None:
    chip = FakeIna219(volt=11.9, ampere=-0.2)
    sensor = Ina219Sensor("battery", FakeI2cBus({0x40: chip}))
    sensor.open()
    chip.lose_supply()
    with pytest.raises(SensorUnavailable, match="Was it without supply"):
        sensor.read(0.1)
    sensor.open()
    assert [r.value for r in sensor.read(0.1)] == pytest.approx([11.9, -0.2, -2.38], abs=0.002)


def test_a_current_beyond_the_shunts_range_is_not_told_as_its_end() -> None:
    sensor = Ina219Sensor("battery", FakeI2cBus({0x40: FakeIna219(ampere=5.0)}))
    sensor.open()
    assert [reading.invalid is None for reading in sensor.read(0.1)] == [True, False, False]


def test_two_bytes_go_as_an_smbus_word_in_the_order_of_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[object, ...]] = []

    class Adapter:
        def __init__(self, path: str) -> None:
            assert path == "/dev/i2c-1"

        def read_word_data(self, address: int, register: int) -> int:
            return 0x9F39  # the kernel's number for 39 9F on the wire

        def read_i2c_block_data(self, address: int, register: int, count: int) -> list[int]:
            return [*range(count)]

        def write_word_data(self, *what: object) -> None:
            said.append(what)

        def write_i2c_block_data(self, *what: object) -> None:
            said.append(what)

        def close(self) -> None:
            said.append(("closed",))

    monkeypatch.setattr("drivers.sensors.i2c.SMBus", Adapter)
    bus = SystemI2cBus("/dev/i2c-1")
    bus.open("solar")
    assert bus.read(0x40, 0, 2) == b"\x39\x9f"
    assert bus.read(0x76, 0x88, 3) == b"\x00\x01\x02"
    bus.write(0x40, 0, b"\x39\x9f")
    bus.write(0x76, 0xF4, b"\x25")
    bus.close("solar")
    assert said == [(0x40, 0, 0x9F39), (0x76, 0xF4, [0x25]), ("closed",)]
