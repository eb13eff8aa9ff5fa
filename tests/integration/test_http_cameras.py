"""Cameras over HTTP against a real server: every way of writing a stream, every login, and what happens in faults."""

from __future__ import annotations

import logging
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.base import CameraRefused, CameraUnavailable
from drivers.cameras import Credentials, HttpPictures
from tests.support.http_camera import HttpCameraServer
from tests.support.http_camera_server import STYLES
from tests.support.recordings import number_of
from tests.support.watched import PATIENCE_S, WatchedCamera

PASSWORD = 's3cret@:/%41 ?"\\ü'  # everything that URLs and headers trip over
LOGIN = Credentials("cam", PASSWORD)
BACK_WITHIN_S = 10.0  # of the source being healthy: what the agent promises
STALL_TIMEOUT_S = 1.0


@pytest.fixture(scope="module")
def server() -> Iterator[HttpCameraServer]:
    with HttpCameraServer() as running:
        yield running


@pytest.fixture
def watch() -> Iterator[Callable[[HttpPictures], WatchedCamera]]:
    made: list[WatchedCamera] = []

    def make(camera: HttpPictures) -> WatchedCamera:
        made.append(WatchedCamera(camera, stall_timeout_s=STALL_TIMEOUT_S))
        return made[-1]

    yield make
    for watched in made:
        assert watched.capture.stop(timeout_s=PATIENCE_S)


@pytest.mark.parametrize("style", STYLES)
def test_a_stream_is_read_however_the_camera_writes_it(server: HttpCameraServer, style: str) -> None:
    camera = HttpPictures("north", server.url(f"mjpg?style={style}"), "mjpeg")
    try:
        granted = camera.open()
        numbers = [number_of(camera.read(10.0).image_bgr) for _ in range(3)]
    finally:
        camera.close()
    assert (granted.width_px, granted.height_px, granted.codec) == (160, 120, "jpeg")
    assert numbers == sorted(set(numbers))


def test_snapshots_come_as_often_as_asked_for(server: HttpCameraServer) -> None:
    camera = HttpPictures("north", server.url("image.jpg"), "snapshot", fps=4.0)
    try:
        granted = camera.open()
        frames = [camera.read(10.0) for _ in range(5)]
    finally:
        camera.close()
    assert granted.fps == 4.0
    assert frames[0].index == 0
    # Three gaps and more, if this machine was too busy to take each; the first picture was taken while opening.
    gaps = frames[4].index - frames[1].index
    assert gaps >= 3
    assert 0.25 * gaps - 0.02 <= frames[4].mono_s - frames[1].mono_s < 0.25 * gaps + 3.0


@pytest.mark.parametrize("auth", ["basic", "digest-md5", "digest-sha256", "digest-old"])
def test_the_right_password_opens(auth: str) -> None:
    with HttpCameraServer(auth=auth, login=f"cam:{PASSWORD}") as locked:
        for path, kind in (("mjpg", "mjpeg"), ("image.jpg", "snapshot")):
            camera = HttpPictures("north", locked.url(path), kind, fps=10.0, credentials=LOGIN)  # type: ignore[arg-type]
            try:
                camera.open()
                assert camera.read(10.0).index >= 0
                assert camera.read(10.0).index > 0  # snapshots ask with the login each time
                visible = b"".join(
                    Path(f"/proc/{camera.decoder_pid}/{name}").read_bytes() for name in ("cmdline", "environ")
                )
                assert b"s3cret" not in visible
            finally:
                camera.close()


def test_a_wrong_password_is_refused_and_stays_unsaid(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with HttpCameraServer(auth="digest-md5", login=f"cam:{PASSWORD}") as locked:
        wrong = HttpPictures("north", locked.url(), "mjpeg", credentials=Credentials("cam", "wr0ng"))
        with caplog.at_level(logging.DEBUG), pytest.raises(CameraRefused, match="refuses the user or the pass") as why:
            wrong.open()
        with pytest.raises(CameraRefused, match=r"wants a login \(401\)"):
            HttpPictures("north", locked.url(), "mjpeg").open()
    printed = capfd.readouterr()
    assert "wr0ng" not in str(why.value) + caplog.text + printed.out + printed.err


@pytest.mark.parametrize(
    ("kind", "path", "error", "words"),
    [
        ("mjpeg", "nothing", CameraRefused, r"no such stream \(404\)"),
        ("mjpeg", "busy", CameraUnavailable, "status 503; it may be busy"),
        ("mjpeg", "moved", CameraRefused, r"sends us to another address \(302\)"),
        ("mjpeg", "image.jpg", CameraRefused, "one picture.*write snapshot: before"),
        ("mjpeg", "video.mp4", CameraRefused, "answers with video/mp4; wanted multipart"),
        ("snapshot", "mjpg", CameraRefused, "is a stream, not one picture; write it without snapshot:"),
        ("snapshot", "video.mp4", CameraUnavailable, "video/mp4 that is no JPEG"),
        ("snapshot", "huge", CameraRefused, "60000x60000, more than"),
        ("snapshot", "endless", CameraRefused, "longer than the 16777216 bytes"),
    ],
)
def test_what_is_not_as_configured_is_told_in_a_sentence(
    server: HttpCameraServer, kind: str, path: str, error: type[CameraUnavailable], words: str
) -> None:
    camera = HttpPictures("north", server.url(path), kind)  # type: ignore[arg-type]
    with pytest.raises(CameraUnavailable, match=words) as caught:
        camera.open()
    assert type(caught.value) is error
    assert camera.decoder_pid is None


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("drip", "no answer"),
        ("mute", "no answer"),
        ("dribble", "no picture within 1 s"),
        ("garbage", "no picture within"),
    ],
)
def test_a_server_that_takes_for_ever_does_not_hang_us(mode: str, words: str) -> None:
    with HttpCameraServer() as slow:
        slow.mode(mode)
        camera = HttpPictures("north", slow.url(), "mjpeg", open_timeout_s=1.0)
        began_s = time.monotonic()
        with pytest.raises(CameraUnavailable, match=words):
            camera.open()
        assert time.monotonic() - began_s < 8.0  # of which the start of the decoder is the larger part


@pytest.mark.parametrize("fault", ["killed", "stopped", "garbage", "drip", "mute"])
def test_it_falls_silent_with_a_reason_and_is_back_soon_after_the_source_is_well(
    watch: Callable[[HttpPictures], WatchedCamera], fault: str
) -> None:
    with HttpCameraServer() as server:
        streaming = watch(HttpPictures("stream", server.url(), "mjpeg"))
        asking = watch(HttpPictures("shots", server.url("image.jpg"), "snapshot", fps=10.0))
        streaming.frame(), asking.frame()
        if fault == "killed":
            server.stop()
        elif fault == "stopped":
            server.signal(signal.SIGSTOP)
        else:
            server.mode(fault)
        reasons = streaming.wait_for_failure(), asking.wait_for_failure()
        assert re.match(rf"camera stream: (no picture from )?{server.url()}", reasons[0])
        assert re.match(rf"camera shots: (no picture from )?{server.url('image.jpg')}", reasons[1])
        if fault == "killed":
            server.start()
        elif fault == "stopped":
            server.signal(signal.SIGCONT)
        else:
            server.mode("well")
        began_s = time.monotonic()
        streaming.frame(), asking.frame()
        back_after_s = time.monotonic() - began_s
    print(f"{fault}: both back after {back_after_s:.1f} s; they had said: {'; '.join(reasons)}")
    assert back_after_s < BACK_WITHIN_S
