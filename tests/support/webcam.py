"""A webcam for tests: the kernel's answers to `v4l2_ioctl.ask`, and OpenCV's capture on it."""

from __future__ import annotations

import errno
import struct
import time

import cv2
import numpy as np

from tests.support.recordings import picture

_QUERYCAP, _ENUM_FMT = 0x80685600, 0xC0405602
_CAPTURE = 0x04200001
_SIZE_WH_PX = (640, 480)


def webcam_answers(fd: int, request: int, argument: bytes) -> bytes:
    """One format, YUYV, in one size."""
    if request == _QUERYCAP:
        bus = b"usb-0000:01:00.0-1.2"
        return struct.pack("<16s32s32s3I12x", b"uvcvideo", b"HD Webcam", bus, 0x60100, 0x84A00001, _CAPTURE)
    if struct.unpack_from("<I", argument)[0] > 0:
        raise OSError(errno.EINVAL, "Invalid argument")
    if request == _ENUM_FMT:
        return struct.pack("<III32s4s16x", 0, 1, 0, b"YUYV 4:2:2", b"YUYV")
    return struct.pack("<I4sI2I24x", 0, argument[4:8], 1, *_SIZE_WH_PX)


class FakeWebcam:
    """In the place of cv2.VideoCapture: 30 frames a second, stamped as the driver does."""

    is_silent = False

    def __init__(self, path: str, api: int) -> None:
        self._number = -1

    def isOpened(self) -> bool:
        return True

    def set(self, prop: int, value: float) -> bool:
        return True

    def get(self, prop: int) -> float:
        return {
            cv2.CAP_PROP_FRAME_WIDTH: float(_SIZE_WH_PX[0]),
            cv2.CAP_PROP_FRAME_HEIGHT: float(_SIZE_WH_PX[1]),
            cv2.CAP_PROP_FPS: 30.0,
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")),
            cv2.CAP_PROP_POS_MSEC: time.monotonic() * 1000,
        }[prop]

    def grab(self) -> bool:
        time.sleep(1 / 30)
        self._number += not FakeWebcam.is_silent
        return not FakeWebcam.is_silent

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, picture(self._number % 1024, *_SIZE_WH_PX)

    def release(self) -> None:
        pass
