"""What the kernel says of the machine, read from files that may be missing or unreadable."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.ops import health
from agent.ops.health import _sensor, cpu_c, disk_free_bytes, rss_bytes
from agent.sensing import SensorState
from agent.vision.capture import CaptureState


def zone(root: Path, number: int, text: str) -> None:
    folder = root / f"thermal_zone{number}"
    folder.mkdir(parents=True)
    (folder / "temp").write_text(text)


def test_the_hottest_zone_is_the_temperature(tmp_path: Path) -> None:
    zone(tmp_path, 0, "41200\n")
    zone(tmp_path, 1, "67850\n")
    assert cpu_c(tmp_path) == 67.85


def test_a_zone_that_says_nothing_of_use_is_passed_over(tmp_path: Path) -> None:
    zone(tmp_path, 0, "asleep\n")
    (tmp_path / "thermal_zone1" / "temp").mkdir(parents=True)
    zone(tmp_path, 2, "50000\n")
    assert cpu_c(tmp_path) == 50.0


def test_a_machine_without_zones_has_no_temperature(tmp_path: Path) -> None:
    assert cpu_c(tmp_path) is None


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
