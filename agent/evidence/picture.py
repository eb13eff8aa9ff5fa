"""One picture for a person to judge by: pixelated where it must be, the subject's box drawn, as a small JPEG."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

MAX_BYTES = 60_000
CELLS = 6  # over the longer side of a person: a face is one cell, and no arithmetic finds it again
_QUALITIES = (85, 75, 65, 55, 45)  # lower ones look worse than a smaller picture does
_SMALLER = 0.8
_BOX_BGR = (0, 210, 255)


def pixelate(picture_bgr: Picture, boxes_xyxy_px: Floats) -> None:
    """Make the inside of each box CELLS cells of one colour, in place. Boxes may overlap and reach over the edge."""
    high, wide = picture_bgr.shape[:2]
    low = np.floor(boxes_xyxy_px[:, :2]).astype(np.intp)
    far = np.ceil(boxes_xyxy_px[:, 2:]).astype(np.intp)
    for (left, top), (right, bottom) in zip(low.tolist(), far.tolist(), strict=True):
        # By the whole person's size, also of one who is half outside the picture.
        cell = max(-(-max(right - left, bottom - top) // CELLS), 2)
        left, top, right, bottom = max(left, 0), max(top, 0), max(min(right, wide), 0), max(min(bottom, high), 0)
        part = picture_bgr[top:bottom, left:right]
        if part.size:
            cells = (max(part.shape[1] // cell, 1), max(part.shape[0] // cell, 1))
            small = cv2.resize(part, cells, interpolation=cv2.INTER_AREA)
            part[:] = cv2.resize(small, part.shape[1::-1], interpolation=cv2.INTER_NEAREST)


def frame_subject(picture_bgr: Picture, box_xyxy_px: Floats) -> None:
    """Draw a thin box just outside the subject's, in place."""
    left, top, right, bottom = (round(float(v)) for v in box_xyxy_px)
    stroke = max(round(picture_bgr.shape[0] / 360), 1)
    cv2.rectangle(picture_bgr, (left - stroke, top - stroke), (right + stroke, bottom + stroke), _BOX_BGR, stroke)


def as_jpeg(picture_bgr: Picture) -> bytes:
    """At most MAX_BYTES: by lower quality first, then by a smaller picture."""
    while True:
        for quality in _QUALITIES:
            jpeg = cv2.imencode(".jpg", picture_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            if len(jpeg) <= MAX_BYTES:
                return jpeg.tobytes()
        smaller = [max(int(side * _SMALLER), 1) for side in picture_bgr.shape[1::-1]]
        picture_bgr = cast(Picture, cv2.resize(picture_bgr, smaller, interpolation=cv2.INTER_AREA))
