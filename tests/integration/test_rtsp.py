"""Network cameras against a real RTSP server: what works, what is refused, and what happens when things break.

The limits in the waits are there so that a broken build fails; nothing here measures.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from drivers.base import CameraRefused, CameraStalled, CameraUnavailable
from drivers.cameras import Credentials, NetworkCamera, decoder, gstreamer
from tests.support.csi import skip_without_gst_launch
from tests.support.rtsp import Relay, RtspServer, free_port, skip_without_gstreamer
from tests.support.watched import PATIENCE_S, WatchedCamera

skip_without_gstreamer()

PASSWORD = "s3cret@:/%41 ?"  # everything that URLs trip over
LOGIN = Credentials("cam", PASSWORD)
STALL_TIMEOUT_S = 2.0


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    with RtspServer(codecs="h264,h265") as running:
        yield running


@pytest.fixture(scope="module")
def locked_server() -> Iterator[RtspServer]:
    with RtspServer(login=f"cam:{PASSWORD}") as running:
        yield running


class Watched(WatchedCamera):
    def __init__(self, url: str) -> None:
        super().__init__(NetworkCamera(url, url, open_timeout_s=3.0), stall_timeout_s=STALL_TIMEOUT_S)


@pytest.fixture
def watch() -> Iterator[type[Watched]]:
    made: list[Watched] = []

    class Remembered(Watched):
        def __init__(self, url: str) -> None:
            super().__init__(url)
            made.append(self)

    yield Remembered
    for watched in made:
        assert watched.capture.stop(timeout_s=PATIENCE_S)


@pytest.mark.parametrize(("path", "codec"), [("h264", "h264"), ("h265", "hevc")])
def test_frames_come_in_both_codecs(server: RtspServer, path: str, codec: str) -> None:
    camera = NetworkCamera("north", server.url(path))
    try:
        granted = camera.open()
        frames = [camera.read(10.0) for _ in range(5)]
    finally:
        camera.close()
    assert (granted.width_px, granted.height_px, granted.codec) == (320, 240, codec)
    assert all(frame.image_bgr.shape == (240, 320, 3) for frame in frames)
    assert all(later.index > frame.index and later.mono_s > frame.mono_s for frame, later in pairwise(frames))
    # The server's picture is a white ball on black: neither grey (a decoder without a key frame) nor empty.
    assert all(frame.image_bgr.max() > 200 and frame.image_bgr.mean() < 60 for frame in frames)


def test_only_as_many_frames_as_asked_for_are_converted(server: RtspServer) -> None:
    camera = NetworkCamera("north", server.url(), fps=2)
    try:
        camera.open()
        frames = [camera.read(10.0) for _ in range(5)]
    finally:
        camera.close()
    # Of the server's 10 a second every fifth or so; a single step says nothing where frames come in bunches.
    indices = [frame.index for frame in frames[1:]]
    assert 12 <= indices[-1] - indices[0] <= 21, indices


def test_a_frame_is_the_readers_own(server: RtspServer) -> None:
    camera = NetworkCamera("north", server.url())
    try:
        camera.open()
        first = camera.read(10.0)
        before = first.image_bgr.copy()
        for _ in range(3):
            camera.read(10.0)
        assert (first.image_bgr == before).all()
    finally:
        camera.close()
    assert (first.image_bgr == before).all()


def test_a_board_without_a_decoder_has_its_processor_decode_and_says_so(
    server: RtspServer, caplog: pytest.LogCaptureFixture
) -> None:
    camera = NetworkCamera("north", server.url(), hardware="v4l2m2m")
    try:
        assert camera.open().codec == "h264"
        assert camera.read(10.0).size_wh_px == (320, 240)
        assert "hardware decoder v4l2m2m cannot be used, the processor decodes" in caplog.text
        caplog.clear()
        camera.open()
        assert caplog.text == "", "tried once, not at each opening"
    finally:
        camera.close()


@pytest.mark.parametrize("path", ["h264", "h265"])
def test_packets_are_decoded_by_the_element_that_has_the_hardware(
    server: RtspServer, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    skip_without_gst_launch()
    # In the place of nvv4l2decoder and its scaler; there is one for H.264 here and none for H.265.
    program = gstreamer.launch("fdsrc fd=0", "parsebin", "openh264dec", "videoconvert")
    monkeypatch.setattr(decoder, "program_for", lambda hardware: program if hardware else ())
    camera = NetworkCamera("north", server.url(path), hardware="nvv4l2decoder")
    try:
        if path == "h265":
            with pytest.raises(CameraUnavailable, match=r"its hardware decoder failed: gst-launch-1\.0 ended with 1$"):
                camera.open()
            assert "the processor decodes" in caplog.text
            assert camera.open().codec == "hevc"
        else:
            assert camera.open().codec == "h264 nvv4l2decoder"
            assert caplog.text == ""
        frames = [camera.read(10.0) for _ in range(5)]
    finally:
        camera.close()
    assert all(frame.size_wh_px == (320, 240) for frame in frames)
    assert all(frame.image_bgr.max() > 200 and frame.image_bgr.mean() < 60 for frame in frames)


def test_the_right_password_opens(locked_server: RtspServer) -> None:
    camera = NetworkCamera("north", locked_server.url(), credentials=LOGIN)
    try:
        camera.open()
        assert camera.decoder_pid is not None
        visible = b"".join(
            Path(f"/proc/{camera.decoder_pid}/{name}").read_bytes() for name in ("cmdline", "environ", "comm")
        )
        assert b"s3cret" not in visible
        assert b"decoder_child" in visible
    finally:
        camera.close()


def test_a_wrong_password_is_refused_and_stays_unsaid(
    locked_server: RtspServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    camera = NetworkCamera("north", locked_server.url(), credentials=Credentials("cam", "wr0ng@pass"))
    with caplog.at_level(logging.DEBUG), pytest.raises(CameraRefused, match="refuses the user or the password") as why:
        camera.open()
    printed = capfd.readouterr()
    assert "wr0ng" not in str(why.value) + caplog.text + printed.out + printed.err


def test_no_password_where_one_is_wanted_says_where_to_put_it(locked_server: RtspServer) -> None:
    with pytest.raises(CameraRefused, match=r"wants a login.*credentials file"):
        NetworkCamera("north", locked_server.url()).open()


def test_a_stream_that_is_not_there_is_refused(server: RtspServer) -> None:
    with pytest.raises(CameraRefused, match=r"no such stream \(404\)"):
        NetworkCamera("north", server.url("nothing")).open()


def test_nobody_there_is_unavailable_not_refused() -> None:
    with pytest.raises(CameraUnavailable, match="connection refused: nothing listens") as why:
        NetworkCamera("north", f"rtsp://127.0.0.1:{free_port()}/x").open()
    assert not isinstance(why.value, CameraRefused)


def test_a_server_that_never_answers_does_not_hang_us() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        camera = NetworkCamera("north", f"rtsp://127.0.0.1:{mute.getsockname()[1]}/x", open_timeout_s=1.0)
        with pytest.raises(CameraUnavailable, match=r"no stream within 1 s.*does not give a stream"):
            camera.open()


def test_a_killed_decoder_stops_its_camera_only(server: RtspServer, watch: type[Watched]) -> None:
    broken, other = watch(server.url()), watch(server.url("h265"))
    broken.frame(), other.frame()
    other_pid = other.camera.decoder_pid
    assert broken.camera.decoder_pid is not None
    os.kill(broken.camera.decoder_pid, signal.SIGKILL)
    assert "ended by SIGKILL" in broken.wait_for_failure()
    broken.frame()
    other.frame()
    assert (other.capture.state().failures, other.camera.decoder_pid) == (0, other_pid)


def test_a_stopped_decoder_stops_its_camera_only(server: RtspServer, watch: type[Watched]) -> None:
    broken, other = watch(server.url()), watch(server.url("h265"))
    broken.frame(), other.frame()
    stopped_pid, other_pid = broken.camera.decoder_pid, other.camera.decoder_pid
    assert stopped_pid is not None
    os.kill(stopped_pid, signal.SIGSTOP)
    assert "no picture" in broken.wait_for_failure()
    assert broken.frame().index > 0
    other.frame()
    assert (other.capture.state().failures, other.camera.decoder_pid) == (0, other_pid)
    assert broken.camera.decoder_pid != stopped_pid
    assert not Path(f"/proc/{stopped_pid}").exists(), "the stopped decoder was left behind"


def test_a_decoder_fed_garbage_stops_its_camera_only(server: RtspServer, watch: type[Watched]) -> None:
    relay = Relay(server.port)
    try:
        broken, other = watch(server.url(port=relay.port)), watch(server.url("h265"))
        broken.frame(), other.frame()
        other_pid = other.camera.decoder_pid
        relay.garbage.set()
        broken.wait_for_failure()
        broken.wait_for_failure(after=broken.capture.state().failures)  # and opening it anew meets garbage too
        other.frame()
        relay.garbage.clear()
        broken.frame()
        other.frame()
        assert (other.capture.state().failures, other.camera.decoder_pid) == (0, other_pid)
    finally:
        relay.close()


def test_a_killed_server_is_noticed_and_found_again(watch: type[Watched]) -> None:
    with RtspServer() as server:
        watched = watch(server.url())
        last = watched.frame()
        server.stop()
        watched.wait_for_failure()
        server.start()
        assert watched.frame().index > last.index


def test_a_stopped_server_is_noticed_and_found_again(watch: type[Watched]) -> None:
    with RtspServer() as server:
        watched = watch(server.url())
        watched.frame()
        server.signal(signal.SIGSTOP)
        assert "no picture" in watched.wait_for_failure()
        server.signal(signal.SIGCONT)
        watched.frame()


def test_another_picture_size_after_a_restart_is_taken_as_it_comes(watch: type[Watched]) -> None:
    with RtspServer() as server:
        watched = watch(server.url())
        assert watched.frame().size_wh_px == (320, 240)
        server.stop()
        watched.wait_for_failure()
        server.start(size="640x360")
        assert watched.frame().size_wh_px == (640, 360)
        granted = watched.capture.state().format
        assert granted is not None
        assert (granted.width_px, granted.height_px) == (640, 360)


def test_reading_a_killed_decoder_is_a_stall_and_open_mends_it(server: RtspServer) -> None:
    camera = NetworkCamera("north", server.url())
    try:
        camera.open()
        camera.read(10.0)
        assert camera.decoder_pid is not None
        os.kill(camera.decoder_pid, signal.SIGKILL)
        with pytest.raises(CameraStalled, match="SIGKILL"):
            camera.read(10.0)
        camera.open()
        camera.read(10.0)
    finally:
        camera.close()


AGENT = """
import sys, time
from drivers.cameras import NetworkCamera
camera = NetworkCamera("north", sys.argv[1])
camera.open()
camera.read(10.0)
print(camera.decoder_pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("decoder_is", ["running", "stopped"])
def test_a_decoder_dies_with_its_agent(server: RtspServer, decoder_is: str) -> None:
    agent = subprocess.Popen([sys.executable, "-c", AGENT, server.url()], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    pid = int(agent.stdout.readline())
    if decoder_is == "stopped":
        os.kill(pid, signal.SIGSTOP)
    descriptor = os.pidfd_open(pid)
    agent.kill()
    agent.wait()
    agent.stdout.close()
    ready, _, _ = select.select([descriptor], [], [], PATIENCE_S)
    os.close(descriptor)
    assert ready, "the decoder outlived its agent"
