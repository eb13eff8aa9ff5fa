"""The verb `check`: try everything once that the service will need, and say in a technician's words what to do.

Reads and opens, changes nothing, and may be run beside a running service (a USB camera in use is then reported busy).
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path

import numpy as np

from agent import app, config
from agent.camera import make_driver, read_credentials, wants_evidence
from agent.clock import SystemClock
from agent.config import CameraConfig, Config
from agent.errors import UplinkDown
from agent.ops.strain import sentences, what_is_wrong
from agent.ops.words import say
from agent.sensing import SensorWatch
from agent.sensors import make_outputs, make_sensors, manner
from agent.uplink.subscriber import Subscriber
from drivers.base import CameraRefused, DriverError, Output, Reading, Sensor, SensorInvalid
from drivers.board import board

_FIRST_FRAME_S = 12.0
_SENSOR_HANGS_S = 15.0  # beyond its own timeout


def run(args: argparse.Namespace) -> int:
    """Exit code 0 or 1; a wrong configuration or model pack is raised, as it is by `run`."""
    settings = config.load(args.config)
    print(
        say(
            "config-ok",
            path=args.config,
            cameras=len(settings.camera),
            lines=sum(len(camera.line) for camera in settings.camera),
            zones=sum(len(camera.zone) for camera in settings.camera),
            sensors=len(settings.sensor),
        )
    )
    _model(settings)
    problems = _board(settings.detector.hot_c)
    problems += sum(not _camera(camera) for camera in settings.camera)
    sensors = make_sensors(settings.sensor)
    for sensor, driver in zip(settings.sensor, sensors, strict=True):
        problems += not _sensor(driver, SensorWatch(driver, manner(sensor), clock=SystemClock()))
    problems += sum(not _output(output) for output in make_outputs(settings))
    problems += not _outbox(settings.outbox.path)
    if any(wants_evidence(camera) for camera in settings.camera):
        problems += not _evidence(settings.evidence.path)
    problems += _brokers(settings)
    print(say("clock-ok" if SystemClock().trusted() else "clock-unset"))
    print(say("problems", n=problems) if problems else say("all-fine"))
    return 1 if problems else 0


def _model(settings: Config) -> None:
    detector = app.make_detector(settings)
    if detector is None:
        return
    picture = np.full((480, 640, 3), 114, np.uint8)
    detector.detect(picture, 0.3)  # the first look also prepares the network
    began_s = time.monotonic()
    detector.detect(picture, 0.3)
    ms = (time.monotonic() - began_s) * 1000
    print(say("model-ok", label=detector.pack.label, runtime=detector.runtime, ms=ms))
    detector.close()


def _board(hot_c: float) -> int:
    """How many things are wrong with it now."""
    state = board().state()
    causes = what_is_wrong(state, hot_c)
    for sentence in sentences(state, causes, hot_c):
        print(sentence)
    if not causes:
        print(say("board-unknown") if state.cpu_c is None else say("board-ok", celsius=state.cpu_c))
    return len(causes)


def _camera(camera: CameraConfig) -> bool:
    driver = make_driver(camera, read_credentials(camera))
    began_s = time.monotonic()
    try:
        granted = driver.open()
        frame = driver.read(_FIRST_FRAME_S)
    except CameraRefused as exc:
        print(say("camera-refused", id=camera.id, why=_tail(exc, f"camera {camera.id}")))
        return False
    except DriverError as exc:
        print(say("camera-bad", id=camera.id, why=_tail(exc, f"camera {camera.id}")))
        return False
    finally:
        driver.close()
    width, height = frame.size_wh_px
    seconds = time.monotonic() - began_s
    print(say("camera-ok", id=camera.id, width=width, height=height, codec=granted.codec, seconds=seconds))
    asked = (camera.width_px, camera.height_px)
    if None not in asked and asked != (width, height):
        print(say("camera-differs", id=camera.id, asked=f"{asked[0]} x {asked[1]}", granted=f"{width} x {height}"))
    if not camera.line and not camera.zone:
        print(say("camera-no-rule", id=camera.id))
    return True


def _sensor(driver: Sensor, watch: SensorWatch) -> bool:
    """Asked once, in a thread: a driver that hangs must not keep a technician on the pole."""
    found: list[Reading] = []
    failed: list[Exception] = []

    def ask() -> None:
        try:
            driver.open()
            found.extend(driver.read(watch.timeout_s))
        except Exception as exc:  # told below, where it can be told
            failed.append(exc)
        finally:
            driver.close()

    thread = threading.Thread(target=ask, daemon=True)
    began_s = time.monotonic()
    thread.start()
    thread.join(watch.timeout_s + _SENSOR_HANGS_S)
    seconds = time.monotonic() - began_s
    if thread.is_alive():
        print(say("sensor-hangs", id=driver.sensor_id, seconds=seconds))
        return False
    if failed and not isinstance(failed[0], DriverError):
        raise failed[0]  # a bug in the driver is no answer of the sensor's
    if failed:
        said = _tail(failed[0], f"sensor {driver.sensor_id}")
        is_absurd = isinstance(failed[0], SensorInvalid)
        print(say("sensor-absurd" if is_absurd else "sensor-bad", id=driver.sensor_id, why=said))
        return False
    if not found:
        print(say("sensor-quiet", id=driver.sensor_id, seconds=seconds))
        return True
    wrong = [f"{reading.quantity}: {why}" for reading in found if (why := watch.judge(reading)) is not None]
    if wrong:
        print(say("sensor-absurd", id=driver.sensor_id, why="; ".join(wrong)))
        return False
    print(say("sensor-ok", id=driver.sensor_id, values=", ".join(_value(reading) for reading in found)))
    return True


def _value(reading: Reading) -> str:
    if reading.unit == "bool":
        return f"{reading.quantity} {'on' if reading.value else 'off'}"
    unit = {"1": "", "°": "°"}.get(reading.unit, f" {reading.unit}")
    return f"{reading.quantity} {reading.value:.8g}{unit}"


def _output(output: Output) -> bool:
    try:
        output.open()
    except DriverError as exc:
        print(say("output-bad", id=output.output_id, why=_tail(exc, f"output {output.output_id}")))
        return False
    finally:
        output.close()
    print(say("output-ok", id=output.output_id))
    return True


def _outbox(path: Path) -> bool:
    folder, why = _why_not(path.parent)
    print(say("outbox-bad", path=path, why=why) if why else say("outbox-ok", path=path, mb=_free_mb(folder)))
    return why is None


def _evidence(path: Path) -> bool:
    folder, why = _why_not(path)
    print(say("evidence-bad", path=path, why=why) if why else say("evidence-ok", path=path, mb=_free_mb(folder)))
    return why is None


def _why_not(folder: Path) -> tuple[Path, str | None]:
    """The nearest folder there is, and why nothing can be written or made in it; None if it can."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir():
        return there, f"{there} is not a folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return there, f"this user may not write in {there}"
    return there, None


def _free_mb(folder: Path) -> int:
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize // 1_000_000


def _brokers(settings: Config) -> int:
    """How many brokers do not let us in."""
    uplink = app.uplink_settings(settings)
    if not uplink.brokers:
        print(say("broker-none"))
        return 0
    uplink.check()
    problems = 0
    for broker in uplink.brokers:
        try:
            # Under a name of its own: with the service's name it would throw the running service out.
            with Subscriber(broker, [uplink.topics.state], login=uplink.login):
                print(say("broker-ok", broker=broker))
        except UplinkDown as exc:
            problems += 1
            print(say("broker-bad", broker=broker, why=_tail(exc, str(broker))))
    return problems


def _tail(exc: Exception, name: str) -> str:
    """What an error says behind the name that our sentence begins with."""
    return str(exc).removeprefix(f"{name}: ")
