"""The bare board: boots as it came from debootstrap, with a network of its own that has one cable and no internet."""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.guest.tools import program, run
from tests.provision.root import bare
from tests.systemd.machine import Machine

_PROVISION_S = 900.0
# What a system writes by itself, whoever is installed on it: its logs and its list of packages with their traces.
_ITS_OWN = (
    "var/log/",
    "var/cache/",
    "var/lib/dpkg/",
    "var/lib/apt/",
    "var/lib/systemd/",
    "var/lib/private/",
    "var/tmp/",
    "tmp/",
    "run/",
    "media/",
    "root/.cache",
    "etc/.pwd.lock",
)
_ANYWHERE = ("-", ".dpkg-old", "__pycache__")  # passwd-, group-: copies that useradd makes


class Box(Machine):
    nspawn = ("--private-network",)
    lowest = staticmethod(bare)
    script = "/media/provision.sh"

    def make(self) -> None:
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(parents=True)
        layers = f"lowerdir={bare()},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}"
        run(["mount", "-t", "overlay", "overlay", "-o", layers, str(self.root)], timeout_s=60)
        (self.root / "media").mkdir(exist_ok=True)

    @property
    def systemd_pid(self) -> int:
        return self._systemd_pid

    def carry(self, path: Path, name: str) -> str:
        """Put a file on the stick; where the box finds it."""
        (self.root / "media" / name).parent.mkdir(exist_ok=True)
        shutil.copy2(path, self.root / "media" / name)
        return f"/media/{name}"

    def provision(
        self, *options: str, language: str = "C.UTF-8", environment: Mapping[str, str] = MappingProxyType({})
    ) -> Said:
        """With nobody to ask."""
        variables = [f"{name}={value}" for name, value in {"LC_ALL": language, **environment}.items()]
        return Said(self.ask("env", *variables, "sh", self.script, *options, timeout_s=_PROVISION_S))

    def provision_by_hand(self, answers: list[str], *options: str) -> Said:
        """At a terminal, where somebody types the answers."""
        ours, theirs = pty.openpty()
        try:
            os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
            enter = [program("nsenter"), f"--target={self.systemd_pid}", "-m", "-u", "-i", "-p", "-n"]
            done = subprocess.run(
                [*enter, "--", "env", "-i", "PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8", "sh", self.script, *options],
                stdin=theirs,
                capture_output=True,
                text=True,
                timeout=_PROVISION_S,
                check=False,
            )
        finally:
            os.close(ours)
            os.close(theirs)
        return Said(done)

    def files(self, *, contents: bool = False) -> dict[str, str]:
        """Path → kind, mode and owner of all that is on the disk but for what a system writes by itself.

        contents: and what is in it, and when it was last written.
        """
        found = {}
        for folder, folders, names in os.walk(self.root):
            below = os.path.relpath(folder, self.root)
            prefix = "" if below == "." else f"{below}/"
            folders[:] = [name for name in folders if f"{prefix}{name}" not in ("proc", "sys", "dev", "run", "media")]
            for name in [*folders, *names]:
                path = f"{prefix}{name}"
                if not path.startswith(_ITS_OWN) and f"{path}/" not in _ITS_OWN and not name.endswith(_ANYWHERE):
                    found[path] = self._entry(path, contents)
        return found

    def _entry(self, path: str, contents: bool) -> str:
        full = self.root / path
        stat = full.lstat()
        entry = f"{stat.st_mode:o} {stat.st_uid}:{stat.st_gid}"
        if full.is_symlink():
            return f"{entry} -> {os.readlink(full)}"
        if contents and full.is_file():
            entry += f" {hashlib.sha256(full.read_bytes()).hexdigest()} {stat.st_mtime_ns}"
        return entry

    def main_pid(self) -> int:
        return int(self.show("MainPID"))

    def version(self) -> str:
        return self.run("/usr/local/bin/gateway-agent", "--version").split()[-1]


class Said:
    """What provision.sh said and how it ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.words = done.stdout + done.stderr
        self.steps = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line[2] != " "]

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.words}"
