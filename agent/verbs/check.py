"""The verb `check`: try everything once that the service will need, and say in a technician's words what to do.

Reads and opens, changes nothing, and may be run beside a running service (a USB camera in use is then reported busy).
With --report it also writes down what it found, for the box, and for the operations centre by way of the service.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from agent import __version__, app, config, probes
from agent.camera import wants_evidence
from agent.clock import SystemClock
from agent.config import CameraConfig, Config
from agent.contract.event import Check
from agent.errors import UplinkDown
from agent.evidence import pixelated
from agent.evidence.picture import as_jpeg
from agent.ops import commissioning
from agent.ops.strain import sentences, what_is_wrong
from agent.ops.words import say
from agent.sensing import SensorWatch
from agent.sensors import make_outputs, make_sensors, manner
from agent.vision.scene import layout
from drivers.base import CameraRefused, DriverError, Frame, Output, Reading, Sensor, SensorInvalid
from drivers.board import board
from drivers.inference import TfliteDetector


class Findings:
    """What was found, told as it is found. frames: what each camera showed, by its id."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.frames: dict[str, Frame] = {}

    def add(self, name: str, fine: bool, words: str) -> bool:
        """fine, for the caller to go by."""
        print(words)
        self.checks.append(Check(name=name, fine=fine, words=words))
        return fine

    @property
    def problems(self) -> int:
        return sum(not check.fine for check in self.checks)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config-only", action="store_true", help="read the configuration and try nothing: is it right as a file?"
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help=f"write the commissioning report into the folder {commissioning.FOLDER} beside the outbox",
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0 or 1; a wrong configuration or model pack is raised, as it is by `run`."""
    settings = config.load(args.config)
    found = Findings()
    found.add(
        "configuration",
        True,
        say(
            "config-ok",
            path=args.config,
            cameras=len(settings.camera),
            lines=sum(len(camera.line) for camera in settings.camera),
            zones=sum(len(camera.zone) for camera in settings.camera),
            sensors=len(settings.sensor),
        ),
    )
    if args.config_only:
        return 0
    detector = app.make_detector(settings)
    if detector is not None:
        _model(found, detector)
    _board(found, settings.detector.hot_c)
    for camera in settings.camera:
        _camera(found, camera)
    for sensor, driver in zip(settings.sensor, make_sensors(settings.sensor), strict=True):
        _sensor(found, driver, SensorWatch(driver, manner(sensor), clock=SystemClock()))
    for output in make_outputs(settings):
        _output(found, output)
    _outbox(found, settings.outbox.path)
    if any(wants_evidence(camera) for camera in settings.camera):
        _evidence(found, settings.evidence.path)
    _brokers(found, settings)
    # Not a problem: on a mast without a network it is not set yet, and what happens until then is corrected later.
    found.add("clock", True, say("clock-ok" if SystemClock().trusted() else "clock-unset"))
    if args.report:
        _report(found, settings, detector)
    if detector is not None:
        detector.close()
    print(say("problems", n=found.problems) if found.problems else say("all-fine"))
    return 1 if found.problems else 0


def _report(found: Findings, settings: Config, detector: TfliteDetector | None) -> None:
    pictures = {}
    for camera in settings.camera:
        frame = found.frames.get(camera.id)
        if frame is not None and detector is not None:
            nobody = pixelated(frame, detector)
            pictures[camera.id] = as_jpeg(layout(nobody, camera.line, camera.zone))
    model, runtime = (None, None) if detector is None else (detector.pack.label, detector.runtime)
    report = commissioning.Report(
        site=settings.box.site,
        box=settings.box.id,
        made=SystemClock().stamp(),
        versions=commissioning.versions(__version__, model, runtime),
        checks=tuple(found.checks),
        pictures=pictures,
    )
    folder = commissioning.beside(settings.outbox.path)
    try:
        print(say("report-written", path=commissioning.write(folder, report)))
    except OSError as exc:
        found.add("report", False, say("report-bad", path=folder, why=exc.strerror))


def _model(found: Findings, detector: TfliteDetector) -> None:
    picture = np.full((480, 640, 3), 114, np.uint8)
    detector.detect(picture, 0.3)  # the first look also prepares the network
    began_s = time.monotonic()
    detector.detect(picture, 0.3)
    ms = (time.monotonic() - began_s) * 1000
    found.add("model", True, say("model-ok", label=detector.pack.label, runtime=detector.runtime, ms=ms))


def _board(found: Findings, hot_c: float) -> None:
    state = board().state()
    causes = what_is_wrong(state, hot_c)
    for sentence in sentences(state, causes, hot_c):
        found.add("board", False, sentence)
    if not causes:
        words = say("board-unknown") if state.cpu_c is None else say("board-ok", celsius=state.cpu_c)
        found.add("board", True, words)


def _camera(found: Findings, camera: CameraConfig) -> bool:
    name = f"camera {camera.id}"
    try:
        seen = probes.look(camera)
    except CameraRefused as exc:
        return found.add(name, False, say("camera-refused", id=camera.id, why=_tail(exc, name)))
    except DriverError as exc:
        return found.add(name, False, say("camera-bad", id=camera.id, why=_tail(exc, name)))
    found.frames[camera.id] = seen.frame
    width, height = seen.frame.size_wh_px
    codec = seen.granted.codec
    found.add(name, True, say("camera-ok", id=camera.id, width=width, height=height, codec=codec, seconds=seen.seconds))
    asked = (camera.width_px, camera.height_px)
    if None not in asked and asked != (width, height):
        differs = say("camera-differs", id=camera.id, asked=f"{asked[0]} x {asked[1]}", granted=f"{width} x {height}")
        found.add(name, True, differs)
    if not camera.line and not camera.zone:
        found.add(name, True, say("camera-no-rule", id=camera.id))
    return True


def _sensor(found: Findings, driver: Sensor, watch: SensorWatch) -> bool:
    name = f"sensor {driver.sensor_id}"
    answer = probes.ask(driver, watch)
    if answer.hangs:
        return found.add(name, False, say("sensor-hangs", id=driver.sensor_id, seconds=answer.seconds))
    if answer.failed is not None:
        is_absurd = isinstance(answer.failed, SensorInvalid)
        said = _tail(answer.failed, name)
        words = say("sensor-absurd" if is_absurd else "sensor-bad", id=driver.sensor_id, why=said)
        return found.add(name, False, words)
    if not answer.readings:
        return found.add(name, True, say("sensor-quiet", id=driver.sensor_id, seconds=answer.seconds))
    if answer.absurd:
        return found.add(name, False, say("sensor-absurd", id=driver.sensor_id, why="; ".join(answer.absurd)))
    values = ", ".join(_value(reading) for reading in answer.readings)
    return found.add(name, True, say("sensor-ok", id=driver.sensor_id, values=values))


def _value(reading: Reading) -> str:
    if reading.unit == "bool":
        return f"{reading.quantity} {'on' if reading.value else 'off'}"
    unit = {"1": "", "°": "°"}.get(reading.unit, f" {reading.unit}")
    return f"{reading.quantity} {reading.value:.8g}{unit}"


def _output(found: Findings, output: Output) -> bool:
    name = f"output {output.output_id}"
    try:
        probes.take(output)
    except DriverError as exc:
        return found.add(name, False, say("output-bad", id=output.output_id, why=_tail(exc, name)))
    return found.add(name, True, say("output-ok", id=output.output_id))


def _outbox(found: Findings, path: Path) -> bool:
    folder, why = probes.why_not_writable(path.parent)
    words = say("outbox-bad", path=path, why=why) if why else say("outbox-ok", path=path, mb=probes.free_mb(folder))
    return found.add("outbox", why is None, words)


def _evidence(found: Findings, path: Path) -> bool:
    folder, why = probes.why_not_writable(path)
    words = say("evidence-bad", path=path, why=why) if why else say("evidence-ok", path=path, mb=probes.free_mb(folder))
    return found.add("pictures", why is None, words)


def _brokers(found: Findings, settings: Config) -> None:
    """Whether each lets us in."""
    uplink = app.uplink_settings(settings)
    if not uplink.brokers:
        found.add("broker", True, say("broker-none"))
        return
    uplink.check()
    for broker in uplink.brokers:
        name = f"broker {broker}"
        try:
            probes.log_in(broker, uplink)
            found.add(name, True, say("broker-ok", broker=broker))
        except UplinkDown as exc:
            found.add(name, False, say("broker-bad", broker=broker, why=_tail(exc, str(broker))))


def _tail(exc: Exception, name: str) -> str:
    """What an error says behind the name that our sentence begins with."""
    return str(exc).removeprefix(f"{name}: ")
