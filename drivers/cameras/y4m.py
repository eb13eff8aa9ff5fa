"""YUV4MPEG2: raw pictures behind one line of text that says how large they are. Bytes in, sizes out; reads nothing.

It is how the programs that bring pictures here (GStreamer, the ribbon camera's helper) hand them over: one pipe, no
agreement about sizes beforehand. Only 4:2:0 with even sizes and a width of whole 8 pixels is spoken: what programs put
behind each row of other widths is not the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.cameras.decoder_protocol import MAX_PIXELS

MAGIC = b"YUV4MPEG2"
FRAME = b"FRAME"
MAX_LINE_BYTES = 256


class NotY4m(Exception):
    """Not this format, or not the part of it that is spoken here. The text is for people."""


@dataclass(frozen=True, slots=True)
class Y4mHeader:
    width_px: int
    height_px: int
    fps: float  # 0.0 if it does not say

    @property
    def frame_bytes(self) -> int:
        """Of one picture, I420: all of Y, then U and V at half the width and height."""
        return self.width_px * self.height_px * 3 // 2


def parse_header(line: bytes) -> Y4mHeader:
    """line: the first one, without its end. Raises NotY4m."""
    magic, *words = line.split(b" ")
    if magic != MAGIC:
        raise NotY4m(f"found {line[:20]!r}; wanted a line that begins with {MAGIC.decode()}")
    fields = {word[:1]: word[1:] for word in words if word}
    width_px, height_px = _number(fields.get(b"W", b"")), _number(fields.get(b"H", b""))
    if not fields.get(b"C", b"420").startswith(b"420"):
        raise NotY4m(f"its pixels are {fields[b'C'][:16]!r}; wanted 4:2:0")
    if not (8 <= width_px <= 16384 and 2 <= height_px <= 16384) or width_px % 8 or height_px % 2:
        raise NotY4m(f"its pictures are {width_px}x{height_px}; wanted a width of whole 8 pixels and an even height")
    if width_px * height_px > MAX_PIXELS:
        raise NotY4m(f"its pictures are {width_px}x{height_px}, more than the {MAX_PIXELS} pixels that are accepted")
    count, _, per_s = fields.get(b"F", b"").partition(b":")
    fps = _number(count) / _number(per_s) if _number(count) > 0 and _number(per_s) > 0 else 0.0
    return Y4mHeader(width_px, height_px, fps)


def _number(digits: bytes) -> int:
    return int(digits) if digits.isdigit() and len(digits) <= 9 else 0
