"""The fakes act out physics, and keep the contracts they stand in for."""

from __future__ import annotations

import pytest

from drivers.base import Reading, SensorUnavailable
from drivers.sensors.fakes import Battery, FakeSensor, Tank


def test_a_tank_fills_by_what_flows_in_and_cannot_overflow() -> None:
    now_s = [0.0]
    tank = Tank(area_m2=2.0, height_m=1.5, level_m=0.5, mono_s=lambda: now_s[0])
    tank.inflow_m3_s = 0.02
    now_s[0] = 60.0
    assert tank.level_m() == pytest.approx(1.1)
    now_s[0] = 600.0
    assert tank.level_m() == 1.5
    tank.inflow_m3_s = -1.0
    now_s[0] = 700.0
    assert tank.level_m() == 0.0


def test_a_battery_lasts_as_long_as_its_load_lets_it() -> None:
    now_s = [0.0]
    battery = Battery(capacity_wh=10, load_w=20, charger_w=5, mono_s=lambda: now_s[0])
    assert battery.runtime_s() == 1800
    battery.mains = False
    now_s[0] = 900.0
    assert battery.charge() == pytest.approx(0.5)
    battery.mains = True
    now_s[0] = 900.0 + 3600.0
    assert battery.charge() == 1.0


def test_fake_sensor_plays_its_script_and_stays_at_its_end() -> None:
    waited: list[float] = []
    script = [20.0, None, SensorUnavailable("cut"), [Reading("humidity", 50.0, "%", 0.0)], lambda: 21.0]
    sensor = FakeSensor("t", script, mono_s=lambda: 5.0, wait=waited.append, open_errors=[SensorUnavailable("off")])
    with pytest.raises(SensorUnavailable, match="off"):
        sensor.open()
    sensor.open()
    assert [(r.value, r.mono_s) for r in sensor.read(2.0)] == [(20.0, 5.0)]
    with pytest.raises(SensorUnavailable, match="no answer for 2 s"):
        sensor.read(2.0)
    with pytest.raises(SensorUnavailable, match="cut"):
        sensor.read(2.0)
    assert sensor.read(2.0)[0].quantity == "humidity"
    assert [sensor.read(2.0)[0].value for _ in range(3)] == [21.0, 21.0, 21.0]
    assert waited == [2.0]
