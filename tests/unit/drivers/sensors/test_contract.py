"""What every sensor's driver keeps, each over a fake of what it talks to; and, with -m hil, over the real thing.

For the real thing: GATEWAY_HIL_CONFIG=gateway.toml, a configuration whose sensors are connected to this machine.
    GATEWAY_HIL_CONFIG=gateway.toml python -m pytest -m hil tests/unit/drivers/sensors/test_contract.py
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent import config
from agent.config_sensors import DRIVERS
from agent.sensors import make_sensors
from drivers.base import Reading, Sensor, SensorInvalid, SensorUnavailable
from drivers.units import UNITS, absurd
from tests.support.sensors import ID, RIGS, Rig

TIMEOUT_S = 0.02  # a fake answers at once; this is how long a broken one is waited for


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return RIGS[request.param](tmp_path)


def test_every_driver_of_ours_has_a_rig() -> None:
    assert set(DRIVERS) <= set(RIGS)


def check_readings(readings: Sequence[Reading], began_s: float) -> None:
    assert readings
    for reading in readings:
        assert reading.unit in UNITS
        assert reading.invalid is None
        assert math.isfinite(reading.value)
        assert absurd(reading.value, reading.unit) is None
        assert began_s - 0.1 <= reading.mono_s <= time.monotonic()


def test_it_reads_what_is_there(rig: Rig) -> None:
    rig.sensor.open()
    began_s = time.monotonic()
    readings = rig.sensor.read(TIMEOUT_S)
    check_readings(readings, began_s)
    values = {reading.quantity: reading.value for reading in readings}
    for quantity, (value, tolerance) in rig.expected.items():
        assert values[quantity] == pytest.approx(value, abs=tolerance, rel=0), quantity
    rig.sensor.close()


def test_it_reads_again_and_again(rig: Rig) -> None:
    rig.sensor.open()
    quantities = [{reading.quantity for reading in rig.sensor.read(TIMEOUT_S)} for _ in range(3)]
    assert quantities[0] == quantities[1] == quantities[2]
    rig.sensor.close()


def test_it_must_be_open_to_be_read(rig: Rig) -> None:
    with pytest.raises(SensorUnavailable, match=f"^sensor {ID} is not open; call open"):
        rig.sensor.read(TIMEOUT_S)
    rig.sensor.open()
    rig.sensor.close()
    with pytest.raises(SensorUnavailable, match="is not open"):
        rig.sensor.read(TIMEOUT_S)


def open_and_read(sensor: Sensor) -> Sequence[Reading]:
    sensor.open()
    return sensor.read(TIMEOUT_S)


def test_unplugged_it_says_so_by_name_and_in_time(rig: Rig) -> None:
    open_and_read(rig.sensor)
    rig.breaks()
    began_s = time.monotonic()
    with pytest.raises(SensorUnavailable, match=f"^sensor {ID}: "):
        rig.sensor.read(TIMEOUT_S)
    rig.sensor.close()
    with pytest.raises(SensorUnavailable, match=f"^sensor {ID}: "):
        open_and_read(rig.sensor)
    assert time.monotonic() - began_s < 1.0
    rig.sensor.close()


def test_plugged_in_again_it_goes_on(rig: Rig) -> None:
    rig.breaks()
    with pytest.raises(SensorUnavailable):
        open_and_read(rig.sensor)
    rig.sensor.close()
    rig.mends()
    assert {reading.quantity for reading in open_and_read(rig.sensor)} >= set(rig.expected)
    rig.sensor.close()


@pytest.mark.parametrize("rig", [name for name in RIGS if name != "gpio"], indirect=True)  # on and off can both be true
def test_what_cannot_be_true_is_no_reading(rig: Rig) -> None:
    assert rig.spoils is not None
    open_and_read(rig.sensor)
    rig.spoils()
    try:
        readings = rig.sensor.read(TIMEOUT_S)
    except SensorInvalid as exc:
        assert str(exc).startswith(f"sensor {ID}: ")  # noqa: PT017
    else:
        assert any(reading.invalid for reading in readings)
    rig.mends()
    check_readings(open_and_read(rig.sensor), time.monotonic())
    rig.sensor.close()


def test_close_may_be_called_at_any_time(rig: Rig) -> None:
    rig.sensor.close()
    rig.sensor.open()
    rig.sensor.close()
    rig.sensor.close()
    rig.breaks()
    with pytest.raises(SensorUnavailable):
        open_and_read(rig.sensor)
    rig.sensor.close()


def test_it_names_itself_and_its_bus_before_it_is_open(rig: Rig) -> None:
    assert (rig.sensor.sensor_id, bool(rig.sensor.bus)) == (ID, True)
    bus = rig.sensor.bus
    rig.sensor.open()
    assert rig.sensor.bus == bus
    rig.sensor.close()


# ---- the real thing --------------------------------------------------------------------------------------------------


def real_sensors() -> list[Sensor]:
    path = os.environ.get("GATEWAY_HIL_CONFIG")
    if path is None:
        return []
    return make_sensors(config.load(Path(path)).sensor)


@pytest.mark.hil
@pytest.mark.parametrize("sensor", real_sensors(), ids=lambda sensor: sensor.sensor_id)
def test_a_real_sensor_keeps_the_contract(sensor: Sensor) -> None:
    with pytest.raises(SensorUnavailable, match="is not open"):
        sensor.read(1.0)
    for _ in range(3):
        sensor.open()
        began_s = time.monotonic()
        check_readings(sensor.read(5.0), began_s)
        assert time.monotonic() - began_s < 6.0
        sensor.close()
        sensor.close()
