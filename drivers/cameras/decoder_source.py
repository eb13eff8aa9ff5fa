"""The seam inside the decoder process: a stream that is being decoded, whatever decodes it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from drivers.base import CameraFormat
from drivers.cameras.decoder_protocol import MAX_PIXELS


class SourceFailed(Exception):
    """The stream cannot be opened, or goes on no more.

    reason: for the camera's side; "refused" if waiting does not mend it. words: for people, "" if stderr says it.
    """

    def __init__(self, reason: str, words: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.words = words


class Source(Protocol):
    """One stream. Used by one thread; nothing is tidied up but by the end of the process."""

    def open(self) -> CameraFormat:
        """Raises SourceFailed."""

    def grab(self) -> bool:
        """Wait for the next picture, with as little work as can be. False at the end; may raise SourceFailed."""

    def retrieve(self, shared: npt.NDArray[np.uint8]) -> tuple[int, int] | None:
        """Put the grabbed picture, BGR, into the flat shared memory. Its (width, height), None if it is undecodable."""


def refuse_too_big(width_px: int, height_px: int) -> None:
    if width_px * height_px > MAX_PIXELS:
        raise SourceFailed(f"too-big {width_px}x{height_px}")


def put(image_bgr: npt.NDArray[np.uint8], shared: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Copy a picture of any size into the shared memory."""
    if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.size > shared.size:
        raise SourceFailed(f"strange-picture {image_bgr.shape}")
    height_px, width_px = image_bgr.shape[:2]
    shared[: image_bgr.size] = image_bgr.reshape(-1)
    return width_px, height_px
