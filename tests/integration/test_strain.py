"""A box in the sun, as the service runs it: a real agent whose /sys is a folder, a real mosquitto."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drivers.board import ENVIRONMENT
from tests.support.command import Agent, broker_lines, eventually, gateway_agent, write_config
from tests.support.consumer import Consumer
from tests.support.mosquitto import PROGRAM, Mosquitto
from tests.support.sysfs import FakeSysfs
from tests.support.traffic import write_traffic

if PROGRAM is None:
    pytest.skip("no mosquitto; apt-get install mosquitto", allow_module_level=True)


@pytest.fixture
def sysfs(tmp_path: Path) -> FakeSysfs:
    sysfs = FakeSysfs(tmp_path / "sys")
    sysfs.heat(48.0)
    return sysfs


def pulses(ioc: Consumer) -> list[dict[str, Any]]:
    return [fields for topic, fields in list(ioc.other) if topic == "gw/v1/test/gw/health"]


def is_told(ioc: Consumer, cpu_c: float, limit_per_s: float, causes: list[str] | None) -> bool:
    if not pulses(ioc):
        return False
    pulse = pulses(ioc)[-1]
    told = pulse["budget"]
    return (pulse["cpu_c"], told["limit_per_s"], told.get("causes")) == (cpu_c, limit_per_s, causes)


def test_a_hot_box_looks_less_often_says_why_and_looks_as_before_when_it_has_cooled_down(
    tmp_path: Path, broker: Mosquitto, ioc: Consumer, sysfs: FakeSysfs
) -> None:
    clip = write_traffic(tmp_path / "traffic.mp4", 2)
    more = "[detector]\nmax_inferences_per_s = 60\n"
    config = write_config(tmp_path, clip, camera="loop = true", broker=broker_lines(broker.port), more=more)
    with Agent(config, **{ENVIRONMENT: str(sysfs.root)}) as agent:
        assert eventually(lambda: is_told(ioc, 48.0, 60.0, None)), agent.log()
        sysfs.heat(77.5)  # a quarter of the way from 75 to 85
        assert eventually(lambda: is_told(ioc, 77.5, 48.0, ["hot"])), agent.log()
        looked = pulses(ioc)[-1]["cameras"]["cam"]["inferred"]
        assert eventually(lambda: pulses(ioc)[-1]["cameras"]["cam"]["inferred"] > looked), "it looks no more"
        sysfs.heat(52.0)
        assert eventually(lambda: is_told(ioc, 52.0, 60.0, None)), agent.log()
    limits = [pulse["budget"]["limit_per_s"] for pulse in pulses(ioc)]
    assert len({limit for limit in limits if 48.0 < limit < 60.0}) >= 3, "all at once"
    assert "board: PROBLEM: hot" in agent.log()
    assert "are 60 again" in agent.log()


def test_a_weak_supply_is_told_to_whoever_checks_the_box(tmp_path: Path, sysfs: FakeSysfs) -> None:
    config = write_config(tmp_path, write_traffic(tmp_path / "traffic.mp4", 1))
    fine = gateway_agent("check", "--config", config, **{ENVIRONMENT: str(sysfs.root)})
    assert "board: fine, 48 °C" in fine.stdout
    sysfs.firmware(0x50005)
    weak = gateway_agent("check", "--config", config, **{ENVIRONMENT: str(sysfs.root)})
    assert "board: PROBLEM: the voltage of its supply is too low" in weak.stdout
    assert (fine.returncode, weak.returncode) == (0, 1)
