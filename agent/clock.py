"""The three clocks: wall (labels), monotonic (measures), and whether the wall clock can be believed.

A board without a battery boots with yesterday's date or 1970's. Durations therefore come from the monotonic clock
only, and every stamp says whether the wall clock had been synchronised when it was taken.
"""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# systemd-timesyncd and chrony's systemd unit touch this file at the first synchronisation after boot.
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")
_LIBC = ctypes.CDLL(None)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Stamp:
    """When something happened, on both clocks.

    wall_ms: UTC, Unix milliseconds, as the box believed it then.
    mono_ms: milliseconds on the monotonic clock since boot; never jumps, comparable within one boot only.
    trusted: the wall clock had been synchronised.
    """

    wall_ms: int
    mono_ms: int
    trusted: bool


class Clock(Protocol):
    boot_id: str

    def mono_s(self) -> float: ...
    def stamp(self) -> Stamp: ...
    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clocks. Linux says through adjtimex whether NTP disciplines the wall clock."""

    def __init__(self) -> None:
        self.boot_id = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else f"pid-{os.getpid()}"

    def mono_s(self) -> float:
        return time.monotonic()

    def stamp(self) -> Stamp:
        return Stamp(time.time_ns() // 1_000_000, int(time.monotonic() * 1000), self.trusted())

    def trusted(self) -> bool:
        return _SYNCHRONISED.exists() or _kernel_says_synchronised()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FakeClock:
    """A clock that moves only when told, so that no test sleeps. Sleeping moves it."""

    boot_id = "fake-boot"

    def __init__(self, wall_ms: int = 1_700_000_000_000, mono_s: float = 100.0, trusted: bool = True) -> None:
        self.wall_ms = wall_ms
        self._mono_s = mono_s
        self.is_trusted = trusted

    def mono_s(self) -> float:
        return self._mono_s

    def stamp(self) -> Stamp:
        return Stamp(self.wall_ms, int(self._mono_s * 1000), self.is_trusted)

    def sleep(self, seconds: float) -> None:
        self._mono_s += seconds
        self.wall_ms += int(seconds * 1000)


def _kernel_says_synchronised() -> bool:
    """adjtimex with no mode bits only reads; its return value 5 (TIME_ERROR) means no one disciplines the clock."""
    buffer = ctypes.create_string_buffer(512)  # struct timex is 208 bytes on 64-bit Linux; zero = read only
    state = int(_LIBC.adjtimex(buffer))
    return 0 <= state < 5  # -1: a sandbox forbids the call; then only the file above can tell
