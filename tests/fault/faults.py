"""What can go wrong with a box, one class each: how it begins, how it ends, and what it may cost.

A fault is injected for `seconds`, then healed; the box goes on producing all the while. may_name: the box may lose
events to it, but only by saying which. Without it, a single event that does not come is a failure.
"""

from __future__ import annotations

import shutil
import signal
import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from agent.outbox.log import Log
from agent.outbox.store import read_log
from tests.fault import disk, wire
from tests.fault.rig import LIFE, Rig
from tests.fault.road import QUOTA_EXCEEDED

_TIME_MAY_BE_OFF_MS = 1500
_TRIES = 10
_DAMAGED_BYTES = 64
_LOG_HEAD_BYTES, _FRAME_HEAD_BYTES = 32, 24


class Fault(ABC):
    name: ClassVar[str]
    seconds: ClassVar[tuple[float, float]] = (0.0, 0.0)
    may_name: ClassVar[bool] = False

    @classmethod
    def why_not(cls) -> str | None:
        """Why it cannot be tried on this machine, or None."""
        return None

    @abstractmethod
    def inject(self, rig: Rig) -> None: ...

    def heal(self, rig: Rig) -> None:  # noqa: B027 - some faults are over when they have happened
        pass

    def check(self, rig: Rig, arrived: list[dict[str, Any]]) -> list[str]:
        """What else is wrong with the events that came, beside what the ledger tells; a line each."""
        return []


# ---- the process ----------------------------------------------------------------------------------------------------


class Killed(Fault):
    """SIGKILL at any moment, also while it starts, and a new process; a few times in a row."""

    name = "SIGKILL"

    def inject(self, rig: Rig) -> None:
        for _ in range(rig.chance.randrange(1, 6)):
            time.sleep(rig.chance.uniform(0.0, 2.0))
            rig.restart_box(signal.SIGKILL)


class Terminated(Fault):
    name = "SIGTERM"

    def inject(self, rig: Rig) -> None:
        time.sleep(rig.chance.uniform(0.0, 1.0))
        rig.restart_box(signal.SIGTERM)


# ---- the broker -----------------------------------------------------------------------------------------------------


class BrokerKilled(Fault):
    """SIGKILL; back with what it had last saved."""

    name = "broker SIGKILL"
    seconds = (0.3, 2.0)

    def inject(self, rig: Rig) -> None:
        rig.broker.save()
        rig.broker.kill()

    def heal(self, rig: Rig) -> None:
        rig.broker.start()
        _back(rig)


class BrokerRestarted(BrokerKilled):
    name = "broker restart"

    def inject(self, rig: Rig) -> None:
        rig.broker.stop()


class BrokerForgot(Fault):
    """Back without its state. The road opens after the witness has subscribed again: what a broker takes while nobody
    has subscribed is gone, and not by the box's doing."""

    name = "broker loses state"
    seconds = (0.3, 2.0)

    def inject(self, rig: Rig) -> None:
        rig.road.shut()
        time.sleep(0.2)  # for what the broker had taken to reach the witness
        rig.broker.kill()

    def heal(self, rig: Rig) -> None:
        rig.broker.forget()
        rig.broker.start()
        _back(rig)
        rig.road.open()


class BrokerFrozen(Fault):
    """SIGSTOP: connections stay open, and nothing answers. Longer than the box waits for an acknowledgement."""

    name = "broker SIGSTOP"
    seconds = (4.0, 6.0)

    def inject(self, rig: Rig) -> None:
        rig.broker.freeze()

    def heal(self, rig: Rig) -> None:
        rig.broker.thaw()


class Refused(Fault):
    """The broker is over its quota and says so to each message."""

    name = "negative PUBACK"
    seconds = (0.5, 2.0)

    def inject(self, rig: Rig) -> None:
        rig.road.refusing = QUOTA_EXCEEDED

    def heal(self, rig: Rig) -> None:
        rig.road.refusing = None


class ConsumerAway(Fault):
    name = "consumer away"
    seconds = (1.0, 4.0)

    def inject(self, rig: Rig) -> None:
        rig.witness.leave()

    def heal(self, rig: Rig) -> None:
        rig.witness.come_back()
        _back(rig)


# ---- the link -------------------------------------------------------------------------------------------------------


class LinkSevered(Fault):
    """Connections are reset, new ones refused."""

    name = "link severed"
    seconds = (0.2, 2.0)

    def inject(self, rig: Rig) -> None:
        rig.road.shut()

    def heal(self, rig: Rig) -> None:
        rig.road.open()


class BadWire(Fault):
    """Faults of the wire itself, packet by packet."""

    @classmethod
    def why_not(cls) -> str | None:
        return wire.why_not()

    def heal(self, rig: Rig) -> None:
        assert rig.wire is not None
        rig.wire.mend()


class LinkCut(BadWire):
    """Every packet vanishes and nobody is told."""

    name = "link cut"
    seconds = (2.0, 6.0)

    def inject(self, rig: Rig) -> None:
        assert rig.wire is not None
        rig.wire.cut = True


class LinkLossy(BadWire):
    name = "30 % packet loss"
    seconds = (4.0, 8.0)

    def inject(self, rig: Rig) -> None:
        assert rig.wire is not None
        rig.wire.loss = 0.3


class LinkLate(BadWire):
    name = "600 ms delay"
    seconds = (3.0, 6.0)

    def inject(self, rig: Rig) -> None:
        assert rig.wire is not None
        rig.wire.delay_s = 0.6


class LinkThin(BadWire):
    name = "9600 baud"
    seconds = (4.0, 8.0)

    def inject(self, rig: Rig) -> None:
        assert rig.wire is not None
        rig.wire.bytes_per_s = 960.0


# ---- the disk -------------------------------------------------------------------------------------------------------


class RealDisk(Fault):
    @classmethod
    def why_not(cls) -> str | None:
        return disk.why_not()


class DiskFull(RealDisk):
    """Somebody fills the disk. Alerts are kept then at the expense of readings and counts, which are named."""

    name = "disk full"
    seconds = (1.0, 3.0)
    may_name = True

    def inject(self, rig: Rig) -> None:
        if rig.chance.random() < 0.5:
            rig.road.shut()  # with a backlog on it
        rig.disk.fill()

    def heal(self, rig: Rig) -> None:
        rig.disk.free()
        rig.road.open()


class DiskReadOnly(RealDisk):
    """The box starts on a disk that is mounted read-only, and it becomes writable under it."""

    name = "read-only remount"
    seconds = (0.5, 2.0)

    def inject(self, rig: Rig) -> None:
        rig.end_box(signal.SIGTERM)
        rig.disk.read_only(True)
        rig.start_box()
        time.sleep(1.0)  # it is up, and cannot store

    def heal(self, rig: Rig) -> None:
        rig.disk.read_only(False)


class DiskBroken(RealDisk):
    """The kernel gives up on the file system under the running box; a restart with a repair brings it back."""

    name = "disk breaks down"
    seconds = (0.5, 2.0)

    def inject(self, rig: Rig) -> None:
        # Between two syncs: one that is under way while the kernel gives up was seen to return 0, and what it should
        # have written was gone. Against a disk that lies about syncs no box can keep a promise.
        with rig.box_held():
            time.sleep(0.1)
            rig.disk.break_down()

    def heal(self, rig: Rig) -> None:
        rig.end_box(signal.SIGKILL)
        rig.disk.repair()
        rig.start_box()


class SyncFails(Fault):
    """fsync says no; sometimes the box is killed before it says yes again."""

    name = "failing fsync"
    seconds = (0.3, 1.5)

    @classmethod
    def why_not(cls) -> str | None:
        return None if shutil.which("gcc") else "needs gcc to build what makes fsync fail"

    def inject(self, rig: Rig) -> None:
        (rig.control / "fail-sync").touch()

    def heal(self, rig: Rig) -> None:
        if rig.chance.random() < 0.3:
            rig.end_box(signal.SIGKILL)
        (rig.control / "fail-sync").unlink()
        if rig._process is None:
            rig.start_box()


class Corrupted(Fault):
    """Part of the database is overwritten while the box is off, with a backlog in it."""

    may_name = True
    ends_by: ClassVar[signal.Signals] = signal.SIGTERM  # puts everything into the file itself

    def inject(self, rig: Rig) -> None:
        rig.road.shut()
        for _ in range(_TRIES):
            rig.wait_for_events(rig.chance.randrange(150, 400))
            rig.end_box(self.ends_by)
            spoilt = self.spoil(rig)
            rig.start_box()
            if spoilt:
                return
        raise AssertionError(f"{self.name}: nothing to spoil in {_TRIES} lives of the box")

    def heal(self, rig: Rig) -> None:
        rig.road.open()

    @abstractmethod
    def spoil(self, rig: Rig) -> bool:
        """False: there is nothing to spoil yet, the box has to go on."""


class HeaderCorrupted(Corrupted):
    name = "corrupt header"

    def spoil(self, rig: Rig) -> bool:
        _overwrite(rig, "", 0, 100)
        return True


class PageCorrupted(Corrupted):
    """A page that holds events which still wait."""

    name = "corrupt page"

    def spoil(self, rig: Rig) -> bool:
        rig.read_journals()
        waiting = [track for tracks in rig.accepted.values() for track in tracks[-40:-10]]
        sign = f'"track":{rig.chance.choice(waiting)}}}'.encode()
        data = rig.outbox.read_bytes()
        pages = [at for at in range(0, len(data), 4096) if sign in data[at : at + 4096]]
        assert pages, "the event should be in the file"
        for at in pages:
            _overwrite(rig, "", at, 4096)
        return True


class LogCorrupted(Corrupted):
    name = "corrupt WAL"
    ends_by = signal.SIGKILL

    def spoil(self, rig: Rig) -> bool:
        # In front of two whole commits: damage in the newest one or two looks as a power cut does. They are few when
        # the log has just begun anew.
        log = read_log(rig.outbox)
        seen = Log(log).seen
        frame_bytes = Log(log).page_bytes + _FRAME_HEAD_BYTES
        heads = [_LOG_HEAD_BYTES + n * frame_bytes for n in range(seen)]
        ends = [at + frame_bytes for at in heads if any(log[at + 4 : at + 8])]  # that says how large the file is then
        if len(ends) < 3:
            return False
        _overwrite(rig, "-wal", rig.chance.randrange(_LOG_HEAD_BYTES, ends[-3] - _DAMAGED_BYTES), _DAMAGED_BYTES)
        return True


# ---- what is put ----------------------------------------------------------------------------------------------------


class Oversized(Fault):
    """An event that is larger than the broker takes becomes a named gap, and what follows it arrives."""

    name = "oversized payload"
    may_name = True

    def inject(self, rig: Rig) -> None:
        (rig.control / "big").touch()
        rig.wait(lambda: not (rig.control / "big").exists(), 60, "the large event accepted")


class ClockJumps(Fault):
    """The wall clock jumps a day ahead or back, and back again later."""

    name = "clock jumps"
    seconds = (0.5, 2.0)

    @classmethod
    def why_not(cls) -> str | None:
        return None if shutil.which("gcc") else "needs gcc to build what makes the wall clock jump"

    def inject(self, rig: Rig) -> None:
        rig.set_clock(rig.chance.choice([-86400, 86400]))

    def heal(self, rig: Rig) -> None:
        rig.set_clock(0)


class BootedWithoutClock(Fault):
    """A new boot with a wall clock years off and no link. The clock is set before the link is back, so everything must
    leave with the time at which it happened."""

    name = "boot, clock set later"
    seconds = (0.5, 2.0)

    def __init__(self) -> None:
        self._dateless: range = range(0)  # lives whose events nothing could date

    @classmethod
    def why_not(cls) -> str | None:
        return ClockJumps.why_not()

    def inject(self, rig: Rig) -> None:
        rig.road.shut()
        self._boot(rig)

    def heal(self, rig: Rig) -> None:
        self._set_clock(rig)
        rig.road.open()

    def check(self, rig: Rig, arrived: list[dict[str, Any]]) -> list[str]:
        wrong = []
        for message in arrived:
            marked = message.get("clock") == "unset"
            off_ms = message["time"] - rig.happened_ms(message["track"], message["up"])
            if marked != (message["track"] // LIFE in self._dateless):
                wrong.append(f"event {message['track']}: time {'' if marked else 'not '}marked as unset")
            elif not marked and abs(off_ms) > _TIME_MAY_BE_OFF_MS:
                wrong.append(f"event {message['track']}: time wrong by {off_ms / 1000:.1f} s")
        return wrong[:5]

    def _boot(self, rig: Rig) -> None:
        rig.end_box(rig.chance.choice([signal.SIGKILL, signal.SIGTERM]))
        rig.boot()
        rig.set_clock(-rig.chance.randrange(86400, 20 * 365 * 86400), known=False)
        rig.start_box()
        rig.wait_for_events(20)

    def _set_clock(self, rig: Rig) -> None:
        rig.set_clock(0)
        rig.wait_for_events(20)


class RebootedAfterClock(BootedWithoutClock):
    """The clock is set, and the box boots again before anything has left: what it was then must not be forgotten."""

    name = "clock set, then a boot"

    def heal(self, rig: Rig) -> None:
        self._set_clock(rig)
        self._boot(rig)
        super().heal(rig)


class RebootedBeforeClock(BootedWithoutClock):
    """The box boots again before its clock was set: nothing can tell when that was, and its events say so."""

    name = "boot, then a boot"

    def inject(self, rig: Rig) -> None:
        first = rig.life + 1
        super().inject(rig)
        self._dateless = range(first, rig.life + 1)

    def heal(self, rig: Rig) -> None:
        self._dateless = range(self._dateless.start, rig.life + 1)  # it may have been killed meanwhile
        self._boot(rig)
        super().heal(rig)


FAULTS: tuple[type[Fault], ...] = (
    Killed,
    Terminated,
    BrokerKilled,
    BrokerRestarted,
    BrokerForgot,
    BrokerFrozen,
    Refused,
    ConsumerAway,
    LinkSevered,
    LinkCut,
    LinkLossy,
    LinkLate,
    LinkThin,
    DiskFull,
    DiskReadOnly,
    DiskBroken,
    SyncFails,
    HeaderCorrupted,
    PageCorrupted,
    LogCorrupted,
    Oversized,
    ClockJumps,
    BootedWithoutClock,
    RebootedAfterClock,
    RebootedBeforeClock,
)


def _back(rig: Rig) -> None:
    rig.wait(rig.witness.connected.is_set, 30, "the witness connected again")


def _overwrite(rig: Rig, suffix: str, at: int, count: int) -> None:
    with open(f"{rig.outbox}{suffix}", "r+b") as file:
        file.seek(at)
        file.write(rig.chance.randbytes(count))
