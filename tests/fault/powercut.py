"""Power cuts: a real outbox in a virtual machine that is killed while it writes, again and again.

    python -m tests.fault.powercut [--cuts 20] [--seed N] [--folder DIR]

A guest with its own kernel (see `tests.guest`) has the outbox on an ext4 of its own. Three stages put numbered events,
and what was acknowledged is told to this side before the next event is put (`tests.fault.powercut_box`). At a moment
drawn at random QEMU is killed. The next guest mounts the same disk, so its kernel replays the file system's journal,
opens the outbox, and reads everything through `peek`. Exit code 1 if, after any cut, an event is missing that `put` had
acknowledged; or a message that the link could have sent; if a number stands for two events, or is left out; if events
are out of order or there twice; or if SQLite or the outbox finds the file damaged.

What is simulated: the guest's memory is gone, kernel and all. The disk has a volatile write cache (`CachedDisk`): of
what no flush had followed, all survives, nothing, half of the sectors or half of the blocks of 4 KiB, drawn for each
cut, and each sector or block for itself; so writes are torn and reordered within a flush. Each cut comes between a
write and its flush; to those that count, a few are added while the disk is mounted and the outbox opened. What is not
simulated: a disk that loses what it said it had flushed, or whose other sectors suffer when the power fails (cheap SD
cards do both); brown-outs. The guest does not boot each time, it starts from the memory of one that had booted and had
not seen this disk.

Then a control, on the same disk, with `synchronous=NORMAL` in place of FULL, must lose events: a run in which it does
not could not have found a fault, and ends with exit code 1 too.

Needs Python 3.11, and root and four minutes the first time (the guest's root disk is kept in .cache/guest, 1.2 GB);
then about fifteen seconds for each cut.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fault.books import Books, Findings
from tests.fault.powercut_box import FULL
from tests.guest import CachedDisk, FileDisk, Guest, GuestError, Image, image, make_ext4
from tests.guest.python import gather

MB = 1024 * 1024
_CONTROL_CUTS = 3
_CONTROL = "normal"
_OPENING_SHARE = 4  # one cut while the outbox is opened for so many while it writes
_WRITING_S = (0.2, 4.0)  # from the first event on
_WRITES = (1, 4)  # and then with this write of the disk's
_OPENING_WRITES = (1, 24)  # from before the disk is mounted on; at some 20 the first event is put
# What survives of what was not flushed: each piece with this probability, and how large the pieces are.
_SURVIVES = {"nothing": (0.0, 512), "half the sectors": (0.5, 512), "half the blocks": (0.5, 4096), "all": (1.0, 512)}
_LIMIT_S = 180.0  # for each thing that is waited for; seconds when the machine is idle
_CODE = ("agent", "tests/__init__.py", "tests/fault/__init__.py", "tests/fault/powercut_box.py")
_LIBRARIES = ("cbor2", "pydantic")
_START_BOX = """
set -e
until [ -e /dev/disk/by-id/virtio-code ] && [ -e /dev/disk/by-id/virtio-data ]; do sleep 0.05; done
mkdir -p /code /data
mount -o ro /dev/disk/by-id/virtio-code /code
mount /dev/disk/by-id/virtio-data /data
cd /code
exec python3 -m tests.fault.powercut_box /data/box/outbox.db /dev/virtio-ports/report"""


@dataclass(frozen=True)
class Cut:
    """after_s: from the first event on; None: from before the disk is mounted on. writes: with which write from then.
    survives: see _SURVIVES."""

    after_s: float | None
    writes: int
    survives: str

    def __str__(self) -> str:
        since = "mounting" if self.after_s is None else f"{self.after_s:.2f} s of events"
        return f"at write {self.writes} after {since}"


@dataclass
class Account:
    """A row of the table."""

    name: str
    writing: int = 0
    opening: int = 0
    flushes: int = 0
    unflushed: int = 0
    found: list[Findings] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        return sum(found.accepted for found in self.found)

    @property
    def lost(self) -> int:
        return sum(len(found.lost) for found in self.found)

    @property
    def faults(self) -> list[str]:
        return [line for found in self.found for line in found.faults]

    def row(self) -> str:
        vanished = sum(len(found.vanished) for found in self.found)
        renumbered = sum(len(found.renumbered) for found in self.found)
        out_of_order = sum(found.out_of_order for found in self.found)
        other = sum(found.holes + len(found.other) for found in self.found)
        unacknowledged = sum(found.unacknowledged for found in self.found)
        columns = [self.name, self.writing, self.opening, self.accepted, self.lost, vanished, renumbered]
        columns += [out_of_order, other, unacknowledged, self.flushes, self.unflushed]
        return f"| {' | '.join(map(str, columns))} |"


HEAD = """
| synchronous | cuts while writing | while opening | accepted | lost | could be sent, then gone | number given twice \
| out of order | damage, holes | there, not acknowledged | flushes | sectors not flushed at the cuts |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


class Lab:
    """One disk, and the lives of the guests that have it. folder: new."""

    def __init__(self, base: Image, folder: Path, chance: random.Random) -> None:
        self._base, self._folder, self._chance = base, folder, chance
        self._books = Books()
        self._lives = 0
        self._data, self._code = folder / "data.img", folder / "code.img"
        gather(folder / "code", _CODE, _LIBRARIES)
        make_ext4(self._code, 128 * MB, folder / "code")
        make_ext4(self._data, 256 * MB)

    def run(self, cuts: Sequence[Cut], account: Account, synchronous: str) -> None:
        """So many lives, and one more to look at what the last has left."""
        for cut in (*cuts, None):
            began_s = time.monotonic()
            looks, unflushed = self._live(cut, account, synchronous)
            account.found += looks
            for found in looks:
                words = [f"{found.rows} rows there, {found.accepted} of them new", *found.faults]
                print(f"life {self._lives}: {'; '.join(words)}", flush=True)
            if cut is not None:
                account.writing += cut.after_s is not None
                account.opening += cut.after_s is None
                account.unflushed += unflushed
                words = [
                    f"{unflushed} sectors not flushed, {cut.survives} survives",
                    f"{time.monotonic() - began_s:.0f} s",
                ]
                print(f"life {self._lives}: cut {cut}; {'; '.join(words)}", flush=True)

    def _live(self, cut: Cut | None, account: Account, synchronous: str) -> tuple[list[Findings], int]:
        """A guest from its start to the cut; without one it only looks. Returns what it found, and the sectors that
        had not been flushed."""
        self._lives += 1
        folder = self._folder / f"life-{self._lives:03}"
        with CachedDisk(self._data, self._folder / "disk") as disk:
            with Guest(self._base, folder) as guest, (folder / "box.log").open("wb") as log:
                guest.plug("code", FileDisk(self._code, read_only=True))
                guest.plug("data", disk)
                look = "" if cut else "--look"
                box = guest.spawn(f"{_START_BOX} {self._lives} {synchronous} {look}", log)
                try:
                    _until_the_end(guest, box) if cut is None else _until_the_cut(cut, guest, box, disk)
                finally:
                    guest.power_cut()
                    box.wait(_LIMIT_S)
            account.flushes += disk.flushes
            survives, piece_bytes = _SURVIVES[cut.survives if cut else "all"]
            unflushed = disk.cut(survives, self._chance, piece_bytes=piece_bytes)
        return self._books.read(guest.report.read_text(errors="replace")), unflushed


def _until_the_end(guest: Guest, box: subprocess.Popen[bytes]) -> None:
    _wait(lambda: box.poll() is not None, "the box to look into its outbox and end", guest)
    if box.returncode != 0:
        raise GuestError(f"the box ended with {box.returncode}\n{_last_words(guest)}")


def _until_the_cut(cut: Cut, guest: Guest, box: subprocess.Popen[bytes], disk: CachedDisk) -> None:
    def ended() -> bool:
        return box.poll() is not None

    def said(word: str) -> bool:
        return f"\n{word}" in "\n" + guest.report.read_text(errors="replace")

    if cut.after_s is not None:
        _wait(lambda: said("put ") or ended(), "the box to put its first event", guest)
        time.sleep(cut.after_s)
    failed = disk.fail_at_write(cut.writes)
    _wait(lambda: failed.is_set() or ended(), "the box to write to its disk", guest)
    if ended():
        raise GuestError(f"the box ended by itself, with {box.returncode}\n{_last_words(guest)}")


def _wait(true: Callable[[], bool], what: str, guest: Guest) -> None:
    deadline_s = time.monotonic() + _LIMIT_S
    while not true():
        if time.monotonic() > deadline_s:
            raise GuestError(f"waited {_LIMIT_S:g} s for {what}\n{_last_words(guest)}")
        time.sleep(0.005)


def _last_words(guest: Guest) -> str:
    return f"{(guest.folder / 'box.log').read_text(errors='replace')[-2000:]}\n{guest.log()}"


def draw(writing: int, opening: int, chance: random.Random) -> list[Cut]:
    survives = [*_SURVIVES]
    cuts = [
        *(Cut(chance.uniform(*_WRITING_S), chance.randint(*_WRITES), chance.choice(survives)) for _ in range(writing)),
        *(Cut(None, chance.randint(*_OPENING_WRITES), chance.choice(survives)) for _ in range(opening)),
    ]
    chance.shuffle(cuts)
    return cuts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fault.powercut", description="What no power cut may cost.")
    parser.add_argument("--cuts", type=int, default=20, help="while the box writes; a quarter more while it opens")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--folder", type=Path, help="a new folder for everything, kept afterwards (default: in /tmp)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    folder = options.folder or Path(tempfile.mkdtemp(prefix="powercut-"))
    if options.folder:
        try:
            folder.mkdir(parents=True)
        except OSError as exc:
            sys.exit(f"powercut: {folder}: {exc.strerror}; name a new folder")
    chance = random.Random(options.seed)
    shipped, control = Account(FULL), Account(f"{_CONTROL} (control)")
    print(f"seed {options.seed}; files in {folder}", flush=True)
    try:
        lab = Lab(image(), folder, chance)
        lab.run(draw(options.cuts, options.cuts // _OPENING_SHARE, chance), shipped, FULL)
        print("the control:")
        lab.run(draw(_CONTROL_CUTS, 0, chance), control, _CONTROL)
    except GuestError as exc:
        sys.exit(f"powercut: {exc}")
    print(f"{HEAD}\n{shipped.row()}\n{control.row()}\n")
    for line in shipped.faults:
        print(line)
    if not control.lost:
        print("the control has lost nothing: this run could not have found a loss")
    clean = not shipped.faults and shipped.accepted > 0 and control.lost > 0
    print("clean" if clean else "NOT CLEAN")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
