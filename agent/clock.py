"""The three clocks: wall (labels), monotonic (measures), and whether the wall clock can be believed.

A board without a battery boots with yesterday's date or 1970's. Durations therefore come from the monotonic clock
only, and every stamp says whether the wall clock had been synchronised when it was taken.

Where no time server can be reached, a GNSS receiver may know the time: it is offered here, held against itself, and
then labels what happens. The machine's own clock is not set by it: that takes rights that the agent does not have.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

# Made at the first synchronisation after boot: by systemd-timesyncd; and by gateway-agent-clock.service, which asks the
# kernel for those whom a sandbox forbids to.
_SYNCHRONISED = (Path("/run/systemd/timesync/synchronized"), Path("/run/gateway-agent-clock/synchronized"))
_log = logging.getLogger(__name__)
EARLIEST_MS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
"""Before this program was written: a clock that says so is wrong."""
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
    def offer(self, utc_ms: int, mono_s: float, source: str) -> None:
        """A sensor believes that it was utc_ms at mono_s. Whether it is believed is the clock's business."""


class OfferedTime:
    """The time by a receiver, once it has agreed with itself for a while. Any number of threads may use it.

    One source at a time: a second one is heard when the first has fallen silent. A time before this program was written
    is a receiver whose week counter ran over (19.6 years), and is refused.
    """

    _LATEST_MS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)
    _OFFERS = 5  # as many must agree
    _AGREE_MS = 1000.0  # a sentence takes up to a second to arrive: that, and not more
    _HOLDS_S = 6 * 3600.0  # without a new one: a board's crystal is then off by a second or so

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._source: str | None = None
        self._offsets_ms: deque[float] = deque(maxlen=self._OFFERS)
        self._heard_s = float("-inf")
        self._accepted: tuple[float, float] | None = None  # wall - monotonic in ms, and when that was said last

    def offer(self, utc_ms: int, mono_s: float, source: str) -> None:
        if not EARLIEST_MS <= utc_ms < self._LATEST_MS:
            return
        with self._lock:
            if source != self._source:
                if mono_s - self._heard_s < 60.0:
                    return
                self._source = source
                self._offsets_ms.clear()
            self._heard_s = mono_s
            self._offsets_ms.append(utc_ms - mono_s * 1000)
            if len(self._offsets_ms) < self._OFFERS:
                return
            latest, earliest = max(self._offsets_ms), min(self._offsets_ms)
            if latest - earliest > self._AGREE_MS:
                return
            if self._accepted is None or abs(self._accepted[0] - latest) > self._AGREE_MS:
                when = datetime.fromtimestamp(utc_ms / 1000, UTC)
                _log.info("clock: %s says it is %s; taken for stamps where no time server has", source, when)
            # The one that says the latest time was on its way for the shortest.
            self._accepted = (latest, mono_s)

    def wall_ms(self, mono_s: float) -> int | None:
        """None: nobody has said, or too long ago."""
        accepted = self._accepted
        if accepted is None or mono_s - accepted[1] > self._HOLDS_S:
            return None
        return round(accepted[0] + mono_s * 1000)


class SystemClock:
    """The machine's clocks. Linux says through adjtimex whether NTP disciplines the wall clock.

    NTP is believed first, then a receiver's offer; both count as trusted.
    """

    def __init__(self) -> None:
        self._offered = OfferedTime()
        self.boot_id = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else f"pid-{os.getpid()}"

    def mono_s(self) -> float:
        return time.monotonic()

    def stamp(self) -> Stamp:
        mono_s = time.monotonic()
        trusted = machine_clock_is_set()
        offered_ms = None if trusted else self._offered.wall_ms(mono_s)
        wall_ms = time.time_ns() // 1_000_000 if offered_ms is None else offered_ms
        return Stamp(wall_ms, int(mono_s * 1000), trusted or offered_ms is not None)

    def trusted(self) -> bool:
        return machine_clock_is_set() or self._offered.wall_ms(time.monotonic()) is not None

    def offer(self, utc_ms: int, mono_s: float, source: str) -> None:
        self._offered.offer(utc_ms, mono_s, source)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FakeClock:
    """A clock that moves only when told, so that no test sleeps. Sleeping moves it."""

    boot_id = "fake-boot"

    def __init__(self, wall_ms: int = 1_700_000_000_000, mono_s: float = 100.0, trusted: bool = True) -> None:
        self.wall_ms = wall_ms
        self._mono_s = mono_s
        self.is_trusted = trusted
        self.offers: list[tuple[int, float, str]] = []

    def mono_s(self) -> float:
        return self._mono_s

    def stamp(self) -> Stamp:
        return Stamp(self.wall_ms, int(self._mono_s * 1000), self.is_trusted)

    def sleep(self, seconds: float) -> None:
        self._mono_s += seconds
        self.wall_ms += int(seconds * 1000)

    def offer(self, utc_ms: int, mono_s: float, source: str) -> None:
        self.offers.append((utc_ms, mono_s, source))


def machine_clock_is_set() -> bool:
    """NTP has set the clock that the whole machine goes by, TLS too: a receiver's time is for our stamps alone."""
    return any(path.exists() for path in _SYNCHRONISED) or _kernel_says_synchronised()


def _kernel_says_synchronised() -> bool:
    """adjtimex with no mode bits only reads; its return value 5 (TIME_ERROR) means no one disciplines the clock."""
    buffer = ctypes.create_string_buffer(512)  # struct timex is 208 bytes on 64-bit Linux; zero = read only
    state = int(_LIBC.adjtimex(buffer))
    return 0 <= state < 5  # -1: a sandbox forbids the call; then only the files above can tell
