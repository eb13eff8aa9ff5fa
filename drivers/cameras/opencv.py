"""The one place that quiets OpenCV and FFmpeg: they print to stderr, and our own messages say it better."""

from __future__ import annotations

import os

import cv2


def quiet() -> None:
    """Silence the libraries' own prints. Must run before the process opens its first VideoCapture.

    FFmpeg's level is read from the environment once, when OpenCV loads its FFmpeg backend. A technician who wants the
    libraries' words sets OPENCV_FFMPEG_LOGLEVEL (48 = debug) himself, and we leave it alone.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    if hasattr(cv2, "setLogLevel"):  # OpenCV 4
        cv2.setLogLevel(0)
    else:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def fourcc_name(fourcc: int) -> str:
    """'h264' for 0x34363268; codes that are not four printable characters are given in hexadecimal."""
    text = fourcc.to_bytes(4, "little", signed=fourcc < 0).decode("latin-1").strip("\x00 ")
    return text if text.isascii() and text.isprintable() and text else f"0x{fourcc & 0xFFFFFFFF:08x}"
