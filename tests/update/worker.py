"""The updater as a process that dies where it is told to: `python -m tests.update.worker TOP work|recover …`.

A step is whatever makes something lasting or asks systemd for it: fsync, sync, rename, symlink, unlink, restart. With
--kill-at N it kills itself at the Nth, before or after it. With --power it first undoes what a power cut would: names
whose folder was not synced go back to what they were, and files that were renamed without having been synced are empty.
Without a kill it prints its steps, one a line.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.clock import Stamp, SystemClock
from agent.update import Places
from agent.update.machine import Machine
from agent.update.service import SystemdService
from tests.update.releases import install

_SHIM = Path(__file__).with_name("systemctl.py")


class Steps:
    """Wraps the calls; counts, notes what is not on the disk yet, and kills."""

    def __init__(self, kill_at: int | None, when: str, power: bool) -> None:
        self._kill_at, self._when, self._power = kill_at, when, power
        self.names: list[str] = []
        self._pending: list[tuple[str, Callable[[], None]]] = []  # folder, what undoes the change of a name in it
        self._synced: set[int] = set()
        self._lost: list[str] = []
        self._real = {name: getattr(os, name) for name in ("fsync", "sync", "replace", "symlink", "unlink")}

    def install(self) -> None:
        os.fsync = self._fsync
        os.sync = lambda: self.step("sync", self._all_synced)
        os.replace = self._replace
        os.symlink = lambda target, link, is_folder=False: self.step(
            f"symlink {Path(link).name}", self._real["symlink"], target, link
        )
        os.unlink = self._unlink

    def step(self, name: str, do: Callable[..., Any], *arguments: Any) -> Any:
        self.names.append(re.sub(r"[0-9]+(\.[0-9]+)+", "VERSION", name))
        if len(self.names) == self._kill_at and self._when == "before":
            self._die()
        done = do(*arguments)
        if len(self.names) == self._kill_at:
            self._die()
        return done

    def _die(self) -> None:
        if self._power:
            for path in self._lost:
                os.truncate(path, 0)
            for _, undo in reversed(self._pending):
                undo()
        os.write(2, f"\ndies at {self.names[-1]}".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def _fsync(self, fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")

        def do() -> None:
            self._real["fsync"](fd)
            if os.path.isdir(path):
                self._pending = [(folder, undo) for folder, undo in self._pending if folder != path]
            else:
                self._synced.add(os.fstat(fd).st_ino)

        self.step(f"fsync {Path(path).name}", do)

    def _all_synced(self) -> None:
        # Not the whole machine's disks, once for each of a thousand runs: here it is enough that it counts as done.
        self._pending, self._lost = [], []

    def _replace(self, source: Any, target: Any) -> None:
        source, target = os.fspath(source), os.fspath(target)
        info = os.lstat(source)
        if stat.S_ISREG(info.st_mode) and info.st_ino not in self._synced:
            self._lost.append(target)
        undo = self._undo(source, target)

        def do() -> None:
            self._real["replace"](source, target)
            self._pending.append((os.path.dirname(target), undo))

        self.step(f"rename {Path(target).name}", do)

    def _unlink(self, path: Any, **where: Any) -> None:
        if where or not os.path.islink(path):  # leftovers: nobody relies on their being gone
            self._real["unlink"](path, **where)
            return
        link, target = os.fspath(path), os.readlink(path)

        def do() -> None:
            self._real["unlink"](link)
            self._pending.append((os.path.dirname(link), lambda: self._real["symlink"](target, link)))

        self.step(f"unlink {Path(link).name}", do)

    def _undo(self, source: str, target: str) -> Callable[[], None]:
        if os.path.islink(target):
            old_target = os.readlink(target)

            def undo() -> None:
                self._real["unlink"](target)
                self._real["symlink"](old_target, target)
        elif os.path.isfile(target):
            content = Path(target).read_bytes()

            def undo() -> None:
                Path(target).write_bytes(content)
        else:

            def undo() -> None:
                if os.path.lexists(target) and not os.path.lexists(source):
                    self._real["replace"](target, source)

        return undo


class Service(SystemdService):
    """The real one; that it was asked is a step."""

    def __init__(self, program: tuple[str, ...], steps: Steps) -> None:
        super().__init__(program)
        self._steps = steps

    def restart(self) -> None:
        self._steps.step("restart", super().restart)


class SetClock(SystemClock):
    """Of a box that has reached a time server, whether this machine has or not."""

    def stamp(self) -> Stamp:
        return replace(super().stamp(), trusted=True)


def places_in(top: Path) -> Places:
    return Places(top / "opt", top / "etc" / "gateway.toml", top / "var", top / "run")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("top", type=Path)
    parser.add_argument("what", choices=("work", "recover"))
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--when", choices=("before", "after"), default="before")
    parser.add_argument("--power", action="store_true")
    parser.add_argument("--prove-s", type=float, required=True)
    parser.add_argument("--hold-s", type=float, required=True)
    args = parser.parse_args()
    steps = Steps(args.kill_at, args.when, args.power)
    service = Service((sys.executable, "-S", str(_SHIM), str(args.top / "door")), steps)
    machine = Machine(
        places_in(args.top),
        agent="0.1.0",
        clock=SetClock(),
        service=service,
        install=install,
        prove_s=args.prove_s,
        hold_s=args.hold_s,
        poll_s=0.2,
    )
    steps.install()
    getattr(machine, args.what)()
    print("\n".join(steps.names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
