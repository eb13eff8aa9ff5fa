"""What a camera and its decoder process say to each other. Both sides import this; it knows no OpenCV.

Camera to decoder, on the decoder's stdin: one line of JSON, the Request, then one byte per frame wanted.
Decoder to camera, on its stdout: one line of JSON each, `{"opened": ...}`, `{"frame": ...}` or `{"failed": ...}`.
Pixels go through one shared piece of memory. The decoder writes it only between being asked and answering, the camera
reads it only between the answer and asking again: so there is nothing to lock, and only frames that somebody waits for
are converted and copied. Closing stdin ends the decoder.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

MAX_PIXELS = 4096 * 4096
"""The largest picture that is accepted, as width times height."""

FRAME_BYTES = MAX_PIXELS * 3
"""Size of the shared memory. Only the pages that a frame really covers are ever allocated."""

WANT_FRAME = b"."

MAX_LINE_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Request:
    """What to open and how. Goes over a pipe, never into argv or the environment: url may hold a login."""

    url: str
    memory_fd: int
    parent_pid: int
    fps: float | None
    open_timeout_s: float
    read_timeout_s: float
    thorough: bool  # look longer at the stream before saying what it is: slower, for cameras that announce nothing

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @staticmethod
    def from_line(line: bytes) -> Request:
        return Request(**json.loads(line))


def message_line(kind: str, **fields: Any) -> bytes:
    return json.dumps({kind: fields}).encode() + b"\n"
