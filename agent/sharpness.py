"""How sharp a part of a picture is, for those who choose the best view of something."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

_SIDE_PX = 64  # looked at in this size, so that near and far are judged alike
_HALF = 100.0  # variance of the Laplacian at which something is half as sharp as can be


def sharpness(picture_bgr: npt.NDArray[np.uint8]) -> float:
    """0 (blurred, or flat) to 1, of uint8 (h, w, 3); compares views of one object, not of different ones."""
    step = max(min(picture_bgr.shape[:2]) // (2 * _SIDE_PX), 1)  # of a large one every so many pixels is enough
    small = cv2.resize(picture_bgr[::step, ::step], (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    variance = float(cv2.Laplacian(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), cv2.CV_32F).var())
    return variance / (variance + _HALF)
