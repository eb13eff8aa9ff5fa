"""What the kernel says of the machine, read from files that may be missing or unreadable."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.clock import FakeClock
from agent.ops import health
from agent.ops.health import HealthReport, _budget, _sensor, disk_free_bytes, rss_bytes
from agent.sensing import SensorState
from agent.vision.budget import InferenceBudget
from agent.vision.capture import CaptureState


def test_memory_is_that_of_this_process() -> None:
    assert 5_000_000 < rss_bytes() < 10_000_000_000


def test_a_folder_that_is_gone_has_no_free_space(tmp_path: Path) -> None:
    free = disk_free_bytes(tmp_path)
    assert free is not None
    assert free > 0
    assert disk_free_bytes(tmp_path / "gone") is None


def camera(*, bugs: int = 0, faults: tuple[str, ...] | None = ()) -> Any:
    """A worker as health sees it; faults None: its picture is not watched."""
    state = CaptureState("connected", 0.0, None, None, 10, 0, 0, 1.0, 10.0)
    watch = SimpleNamespace(faults=lambda: faults) if faults is not None else None
    return SimpleNamespace(state=lambda: state, bugs=bugs, pipeline=SimpleNamespace(inferred=3, health=watch))


@pytest.mark.parametrize(
    ("worker", "said"),
    [
        (camera(), {}),
        (camera(faults=None), {}),
        (camera(faults=("covered", "frozen")), {"faults": ["covered", "frozen"]}),
        (camera(bugs=2), {"bugs": 2}),
    ],
)
def test_a_cameras_faults_and_bugs_are_said_where_there_are_any(worker: Any, said: dict[str, Any]) -> None:
    fields = health._camera(worker).fields()
    assert {name: fields[name] for name in ("faults", "bugs") if name in fields} == said


def test_a_sensor_tells_its_state_its_values_and_how_old_they_are() -> None:
    state = SensorState("silent", "Trạm", 100.0, {"pm25": 40.0, "door": 1.0}, "sensor air: no answer")
    assert _sensor(state, 172.25).fields() == {
        "state": "silent",
        "name": "Trạm",
        "age_s": 72.2,
        "values": {"pm25": 40.0, "door": 1.0},
        "error": "sensor air: no answer",
    }


def test_a_sensor_that_has_not_answered_yet_has_no_age() -> None:
    assert _sensor(SensorState("opening", None, None, {}, None), 5.0).fields() == {"state": "opening", "values": {}}


@pytest.mark.parametrize(("causes", "said"), [((), {}), (("hot", "undervoltage"), {"causes": ["hot", "undervoltage"]})])
def test_the_budget_of_now_is_told_with_why_it_is_less(causes: tuple[str, ...], said: dict[str, Any]) -> None:
    budget = InferenceBudget(40.0)
    budget.limit(0.25)
    budget.take("north", 5, 0.0, live=True)
    strain: Any = SimpleNamespace(causes=lambda: causes)
    fields = {"limit_per_s": 10.0, "max_per_s": 40.0, "granted": 4, "refused": 1}
    assert _budget(budget, strain).fields() == {**fields, **said}


def report(*, phases: tuple[str, ...] = (), sensors: tuple[str, ...] = (), broker: str | None = None) -> HealthReport:
    """Of stages that say no more than whether they work."""
    workers: Any = [SimpleNamespace(state=lambda phase=phase: SimpleNamespace(phase=phase)) for phase in phases]
    states = {str(number): SimpleNamespace(state=state) for number, state in enumerate(sensors)}
    nothing: Any = None
    return HealthReport(
        version="1",
        detector=None,
        outbox=nothing,
        evidence=nothing,
        uplink=cast(Any, SimpleNamespace(status=lambda: SimpleNamespace(broker=broker))),
        workers=workers,
        budget=nothing,
        strain=nothing,
        clock=FakeClock(),
        sensing=cast(Any, SimpleNamespace(states=lambda: states)),
    )


@pytest.mark.parametrize(
    ("box", "line"),
    [
        (report(phases=("connected", "waiting"), broker="b:8883"), "1 of 2 cameras, broker up"),
        (report(phases=("ended",)), "1 of 1 cameras, broker away"),
        (report(sensors=("ok", "silent", "ok"), broker="b:8883"), "2 of 3 sensors, broker up"),
        (report(phases=("refused",), sensors=("stuck",)), "0 of 1 cameras, 0 of 1 sensors, broker away"),
    ],
)
def test_in_a_few_words_what_of_the_box_works(box: HealthReport, line: str) -> None:
    assert box.line() == line
