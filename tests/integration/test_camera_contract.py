"""Every camera driver keeps the one contract: against its server, its fake, or its fake of the smallest call."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from drivers.base import Camera
from drivers.cameras import V4l2Camera, make_camera, v4l2_ioctl
from drivers.fakes import FakeCamera
from tests.support import csi
from tests.support.camera_contract import CONTRACT, Subject
from tests.support.http_camera import HttpCameraServer
from tests.support.recordings import picture, write_video
from tests.support.rtsp import RtspServer, free_port, why_no_rtsp_server
from tests.support.webcam import FakeWebcam, webcam_answers


@dataclass
class Place:
    """Where a driver is tried: the servers of this module, a folder, and a way to put fakes in."""

    web: HttpCameraServer
    rtsp: RtspServer | None
    folder: Path
    monkeypatch: pytest.MonkeyPatch


@pytest.fixture(scope="module")
def web() -> Iterator[HttpCameraServer]:
    with HttpCameraServer() as running:
        yield running


@pytest.fixture(scope="module")
def rtsp() -> Iterator[RtspServer | None]:
    if why_no_rtsp_server() is not None:
        yield None
        return
    with RtspServer(codecs="h264") as running:
        yield running


@pytest.fixture
def place(web: HttpCameraServer, rtsp: RtspServer | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(web, rtsp, tmp_path, monkeypatch)


def of_fake(place: Place) -> Subject:
    def make() -> FakeCamera:
        return FakeCamera("north", [picture(n) for n in range(10)])

    return Subject(make, is_live=False)


def of_video(place: Place) -> Subject:
    clip = write_video(place.folder / "clip.mp4", frames=20, fps=30.0)
    return Subject(
        lambda: make_camera("north", f"file:{clip}", realtime=False),
        lambda: make_camera("north", f"file:{place.folder}/gone.mp4"),
        is_live=False,
    )


def of_pictures(place: Place) -> Subject:
    pictures = place.folder / "pictures"
    pictures.mkdir()
    for number in range(8):
        cv2.imwrite(str(pictures / f"{number:04}.png"), picture(number))
    return Subject(
        lambda: make_camera("north", f"file:{pictures}", realtime=False),
        lambda: make_camera("north", f"file:{place.folder}/gone/"),
        is_live=False,
    )


def of_usb(place: Place) -> Subject:
    (place.folder / "video0").touch()
    place.monkeypatch.setattr(v4l2_ioctl, "ask", webcam_answers)
    place.monkeypatch.setattr(cv2, "VideoCapture", FakeWebcam)

    def silence() -> Callable[[], object]:
        FakeWebcam.is_silent = True
        return lambda: setattr(FakeWebcam, "is_silent", False)

    return Subject(
        lambda: V4l2Camera("north", place.folder / "video0", width_px=640, height_px=480),
        lambda: V4l2Camera("north", place.folder / "video1"),
        silence,
    )


def of_rtsp(place: Place) -> Subject:
    server = place.rtsp
    if server is None:
        pytest.skip(why_no_rtsp_server() or "")
    return Subject(
        lambda: make_camera("north", server.url()),
        lambda: make_camera("north", f"rtsp://127.0.0.1:{free_port()}/h264"),
        lambda: _stopped(server),
    )


def of_mjpeg(place: Place) -> Subject:
    server = place.web
    return Subject(
        lambda: make_camera("north", server.url()),
        lambda: make_camera("north", f"http://127.0.0.1:{free_port()}/mjpg"),
        lambda: _stopped(server),
    )


def of_snapshots(place: Place) -> Subject:
    server = place.web
    return Subject(
        lambda: make_camera("north", f"snapshot:{server.url('image.jpg')}", fps=10.0),
        lambda: make_camera("north", f"snapshot:http://127.0.0.1:{free_port()}/image.jpg"),
        lambda: _stopped(server),
    )


def of_pi(place: Place) -> Subject:
    csi.fake_pi(place.monkeypatch, place.folder)
    return Subject(
        lambda: make_camera("north", "csi:0", width_px=200, height_px=120, fps=10.0),
        lambda: make_camera("north", "csi:1"),
    )


def of_jetson(place: Place) -> Subject:
    csi.skip_without_gst_launch()
    csi.jetson_of_test_pictures(place.monkeypatch)

    def make_absent() -> Camera:
        csi.jetson_of_test_pictures(place.monkeypatch, "nvarguscamerasrc sensor-id=0")  # an element this machine lacks
        return make_camera("north", "csi:0")

    return Subject(lambda: make_camera("north", "csi:0", width_px=640, height_px=360, fps=10.0), make_absent)


def _stopped(server: RtspServer | HttpCameraServer) -> Callable[[], object]:
    server.signal(signal.SIGSTOP)
    return lambda: server.signal(signal.SIGCONT)


DRIVERS = (of_fake, of_video, of_pictures, of_usb, of_rtsp, of_mjpeg, of_snapshots, of_pi, of_jetson)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.__name__)
def test_the_camera(driver: Callable[[Place], Subject], check: Callable[[Subject], None], place: Place) -> None:
    check(driver(place))
