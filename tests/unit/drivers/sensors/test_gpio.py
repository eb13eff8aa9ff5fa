from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from drivers.base import SensorRefused, SensorUnavailable
from drivers.sensors import gpio
from drivers.sensors.fakes import FolderPins
from drivers.sensors.gpio import GpioOutput, GpioSensor, Line, Lines

DOOR = Line("door", 17)


class Script:
    """What happens to the contacts while somebody waits for them: one step per wait."""

    def __init__(self, folder: Path) -> None:
        self.pins = FolderPins(folder, sleep=self.wait)
        self.steps: list[bool] = []

    def wait(self, seconds: float) -> None:
        if self.steps:
            self.pins.drive(17, self.steps.pop(0))


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def levels(sensor: GpioSensor, timeout_s: float = 0.1) -> list[tuple[str, float]]:
    return [(reading.quantity, reading.value) for reading in sensor.read(timeout_s)]


def test_a_door_that_stands_open_at_the_start_is_told_at_once(script: Script) -> None:
    script.pins.drive(17, True)
    sensor = GpioSensor("cabinet", "chip", [DOOR], pins=script.pins)
    sensor.open()
    script.steps = [False]
    assert levels(sensor) == [("door", 1.0)]


def test_a_change_is_told_when_it_happens_with_the_level_after_it(script: Script) -> None:
    sensor = GpioSensor("cabinet", "chip", [DOOR], pins=script.pins)
    sensor.open()
    assert levels(sensor) == [("door", 0.0)]
    script.steps = [False, False, True]
    assert levels(sensor) == [("door", 1.0), ("door", 1.0)]
    assert levels(sensor) == [("door", 1.0)]


def test_a_line_without_a_wire_is_where_its_bias_pulls_it(script: Script) -> None:
    lines = [Line("up", 1, bias="pull-up"), Line("down", 2), Line("tamper", 3, active_low=True, bias="pull-up")]
    sensor = GpioSensor("cabinet", "chip", lines, pins=script.pins)
    sensor.open()
    assert dict(levels(sensor)) == {"up": 1.0, "down": 0.0, "tamper": 0.0}


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), SensorUnavailable, "`gpiodetect` and `gpioinfo`"),
        (OSError(errno.ENODEV, "No such device"), SensorUnavailable, "is no GPIO chip"),  # unplugged, or /dev/null
        (PermissionError(errno.EACCES, "Permission denied"), SensorRefused, "must be in group 'gpio'"),
        (OSError(errno.EBUSY, "Device or resource busy"), SensorUnavailable, "in use by another program"),
        (ValueError("no such line"), SensorUnavailable, "do the line numbers exist"),
    ],
)
def test_what_keeps_a_line_from_being_taken_is_told_with_what_to_do(
    error: Exception, kind: type[Exception], words: str
) -> None:
    class Unwilling:
        def inputs(self, chip: str, lines: Sequence[Line]) -> Lines:
            raise error

        output = inputs

    with pytest.raises(kind, match=f"^sensor cabinet: .*{words}"):
        GpioSensor("cabinet", "/dev/gpiochip0", [DOOR], pins=Unwilling()).open()


@pytest.mark.parametrize(("active_low", "off", "on"), [(False, "0\n", "1\n"), (True, "1\n", "0\n")])
def test_an_output_is_off_when_it_is_taken_and_off_when_it_is_let_go(
    tmp_path: Path, active_low: bool, off: str, on: str
) -> None:
    file = tmp_path / "22"
    output = GpioOutput("siren", "chip", Line("siren", 22, active_low=active_low), pins=FolderPins(tmp_path))
    file.write_text(on)  # left on by whoever had it before
    output.open()
    assert file.read_text() == off
    output.set(True)
    assert file.read_text() == on
    output.close()
    assert file.read_text() == off
    with pytest.raises(SensorUnavailable, match="output siren is not open"):
        output.set(True)


def test_the_environment_chooses_the_fake_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chosen = gpio.pins({gpio.ENVIRONMENT: f"fake:{tmp_path}"})
    assert isinstance(chosen, FolderPins)
    assert "no contact of this box is watched" in caplog.text


def test_another_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted fake:FOLDER"):
        gpio.pins({gpio.ENVIRONMENT: "mock"})
