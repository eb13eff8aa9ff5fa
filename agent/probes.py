"""Trying one thing once, for the verbs that look at a box: `check` tries everything, `doctor` what seems to be wrong.

Each says what came of it, in values and errors; what a technician reads is the verb's business.
"""

from __future__ import annotations

import os
import pwd
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.camera import make_driver, read_credentials
from agent.config import CameraConfig
from agent.ops.link_trouble import Unreached, why_unreached
from agent.ops.machine import nearest
from agent.sensing import SensorWatch
from agent.uplink import Broker, UplinkSettings
from agent.uplink.subscriber import Subscriber
from drivers.base import CameraFormat, DriverError, Frame, Output, Reading, Sensor

SERVICE_USER = "gateway-agent"

_FIRST_FRAME_S = 12.0
_SENSOR_HANGS_S = 15.0  # beyond its own timeout
_REACH_S = 4.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a camera gave. seconds: until the first picture."""

    granted: CameraFormat
    frame: Frame
    seconds: float


def look(camera: CameraConfig) -> Look:
    """Open it and take one picture. Raises ConfigError for its credentials file, and DriverError."""
    driver = make_driver(camera, read_credentials(camera))
    began_s = time.monotonic()
    try:
        granted = driver.open()
        frame = driver.read(_FIRST_FRAME_S)
    finally:
        driver.close()
    return Look(granted, frame, time.monotonic() - began_s)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking a sensor: readings, or why there are none.

    absurd: why its values would not be sent, one text for each. hangs: its driver has not come back.
    """

    seconds: float
    readings: Sequence[Reading] = ()
    absurd: Sequence[str] = ()
    failed: DriverError | None = None
    hangs: bool = False


def ask(driver: Sensor, watch: SensorWatch) -> Answer:
    """Once, in a thread: a driver that hangs must not keep a technician on the pole. A bug in the driver is raised."""
    found: list[Reading] = []
    failed: list[Exception] = []

    def open_and_read() -> None:
        try:
            driver.open()
            found.extend(driver.read(watch.timeout_s))
        except Exception as exc:  # told below, where it can be told
            failed.append(exc)
        finally:
            driver.close()

    thread = threading.Thread(target=open_and_read, daemon=True)
    began_s = time.monotonic()
    thread.start()
    thread.join(watch.timeout_s + _SENSOR_HANGS_S)
    seconds = time.monotonic() - began_s
    if thread.is_alive():
        return Answer(seconds, hangs=True)
    if failed and not isinstance(failed[0], DriverError):
        raise failed[0]  # is no answer of the sensor's
    if failed:
        assert isinstance(failed[0], DriverError)
        return Answer(seconds, failed=failed[0])
    absurd = [f"{reading.quantity}: {why}" for reading in found if (why := watch.judge(reading)) is not None]
    return Answer(seconds, found, absurd)


def take(output: Output) -> None:
    """Take the output and let it go, switched off. Raises DriverError."""
    try:
        output.open()
    finally:
        output.close()


def log_in(broker: Broker, uplink: UplinkSettings) -> None:
    """As the service does, and subscribe to the box's own state. Raises UplinkDown, and ConfigError for unusable files.

    Under a name of its own: with the service's name it would throw the running service out. With brokers that make the
    name of the certificate it does all the same; so ask only where the service is not connected.
    """
    with Subscriber(broker, [uplink.topics.state], login=uplink.login):
        pass


def reach(host: str, port: int) -> tuple[Unreached, str] | None:
    """None if something takes a connection there; else why not, and in the kernel's words."""
    try:
        socket.create_connection((host, port), timeout=_REACH_S).close()
    except OSError as exc:
        return why_unreached(exc)
    except UnicodeError:  # a name that cannot be one
        return "name", "not a name"
    return None


def is_root_or_service() -> bool:
    """Whether what this user may not do says something of the service. Where there is no service's user, it is ours."""
    try:
        return os.geteuid() in (0, pwd.getpwnam(SERVICE_USER).pw_uid)
    except KeyError:
        return True


def why_not_writable(folder: Path) -> tuple[Path, str | None]:
    """The nearest folder there is, and why the service can write or make nothing in it; None if it can."""
    there = nearest(folder)
    if not there.is_dir():
        return there, f"{there} is not a folder"
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        return there, f"this user may not write in {there}"
    if os.geteuid() == 0 and not _service_may_write(there):
        return there, f"user {SERVICE_USER} may not write in {there}"
    return there, None


def _service_may_write(folder: Path) -> bool:
    """As far as the mode says; for root itself everything may be written. True where there is no such user."""
    try:
        user = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        return True
    status = folder.stat()
    if status.st_uid == user.pw_uid:
        wanted = 0o300
    else:
        wanted = 0o030 if status.st_gid in os.getgrouplist(user.pw_name, user.pw_gid) else 0o003
    return status.st_mode & wanted == wanted


def free_mb(folder: Path) -> int:
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize // 1_000_000
