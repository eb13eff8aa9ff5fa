"""The programs a guest needs on this machine: which are missing, and how one is run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"  # not in every user's PATH
_TO_RUN = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mkfs.ext4": "e2fsprogs",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
}
_TO_BUILD = {"debootstrap": "debootstrap", "unshare": "util-linux", "apt-get": "apt", "ssh-keygen": "openssh-client"}


class GuestError(Exception):
    """A guest could not be made, started or asked. Says what was tried and what came of it."""


def why_not(*, build: bool) -> str | None:
    """Why no guest can run here, or None. build: its image is to be made first."""
    needed = {**_TO_RUN, **_TO_BUILD} if build else _TO_RUN
    if missing := {name: package for name, package in needed.items() if _which(name) is None}:
        packages = " ".join(sorted(set(missing.values())))
        return f"no {', '.join(missing)}; apt-get install --no-install-recommends {packages}"
    if build and os.geteuid() != 0:
        return "making the guest's image with debootstrap needs root; once made, it runs without"
    return None


def program(name: str) -> str:
    """Where it is. Raises GuestError."""
    found = _which(name)
    if found is None:
        raise GuestError(f"{name} is not installed")
    return found


def run(command: Sequence[str], *, timeout_s: float, env: dict[str, str] | None = None) -> str:
    """Run a program to its end and return what it printed. Raises GuestError if it fails or takes too long."""
    try:
        done = subprocess.run(
            [program(command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise GuestError(f"{' '.join(command)}: not done in {timeout_s:g} s") from exc
    if done.returncode != 0:
        raise GuestError(f"{' '.join(command)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _which(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_SYSTEM_FOLDERS)
