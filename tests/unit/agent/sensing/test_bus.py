"""Threads of buses, with drivers that hang until the test lets them go."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from agent.clock import FakeClock, SystemClock
from agent.contract.event import Event, Reading, SensorSilent, Stream
from agent.errors import EventStoreError
from agent.sensing import Manner, Rules, Sensing, SensorWatch
from agent.sensing.bus import HANG_GRACE_S, Bus
from agent.sensing.quantity import Said
from drivers.sensors.fakes import FakeSensor, Step

MANNER = Manner(interval_s=0.0, timeout_s=0.1, stale_s=60.0, rules={"temperature": Rules()}, named=False)
PATIENCE_S = 10.0  # for a broken build


class Heard:
    """What the buses stored, and a way to wait for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.said: list[tuple[str, Said]] = []

    def store(self, sensor_id: str, said: list[Said]) -> None:
        with self._changed:
            self.said += [(sensor_id, one) for one in said]
            self._changed.notify_all()

    def count(self, sensor_id: str, kind: type = Reading) -> int:
        return sum(who == sensor_id and isinstance(one.body, kind) for who, one in self.said)

    def wait(self, sensor_id: str, n: int, kind: type = Reading) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.count(sensor_id, kind) >= n, PATIENCE_S)


class Hanging:
    """A value that blocks until it is let go."""

    def __init__(self) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()

    def __call__(self) -> float:
        self.entered.set()
        self.leave.wait(PATIENCE_S)
        return 99.0


def counting(start: float) -> Iterator[Step]:
    n = start
    while True:
        yield n
        n += 1.0


def watch(name: str, script: Iterator[Step] | list[Step], clock: FakeClock, manner: Manner = MANNER) -> SensorWatch:
    return SensorWatch(FakeSensor(name, script, bus="line", mono_s=clock.mono_s), manner, clock=clock)


def test_sensors_of_one_bus_take_turns_in_one_thread() -> None:
    clock, heard = FakeClock(), Heard()
    bus = Bus("line", [watch("a", counting(0), clock), watch("b", counting(0), clock)], heard.store, clock=clock)
    bus.start()
    assert heard.wait("a", 20)
    assert heard.wait("b", 20)
    assert bus.threads() == 1
    assert bus.stop(clock.mono_s() + PATIENCE_S)
    assert abs(heard.count("a") - heard.count("b")) <= 1
    assert bus.threads() == 0


def test_a_sensor_is_closed_when_its_bus_ends() -> None:
    clock, heard = FakeClock(), Heard()
    sensor = FakeSensor("a", counting(0), mono_s=clock.mono_s)
    bus = Bus("line", [SensorWatch(sensor, MANNER, clock=clock)], heard.store, clock=clock)
    bus.start()
    assert heard.wait("a", 1)
    assert bus.stop(clock.mono_s() + PATIENCE_S)
    assert sensor.closes == 1


def test_a_driver_that_hangs_is_told_and_the_others_of_its_bus_go_on() -> None:
    clock, heard, hanging = FakeClock(), Heard(), Hanging()
    bus = Bus("line", [watch("bad", [hanging], clock), watch("good", counting(0), clock)], heard.store, clock=clock)
    bus.start()
    assert hanging.entered.wait(PATIENCE_S)
    before = heard.count("good")
    bus.check()
    assert heard.count("bad", SensorSilent) == 0  # not yet
    clock.sleep(MANNER.timeout_s + HANG_GRACE_S + 1)
    bus.check()
    assert heard.count("bad", SensorSilent) == 1
    assert heard.wait("good", before + 20)
    assert bus.threads() == 2
    hanging.leave.set()  # the call comes back: the sensor is handed over, and its thread ends
    assert heard.wait("bad", 2, SensorSilent)
    assert heard.wait("bad", 1)
    assert bus.stop(clock.mono_s() + PATIENCE_S)
    assert [one.body.state for who, one in heard.said if who == "bad" and isinstance(one.body, SensorSilent)] == [
        "raised",
        "cleared",
    ]


def test_however_many_drivers_hang_there_are_never_more_threads_than_sensors() -> None:
    clock, heard = FakeClock(), Heard()
    hanging = [Hanging() for _ in range(3)]
    watches = [watch(f"bad-{n}", [one], clock) for n, one in enumerate(hanging)]
    bus = Bus("line", [*watches, watch("good", counting(0), clock)], heard.store, clock=clock)
    bus.start()
    for _ in range(10):
        for one in hanging:
            one.entered.wait(0.05)
        clock.sleep(HANG_GRACE_S + 1)
        bus.check()
    assert [heard.wait(f"bad-{n}", 1, SensorSilent) for n in range(3)] == [True] * 3
    before = heard.count("good")
    assert heard.wait("good", before + 10)
    assert bus.threads() == 4
    for _ in range(100):
        clock.sleep(HANG_GRACE_S + 1)
        bus.check()
    assert bus.threads() == 4
    for one in hanging:
        one.leave.set()
    assert heard.wait("bad-2", 2, SensorSilent)
    assert bus.stop(clock.mono_s() + PATIENCE_S)


def test_a_sensor_alone_on_its_bus_that_hangs_starts_no_second_thread() -> None:
    clock, heard, hanging = FakeClock(), Heard(), Hanging()
    bus = Bus("line", [watch("bad", [hanging], clock)], heard.store, clock=clock)
    bus.start()
    assert hanging.entered.wait(PATIENCE_S)
    for _ in range(20):
        clock.sleep(HANG_GRACE_S + 1)
        bus.check()
    assert bus.threads() == 1
    assert heard.count("bad", SensorSilent) == 1
    assert not bus.stop(clock.mono_s())  # it is left behind, and said to be
    hanging.leave.set()
    assert bus.stop(clock.mono_s() + PATIENCE_S)


def test_a_bug_of_ours_costs_one_reading_and_not_the_bus(caplog: pytest.LogCaptureFixture) -> None:
    clock, heard = FakeClock(), Heard()
    broken = watch("a", counting(0), clock)
    poll, calls = broken.poll, [0]

    def once() -> list[Said]:
        calls[0] += 1
        if calls[0] == 1:
            raise KeyError("a bug")
        return poll()

    broken.poll = once  # type: ignore[method-assign]
    broken.put_off = lambda seconds: None  # type: ignore[method-assign]
    bus = Bus("line", [broken], heard.store, clock=clock)
    bus.start()
    assert heard.wait("a", 1)
    assert bus.stop(clock.mono_s() + PATIENCE_S)
    assert "bug in sensing" in caplog.text


def test_what_was_said_waits_for_the_store_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sensing.sensing._STORE_AGAIN_S", 0.01)
    clock = FakeClock()
    stored: list[Event] = []
    done = threading.Event()
    refusals = iter([EventStoreError("disk full")])

    def put(*events: Event) -> None:
        error = next(refusals, None)
        if error is not None:
            raise error
        stored.extend(events)
        done.set()

    sensing = Sensing([watch("a", [20.0], clock)], clock=clock)
    sensing.start(put)
    assert done.wait(PATIENCE_S)
    assert sensing.stop()
    first = stored[0]
    assert (first.stream, first.source, first.stamp.wall_ms) == (Stream.READING, "a", clock.wall_ms)
    assert isinstance(first.body, Reading)


def test_each_bus_has_a_thread_and_the_states_are_all_there() -> None:
    clock = SystemClock()
    sensors = [FakeSensor(name, [1.0], bus=bus) for name, bus in (("a", "x"), ("b", "x"), ("c", "y"))]
    manner = Manner(interval_s=60.0, timeout_s=1.0, stale_s=60.0)
    sensing = Sensing([SensorWatch(sensor, manner, clock=clock) for sensor in sensors], clock=clock)
    assert [bus.name for bus in sensing.buses] == ["x", "y"]
    assert set(sensing.states()) == {"a", "b", "c"}
    assert sensing.stop()  # before start
