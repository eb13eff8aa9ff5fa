"""The verb `check`: try everything once that the service will need, and say in a technician's words what to do.

Reads and opens, changes nothing, and may be run beside a running service (a USB camera in use is then reported busy).
With --report it also writes down what it found, for the box, and for the operations centre by way of the service.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path

import numpy as np

from agent import __version__, app, config
from agent.camera import make_driver, read_credentials, wants_evidence
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
from agent.uplink.subscriber import Subscriber
from agent.vision.scene import layout
from drivers.base import CameraRefused, DriverError, Frame, Output, Reading, Sensor, SensorInvalid
from drivers.board import board
from drivers.inference import TfliteDetector

_FIRST_FRAME_S = 12.0
_SENSOR_HANGS_S = 15.0  # beyond its own timeout


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
    driver = make_driver(camera, read_credentials(camera))
    began_s = time.monotonic()
    try:
        granted = driver.open()
        frame = driver.read(_FIRST_FRAME_S)
    except CameraRefused as exc:
        return found.add(name, False, say("camera-refused", id=camera.id, why=_tail(exc, name)))
    except DriverError as exc:
        return found.add(name, False, say("camera-bad", id=camera.id, why=_tail(exc, name)))
    finally:
        driver.close()
    found.frames[camera.id] = frame
    width, height = frame.size_wh_px
    seconds = time.monotonic() - began_s
    found.add(
        name, True, say("camera-ok", id=camera.id, width=width, height=height, codec=granted.codec, seconds=seconds)
    )
    asked = (camera.width_px, camera.height_px)
    if None not in asked and asked != (width, height):
        differs = say("camera-differs", id=camera.id, asked=f"{asked[0]} x {asked[1]}", granted=f"{width} x {height}")
        found.add(name, True, differs)
    if not camera.line and not camera.zone:
        found.add(name, True, say("camera-no-rule", id=camera.id))
    return True


def _sensor(found: Findings, driver: Sensor, watch: SensorWatch) -> bool:
    """Asked once, in a thread: a driver that hangs must not keep a technician on the pole."""
    name = f"sensor {driver.sensor_id}"
    readings: list[Reading] = []
    failed: list[Exception] = []

    def ask() -> None:
        try:
            driver.open()
            readings.extend(driver.read(watch.timeout_s))
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
        return found.add(name, False, say("sensor-hangs", id=driver.sensor_id, seconds=seconds))
    if failed and not isinstance(failed[0], DriverError):
        raise failed[0]  # a bug in the driver is no answer of the sensor's
    if failed:
        said = _tail(failed[0], name)
        is_absurd = isinstance(failed[0], SensorInvalid)
        words = say("sensor-absurd" if is_absurd else "sensor-bad", id=driver.sensor_id, why=said)
        return found.add(name, False, words)
    if not readings:
        return found.add(name, True, say("sensor-quiet", id=driver.sensor_id, seconds=seconds))
    wrong = [f"{reading.quantity}: {why}" for reading in readings if (why := watch.judge(reading)) is not None]
    if wrong:
        return found.add(name, False, say("sensor-absurd", id=driver.sensor_id, why="; ".join(wrong)))
    values = ", ".join(_value(reading) for reading in readings)
    return found.add(name, True, say("sensor-ok", id=driver.sensor_id, values=values))


def _value(reading: Reading) -> str:
    if reading.unit == "bool":
        return f"{reading.quantity} {'on' if reading.value else 'off'}"
    unit = {"1": "", "°": "°"}.get(reading.unit, f" {reading.unit}")
    return f"{reading.quantity} {reading.value:.8g}{unit}"


def _output(found: Findings, output: Output) -> bool:
    name = f"output {output.output_id}"
    try:
        output.open()
    except DriverError as exc:
        return found.add(name, False, say("output-bad", id=output.output_id, why=_tail(exc, name)))
    finally:
        output.close()
    return found.add(name, True, say("output-ok", id=output.output_id))


def _outbox(found: Findings, path: Path) -> bool:
    folder, why = _why_not(path.parent)
    words = say("outbox-bad", path=path, why=why) if why else say("outbox-ok", path=path, mb=_free_mb(folder))
    return found.add("outbox", why is None, words)


def _evidence(found: Findings, path: Path) -> bool:
    folder, why = _why_not(path)
    words = say("evidence-bad", path=path, why=why) if why else say("evidence-ok", path=path, mb=_free_mb(folder))
    return found.add("pictures", why is None, words)


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
            # Under a name of its own: with the service's name it would throw the running service out.
            with Subscriber(broker, [uplink.topics.state], login=uplink.login):
                found.add(name, True, say("broker-ok", broker=broker))
        except UplinkDown as exc:
            found.add(name, False, say("broker-bad", broker=broker, why=_tail(exc, str(broker))))


def _tail(exc: Exception, name: str) -> str:
    """What an error says behind the name that our sentence begins with."""
    return str(exc).removeprefix(f"{name}: ")
