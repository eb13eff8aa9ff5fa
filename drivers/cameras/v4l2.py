"""USB cameras through the kernel's V4L2, read by OpenCV in this process: no network, no hostile stream.

Name them by /dev/v4l/by-id/...: /dev/video numbers change with the order of plugging in. A camera grants what it likes;
what it granted is in CameraFormat, and a difference to what was asked for is logged.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from drivers.base import CameraFormat, CameraStalled, CameraUnavailable, Frame
from drivers.cameras import v4l2_ioctl
from drivers.cameras.opencv import fourcc_name, quiet
from drivers.cameras.pace import Pace

log = logging.getLogger(__name__)

USUAL_FOURCCS = ("MJPG", "YUYV")
"""What USB cameras give and we ask for; which of them follows from the size."""

# Raw pictures up to this size cost less than decoding JPEG; larger ones do not fit through USB 2 at a useful rate.
_RAW_UP_TO_PIXELS = 640 * 480
_SELECT_TIMEOUT_S = 1  # how long one grab() may block; OpenCV's own 10 s is longer than our callers' patience
_RETRY_S = 0.02
_FORMATS_NAMED = 8
# A driver's frame time is believed if it is no older than this; some stamp with another clock.
_OLDEST_BELIEVED_S = 2.0


class V4l2Camera:
    """One V4L2 capture device.

    width_px, height_px, fps: asked for; None takes the device's own. fps also bounds what is delivered.
    """

    def __init__(
        self,
        camera_id: str,
        path: Path,
        *,
        width_px: int | None = None,
        height_px: int | None = None,
        fps: float | None = None,
        mono_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.camera_id = camera_id
        self.path = path
        self._width_px = width_px
        self._height_px = height_px
        self._fps = fps
        self._mono_s = mono_s
        self._sleep = sleep
        self._capture: cv2.VideoCapture | None = None
        self._index = -1
        self._frame_s = 0.0
        self._pace = Pace(fps)

    def open(self) -> CameraFormat:
        self.close()
        device = self._describe()
        quiet()
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(_SELECT_TIMEOUT_S))
        # The by-id name is a link, followed anew each time: the number behind it changes with each plugging in.
        self._capture = cv2.VideoCapture(os.path.realpath(self.path), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            self.close()
            holders = _holders(self.path)
            formats = ", ".join(f.fourcc for f in device.formats[:_FORMATS_NAMED]) or "none listed"
            raise CameraUnavailable(
                f"camera {self.camera_id}: {self.path} ({device.name}) is there but cannot be opened; another program "
                f"uses it{holders}" + ("" if holders else f", or its formats are of no use: {formats}")
            )
        fourcc = _choose_fourcc(device, self._width_px, self._height_px)
        for prop, value in (
            (cv2.CAP_PROP_FOURCC, float(cv2.VideoWriter.fourcc(*fourcc)) if fourcc else None),
            (cv2.CAP_PROP_FRAME_WIDTH, self._width_px),
            (cv2.CAP_PROP_FRAME_HEIGHT, self._height_px),
            (cv2.CAP_PROP_FPS, self._fps),
        ):
            if value is not None:
                self._capture.set(prop, value)
        granted = CameraFormat(
            width_px=int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height_px=int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            fps=max(0.0, self._capture.get(cv2.CAP_PROP_FPS)),
            codec=fourcc_name(int(self._capture.get(cv2.CAP_PROP_FOURCC))),
        )
        self._log_difference(granted, fourcc)
        self._pace = Pace(self._fps)
        return granted

    def read(self, timeout_s: float) -> Frame:
        if self._capture is None:
            raise CameraUnavailable(f"camera {self.camera_id}: {self.path} is not open; call open() first")
        deadline_s = self._mono_s() + timeout_s
        while True:
            if self._capture.grab():
                self._index += 1
                frame_s = self._frame_time_s()
                if self._pace.wants(frame_s):
                    ok, image_bgr = self._capture.retrieve()
                    if ok:
                        return Frame(cast("npt.NDArray[np.uint8]", image_bgr), self._index, frame_s)
            elif self._is_gone():
                raise CameraStalled(f"camera {self.camera_id}: {self.path} is gone; was it unplugged?")
            else:
                self._sleep(_RETRY_S)  # grab() says no at once when the device has an error
            if self._mono_s() >= deadline_s:
                raise CameraStalled(f"camera {self.camera_id}: no picture from {self.path} for {timeout_s:g} s")

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _describe(self) -> v4l2_ioctl.Device:
        """Ask the device what it is, to tell apart what OpenCV answers with one and the same False."""
        where = f"camera {self.camera_id}: {self.path}"
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            advice = {
                errno.ENOENT: "is it plugged in? `gateway-agent devices` lists what is there",
                errno.EACCES: "the service's user must be in group 'video'",
                errno.EBUSY: f"another program uses it{_holders(self.path)}",
            }.get(exc.errno or 0, "unplug it and plug it in again")
            raise CameraUnavailable(f"{where} cannot be opened: {exc.strerror}; {advice}") from exc
        try:
            device = v4l2_ioctl.describe(fd)
        except OSError as exc:
            raise CameraUnavailable(
                f"{where} is not a video device ({exc.strerror}); see `gateway-agent devices`"
            ) from exc
        finally:
            os.close(fd)
        if not device.captures:
            raise CameraUnavailable(
                f"{where} ({device.name}) gives no pictures: it is the camera's metadata or an output device; "
                "most cameras make two devices, take the one ending in index0"
            )
        return device

    def _is_gone(self) -> bool:
        """Whether the device was unplugged: its node vanishes, or, while we hold it open, may stay and refuse."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as exc:
            return exc.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO)
        return False

    def _frame_time_s(self) -> float:
        """When the driver got the picture, on the monotonic clock; now, if the driver's stamp cannot be true."""
        now_s = self._mono_s()
        assert self._capture is not None
        stamped_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        is_true = max(self._frame_s, now_s - _OLDEST_BELIEVED_S) < stamped_s <= now_s
        self._frame_s = stamped_s if is_true else now_s
        return self._frame_s

    def _log_difference(self, granted: CameraFormat, fourcc: str | None) -> None:
        pairs = (
            ("width_px", self._width_px, granted.width_px),
            ("height_px", self._height_px, granted.height_px),
            ("fps", self._fps, granted.fps),
            ("format", fourcc, granted.codec),
        )
        differing = [f"{name} {found} instead of {asked}" for name, asked, found in pairs if asked not in (None, found)]
        if differing:
            log.warning("camera %s: %s grants %s", self.camera_id, self.path, ", ".join(differing))


def _choose_fourcc(device: v4l2_ioctl.Device, width_px: int | None, height_px: int | None) -> str | None:
    """YUYV for small pictures, MJPG for large ones, whichever of the two there is; None leaves it to the device."""
    is_small = width_px is not None and height_px is not None and width_px * height_px <= _RAW_UP_TO_PIXELS
    offered = {pixel_format.fourcc for pixel_format in device.formats}
    return next((fourcc for fourcc in sorted(USUAL_FOURCCS, reverse=is_small) if fourcc in offered), None)


def holders(path: Path) -> list[str]:
    """["pid 712 ffmpeg"], as far as we may see who has the device open."""
    device = os.path.realpath(path)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(link) == device for link in (process / "fd").iterdir()):
                found.append(f"pid {process.name} {(process / 'comm').read_text().strip()}")
        except OSError:  # not ours to see, or gone meanwhile
            continue
    return found


def _holders(path: Path) -> str:
    found = holders(path)
    return f" ({', '.join(found)})" if found else ""
