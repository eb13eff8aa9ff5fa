"""What every sensor driver promises (drivers/README.md), as checks that take any sensor: over fakes or connected ones.

A check gets a `Rig`: a sensor that is not open yet, and the ways to break, spoil and mend what it talks to. It fails
with an assertion. Where a rig has no such way, a check that needs it does not apply to it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from drivers.base import Reading, Sensor, SensorInvalid, SensorUnavailable
from drivers.units import UNITS, absurd

_SLACK_S = 1.0  # for a machine that is busy with other things
_AGAIN_S = 0.05


@dataclass
class Rig:
    """breaks: as if unplugged. spoils: what it says cannot be true; None where there is nothing to spoil.

    expected: quantity → (value, tolerance), where it is known. timeout_s: what read() is given. patience_s: what was
    broken is found broken, and what was mended well, within so long; 0 where both are at once.
    """

    sensor: Sensor
    expected: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    breaks: Callable[[], object] | None = None
    mends: Callable[[], object] | None = None
    spoils: Callable[[], object] | None = None
    timeout_s: float = 0.1  # a busy machine may take a while to come round to the other side
    patience_s: float = 0.0


def check_readings(readings: Sequence[Reading], began_s: float) -> None:
    assert readings
    for reading in readings:
        assert reading.unit in UNITS
        assert reading.invalid is None
        assert math.isfinite(reading.value)
        assert absurd(reading.value, reading.unit) is None
        assert began_s - 0.1 <= reading.mono_s <= time.monotonic()


def reads_what_is_there(rig: Rig) -> None:
    rig.sensor.open()
    began_s = time.monotonic()
    readings = rig.sensor.read(rig.timeout_s)
    assert time.monotonic() - began_s < rig.timeout_s + _SLACK_S
    check_readings(readings, began_s)
    values = {reading.quantity: reading.value for reading in readings}
    for quantity, (value, tolerance) in rig.expected.items():
        assert values[quantity] == pytest.approx(value, abs=tolerance, rel=0), quantity
    rig.sensor.close()


def reads_again_and_again(rig: Rig) -> None:
    rig.sensor.open()
    quantities = [{reading.quantity for reading in rig.sensor.read(rig.timeout_s)} for _ in range(3)]
    assert quantities[0] == quantities[1] == quantities[2]
    rig.sensor.close()


def must_be_open_to_be_read(rig: Rig) -> None:
    with pytest.raises(SensorUnavailable, match=f"^sensor {rig.sensor.sensor_id} is not open; call open"):
        rig.sensor.read(rig.timeout_s)
    rig.sensor.open()
    rig.sensor.close()
    with pytest.raises(SensorUnavailable, match="is not open"):
        rig.sensor.read(rig.timeout_s)


def says_by_name_and_in_time_that_it_is_unplugged(rig: Rig) -> None:
    assert rig.breaks is not None
    assert rig.mends is not None
    _open_and_read(rig)
    rig.breaks()
    try:
        with pytest.raises(SensorUnavailable, match=f"^sensor {rig.sensor.sensor_id}: "):
            _until_it_fails(lambda: rig.sensor.read(rig.timeout_s), rig)
        rig.sensor.close()
        began_s = time.monotonic()
        with pytest.raises(SensorUnavailable, match=f"^sensor {rig.sensor.sensor_id}: "):
            _open_and_read(rig)
        assert time.monotonic() - began_s < rig.timeout_s + _SLACK_S
    finally:
        rig.sensor.close()
        rig.mends()


def goes_on_when_it_is_plugged_in_again(rig: Rig) -> None:
    assert rig.breaks is not None
    assert rig.mends is not None
    rig.breaks()
    try:
        with pytest.raises(SensorUnavailable):
            _until_it_fails(lambda: _open_and_read(rig), rig)
        rig.sensor.close()
    finally:
        rig.mends()
    deadline_s = time.monotonic() + rig.patience_s
    while True:
        try:
            readings = _open_and_read(rig)
            break
        except (SensorUnavailable, SensorInvalid):  # half a sentence may be the first that comes out of a port
            rig.sensor.close()
            if time.monotonic() >= deadline_s:
                raise
            time.sleep(_AGAIN_S)
    assert {reading.quantity for reading in readings} >= set(rig.expected)
    rig.sensor.close()


def takes_what_cannot_be_true_for_no_reading(rig: Rig) -> None:
    assert rig.spoils is not None
    assert rig.mends is not None
    _open_and_read(rig)
    rig.spoils()
    try:
        readings = rig.sensor.read(rig.timeout_s)
    except SensorInvalid as exc:
        assert str(exc).startswith(f"sensor {rig.sensor.sensor_id}: ")  # noqa: PT017
    else:
        assert any(reading.invalid for reading in readings)
    rig.mends()
    check_readings(_open_and_read(rig), time.monotonic())
    rig.sensor.close()


def may_be_closed_at_any_time(rig: Rig) -> None:
    rig.sensor.close()
    rig.sensor.open()
    rig.sensor.close()
    rig.sensor.close()
    if rig.breaks is None or rig.mends is None:
        return
    rig.breaks()
    try:
        with pytest.raises(SensorUnavailable):
            _open_and_read(rig)
        rig.sensor.close()
    finally:
        rig.mends()


def names_itself_and_its_bus_before_it_is_open(rig: Rig) -> None:
    assert rig.sensor.sensor_id
    bus = rig.sensor.bus
    assert bus
    rig.sensor.open()
    assert rig.sensor.bus == bus
    rig.sensor.close()


def _open_and_read(rig: Rig) -> Sequence[Reading]:
    rig.sensor.open()
    return rig.sensor.read(rig.timeout_s)


def _until_it_fails(read: Callable[[], object], rig: Rig) -> None:
    """What had been sent before may still come."""
    deadline_s = time.monotonic() + rig.patience_s
    while True:
        read()
        assert time.monotonic() < deadline_s, "it goes on reading what is unplugged"


WELL = (
    reads_what_is_there,
    reads_again_and_again,
    must_be_open_to_be_read,
    may_be_closed_at_any_time,
    names_itself_and_its_bus_before_it_is_open,
)
UNPLUGGED = (says_by_name_and_in_time_that_it_is_unplugged, goes_on_when_it_is_plugged_in_again)
SPOILED = (takes_what_cannot_be_true_for_no_reading,)
