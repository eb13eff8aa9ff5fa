"""The verb `check`: try everything once that the service will need, and say in a technician's words what to do.

Reads and opens, changes nothing, and may be run beside a running service (a USB camera in use is then reported busy).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from agent import app, config, probes
from agent.camera import wants_evidence
from agent.clock import SystemClock
from agent.config import CameraConfig, Config
from agent.errors import UplinkDown
from agent.ops.strain import sentences, what_is_wrong
from agent.ops.words import say
from agent.sensing import SensorWatch
from agent.sensors import make_outputs, make_sensors, manner
from drivers.base import CameraRefused, DriverError, Output, Reading, Sensor, SensorInvalid
from drivers.board import board


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
    try:
        seen = probes.look(camera)
    except CameraRefused as exc:
        print(say("camera-refused", id=camera.id, why=_tail(exc, f"camera {camera.id}")))
        return False
    except DriverError as exc:
        print(say("camera-bad", id=camera.id, why=_tail(exc, f"camera {camera.id}")))
        return False
    width, height = seen.size_wh_px
    codec = seen.granted.codec
    print(say("camera-ok", id=camera.id, width=width, height=height, codec=codec, seconds=seen.seconds))
    asked = (camera.width_px, camera.height_px)
    if None not in asked and asked != (width, height):
        print(say("camera-differs", id=camera.id, asked=f"{asked[0]} x {asked[1]}", granted=f"{width} x {height}"))
    if not camera.line and not camera.zone:
        print(say("camera-no-rule", id=camera.id))
    return True


def _sensor(driver: Sensor, watch: SensorWatch) -> bool:
    answer = probes.ask(driver, watch)
    if answer.hangs:
        print(say("sensor-hangs", id=driver.sensor_id, seconds=answer.seconds))
        return False
    if answer.failed is not None:
        said = _tail(answer.failed, f"sensor {driver.sensor_id}")
        is_absurd = isinstance(answer.failed, SensorInvalid)
        print(say("sensor-absurd" if is_absurd else "sensor-bad", id=driver.sensor_id, why=said))
        return False
    if not answer.readings:
        print(say("sensor-quiet", id=driver.sensor_id, seconds=answer.seconds))
        return True
    if answer.absurd:
        print(say("sensor-absurd", id=driver.sensor_id, why="; ".join(answer.absurd)))
        return False
    print(say("sensor-ok", id=driver.sensor_id, values=", ".join(_value(reading) for reading in answer.readings)))
    return True


def _value(reading: Reading) -> str:
    if reading.unit == "bool":
        return f"{reading.quantity} {'on' if reading.value else 'off'}"
    unit = {"1": "", "°": "°"}.get(reading.unit, f" {reading.unit}")
    return f"{reading.quantity} {reading.value:.8g}{unit}"


def _output(output: Output) -> bool:
    try:
        probes.take(output)
    except DriverError as exc:
        print(say("output-bad", id=output.output_id, why=_tail(exc, f"output {output.output_id}")))
        return False
    print(say("output-ok", id=output.output_id))
    return True


def _outbox(path: Path) -> bool:
    folder, why = probes.why_not_writable(path.parent)
    print(say("outbox-bad", path=path, why=why) if why else say("outbox-ok", path=path, mb=probes.free_mb(folder)))
    return why is None


def _evidence(path: Path) -> bool:
    folder, why = probes.why_not_writable(path)
    print(say("evidence-bad", path=path, why=why) if why else say("evidence-ok", path=path, mb=probes.free_mb(folder)))
    return why is None


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
            probes.log_in(broker, uplink)
            print(say("broker-ok", broker=broker))
        except UplinkDown as exc:
            problems += 1
            print(say("broker-bad", broker=broker, why=_tail(exc, str(broker))))
    return problems


def _tail(exc: Exception, name: str) -> str:
    """What an error says behind the name that our sentence begins with."""
    return str(exc).removeprefix(f"{name}: ")
