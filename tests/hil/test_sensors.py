"""Connected sensors keep the contract that the fakes keep; outputs switch."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from agent.config_sensors import OutputConfig, SensorBase
from agent.sensors import make_outputs, make_sensors
from drivers.base import Reading, Sensor
from tests.hil.connected import PROFILE, each
from tests.hil.hands import bounded, do, undo
from tests.hil.words import say
from tests.support.sensor_contract import UNPLUGGED, WELL, Rig, reads_what_is_there

pytestmark = pytest.mark.hil
SENSORS = each(PROFILE.config.sensor if PROFILE else (), "sensor")
UNPLUGGABLE = each(
    (s for s in PROFILE.config.sensor if PROFILE.unplugs(s.id)) if PROFILE else (), "command that unplugs a sensor"
)
OUTPUTS = each(PROFILE.config.output if PROFILE else (), "output")
LIMIT_S = 300.0
ON_S = 1.0


class Heard:
    """A sensor, and what it has said."""

    def __init__(self, sensor: Sensor) -> None:
        self.sensor_id, self.bus, self._sensor = sensor.sensor_id, sensor.bus, sensor
        self.readings: list[Reading] = []

    def open(self) -> None:
        self._sensor.open()

    def read(self, timeout_s: float) -> list[Reading]:
        self.readings = list(self._sensor.read(timeout_s))
        return self.readings

    def close(self) -> None:
        self._sensor.close()


def rig(settings: SensorBase) -> tuple[Heard, Rig]:
    (driver,) = make_sensors([settings])
    sensor = Heard(driver)
    return sensor, Rig(sensor, timeout_s=settings.timeout_s)


@pytest.mark.parametrize("check", WELL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("sensor", SENSORS)
def test_the_sensor(
    sensor: SensorBase, check: Callable[[Rig], None], record_property: Callable[[str, object], None]
) -> None:
    heard, subject = rig(sensor)
    try:
        bounded(lambda: check(subject), LIMIT_S, f"sensor {sensor.id}")
    finally:
        heard.close()
    if check is reads_what_is_there:
        record_property("answered", ", ".join(f"{r.quantity} {r.value:.8g} {r.unit}" for r in heard.readings))


@pytest.mark.parametrize("check", UNPLUGGED, ids=lambda check: check.__name__)
@pytest.mark.parametrize("sensor", UNPLUGGABLE)
def test_the_sensor_is_unplugged(sensor: SensorBase, check: Callable[[Rig], None]) -> None:
    assert PROFILE is not None
    event = PROFILE.unplugs(sensor.id)
    assert event is not None
    heard, subject = rig(sensor)
    subject.breaks, subject.mends = lambda: do(event), lambda: undo(event)
    subject.patience_s = event.within_s
    try:
        bounded(lambda: check(subject), LIMIT_S, f"sensor {sensor.id}")
    finally:
        heard.close()


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_output(output: OutputConfig) -> None:
    assert PROFILE is not None
    if not PROFILE.hil.outputs:
        pytest.skip(say("outputs-off"))
    driver = next(made for made in make_outputs(PROFILE.config) if made.output_id == output.id)
    try:
        driver.open()
        driver.set(True)
        time.sleep(ON_S)
        driver.set(False)
    finally:
        driver.close()
