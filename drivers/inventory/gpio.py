"""Two questions to a GPIO chip: what it is called and which of its lines have names. Takes no line.

Layouts and numbers from the kernel's include/uapi/linux/gpio.h. `ask` is the only call that touches a device.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_CHIP_INFO = struct.Struct("=32s32sI")  # name, label, lines
_LINE_INFO = struct.Struct("=32s32sII184x")  # name, consumer, offset, number of attributes; the rest is not read
_GET_CHIPINFO = 0x8044B401
_GET_LINEINFO = 0xC100B405
_MOST_LINES = 512


@dataclass(frozen=True, slots=True)
class GpioChip:
    """named: (line, its name, who uses it now or "") for the lines that the board's makers gave a name."""

    label: str
    lines: int
    named: tuple[tuple[int, str, str], ...]


def ask(fd: int, request: int, argument: bytes) -> bytes:
    """One ioctl: the structure in, the structure as the driver filled it out. Raises OSError."""
    return fcntl.ioctl(fd, request, argument)


def describe(node: Path) -> GpioChip:
    """Raises OSError."""
    fd = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    try:
        _, label, lines = _CHIP_INFO.unpack(ask(fd, _GET_CHIPINFO, bytes(_CHIP_INFO.size)))
        named = []
        for offset in range(min(lines, _MOST_LINES)):
            answer = ask(fd, _GET_LINEINFO, _LINE_INFO.pack(b"", b"", offset, 0))
            name, consumer, _, _ = _LINE_INFO.unpack(answer)
            if _text(name):
                named.append((offset, _text(name), _text(consumer)))
        return GpioChip(_text(label), lines, tuple(named))
    finally:
        os.close(fd)


def _text(raw: bytes) -> str:
    return "".join(c for c in raw.split(b"\0", 1)[0].decode("utf-8", "replace") if c.isprintable())
