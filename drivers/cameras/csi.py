"""Ribbon-cable (CSI) cameras: which program brings their pictures, by the board they hang on.

A Raspberry Pi has libcamera, reached through picamera2 (`picamera_program`); a Jetson has NVIDIA's elements for
GStreamer. Both run as a program of their own under the decoder process, see `drivers.cameras.decoder_program`.

Neither has been run on its board yet. What stands in for them in the tests is a fake picamera2, and GStreamer's
videotestsrc in the place of nvarguscamerasrc.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from drivers.cameras.decoded import OPEN_TIMEOUT_S, READ_TIMEOUT_S, DecodedCamera
from drivers.cameras.decoder_program import FD
from drivers.cameras.decoder_protocol import Request
from drivers.cameras.gstreamer import launch

SYSTEM_PYTHON = "/usr/bin/python3"
DEFAULT_WH_PX = (1280, 720)
# Sensors have modes of fixed rates, usually 30; what is more than wanted is thrown away before it is converted.
_JETSON_SENSOR_FPS = 30

_COMPATIBLE = Path("/proc/device-tree/compatible")
_PI_HINT = "is the camera's ribbon seated at both ends? rpicam-hello --list-cameras shows what the board sees"
_JETSON_HINT = "is the camera's ribbon seated at both ends, and does nvargus-daemon run?"


def is_jetson(compatible: Path = _COMPATIBLE) -> bool:
    """Whether the device tree calls this board a Tegra."""
    try:
        return b"nvidia,tegra" in compatible.read_bytes()
    except OSError:
        return False


class CsiCamera(DecodedCamera):
    """Camera `number` of the board, counted from 0 as the board's own tools do.

    width_px, height_px: the sensor's picture is scaled to this; None for 1280x720. Widths of whole 8, even heights.
    fps: asked of the sensor on a Raspberry Pi, thinned out to on a Jetson. The rest is said at DecodedCamera.
    """

    def __init__(
        self,
        camera_id: str,
        number: int,
        *,
        width_px: int | None = None,
        height_px: int | None = None,
        fps: float | None = None,
        open_timeout_s: float = OPEN_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        super().__init__(
            camera_id,
            f"csi:{number}",
            fps=fps,
            credentials=None,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s,
        )
        self._number = number
        self._size_wh_px = (width_px or DEFAULT_WH_PX[0], height_px or DEFAULT_WH_PX[1])

    def _request(self, memory_fd: int) -> Request:
        if is_jetson():
            program, hint = jetson_program(self._number, self._size_wh_px, self._fps), _JETSON_HINT
        else:
            program, hint = pi_program(self._number, self._size_wh_px, self._fps), _PI_HINT
        return Request(
            kind="program",
            program=program,
            hint=hint,
            memory_fd=memory_fd,
            parent_pid=os.getpid(),
            fps=self._fps,
            open_timeout_s=self._open_timeout_s,
            read_timeout_s=self._read_timeout_s,
        )


def pi_program(number: int, size_wh_px: tuple[int, int], fps: float | None) -> tuple[str, ...]:
    script = Path(__file__).with_name("picamera_program.py")
    width_px, height_px = size_wh_px
    # -I: the folder of the script is no place to import from; v4l2.py there is not the v4l2 that picamera2 means.
    return (SYSTEM_PYTHON, "-I", str(script), str(number), str(width_px), str(height_px), f"{fps or 30:g}", FD)


def jetson_program(number: int, size_wh_px: tuple[int, int], fps: float | None) -> tuple[str, ...]:
    width_px, height_px = size_wh_px
    camera = (
        f"nvarguscamerasrc sensor-id={number}",
        f"video/x-raw(memory:NVMM),width={width_px},height={height_px},framerate={_JETSON_SENSOR_FPS}/1",
    )
    return launch(*camera, *thinned(fps), "nvvidconv")


def thinned(fps: float | None) -> tuple[str, ...]:
    return (f"videorate drop-only=true max-rate={math.ceil(fps)}",) if fps else ()
