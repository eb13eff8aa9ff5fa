"""The root the brokers run in: Debian trixie, the first with a RabbitMQ that is fit (4.0). Made once, kept.

In .cache/cluster/<hash>/root: some minutes, as root. Nobody writes to it again: what a node writes is mounted over it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from tests.guest.image import locked, mirror
from tests.guest.tools import GuestError, program, run

CACHE = Path(__file__).parents[2] / ".cache" / "cluster"
_SUITE = "trixie"
_PACKAGES = ("rabbitmq-server",)
_DEBOOTSTRAP_S, _APT_S = 1800.0, 1200.0
_PROGRAMS = {"debootstrap": "debootstrap", "unshare": "util-linux", "setpriv": "util-linux"}


def why_not() -> str | None:
    """Why no cluster can be started here, or None."""
    if os.geteuid() != 0:
        return "a cluster of RabbitMQ in a root of its own needs root"
    for name, package in _PROGRAMS.items():
        try:
            program(name)
        except GuestError as exc:
            return f"{exc}; apt-get install --no-install-recommends {package}"
    return None


def prepared() -> Path:
    """The root, from the cache or made now. Raises GuestError."""
    recipe = repr((_SUITE, _PACKAGES))
    folder = CACHE / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    with locked(CACHE / "lock"):
        if not folder.exists():
            _make(folder)
    return folder / "root"


def _make(folder: Path) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was ended
    root = part / "root"
    root.mkdir(parents=True)
    print(f"making the brokers' Debian in {folder}: some minutes, once", flush=True)
    # In namespaces of its own: what it mounts and starts is gone with it, even when it is killed.
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    run([*alone, "debootstrap", "--variant=minbase", _SUITE, str(root), mirror()], timeout_s=_DEBOOTSTRAP_S, env=quiet)
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")  # a broker is started by us, not by its package
    policy.chmod(0o755)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    install = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(_PACKAGES)} && apt-get clean"
    inside = f'mount --rbind /dev "{root}/dev" && mount -t proc proc "{root}/proc" && exec chroot "{root}" sh -c "$0"'
    run([*alone, "sh", "-c", inside, install], timeout_s=_APT_S, env=quiet)
    part.rename(folder)


if __name__ == "__main__":
    if (reason := why_not()) is not None:
        sys.exit(reason)
    try:
        print(prepared())
    except GuestError as exc:
        sys.exit(f"{exc}")
