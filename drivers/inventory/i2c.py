"""Which addresses on an I2C bus answer. Asking is speaking: it can confuse a device, so it is done only on request.

Each address is read one byte from, as `i2cdetect -r` does, and nothing is written. Numbers from the kernel's
include/uapi/linux/i2c-dev.h. `ask` is the only call that touches a device.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

FIRST, LAST = 0x08, 0x77  # what lies outside is reserved
_I2C_SLAVE = 0x0703
_I2C_SMBUS = 0x0720
_READ, _BYTE = 1, 1


class _SmbusData(ctypes.Union):
    _fields_ = (("byte", ctypes.c_uint8), ("block", ctypes.c_uint8 * 34))


class _SmbusRequest(ctypes.Structure):
    _fields_ = (
        ("read_write", ctypes.c_uint8),
        ("command", ctypes.c_uint8),
        ("size", ctypes.c_uint32),
        ("data", ctypes.POINTER(_SmbusData)),
    )


@dataclass(frozen=True, slots=True)
class Answers:
    """free: addresses that answer. taken: those that a driver of the kernel's has, which are not disturbed."""

    free: tuple[int, ...]
    taken: tuple[int, ...]


def ask(fd: int, address: int) -> None:
    """Read one byte from an address. Raises OSError: EBUSY if the kernel has it, others if nobody answers."""
    fcntl.ioctl(fd, _I2C_SLAVE, address)
    fcntl.ioctl(fd, _I2C_SMBUS, _SmbusRequest(_READ, 0, _BYTE, ctypes.pointer(_SmbusData())))


def probe(node: Path) -> Answers:
    """Raises OSError if the bus itself cannot be opened."""
    free, taken = [], []
    fd = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    try:
        for address in range(FIRST, LAST + 1):
            try:
                ask(fd, address)
            except OSError as exc:
                if exc.errno == errno.EBUSY:
                    taken.append(address)
            else:
                free.append(address)
    finally:
        os.close(fd)
    return Answers(tuple(free), tuple(taken))
