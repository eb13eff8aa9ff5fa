"""Small recordings made on the spot, so that no test needs a clip."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt


def picture(number: int, width_px: int = 160, height_px: int = 120) -> npt.NDArray[np.uint8]:
    """A picture that says its own number: `number_of` reads it again, also after lossy coding."""
    image_bgr = np.zeros((height_px, width_px, 3), np.uint8)
    for bit in range(10):
        left = bit * width_px // 10
        image_bgr[:, left : left + width_px // 10] = 255 if number >> bit & 1 else 0
    return image_bgr


def number_of(image_bgr: npt.NDArray[np.uint8]) -> int:
    width_px = image_bgr.shape[1]
    middles = [bit * width_px // 10 + width_px // 20 for bit in range(10)]
    return sum(1 << bit for bit, x in enumerate(middles) if image_bgr[:, x].mean() > 127)


def write_video(path: Path, frames: int, fps: float, *, fourcc: str = "mp4v") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), fps, (160, 120))
    assert writer.isOpened(), f"this OpenCV cannot write {fourcc}"
    for number in range(frames):
        writer.write(picture(number))
    writer.release()
    return path
