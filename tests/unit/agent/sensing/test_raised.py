"""Alerts that outlive the agent: raised by one run, cleared by the next, under one id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.clock import FakeClock
from agent.contract.event import Body, Event, Reading, SensorAlert
from agent.sensing import Limit, Manner, Rules, Sensing, SensorWatch
from drivers.base import SensorUnavailable
from drivers.sensors.fakes import FakeSensor, Step

LIMIT = Limit("high", "above", 5.0, 4.0)
OFF = SensorUnavailable("sensor drain: no answer")


class Runs:
    """One run of the agent after the other, with the same file beside the outbox."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "sensors.raised"
        self.clock = FakeClock(mono_s=1000.0)
        self.told: list[Body] = []

    def run(self, *script: Step, rules: Rules | None = None, unit: str = "m", sensor_id: str = "drain") -> list[Any]:
        """Asks the sensor as often as the script is long, without a thread. Gives the alerts of this run."""
        before = len(self.told)

        def put(*events: Event) -> None:
            self.told += [event.body for event in events]

        sensor = FakeSensor(sensor_id, script, quantity="level", unit=unit, mono_s=self.clock.mono_s)
        known = {"level": Rules(limits=(LIMIT,)) if rules is None else rules}
        manner = Manner(interval_s=0.0, timeout_s=1.0, stale_s=0.0, rules=known, named=False)
        watch = SensorWatch(sensor, manner, clock=self.clock)
        sensing = Sensing([watch], clock=self.clock, memory=self.file)
        sensing._begin(put)
        for _ in script:
            sensing._store(sensor_id, watch.poll())
        return [body for body in self.told[before:] if not isinstance(body, Reading)]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def turns(alerts: list[SensorAlert]) -> list[tuple[str, str]]:
    return [(alert.state, alert.alert) for alert in alerts]


@pytest.mark.parametrize(
    ("rules", "unit", "beyond", "behind"),
    [
        pytest.param(Rules(limits=(LIMIT,)), "m", 6.0, 3.0, id="limit"),
        pytest.param(Rules(), "bool", 1.0, 0.0, id="contact"),
        pytest.param(Rules(), "m", OFF, 3.0, id="silent"),
    ],
)
def test_what_was_raised_is_not_raised_again_and_is_cleared_under_its_id(
    runs: Runs, rules: Rules, unit: str, beyond: Step, behind: Step
) -> None:
    (raised,) = runs.run(beyond, rules=rules, unit=unit)
    runs.clock.sleep(3600.0)
    assert runs.run(beyond, rules=rules, unit=unit) == []
    runs.clock.sleep(3600.0)
    (cleared,) = runs.run(behind, rules=rules, unit=unit)
    assert (cleared.state, cleared.alert, cleared.lasted_s) == ("cleared", raised.alert, 7200.0)
    assert runs.run(behind, rules=rules, unit=unit) == []


def test_what_nobody_watches_any_more_is_over(runs: Runs) -> None:
    (raised,) = runs.run(6.0)
    (cleared,) = runs.run(6.0, rules=Rules())
    assert turns([cleared]) == [("cleared", raised.alert)]
    runs.run(6.0)
    assert [state for state, _ in turns(runs.run(1.0, sensor_id="other"))] == ["cleared"]


def test_a_boot_in_between_is_measured_by_the_time_of_day_where_it_was_known(runs: Runs) -> None:
    runs.run(6.0)
    runs.clock = FakeClock(wall_ms=runs.clock.wall_ms + 600_000, mono_s=5.0)
    runs.clock.boot_id = "another"
    (cleared,) = runs.run(3.0)
    assert cleared.lasted_s == 600.0


def test_a_boot_in_between_without_the_time_of_day_is_not_guessed(runs: Runs) -> None:
    runs.run(6.0)
    runs.clock = FakeClock(wall_ms=1000, mono_s=5.0, trusted=False)
    runs.clock.boot_id = "another"
    (cleared,) = runs.run(3.0)
    assert cleared.lasted_s == 0.0


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'[{"sensor":"drain"}]', b"\xff\xfe", b'[{"body":"{}"}]'])
def test_a_damaged_file_costs_the_memory_and_nothing_else(
    runs: Runs, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    runs.file.write_bytes(content)
    (raised,) = runs.run(6.0)
    assert raised.state == "raised"
    assert "cannot be read; what was raised before is not cleared any more" in caplog.text


def test_a_disk_that_cannot_be_written_costs_the_memory_and_nothing_else(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    runs.file = runs.file.parent / "file" / "sensors.raised"
    runs.file.parent.write_text("in the place of its folder")
    assert [state for state, _ in turns(runs.run(6.0, 3.0))] == ["raised", "cleared"]
    assert caplog.text.count("cannot be written, so the next run will not know") == 1
