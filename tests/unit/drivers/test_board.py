"""What a board says of itself, read from files that may be missing, asleep or somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.board import ENVIRONMENT, Board, BoardState, board
from tests.support.sysfs import FakeSysfs


@pytest.fixture
def sysfs(tmp_path: Path) -> FakeSysfs:
    return FakeSysfs(tmp_path)


def test_a_board_that_tells_nothing_is_fine_and_its_temperature_is_not_known(sysfs: FakeSysfs) -> None:
    assert Board(sysfs.root).state() == BoardState(None, False, False)


def test_the_hottest_of_the_processors_zones_is_its_temperature(sysfs: FakeSysfs) -> None:
    sysfs.zone(0, "CPU-therm", 41.2)
    sysfs.zone(1, "cpu1-thermal", 67.85)
    sysfs.zone(2, "GPU-therm", 90.0)
    assert Board(sysfs.root).state().cpu_c == 67.85


def test_a_zone_that_is_always_at_100_degrees_is_no_heat(sysfs: FakeSysfs) -> None:
    """The Jetson Nano's PMIC-Die."""
    sysfs.zone(0, "PMIC-Die", 100.0)
    assert Board(sysfs.root).state().cpu_c is None
    sysfs.zone(1, "thermal-fan-est", 44.0)
    assert Board(sysfs.root).state().cpu_c == 44.0


def test_a_processor_known_to_hwmon_alone_has_a_temperature(sysfs: FakeSysfs) -> None:
    sysfs.write("class/hwmon/hwmon0/name", "coretemp")
    sysfs.write("class/hwmon/hwmon0/temp1_input", "51000")
    sysfs.write("class/hwmon/hwmon0/temp2_input", "56000")
    sysfs.write("class/hwmon/hwmon2/name", "nvme")
    sysfs.write("class/hwmon/hwmon2/temp1_input", "71000")
    assert Board(sysfs.root).state().cpu_c == 56.0


def test_a_zone_that_says_nothing_of_use_is_passed_over(sysfs: FakeSysfs) -> None:
    sysfs.write("class/thermal/thermal_zone0/temp", "asleep")
    (sysfs.root / "class/thermal/thermal_zone1/temp").mkdir(parents=True)
    sysfs.zone(2, "cpu-thermal", 50.0)
    assert Board(sysfs.root).state().cpu_c == 50.0


@pytest.mark.parametrize(
    ("bits", "slowed", "undervolted"),
    [
        pytest.param(0x0, False, False, id="fine"),
        pytest.param(0x1, False, True, id="undervoltage"),
        pytest.param(0x2, True, False, id="frequency capped"),
        pytest.param(0x4, True, False, id="throttled"),
        pytest.param(0x8, True, False, id="soft temperature limit"),
        pytest.param(0x50005, True, True, id="all of it"),
        pytest.param(0x50000, False, False, id="it was so, some time since the boot"),
    ],
)
def test_the_firmware_of_a_raspberry_pi_says_what_is_so_now(
    sysfs: FakeSysfs, bits: int, slowed: bool, undervolted: bool
) -> None:
    sysfs.firmware(bits)
    state = Board(sysfs.root).state()
    assert (state.is_slowed, state.is_undervolted) == (slowed, undervolted)


def test_undervoltage_is_also_known_by_the_alarm_of_the_kernels_own_driver(sysfs: FakeSysfs) -> None:
    sysfs.voltage_alarm(True)
    assert Board(sysfs.root).state().is_undervolted
    sysfs.voltage_alarm(False)
    assert not Board(sysfs.root).state().is_undervolted


def test_another_chips_alarm_is_not_the_supplys(sysfs: FakeSysfs) -> None:
    sysfs.write("class/hwmon/hwmon3/name", "ina3221")
    sysfs.write("class/hwmon/hwmon3/in0_lcrit_alarm", "1")
    assert not Board(sysfs.root).state().is_undervolted


@pytest.mark.parametrize(
    ("kind", "state", "slowed"),
    [("cpufreq-cpu0", 2, True), ("thermal-cpufreq-0", 1, True), ("cpufreq-cpu0", 0, False), ("pwm-fan", 3, False)],
)
def test_a_processor_that_the_kernel_cools_by_slowing_it_is_slowed_and_one_with_a_fan_is_not(
    sysfs: FakeSysfs, kind: str, state: int, slowed: bool
) -> None:
    sysfs.cooling(0, kind, state)
    assert Board(sysfs.root).state().is_slowed is slowed


def test_the_environment_may_name_another_board_and_the_log_says_so(
    sysfs: FakeSysfs, caplog: pytest.LogCaptureFixture
) -> None:
    sysfs.heat(88.0)
    assert board({ENVIRONMENT: str(sysfs.root)}).state().cpu_c == 88.0
    assert "not from this board" in caplog.text
    caplog.clear()
    board({})
    assert caplog.text == ""
