"""A network stream decoded by OpenCV's FFmpeg, inside the decoder process."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from drivers.base import CameraFormat
from drivers.cameras.decoder_protocol import Request
from drivers.cameras.decoder_source import SourceFailed, put, refuse_too_big
from drivers.cameras.opencv import fourcc_name

# One thread would do for most streams; two keep a 4 MP one in time at the price of one frame of delay. OpenCV's own
# choice, one per core, delays by as many frames as there are cores.
_DECODER_THREADS = 2


class FfmpegSource:
    """Decodes every frame, converts only those asked for."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> CameraFormat:
        capture, granted = open_stream(self._request)
        decoder = f"{granted.codec}_{self._request.hardware}"
        if self._request.hardware and granted.codec in ("h264", "hevc"):
            capture.release()  # before the next: cameras count their viewers
            try:
                capture, granted = open_stream(self._request, decoder)
                granted = replace(granted, codec=f"{granted.codec} {self._request.hardware}")
            except SourceFailed:
                capture, granted = open_stream(self._request)  # the camera's side sees it by the codec, and says so
        self._capture = capture
        return granted

    def grab(self) -> bool:
        assert self._capture is not None
        return bool(self._capture.grab())

    def retrieve(self, shared: npt.NDArray[np.uint8]) -> tuple[int, int] | None:
        assert self._capture is not None
        width_px, height_px = _size_wh_px(self._capture)
        refuse_too_big(width_px, height_px)
        slot = shared[: width_px * height_px * 3].reshape(height_px, width_px, 3)
        ok, image = self._capture.retrieve(slot)
        if not ok:
            return None
        if np.may_share_memory(image, slot):
            return width_px, height_px
        # The size was not what it said; then OpenCV makes an array of its own.
        return put(cast("npt.NDArray[np.uint8]", image), shared)


def _size_wh_px(capture: cv2.VideoCapture) -> tuple[int, int]:
    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def open_stream(request: Request, decoder: str = "", *, packets: bool = False) -> tuple[cv2.VideoCapture, CameraFormat]:
    """decoder: FFmpeg's name of the one to use; by default its own choice. packets: give them as they come, undecoded.

    Raises SourceFailed.
    """
    capture = _open(request, decoder, packets)
    if not capture.isOpened():
        raise SourceFailed("not-opened")
    width_px, height_px = _size_wh_px(capture)
    if width_px <= 0 or height_px <= 0:
        raise SourceFailed("no-size")  # the stream had not said what it is when FFmpeg stopped looking
    refuse_too_big(width_px, height_px)
    codec = fourcc_name(int(capture.get(cv2.CAP_PROP_FOURCC)))
    return capture, CameraFormat(width_px, height_px, fps=float(capture.get(cv2.CAP_PROP_FPS)), codec=codec)


def _open(request: Request, decoder: str, packets: bool) -> cv2.VideoCapture:
    probe = (
        "analyzeduration;5000000|probesize;5000000" if request.thorough else "analyzeduration;200000|probesize;50000"
    )
    named = f"|video_codec;{decoder}" if decoder else ""
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"rtsp_transport;tcp|{probe}{named}"
    # How many packets may give no picture before grab() gives up. OpenCV's 64 is less than what comes in the 4 to 10 s
    # between the key frames of thrifty cameras, and before the first key frame there is nothing to show.
    os.environ["OPENCV_FFMPEG_DECODE_ATTEMPTS"] = "2000"
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "16"  # errors, to stderr: the camera reads there why opening failed
    parameters = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        int(request.open_timeout_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        int(request.read_timeout_s * 1000),
        cv2.CAP_PROP_N_THREADS,
        _DECODER_THREADS,
        *((cv2.CAP_PROP_FORMAT, -1) if packets else ()),
    ]
    return cv2.VideoCapture(request.url, cv2.CAP_FFMPEG, parameters)
