"""A drawn street with traffic, as a recording: real detectors see the cars in it, so no test needs a clip."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from tests.support.street import car, person

WIDTH_PX, HEIGHT_PX = 640, 360
_PASSAGE_FRAMES = 30


def traffic_frame(number: int) -> npt.NDArray[np.uint8]:
    """uint8 BGR (360, 640, 3): every 30 frames one car drives through, left to right and right to left in turns."""
    picture = np.full((HEIGHT_PX, WIDTH_PX, 3), (200, 190, 170), np.uint8)
    picture[150:] = (90, 90, 90)
    passage, step = divmod(number, _PASSAGE_FRAMES)
    x = -220 + step * (WIDTH_PX + 240) // _PASSAGE_FRAMES
    car(picture, x if passage % 2 == 0 else WIDTH_PX - 200 - x, 200, 200, 74, (40, 40, 200))
    person(picture, 560, 60, 90)
    return cv2.GaussianBlur(picture, (3, 3), 0).astype(np.uint8)


def write_traffic(path: Path, passages: int, *, fps: float = 10.0) -> Path:
    """A recording of so many cars, three seconds each at 10 fps, that cross the middle of the picture."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (WIDTH_PX, HEIGHT_PX))
    assert writer.isOpened(), "this OpenCV cannot write mp4v"
    for number in range(passages * _PASSAGE_FRAMES):
        writer.write(traffic_frame(number))
    writer.release()
    return path
