"""Stands in for Raspberry Pi OS's picamera2, as far as `picamera_program` uses it: numbered pictures in padded rows."""

import time

import numpy as np

ROW_BYTES = 64  # libcamera's rows are of whole 64 bytes


class Picamera2:
    def __init__(self, number=0):
        if number > 0:
            raise IndexError("list index out of range")  # what picamera2 says of a camera that is not there
        self._number = 0

    def create_video_configuration(self, main, controls, buffer_count):
        width_px, _ = main["size"]
        assert main["format"] == "YUV420"
        self._fps = controls["FrameRate"]
        return {"main": {**main, "stride": -(-width_px // ROW_BYTES) * ROW_BYTES}}

    def configure(self, configuration):
        self._main = configuration["main"]

    def camera_configuration(self):
        return {"main": self._main}

    def start(self):
        self._due_s = time.monotonic()

    def capture_buffer(self, name):
        assert name == "main"
        self._due_s += 1 / self._fps
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        width_px, height_px = self._main["size"]
        stride = self._main["stride"]
        y = np.full((height_px, stride), 77, np.uint8)
        for bit in range(10):
            left = bit * width_px // 10
            y[:, left : left + width_px // 10] = 235 if self._number >> bit & 1 else 16
        self._number += 1
        return np.concatenate([y.ravel(), np.full(stride * height_px // 2, 128, np.uint8)])
