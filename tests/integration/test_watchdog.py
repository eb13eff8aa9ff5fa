"""The stages' own threads under a watchdog: what starves it, and what must not. The clock moves only when told.

Each thread has as long for a step as it says, by a clock that jumps an hour: whoever is alive gives a sign within
moments, and who hangs does not. The supervisor is a socket, as systemd's.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from agent.alive import Signs
from agent.clock import FakeClock
from agent.contract.event import Event
from agent.errors import EventStoreError
from agent.ops.notify import Notifier
from agent.ops.watchdog import Watchdog
from agent.outbox import Outbox
from agent.sensing import Manner, Rules, Sensing, SensorWatch
from agent.uplink import Broker, Uplink, UplinkSettings
from agent.vision import worker as worker_module
from agent.vision.pipeline import Pipeline, Seen
from agent.vision.worker import CameraWorker
from drivers.base import CameraFormat, CameraUnavailable, Frame
from drivers.sensors.fakes import FakeSensor
from tests.support.command import PROGRAM, eventually, write_config
from tests.support.mosquitto import free_port
from tests.support.traffic import write_traffic
from tests.support.vision import road, sighting

HOUR_S = 3600.0
PICTURE = road(64, 36)


class Supervisor:
    """systemd's end of the socket."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(self.path))
        self._sock.setblocking(False)

    def heard(self) -> list[str]:
        """The lines since the last asking."""
        lines: list[str] = []
        with suppress(BlockingIOError):
            while True:
                lines += self._sock.recv(4096).decode().splitlines()
        return lines

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path)
    yield supervisor
    supervisor.close()


class Hang:
    """A call that does not come back until the test is over."""

    def __init__(self) -> None:
        self.entered, self.over = threading.Event(), threading.Event()

    def __call__(self, *_: Any) -> Any:
        self.entered.set()
        self.over.wait()
        raise CameraUnavailable("camera cam: the test is over")


class Camera:
    """Gives a picture whenever asked, unless one of its calls is replaced."""

    camera_id = "cam"

    def __init__(self, **calls: Any) -> None:
        self.open = calls.get("open", lambda: CameraFormat(64, 36, 10.0, "fake"))
        self.read = calls.get("read", self._read)
        self._count = 0

    def _read(self, timeout_s: float) -> Frame:
        self._count += 1
        threading.Event().wait(0.01)
        return Frame(PICTURE, self._count, self._count / 10)

    def close(self) -> None:
        pass


class Stages:
    """Looks at nothing, and can be told to hang."""

    health = None
    next_track = 1

    def __init__(self, process: Any = None) -> None:
        self._process = process

    def process(self, frame: Frame) -> Seen:
        if self._process is not None:
            self._process(frame)
        return Seen([], sighting({}, frame.index, frame.mono_s), None, True)  # type: ignore[arg-type]

    def finish(self) -> list[Any]:
        return []

    def reset(self) -> None:
        pass


def store(*_: Event) -> None:
    pass


@contextmanager
def working(worker: CameraWorker, *hangs: Hang) -> Iterator[tuple[Signs, ...]]:
    worker.start()
    try:
        yield worker.signs
    finally:
        for hang in hangs:
            hang.over.set()
        worker.stop(5.0)


def worker(clock: FakeClock, camera: Camera, stages: Stages | None = None, put: Any = store) -> CameraWorker:
    pipeline: Pipeline = stages or Stages()  # type: ignore[assignment]
    return CameraWorker("cam", camera, pipeline, put, clock=clock, stall_timeout_s=5.0)


def fed_an_hour_later(watchdog: Watchdog, clock: FakeClock, systemd: Supervisor) -> bool:
    clock.sleep(HOUR_S)
    systemd.heard()
    return eventually(watchdog.look, 10.0) and "WATCHDOG=1" in systemd.heard()


def starves_an_hour_later(watchdog: Watchdog, signs: Any, clock: FakeClock, systemd: Supervisor, stuck: str) -> bool:
    clock.sleep(HOUR_S)
    assert eventually(lambda: [one.name for one in signs if one.overdue_s()] == [stuck], 10.0)
    systemd.heard()
    watchdog.look()
    return "WATCHDOG=1" not in systemd.heard()


@pytest.mark.parametrize("call", ["open", "read"])
def test_a_driver_that_hangs_starves_the_watchdog(systemd: Supervisor, call: str) -> None:
    clock, hang = FakeClock(), Hang()
    with working(worker(clock, Camera(**{call: hang})), hang) as signs:
        assert hang.entered.wait(10)
        watchdog = Watchdog(signs, Notifier({"NOTIFY_SOCKET": str(systemd.path)}))
        assert starves_an_hour_later(watchdog, signs, clock, systemd, "capture-cam")


def test_a_stage_that_hangs_starves_the_watchdog(systemd: Supervisor) -> None:
    clock, hang = FakeClock(), Hang()
    with working(worker(clock, Camera(), Stages(hang)), hang) as signs:
        assert hang.entered.wait(10)
        watchdog = Watchdog(signs, Notifier({"NOTIFY_SOCKET": str(systemd.path)}))
        assert starves_an_hour_later(watchdog, signs, clock, systemd, "vision-cam")


def test_a_worker_that_ends_by_a_bug_starves_the_watchdog(systemd: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    monkeypatch.setattr(CameraWorker, "_store_notices", bug)
    clock = FakeClock()
    with working(worker(clock, Camera())) as signs:
        watchdog = Watchdog(signs, Notifier({"NOTIFY_SOCKET": str(systemd.path)}))
        assert eventually(lambda: "vision-cam" not in {thread.name for thread in threading.enumerate()})
        assert starves_an_hour_later(watchdog, signs, clock, systemd, "vision-cam")


def test_a_dead_camera_keeps_the_watchdog_fed(systemd: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    def dead() -> CameraFormat:
        raise CameraUnavailable("camera cam: no such device")

    clock = FakeClock()
    monkeypatch.setattr("agent.vision.capture._SHORTEST_WAIT_S", lambda retry: 0.05)
    monkeypatch.setattr("agent.vision.capture._WAIT_S", lambda retry: 0.05)
    with working(worker(clock, Camera(open=dead))) as signs:
        watchdog = Watchdog(signs, Notifier({"NOTIFY_SOCKET": str(systemd.path)}))
        for _ in range(3):
            assert fed_an_hour_later(watchdog, clock, systemd)


def test_a_disk_that_is_full_keeps_the_watchdog_fed(systemd: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def full(*_: Event) -> None:
        asked.set()
        raise EventStoreError("disk full")

    monkeypatch.setattr(worker_module, "_STORE_AGAIN_S", 0.05)
    clock = FakeClock()
    busy = worker(clock, Camera(), put=full)
    busy._on_silent("as if it had been unplugged")
    with working(busy) as signs:
        assert asked.wait(10)
        watchdog = Watchdog(signs, Notifier({"NOTIFY_SOCKET": str(systemd.path)}))
        for _ in range(3):
            assert fed_an_hour_later(watchdog, clock, systemd)


def test_a_broker_that_is_away_keeps_the_watchdog_fed(systemd: Supervisor, tmp_path: Path) -> None:
    clock = FakeClock()
    settings = UplinkSettings(site="test", box="gw", brokers=(Broker("127.0.0.1", free_port()),))
    with ExitStack() as ends:
        outbox = Outbox(tmp_path / "outbox.db", max_bytes=8 << 20, alert_reserve_bytes=1 << 20, clock=clock)
        ends.callback(outbox.close)
        uplink = Uplink(settings, outbox, clock=clock, wait=lambda retry: 0.05)  # type: ignore[arg-type]
        ends.callback(uplink.stop)
        uplink.start()
        signs = (uplink.signs,)
        watchdog = Watchdog(signs, Notifier({"NOTIFY_SOCKET": str(systemd.path)}))
        assert eventually(lambda: uplink.status().last_error is not None)
        for _ in range(3):
            assert fed_an_hour_later(watchdog, clock, systemd)


def test_an_outbox_whose_writer_hangs_starves_the_watchdog_and_its_callers_are_excused(
    systemd: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, hang = FakeClock(), Hang()
    with ExitStack() as ends:
        outbox = Outbox(tmp_path / "outbox.db", max_bytes=8 << 20, alert_reserve_bytes=1 << 20, clock=clock)
        ends.callback(outbox.close)
        ends.callback(hang.over.set)
        caller = Signs("caller", clock)

        def wait_for_it() -> None:
            caller.give(10.0)
            with suppress(EventStoreError):
                outbox.flush()

        monkeypatch.setattr(outbox, "_serve", hang)
        thread = threading.Thread(target=wait_for_it)
        ends.callback(thread.join)
        thread.start()
        assert hang.entered.wait(10)
        signs = (outbox.signs, caller)
        watchdog = Watchdog(signs, Notifier({"NOTIFY_SOCKET": str(systemd.path)}))
        assert starves_an_hour_later(watchdog, signs, clock, systemd, "outbox")
        hang.over.set()


def sensing(clock: FakeClock, sensor: FakeSensor) -> Sensing:
    manner = Manner(interval_s=0.0, timeout_s=0.1, stale_s=60.0, rules={"temperature": Rules()}, named=False)
    return Sensing([SensorWatch(sensor, manner, clock=clock)], clock=clock)


def test_a_sensor_that_hangs_keeps_the_watchdog_fed(systemd: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up and told; the others go on without a restart."""
    monkeypatch.setattr("agent.sensing.sensing._CHECK_EVERY_S", 0.02)
    clock, hang = FakeClock(), Hang()
    sensors = sensing(clock, FakeSensor("air", [hang]))
    sensors.start(store)
    try:
        assert hang.entered.wait(10)
        watchdog = Watchdog([sensors.signs], Notifier({"NOTIFY_SOCKET": str(systemd.path)}))
        for _ in range(3):
            assert fed_an_hour_later(watchdog, clock, systemd)
    finally:
        hang.over.set()
        sensors.stop()


def test_a_bus_whose_thread_ended_by_a_bug_starves_the_watchdog(
    systemd: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("agent.sensing.sensing._CHECK_EVERY_S", 0.02)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    clock = FakeClock()
    sensors = sensing(clock, FakeSensor("air", [20.0]))
    sensors.start(bug)
    try:
        assert eventually(lambda: not all(bus.is_running() for bus in sensors.buses), 10.0)
        watchdog = Watchdog([sensors.signs], Notifier({"NOTIFY_SOCKET": str(systemd.path)}))
        assert starves_an_hour_later(watchdog, [sensors.signs], clock, systemd, "sensors")
    finally:
        sensors.stop()


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_agent_says_that_it_is_ready_fed_and_stopping_with_no_broker_there(
    systemd: Supervisor, tmp_path: Path
) -> None:
    clip = write_traffic(tmp_path / "traffic.mp4", 2)
    config = write_config(tmp_path, clip, camera="loop = true", broker=f'host = "127.0.0.1"\nport = {free_port()}')
    heard: list[str] = []

    def meals() -> int:
        heard.extend(systemd.heard())
        return heard.count("WATCHDOG=1")

    environment = {**os.environ, "NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "1000000"}
    with (tmp_path / "log").open("wb") as log:
        agent = subprocess.Popen([PROGRAM, "run", "--config", config], env=environment, stderr=log)
    try:
        assert eventually(lambda: meals() >= 8 and "STATUS=1 of 1 cameras, broker away" in heard)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) == 0
    finally:
        agent.kill()
        agent.wait()
    heard += systemd.heard()
    assert heard.count("READY=1") == 1
    end = heard[heard.index("STOPPING=1") :]
    assert heard.index("READY=1") < heard.index("STOPPING=1")
    assert end.count("EXTEND_TIMEOUT_USEC=60000000") >= 3  # sensors, the camera, the link
    assert heard.index("READY=1") <= 1  # the first meal may be earlier


def test_a_watchdogs_signal_leaves_the_place_of_every_thread_in_the_log(tmp_path: Path) -> None:
    config = write_config(tmp_path, write_traffic(tmp_path / "traffic.mp4", 2), camera="loop = true")
    with (tmp_path / "log").open("wb") as log:
        agent = subprocess.Popen([PROGRAM, "run", "--config", config], stderr=log)
    try:
        assert eventually(lambda: "running: 1 camera(s)" in (tmp_path / "log").read_text())
        agent.send_signal(signal.SIGABRT)
        assert agent.wait(30) == -signal.SIGABRT
    finally:
        agent.kill()
        agent.wait()
    words = (tmp_path / "log").read_text()
    assert "Fatal Python error: Aborted" in words
    assert "agent/outbox/outbox.py" in words
