"""What `check` says of one sensor, and whether that is a problem."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from agent import probes
from agent.clock import SystemClock
from agent.sensing import Manner, Rules, SensorWatch
from agent.verbs import check
from drivers.base import Reading, SensorInvalid, SensorRefused
from drivers.sensors.fakes import FakeSensor, Step

RULES = {"level": Rules(valid=(0.0, 5.0))}


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def checked(step: Step, capsys: pytest.CaptureFixture[str], **options: list[Exception | None]) -> tuple[bool, str]:
    sensor = FakeSensor("drain", [step], quantity="level", unit="m", open_errors=options.get("open_errors", []))
    manner = Manner(interval_s=10, timeout_s=0.05, stale_s=30, rules=RULES)
    is_fine = check._sensor(check.Findings(), sensor, SensorWatch(sensor, manner, clock=SystemClock()))
    return is_fine, capsys.readouterr().out.strip()


def test_values_are_shown_with_their_units(capsys: pytest.CaptureFixture[str]) -> None:
    readings = [Reading("level", 1.25, "m", 0), Reading("pump", 1.0, "bool", 0), Reading("starts", 12.0, "1", 0)]
    assert checked(readings, capsys) == (True, "sensor drain: fine, level 1.25 m, pump on, starts 12")


def test_one_that_has_nothing_to_tell_is_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert checked([], capsys) == (
        True,
        "sensor drain: open, but it told nothing in 0 s; it may have nothing to tell",
    )


def test_a_value_that_would_not_be_sent_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    is_fine, said = checked(7.5, capsys)
    assert not is_fine
    assert "no reading of it would be sent: level: 7.5 m; the configuration takes 0 to 5 for valid" in said


@pytest.mark.parametrize(
    ("step", "words"),
    [
        pytest.param(SensorInvalid("sensor drain: wrong checksum"), "cannot be true; no reading of it", id="invalid"),
        pytest.param(None, "sensor drain: PROBLEM: no answer for 0.05 s", id="silent"),
    ],
)
def test_one_that_fails_is_a_problem(step: Step, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    is_fine, said = checked(step, capsys)
    assert (is_fine, words in said) == (False, True)


def test_one_that_cannot_be_opened_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    refused: list[Exception | None] = [SensorRefused("sensor drain: no permission")]
    assert checked(1.0, capsys, open_errors=refused) == (False, "sensor drain: PROBLEM: no permission")


def test_a_drivers_bug_is_not_told_as_the_sensors_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        checked(ZeroDivisionError("in the driver"), capsys)


def test_one_that_hangs_does_not_keep_the_technician(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, release: threading.Event
) -> None:
    monkeypatch.setattr(probes, "_SENSOR_HANGS_S", 0.05)

    def hang() -> float:
        release.wait(10)
        return 1.0

    is_fine, said = checked(hang, capsys)
    assert (is_fine, "its driver has not come back for" in said) == (False, True)
