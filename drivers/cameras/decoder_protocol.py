"""What a camera and its decoder process say to each other. Both sides import this; it knows no OpenCV.

Camera to decoder, on the decoder's stdin: one line of JSON, the Request, then one byte per frame wanted.
Decoder to camera, on its stdout: one line of JSON each, `{"opened": ...}`, `{"frame": ...}` or `{"failed": ...}`.
A failure has a "reason" for the program ("refused" is one that waiting does not mend) and may have "words" for people.
Pixels go through one shared piece of memory. The decoder writes it only between being asked and answering, the camera
reads it only between the answer and asking again: so there is nothing to lock, and only frames that somebody waits for
are converted and copied. Closing stdin ends the decoder.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

MAX_PIXELS = 4096 * 4096
"""The largest picture that is accepted, as width times height."""

FRAME_BYTES = MAX_PIXELS * 3
"""Size of the shared memory. Only the pages that a frame really covers are ever allocated."""

WANT_FRAME = b"."

MAX_LINE_BYTES = 16_384

SourceKind = Literal["ffmpeg", "mjpeg", "snapshot", "program"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to open and how. Goes over a pipe, never into argv or the environment: url may hold a login."""

    kind: SourceKind
    url: str = ""  # with the login for ffmpeg, without it for mjpeg and snapshot
    user: str | None = None
    password: str | None = None
    program: tuple[str, ...] = ()  # what to start and read Y4M from; "{fd}" becomes the number of the pipe to write to.
    # With ffmpeg: it decodes, and gets the stream's packets on its stdin.
    hint: str = ""  # for program: what to do if it cannot be started or gives nothing
    hardware: str = ""  # for ffmpeg: the name of the hardware's decoders, "" for the processor
    memory_fd: int
    parent_pid: int
    fps: float | None
    open_timeout_s: float
    read_timeout_s: float
    thorough: bool = (
        False  # look longer at the stream before saying what it is: slower, for those that announce nothing
    )

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @staticmethod
    def from_line(line: bytes) -> Request:
        fields = json.loads(line)
        return Request(**{**fields, "program": tuple(fields.get("program", ()))})


def message_line(kind: str, **fields: Any) -> bytes:
    return json.dumps({kind: fields}).encode() + b"\n"


def is_size(width_px: int, height_px: int) -> bool:
    """Whether a picture can be so large, and the shared memory holds it."""
    return width_px > 0 and height_px > 0 and width_px * height_px <= MAX_PIXELS
