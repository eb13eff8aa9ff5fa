"""Connected cameras keep the contract that the fakes keep."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from agent.camera import make_driver, read_credentials
from agent.config import CameraConfig
from drivers.base import Camera, CameraStalled, CameraUnavailable
from tests.hil.connected import PROFILE, each
from tests.hil.hands import bounded, do, undo
from tests.hil.profile import EventConfig
from tests.support.camera_contract import FIRST_FRAME_S, WELL, Subject

pytestmark = pytest.mark.hil
CAMERAS = each(PROFILE.config.camera if PROFILE else (), "camera")
UNPLUGGED = each(
    (c for c in PROFILE.config.camera if PROFILE.unplugs(c.id)) if PROFILE else (), "command that unplugs a camera"
)
LIMIT_S = 300.0
RATE_OVER_S = 5.0


def make(camera: CameraConfig) -> Camera:
    return make_driver(camera, read_credentials(camera))


@pytest.mark.parametrize("check", WELL, ids=lambda check: check.__name__)
@pytest.mark.parametrize("camera", CAMERAS)
def test_the_camera(camera: CameraConfig, check: Callable[[Subject], None]) -> None:
    is_live = not camera.source.startswith("file:")
    bounded(lambda: check(Subject(lambda: make(camera), is_live=is_live, name=camera.id)), LIMIT_S, camera.id)


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_camera_gives_pictures(camera: CameraConfig, record_property: Callable[[str, object], None]) -> None:
    driver = make(camera)

    def watch() -> str:
        granted = driver.open()
        first = last = driver.read(FIRST_FRAME_S)
        pictures, end_s = 0, time.monotonic() + RATE_OVER_S
        while time.monotonic() < end_s:
            last = driver.read(FIRST_FRAME_S)
            pictures += 1
        rate = pictures / max(last.mono_s - first.mono_s, 1e-3)
        asked = "" if camera.width_px is None else f" (asked for {camera.width_px} x {camera.height_px})"
        return f"{granted.width_px} x {granted.height_px} {granted.codec}{asked}, {rate:.1f} pictures per s"

    try:
        record_property("answered", bounded(watch, LIMIT_S, f"camera {camera.id}"))
    finally:
        driver.close()


@pytest.mark.parametrize("camera", UNPLUGGED)
def test_the_camera_is_unplugged(camera: CameraConfig, record_property: Callable[[str, object], None]) -> None:
    assert PROFILE is not None
    event = PROFILE.unplugs(camera.id)
    assert event is not None
    driver = make(camera)
    try:
        said = bounded(lambda: _unplug(driver, event), LIMIT_S, f"camera {camera.id}")
        back_s = bounded(lambda: _back(driver, event), LIMIT_S, f"camera {camera.id}")
    finally:
        driver.close()
        undo(event)
    record_property("answered", f"{said}; back after {back_s:.1f} s")


def _unplug(camera: Camera, event: EventConfig) -> str:
    """What it said when it was unplugged while it was read, and when it was opened then: the first of both."""
    camera.open()
    camera.read(FIRST_FRAME_S)
    do(event)
    with pytest.raises((CameraStalled, CameraUnavailable), match=f"^camera {event.source}: ") as stalled:
        _read_until_it_fails(camera, event)
    camera.close()
    with pytest.raises(CameraUnavailable, match=f"^camera {event.source}: "):
        camera.open()
    camera.close()
    undo(event)
    return str(stalled.value)


def _read_until_it_fails(camera: Camera, event: EventConfig) -> None:
    """Pictures that were on their way still come."""
    end_s = time.monotonic() + event.within_s
    while True:
        camera.read(5.0)
        assert time.monotonic() < end_s, f"pictures still come {event.within_s:g} s after: {event.do}"


def _back(camera: Camera, event: EventConfig) -> float:
    began_s = time.monotonic()
    while True:
        try:
            camera.open()
            camera.read(FIRST_FRAME_S)
            return time.monotonic() - began_s
        except (CameraStalled, CameraUnavailable):
            camera.close()
            if time.monotonic() - began_s > event.within_s:
                raise
            time.sleep(0.2)
