"""What every sensor's driver keeps, each over a fake of what it talks to. Connected ones: see tests/hil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config_sensors import DRIVERS
from tests.support.sensor_contract import SPOILED, UNPLUGGED, WELL, Rig
from tests.support.sensors import ID, RIGS


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return RIGS[request.param](tmp_path)


def test_every_driver_of_ours_has_a_rig() -> None:
    assert set(DRIVERS) <= set(RIGS)


@pytest.mark.parametrize("check", [*WELL, *UNPLUGGED], ids=lambda check: check.__name__)
def test_the_driver(rig: Rig, check: Callable[[Rig], None]) -> None:
    assert rig.sensor.sensor_id == ID
    check(rig)


@pytest.mark.parametrize("check", SPOILED, ids=lambda check: check.__name__)
@pytest.mark.parametrize("rig", [name for name in RIGS if name != "gpio"], indirect=True)  # on and off can both be true
def test_the_driver_of_what_can_be_spoiled(rig: Rig, check: Callable[[Rig], None]) -> None:
    check(rig)
