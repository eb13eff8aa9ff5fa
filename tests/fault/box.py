"""The box under test, a process to be killed: real outbox, real uplink, events that number themselves.

    python -m tests.fault.box OUTBOX JOURNAL FIRST HOST PORT

Three stages, one stream each, put an event about every 16 ms, and hold on to one that is refused until it is taken.
After `put` returned, the event's number is written to JOURNAL-<stream> and synced before the next one is put, so what
was accepted is known whatever happens to this process. SIGTERM ends it as the service ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

from tenacity import wait_fixed

from agent.clock import Stamp, SystemClock
from agent.contract.event import Crossing, Event, Stream
from agent.errors import EventStoreError
from agent.outbox import Outbox
from agent.uplink import Broker, Uplink, UplinkSettings

PAUSE_S = 0.016
BIG_BYTES = 20_000  # larger than the rig's broker takes, smaller than the outbox takes
MAX_BYTES = 12 * 1024 * 1024


class RigClock(SystemClock):
    """This machine's clocks, but when it booted, and whether its wall clock has been set since, is the rig's to say.

    CONTROL/boot holds the boot's id and where the monotonic clock stood when it began; CONTROL/clock-unset exists
    while nobody has set the wall clock.
    """

    def __init__(self, control: Path) -> None:
        super().__init__()
        self._unset = control / "clock-unset"
        self.boot_id, began_s = (control / "boot").read_text().split()
        self._began_ms = int(float(began_s) * 1000)

    def stamp(self) -> Stamp:
        now = super().stamp()
        return Stamp(now.wall_ms, now.mono_ms - self._began_ms, self.trusted())

    def trusted(self) -> bool:
        return not self._unset.exists()


class Box:
    def __init__(self, outbox: Outbox, clock: RigClock, control: Path) -> None:
        self.stop = threading.Event()
        self._outbox = outbox
        self._big = control / "big"
        self._clock = clock

    def stage(self, stream: Stream, journal: str, track: int) -> None:
        fd = os.open(f"{journal}-{stream.value}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        while not self.stop.is_set():
            big = stream is Stream.COUNT and self._big.exists()
            line = "x" * BIG_BYTES if big else "gate"
            body = Crossing(line=line, direction="in", object_class="car", track=track)
            event = Event(stream, "north", body, self._clock.stamp())
            if not self._accepted(event):
                return
            os.write(fd, f"{track}{' big' if big else ''}\n".encode())
            os.fsync(fd)
            if big:
                self._big.unlink()
            track += 1
            self.stop.wait(PAUSE_S)

    def _accepted(self, event: Event) -> bool:
        """Puts until it is taken. False when stopped before that."""
        while True:
            try:
                self._outbox.put(event)
                return True
            except EventStoreError as exc:
                print(exc, flush=True)
                if self.stop.wait(0.05):
                    return False


def main(path: str, journal: str, first: str, host: str, port: str) -> None:
    control = Path(os.environ["FAULT_CONTROL"])
    clock = RigClock(control)
    outbox = Outbox(Path(path), max_bytes=MAX_BYTES, alert_reserve_bytes=MAX_BYTES // 4, clock=clock)
    settings = UplinkSettings(
        "site", "box", (Broker(host, int(port)),), ack_timeout_s=3.0, connect_timeout_s=3.0, keepalive_s=5
    )
    uplink = Uplink(settings, outbox, clock=clock, wait=wait_fixed(0.05))
    box = Box(outbox, clock, control)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: box.stop.set())
    uplink.start()
    stages = [
        threading.Thread(target=box.stage, args=(stream, journal, int(first) + offset * 1_000_000))
        for offset, stream in enumerate(Stream)
    ]
    for thread in stages:
        thread.start()
    while not box.stop.wait(1.0):
        with contextlib.suppress(EventStoreError):
            print(outbox.depth().rows, "rows;", uplink.status(), flush=True)
    for thread in stages:
        thread.join()
    uplink.stop()
    outbox.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
