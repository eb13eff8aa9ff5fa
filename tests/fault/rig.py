"""Everything between an event and the verdict: disk, box, road, wire, broker, witness; faults take hold of it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from agent.contract.event import Stream
from agent.uplink.settings import Broker
from tests.fault import wire as wires
from tests.fault.disk import Disk
from tests.fault.road import Road
from tests.fault.wire import Wire
from tests.fault.witness import Witness
from tests.support.mosquitto import Mosquitto

REPOSITORY = Path(__file__).parents[2]
MAX_PACKET_BYTES = 16_384
LIFE = 10_000_000  # numbers for one life of the box's process


class Rig:
    """`with Rig(folder, seed) as rig:` starts everything. What is accepted is in `accepted` after `read_journals()`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.folder = folder
        self.control = folder / "control"
        self.disk = Disk(folder)
        self.wire: Wire | None = Wire(seed) if wires.why_not() is None else None
        self.broker = Mosquitto(folder / "broker", extra=[f"max_packet_size {MAX_PACKET_BYTES}"])
        self.accepted: dict[str, list[int]] = {stream.value: [] for stream in Stream}
        self.oversized: set[int] = set()
        self.shim: Path | None = None
        self.kills = 0
        self._lives = 0
        self._boots: list[float] = []  # where the monotonic clock stood
        self._began_s: dict[int, float] = {}  # the same, by the number of the process's life
        self._read_to: dict[Path, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Rig:
        with ExitStack() as stack:
            self.control.mkdir(parents=True)
            (self.folder / "journal").mkdir()
            self.shim = clock_shim(self.folder)
            self.boot()
            stack.enter_context(self.disk)
            stack.enter_context(self.broker)
            if self.wire is not None:
                stack.enter_context(self.wire)
            here = self.wire.here if self.wire else "127.0.0.1"
            self.road = stack.enter_context(Road(self.broker.port, here))
            self.witness = Witness(Broker("127.0.0.1", self.broker.port))
            stack.enter_context(self.witness)
            stack.callback(self.end_box, signal.SIGKILL)
            self.start_box()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, value, trace)

    # ---- the box ---------------------------------------------------------------------------------------------------

    @property
    def outbox(self) -> Path:
        return self.disk.folder / "box" / "outbox.db"

    def log(self) -> str:
        return (self.folder / "box.log").read_text(errors="replace")

    @property
    def life(self) -> int:
        """Which process of the box runs: its events have numbers from life * 10,000,000 on."""
        return self._lives

    def start_box(self) -> None:
        self._lives += 1
        self._began_s[self._lives] = self._boots[-1]
        environment = {**os.environ, "FAULT_CONTROL": str(self.control), "FAULT_DISK": str(self.disk.folder)}
        if self.shim is not None:
            environment["LD_PRELOAD"] = str(self.shim)
        command = [
            *(self.wire.command if self.wire else []),
            *(sys.executable, "-m", "tests.fault.box", str(self.outbox)),
            str(self.folder / "journal" / f"{self._lives:06}"),
            str(self._lives * LIFE + 1),
            self.road.host,
            str(self.road.port),
        ]
        with (self.folder / "box.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=REPOSITORY)

    def end_box(self, number: signal.Signals) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(number)
            try:
                code = self._process.wait(30)
            finally:
                self._process.kill()
                self._process.wait()
            self._process = None
            self.kills += number == signal.SIGKILL
            # Python that is still starting has no handler for SIGTERM yet, and has accepted nothing.
            started = any((self.folder / "journal").glob(f"{self._lives:06}-*"))
            wanted = (0,) if number == signal.SIGTERM and started else (0, -number)
            assert code in wanted, f"the box ended with {code}\n{self.log()[-3000:]}"

    def boot(self) -> None:
        """From its next start on the box is in a new boot: another id, and its monotonic clock begins at 0."""
        self._boots.append(time.monotonic())
        (self.control / "boot").write_text(f"boot-{len(self._boots)} {self._boots[-1]}")

    def set_clock(self, offset_s: int, *, known: bool = True) -> None:
        """The box's wall clock is so many seconds ahead. known: the box believes it; otherwise nobody has set it."""
        unset, new = self.control / "clock-unset", self.control / "clock-offset-s.new"
        if not known:
            unset.touch()
        new.write_text(str(offset_s))
        os.replace(new, self.control / "clock-offset-s")
        if known:
            unset.unlink(missing_ok=True)

    def happened_ms(self, track: int, up_ms: int) -> float:
        """When an event truly happened, UTC Unix ms, from how long its boot had lasted then."""
        began_s = self._began_s[track // LIFE]
        return (time.time() - time.monotonic() + began_s) * 1000 + up_ms

    def restart_box(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.end_box(number)
        self.start_box()

    @contextmanager
    def box_held(self) -> Iterator[None]:
        """The box's process stands still meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def wait_for_events(self, count: int, timeout_s: float = 60.0) -> None:
        """Until so many more are accepted, so that a fault meets a box at work."""
        wanted = self.total_accepted() + count
        self.wait(lambda: self.total_accepted() >= wanted, timeout_s, f"{count} more events accepted")

    def wait(self, true: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not true():
            self.check_alive()
            if time.monotonic() > deadline_s:
                raise AssertionError(f"in {timeout_s:g} s not: {what}\n{self.log()[-3000:]}")
            time.sleep(0.02)

    def check_alive(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"the box ended by itself, {self._process.returncode}\n{self.log()[-3000:]}")

    # ---- the accounts ----------------------------------------------------------------------------------------------

    def read_journals(self) -> None:
        for path in sorted((self.folder / "journal").iterdir()):
            stream = path.name.partition("-")[2]
            with path.open("rb") as journal:
                journal.seek(self._read_to.get(path, 0))
                data = journal.read()
            data = data[: data.rfind(b"\n") + 1]
            self._read_to[path] = self._read_to.get(path, 0) + len(data)
            for line in data.decode().splitlines():
                track, _, big = line.partition(" ")
                self.accepted[stream].append(int(track))
                if big:
                    self.oversized.add(int(track))

    def total_accepted(self) -> int:
        self.read_journals()
        return sum(map(len, self.accepted.values()))

    def everything(self) -> set[int]:
        self.read_journals()
        return {track for tracks in self.accepted.values() for track in tracks}

    def settle(self, wanted: set[int], patience_s: float = 60.0) -> set[int]:
        """Wait for every event of wanted to come, or to be named as lost. Returns what has done neither in time."""
        deadline_s = time.monotonic() + patience_s
        left = wanted
        while (left := self.witness.unaccounted(self.accepted, left)) and time.monotonic() < deadline_s:
            self.check_alive()
            time.sleep(0.05)
            self.read_journals()
        return left


def clock_shim(folder: Path) -> Path | None:
    """The library that makes syncs fail and clocks jump; None without a compiler."""
    if shutil.which("gcc") is None:
        return None
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library
