"""The verb `check`: try everything once that the service will need, and say in a technician's words what to do.

Reads and opens, changes nothing, and may be run beside a running service (a USB camera in use is then reported busy).
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from agent import app, config
from agent.camera import make_driver, read_credentials, wants_evidence
from agent.clock import SystemClock
from agent.config import CameraConfig, Config
from agent.errors import UplinkDown
from agent.ops.words import say
from agent.uplink.subscriber import Subscriber
from drivers.base import CameraRefused, DriverError
from drivers.inference import open_detector

_FIRST_FRAME_S = 12.0


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
        )
    )
    _model(settings)
    problems = sum(not _camera(camera) for camera in settings.camera)
    problems += not _outbox(settings.outbox.path)
    if any(wants_evidence(camera) for camera in settings.camera):
        problems += not _evidence(settings.evidence.path)
    problems += _brokers(settings)
    print(say("clock-ok" if SystemClock().trusted() else "clock-unset"))
    print(say("problems", n=problems) if problems else say("all-fine"))
    return 1 if problems else 0


def _model(settings: Config) -> None:
    detector = open_detector(settings.detector.pack, settings.detector.threads)
    picture = np.full((480, 640, 3), 114, np.uint8)
    detector.detect(picture, 0.3)  # the first look also prepares the network
    began_s = time.monotonic()
    detector.detect(picture, 0.3)
    ms = (time.monotonic() - began_s) * 1000
    print(say("model-ok", label=detector.pack.label, runtime=detector.runtime, ms=ms))
    detector.close()


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
