"""Alerts that outlive the agent: raised by one run, cleared by the next, under one id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.clock import FakeClock
from agent.contract.event import (
    Body,
    BoxStrained,
    CameraFault,
    CameraSilent,
    Congestion,
    Event,
    Evidence,
    Lasting,
    Reading,
    SensorAlert,
    Stream,
    cleared,
)
from agent.errors import EventStoreError
from agent.raised import RaisedAlerts
from agent.sensing import Limit, Manner, Rules, Sensing, SensorWatch
from drivers.base import SensorUnavailable
from drivers.sensors.fakes import FakeSensor, Step

LIMIT = Limit("high", "above", 5.0, 4.0)
OFF = SensorUnavailable("sensor drain: no answer")


class Runs:
    """One run of the agent after the other, with the same file beside the outbox."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "alerts.raised"
        self.clock = FakeClock(mono_s=1000.0)
        self.told: list[Body] = []

    def put(self, *events: Event) -> None:
        self.told += [event.body for event in events]

    def run(self, *script: Step, rules: Rules | None = None, unit: str = "m", sensor_id: str = "drain") -> list[Any]:
        """Asks the sensor as often as the script is long, without a thread. Gives the alerts of this run."""
        before = len(self.told)
        sensor = FakeSensor(sensor_id, script, quantity="level", unit=unit, mono_s=self.clock.mono_s)
        known = {"level": Rules(limits=(LIMIT,)) if rules is None else rules}
        manner = Manner(interval_s=0.0, timeout_s=1.0, stale_s=0.0, rules=known, named=False)
        watch = SensorWatch(sensor, manner, clock=self.clock)
        sensing = Sensing([watch], clock=self.clock)
        raised = RaisedAlerts(self.file, clock=self.clock)
        put = raised.noting(self.put)
        put(*raised.resume(lambda source, body, since_s: sensing.resume(source, body, since_s)))  # type: ignore[arg-type]
        sensing._put = put
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


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'[{"source":"drain"}]', b"\xff\xfe", b'[{"body":"{}"}]'])
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
    runs.file = runs.file.parent / "file" / "alerts.raised"
    runs.file.parent.write_text("in the place of its folder")
    assert [state for state, _ in turns(runs.run(6.0, 3.0))] == ["raised", "cleared"]
    assert caplog.text.count("cannot be written, so the next run will not know") == 1


# ---- whatever it is about --------------------------------------------------------------------------------------------

JAM = Congestion(
    rule="jam",
    severity="info",
    state="raised",
    alert="5e0c41b7",
    zone="lanes",
    vehicles=11.3,
    mean_speed_kmh=4.2,
    evidence=Evidence(id="7-ab", sha256="00", bytes=1),
)
SILENT = CameraSilent(state="raised", alert="c1f0a9d2", reason="no picture for 5 s")
COVERED = CameraFault(fault="covered", state="raised", alert="5d01c4aa", severity="critical")
HOT = BoxStrained(state="raised", alert="77ab0c1e", severity="warning", causes=("hot",), cpu_c=81.5)


def alert(source: str, body: Lasting, clock: FakeClock) -> Event:
    return Event(Stream.ALERT, source, body, clock.stamp())


@pytest.mark.parametrize(("source", "body"), [("north", JAM), ("north", SILENT), ("north", COVERED), ("box", HOT)])
def test_what_is_raised_is_offered_after_the_start_with_when_it_began(runs: Runs, source: str, body: Lasting) -> None:
    RaisedAlerts(runs.file, clock=runs.clock).noting(runs.put)(alert(source, body, runs.clock))
    runs.clock.sleep(90.0)
    offered: list[tuple[str, Lasting, float]] = []
    over = RaisedAlerts(runs.file, clock=runs.clock).resume(lambda *what: not offered.append(what))  # type: ignore[func-returns-value]
    assert offered == [(source, body, 1000.0)]
    assert over == []


@pytest.mark.parametrize(("source", "body"), [("north", JAM), ("north", SILENT), ("north", COVERED), ("box", HOT)])
def test_what_nobody_goes_on_with_is_cleared_under_its_id_and_then_forgotten(
    runs: Runs, source: str, body: Lasting
) -> None:
    RaisedAlerts(runs.file, clock=runs.clock).noting(runs.put)(alert(source, body, runs.clock))
    runs.clock.sleep(90.0)
    raised = RaisedAlerts(runs.file, clock=runs.clock)
    (over,) = raised.resume(lambda *what: False)
    assert (over.stream, over.source) == (Stream.ALERT, source)
    assert over.body == cleared(body, 90.0)
    assert isinstance(over.body, Lasting)
    assert (over.body.state, over.body.alert, over.body.lasted_s) == ("cleared", body.alert, 90.0)
    raised.noting(runs.put)(over)
    assert RaisedAlerts(runs.file, clock=runs.clock).resume(lambda *what: False) == []


def test_what_clears_an_alert_says_nothing_of_its_beginning() -> None:
    for body in (JAM, SILENT):
        said = cleared(body, 5.0).model_dump(exclude_none=True)
        assert "evidence" not in said
        assert "reason" not in said


def test_what_could_not_be_stored_is_not_taken_for_raised(runs: Runs) -> None:
    def fails(*events: Event) -> None:
        raise EventStoreError("disk full")

    raised = RaisedAlerts(runs.file, clock=runs.clock)
    with pytest.raises(EventStoreError):
        raised.noting(fails)(alert("north", JAM, runs.clock))
    assert not runs.file.exists()


def test_events_that_raise_and_clear_nothing_cost_no_write(runs: Runs) -> None:
    put = RaisedAlerts(runs.file, clock=runs.clock).noting(runs.put)
    put(Event(Stream.READING, "drain", Reading(value=1.0, unit="m"), runs.clock.stamp()))
    put(alert("north", JAM, runs.clock), alert("north", JAM.model_copy(update={"state": "cleared"}), runs.clock))
    assert len(runs.told) == 3
    assert not runs.file.exists()
