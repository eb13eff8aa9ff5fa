"""The few V4L2 questions that OpenCV does not ask: what is this device called, and what can it give.

Layouts and numbers from the kernel's include/uapi/linux/videodev2.h. `ask` is the only call that touches a device.
"""

from __future__ import annotations

import errno
import fcntl
import struct
from dataclasses import dataclass

_CAPABILITY = struct.Struct("=16s32s32sII I12x")  # driver, card, bus_info, version, capabilities, device_caps
_FORMAT = struct.Struct("=III32sI16x")  # index, type, flags, description, pixelformat
_FRAME_SIZE = struct.Struct("=III24s8x")  # index, pixel_format, type, discrete (w, h) or stepwise

_QUERYCAP = 0x80685600
_ENUM_FMT = 0xC0405602
_ENUM_FRAMESIZES = 0xC02C564A

_BUFFER_TYPE_VIDEO_CAPTURE = 1
_CAP_VIDEO_CAPTURE = 0x1
_CAP_DEVICE_CAPS = 0x8000_0000  # device_caps speaks of this node, capabilities of the whole device
_FRAME_SIZE_DISCRETE = 1
_MOST = 64  # formats, or sizes of one; a driver that lists for ever is not believed


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """fourcc: "MJPG", "YUYV" ... sizes_wh_px: what it comes in; (smallest, largest) if the device scales freely."""

    fourcc: str
    sizes_wh_px: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Device:
    """name: as the maker wrote it. formats: empty if the node gives no pictures (a metadata or an output node)."""

    name: str
    bus: str  # "usb-0000:00:14.0-1", "platform:..."
    captures: bool
    formats: tuple[PixelFormat, ...]


def ask(fd: int, request: int, argument: bytes) -> bytes:
    """One ioctl: the structure in, the structure as the driver filled it out. Raises OSError."""
    return fcntl.ioctl(fd, request, argument)


def describe(fd: int) -> Device:
    """What an open device node is. Raises OSError, with ENOTTY if it is no video device at all."""
    _, card, bus_info, _, capabilities, device_caps = _CAPABILITY.unpack(ask(fd, _QUERYCAP, bytes(_CAPABILITY.size)))
    has = device_caps if capabilities & _CAP_DEVICE_CAPS else capabilities
    captures = bool(has & _CAP_VIDEO_CAPTURE)
    return Device(_text(card), _text(bus_info), captures, _formats(fd) if captures else ())


def _formats(fd: int) -> tuple[PixelFormat, ...]:
    formats = []
    for index in range(_MOST):
        question = _FORMAT.pack(index, _BUFFER_TYPE_VIDEO_CAPTURE, 0, b"", 0)
        answer = _next(fd, _ENUM_FMT, question)
        if answer is None:
            break
        pixel_format = _FORMAT.unpack(answer)[4]
        formats.append(
            PixelFormat(pixel_format.to_bytes(4, "little").decode("ascii", "replace"), _sizes(fd, pixel_format))
        )
    return tuple(formats)


def _sizes(fd: int, pixel_format: int) -> tuple[tuple[int, int], ...]:
    sizes: list[tuple[int, int]] = []
    for index in range(_MOST):
        answer = _next(fd, _ENUM_FRAMESIZES, _FRAME_SIZE.pack(index, pixel_format, 0, b""))
        if answer is None:
            break
        _, _, kind, body = _FRAME_SIZE.unpack(answer)
        if kind != _FRAME_SIZE_DISCRETE:
            min_w, max_w, _, min_h, max_h, _ = struct.unpack("=6I", body)
            return ((min_w, min_h), (max_w, max_h))
        sizes.append(struct.unpack_from("=II", body))
    return tuple(sizes)


def _next(fd: int, request: int, question: bytes) -> bytes | None:
    """The next item of a list, or None behind the last; drivers that cannot list say ENOTTY."""
    try:
        return ask(fd, request, question)
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.ENOTTY):
            return None
        raise


def _text(raw: bytes) -> str:
    """As far as it can be shown: a device chooses its own name."""
    return "".join(c for c in raw.split(b"\0", 1)[0].decode("utf-8", "replace") if c.isprintable())
