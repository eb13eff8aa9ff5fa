"""The root of the booted Debian: systemd, Python and the libraries of the lock in a release's venv. Made once, kept.

In .cache/systemd/<hash>/root: two minutes, as root. Debian comes from the mirror that this machine's own apt uses, the
wheels from where its pip gets them, by the hashes of the lock. Nobody writes to it again: a machine has an overlay.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from tests.guest.image import MASKED, locked, mirror
from tests.guest.tools import GuestError, program, run

TOP = Path(__file__).parents[2]
CACHE = TOP / ".cache" / "systemd"
LOCK = TOP / "provisioning" / "requirements.lock"
RELEASE = "/opt/gateway-agent/releases/test"
_SUITE = "bookworm"
_PACKAGES = ("systemd", "systemd-sysv", "dbus", "udev", "libudev1", "python3", "python3-venv")
_DEBOOTSTRAP_S, _PIP_S = 1800.0, 900.0
_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}


def why_not() -> str | None:
    """Why no Debian can be booted here, or None."""
    if os.geteuid() != 0:
        return "booting a Debian in systemd-nspawn needs root"
    for name, package in _PROGRAMS.items():
        try:
            program(name)
        except GuestError as exc:
            return f"{exc}; apt-get install --no-install-recommends {package}"
    return None


def prepared() -> Path:
    """The root, from the cache or made now. Raises GuestError."""
    recipe = repr((_SUITE, _PACKAGES, LOCK.read_text(encoding="utf-8"), Path(__file__).read_text(encoding="utf-8")))
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
    print(f"making the Debian to boot in {folder}: some minutes, once", flush=True)
    # In namespaces of its own: what it mounts and starts is gone with it, even when it is killed.
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    run(
        [*alone, "debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, str(root), mirror()],
        timeout_s=_DEBOOTSTRAP_S,
        env={"DEBIAN_FRONTEND": "noninteractive"},
    )
    for archive in (root / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    for unit in MASKED:
        (root / "etc/systemd/system" / unit).unlink(missing_ok=True)
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    _libraries(root)
    part.rename(folder)


def _libraries(root: Path) -> None:
    wheels = root / "root/wheels"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # Debian 12's Python, whatever this machine's is.
    fits = ["--only-binary=:all:", "--implementation=cp", "--python-version=3.11"]
    platforms = [f"--platform=manylinux_2_{minor}_{os.uname().machine}" for minor in range(17, 37)]
    fits += ["--abi=cp311", "--abi=abi3", "--abi=none", *platforms, f"--platform=manylinux2014_{os.uname().machine}"]
    run(
        [*pip, "download", "--no-deps", "--require-hashes", *fits, f"--dest={wheels}", "-r", str(LOCK)],
        timeout_s=_PIP_S,
    )
    inside = ["chroot", str(root), "env", "-i", "PATH=/usr/bin:/usr/sbin:/bin:/sbin", "LC_ALL=C.UTF-8"]
    run([*inside, "python3", "-m", "venv", RELEASE], timeout_s=_PIP_S)
    names = [f"/root/wheels/{wheel.name}" for wheel in sorted(wheels.iterdir())]
    run(
        [*inside, f"{RELEASE}/bin/pip", "install", "--quiet", "--no-index", "--no-deps", *names],
        timeout_s=_PIP_S,
    )
    shutil.rmtree(wheels)


if __name__ == "__main__":
    if (reason := why_not()) is not None:
        sys.exit(reason)
    try:
        print(prepared())
    except GuestError as exc:
        sys.exit(f"{exc}")
