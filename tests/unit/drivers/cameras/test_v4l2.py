"""V4L2 without a device: the kernel's answers and OpenCV's capture are played by fakes of the smallest calls."""

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.clock import FakeClock
from drivers.base import CameraStalled, CameraUnavailable
from drivers.cameras import V4l2Camera, list_cameras, list_csi, v4l2_ioctl

QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES = 0x80685600, 0xC0405602, 0xC02C564A
CAPTURE, METADATA = 0x04200001, 0x04A00000
SIZES = {b"MJPG": [(1920, 1080), (1280, 720), (640, 480)], b"YUYV": [(640, 480)]}


def kernel(
    *, caps: int = CAPTURE, sizes: dict[bytes, list[tuple[int, int]]] = SIZES, bus: bytes = b"usb-0000:01:00.0-1.2"
) -> Callable[[int, int, bytes], bytes]:
    """Answers as uvcvideo does, in the layouts of videodev2.h, packed here a second time so that a slip shows."""

    def ask(fd: int, request: int, argument: bytes) -> bytes:
        assert request >> 16 & 0x3FFF == len(argument), "the number of an ioctl holds the size of its argument"
        if request == QUERYCAP:
            whole_device = 0x84A00001  # of both nodes; device_caps are this node's
            return struct.pack("<16s32s32s3I12x", b"uvcvideo", b"HD Webcam C615", bus, 0x60100, whole_device, caps)
        index = struct.unpack_from("<I", argument)[0]
        if request == ENUM_FMT:
            assert struct.unpack_from("<I", argument, 4)[0] == 1
            if index >= len(sizes):
                raise OSError(errno.EINVAL, "Invalid argument")
            return struct.pack("<III32s4s16x", index, 1, 0, b"Some format", list(sizes)[index])
        assert request == ENUM_FRAMESIZES
        of_format = sizes[struct.unpack_from("<4s", argument, 4)[0]]
        if index >= len(of_format):
            raise OSError(errno.EINVAL, "Invalid argument")
        return struct.pack("<I4sI2I24x", index, argument[4:8], 1, *of_format[index])

    return ask


class Webcam:
    """OpenCV's capture on a webcam that grants at most 1280x720 at 30 fps."""

    opened: str = ""
    usable = True

    def __init__(self, path: str, api: int) -> None:
        assert api == cv2.CAP_V4L2
        Webcam.opened = path
        self.props = {
            cv2.CAP_PROP_FRAME_WIDTH: 640.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 480.0,
            cv2.CAP_PROP_FPS: 30.0,
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")),
        }
        self.grabs = 0
        self.works = True
        self.clock: FakeClock | None = None

    def isOpened(self) -> bool:
        return Webcam.usable

    def set(self, prop: int, value: float) -> bool:
        most = {cv2.CAP_PROP_FRAME_WIDTH: 1280.0, cv2.CAP_PROP_FRAME_HEIGHT: 720.0, cv2.CAP_PROP_FPS: 30.0}
        self.props[prop] = min(value, most.get(prop, value))
        return True

    def get(self, prop: int) -> float:
        return self.props.get(prop, 0.0)

    def grab(self) -> bool:
        assert self.clock is not None
        self.clock.sleep(1 / 30)
        self.grabs += self.works
        self.props[cv2.CAP_PROP_POS_MSEC] = self.clock.mono_s() * 1000 - 5
        return self.works

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((int(self.props[cv2.CAP_PROP_FRAME_HEIGHT]), 640, 3), np.uint8)

    def release(self) -> None:
        pass


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A by-id name for a webcam; both are plain files."""
    (tmp_path / "video2").touch()
    by_id = tmp_path / "usb-046d_C615-video-index0"
    by_id.symlink_to(tmp_path / "video2")
    monkeypatch.setattr(v4l2_ioctl, "ask", kernel())
    monkeypatch.setattr(cv2, "VideoCapture", Webcam)
    monkeypatch.setattr(Webcam, "usable", True)
    return by_id


def webcam_of(camera: V4l2Camera, clock: FakeClock) -> Webcam:
    webcam = camera._capture
    assert isinstance(webcam, Webcam)
    webcam.clock = clock
    return webcam


def test_what_was_granted_is_reported_and_a_difference_logged(node: Path, caplog: pytest.LogCaptureFixture) -> None:
    camera = V4l2Camera("north", node, width_px=1920, height_px=1080, fps=60)
    granted = camera.open()
    assert (granted.width_px, granted.height_px, granted.fps, granted.codec) == (1280, 720, 30.0, "MJPG")
    assert Webcam.opened == str(node.parent / "video2")
    (line,) = [record.getMessage() for record in caplog.records]
    assert "width_px 1280 instead of 1920, height_px 720 instead of 1080, fps 30.0 instead of 60" in line
    camera.close()
    camera.close()


def test_nothing_is_logged_when_the_wish_was_granted(node: Path, caplog: pytest.LogCaptureFixture) -> None:
    V4l2Camera("north", node, width_px=1280, height_px=720, fps=30).open()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("size_px", "sizes", "fourcc"),
    [
        pytest.param((640, 480), SIZES, "YUYV", id="small: raw"),
        pytest.param((1280, 720), SIZES, "MJPG", id="large: jpeg"),
        pytest.param((None, None), SIZES, "MJPG", id="not said: jpeg"),
        pytest.param((1280, 720), {b"YUYV": [(640, 480)]}, "YUYV", id="only raw"),
        pytest.param((640, 480), {b"MJPG": [(640, 480)]}, "MJPG", id="only jpeg"),
        pytest.param((640, 480), {b"GREY": [(640, 480)]}, "YUYV", id="neither: as the device has it"),
    ],
)
def test_the_pixel_format_follows_from_the_size_and_the_offer(
    node: Path,
    monkeypatch: pytest.MonkeyPatch,
    size_px: tuple[int | None, int | None],
    sizes: dict[bytes, list[tuple[int, int]]],
    fourcc: str,
) -> None:
    monkeypatch.setattr(v4l2_ioctl, "ask", kernel(sizes=sizes))
    assert V4l2Camera("north", node, width_px=size_px[0], height_px=size_px[1]).open().codec == fourcc


def test_frames_carry_the_drivers_time_and_are_thinned(node: Path) -> None:
    clock = FakeClock()
    camera = V4l2Camera("north", node, fps=10, mono_s=clock.mono_s, sleep=clock.sleep)
    camera.open()
    webcam_of(camera, clock)
    frames = [camera.read(1.0) for _ in range(4)]
    assert [frame.index for frame in frames] == [0, 3, 6, 9]
    assert frames[0].mono_s == pytest.approx(100 + 1 / 30 - 0.005)
    camera.close()


def test_a_time_from_another_clock_is_not_believed(node: Path) -> None:
    clock = FakeClock(mono_s=50_000.0)
    camera = V4l2Camera("north", node, mono_s=clock.mono_s, sleep=clock.sleep)
    camera.open()
    webcam = webcam_of(camera, clock)
    webcam.get = lambda prop: 1.7e12 if prop == cv2.CAP_PROP_POS_MSEC else 0.0  # type: ignore[method-assign]
    assert camera.read(1.0).mono_s == pytest.approx(50_000 + 1 / 30)


def test_times_never_go_back_when_only_some_stamps_are_believed(node: Path) -> None:
    clock = FakeClock(mono_s=1000.0)
    camera = V4l2Camera("north", node, mono_s=clock.mono_s, sleep=clock.sleep)
    camera.open()
    webcam = webcam_of(camera, clock)
    stamps_s = iter([1000.5, 1000.03, 1000.09])  # in the future; before the time that the first one got; true
    webcam.get = lambda prop: next(stamps_s) * 1000 if prop == cv2.CAP_PROP_POS_MSEC else 0.0  # type: ignore[method-assign]
    times_s = [camera.read(1.0).mono_s for _ in range(3)]
    assert times_s == pytest.approx([1000 + 1 / 30, 1000 + 2 / 30, 1000.09])


def test_an_unplugged_camera_is_a_stall_that_says_so(node: Path) -> None:
    clock = FakeClock()
    camera = V4l2Camera("north", node, mono_s=clock.mono_s, sleep=clock.sleep)
    camera.open()
    webcam_of(camera, clock).works = False
    (node.parent / "video2").unlink()  # the link dangles until udev removes it
    with pytest.raises(CameraStalled, match="unplugged"):
        camera.read(1.0)


def test_a_camera_that_gives_nothing_is_a_stall_after_the_timeout(node: Path) -> None:
    clock = FakeClock()
    camera = V4l2Camera("north", node, mono_s=clock.mono_s, sleep=clock.sleep)
    camera.open()
    webcam_of(camera, clock).works = False
    with pytest.raises(CameraStalled, match=r"no picture from .* for 1 s"):
        camera.read(1.0)
    assert 101.0 <= clock.mono_s() < 101.2


def test_not_there_and_not_open(tmp_path: Path) -> None:
    camera = V4l2Camera("north", tmp_path / "usb-gone-index0")
    with pytest.raises(CameraUnavailable, match=r"No such file.*plugged in.*gateway-agent devices"):
        camera.open()
    with pytest.raises(CameraUnavailable, match="not open"):
        camera.read(1.0)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "group 'video'"), (errno.EBUSY, "another program uses it"), (errno.EIO, "plug it in again")],
)
def test_why_a_device_cannot_be_opened_has_its_own_sentence(
    node: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CameraUnavailable, match=words):
        V4l2Camera("north", node).open()


def test_a_busy_camera_names_who_has_it(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Webcam, "usable", False)
    with node.open(), pytest.raises(CameraUnavailable, match=rf"another program uses it \(pid {os.getpid()} "):
        V4l2Camera("north", node).open()


def test_a_plain_file_is_not_a_video_device(tmp_path: Path) -> None:
    path = tmp_path / "video0"
    path.touch()
    with pytest.raises(CameraUnavailable, match="is not a video device"):
        V4l2Camera("north", path).open()


def test_a_metadata_node_is_told_from_a_camera(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2_ioctl, "ask", kernel(caps=METADATA))
    with pytest.raises(CameraUnavailable, match=r"gives no pictures.*index0"):
        V4l2Camera("north", node).open()


def test_list_cameras_prefers_stable_names_and_leaves_out_what_gives_no_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (0, 1, 2, 10):
        (tmp_path / f"video{number}").touch()
    by_id = tmp_path / "v4l" / "by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-C615-video-index0").symlink_to("../../video2")
    by_path = {
        os.stat(tmp_path / f"video{number}").st_ino: answer
        for number, answer in (
            (0, kernel()),
            (1, kernel(caps=METADATA)),
            (2, kernel()),
            (10, kernel(bus=b"platform:x")),
        )
    }
    monkeypatch.setattr(v4l2_ioctl, "ask", lambda fd, *rest: by_path[os.fstat(fd).st_ino](fd, *rest))
    found = list_cameras(tmp_path)
    assert [camera.source for camera in found] == [
        f"v4l2:{tmp_path}/video0",
        f"v4l2:{by_id}/usb-C615-video-index0",
        f"v4l2:{tmp_path}/video10",
    ]
    assert [camera.problem is None for camera in found] == [True, True, False]
    assert found[1].device == f"{tmp_path}/video2"
    assert found[1].stanza("camera-2") == (
        "# HD Webcam C615\n"
        "# MJPG: 1920x1080, 1280x720, 640x480\n"
        "# YUYV: 640x480\n"
        "[[camera]]\n"
        'id = "camera-2"\n'
        f'source = "v4l2:{by_id}/usb-C615-video-index0"\n'
    )


def test_sensors_at_ribbon_cables_are_told_from_focus_motors_and_codecs(tmp_path: Path) -> None:
    names = {
        "video0": "unicam-image",
        "v4l-subdev0": "imx708_wide 10-001a",
        "v4l-subdev1": "dw9807 10-000c",
        "video10": "bcm2835-codec-decode",
        "video1": "vi-output, imx219 9-0010",
        "v4l-subdev2": "imx219 9-0010",
    }
    for node, name in names.items():
        (tmp_path / "class/video4linux" / node).mkdir(parents=True)
        (tmp_path / "class/video4linux" / node / "name").write_text(f"{name}\n")
    found = list_csi(tmp_path)
    assert [(camera.number, camera.sensor) for camera in found] == [(0, "imx219"), (1, "imx708_wide")]
    assert 'id = "camera-1"\nsource = "csi:0"\n' in found[0].stanza("camera-1")
    assert list_csi(tmp_path / "nothing") == []


def test_a_name_that_a_device_chose_cannot_write_into_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "video0").touch()
    answer = kernel()

    def ask(fd: int, request: int, argument: bytes) -> bytes:
        return answer(fd, request, argument).replace(b"HD Webcam C615", b"HD\n[broker]\nxx")

    monkeypatch.setattr(v4l2_ioctl, "ask", ask)
    (camera,) = list_cameras(tmp_path)
    assert camera.stanza("camera-1").startswith("# HD[broker]xx\n# MJPG")


def test_list_cameras_without_any(tmp_path: Path) -> None:
    assert list_cameras(tmp_path) == []
