"""The emulated machine's files: Debian, the wheels and the emulator. Made once per recipe and lock file, and kept.

In .cache/arm64/<hash>/: half a minute, as root. Debian comes from the mirror that this machine's own apt uses, the
wheels from where its pip gets them, by the hashes of the lock. Nothing is installed on this machine itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from packaging.requirements import Requirement

from tests.guest.image import locked, mirror
from tests.guest.tools import GuestError, run

TOP = Path(__file__).parents[2]
CACHE = TOP / ".cache" / "arm64"
LOCK = TOP / "provisioning" / "requirements-dev.lock"
SITE = "opt/site"  # the wheels, in the root
_SUITE, _PACKAGES = "bookworm", "python3"
_MARKERS = {  # of Debian 12 on a 64-bit board
    "platform_machine": "aarch64",
    "platform_system": "Linux",
    "sys_platform": "linux",
    "os_name": "posix",
    "python_version": "3.11",
    "python_full_version": "3.11.2",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}
_GLIBC = range(17, 37)  # manylinux_2_17 to what Debian 12 has
_DOWNLOAD_S = 900.0


def prepared() -> Path:
    """The folder with `root` and `qemu-aarch64-static`, from the cache or made now. Raises GuestError."""
    recipe = repr((_SUITE, _PACKAGES, LOCK.read_text(encoding="utf-8"), Path(__file__).read_text(encoding="utf-8")))
    folder = CACHE / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    with locked(CACHE / "lock"):
        if not folder.exists():
            if os.geteuid() != 0:
                raise GuestError("making the arm64 root with debootstrap needs root; once made, it runs without")
            _make(folder)
    return folder


def for_the_board(lock: str) -> str:
    """The lock's requirements that hold on the board, with their hashes and without their markers: pip would read those
    by the machine on which it runs."""
    kept = []
    for block in re.split(r"\n(?=\S)", lock.strip()):
        head, _, hashes = block.partition(" \\\n")
        requirement = Requirement(head)
        if requirement.marker is None or requirement.marker.evaluate(_MARKERS):
            kept.append(f"{requirement.name}{requirement.specifier} \\\n{hashes}\n")
    return "".join(kept)


def _make(folder: Path) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was ended
    root = part / "root"
    root.mkdir(parents=True)
    print(f"making the arm64 root in {folder}: a minute, once", flush=True)
    _debian(root)
    _emulator(part)
    _wheels(part / "requirements.txt", root / SITE)
    part.rename(folder)


def _debian(root: Path) -> None:
    """Unpacked and not configured: Python needs no more, and configuring would run for minutes under emulation."""
    fetch = ["debootstrap", "--download-only", "--arch=arm64", "--variant=minbase", f"--include={_PACKAGES}"]
    run([*fetch, _SUITE, str(root), mirror()], timeout_s=_DOWNLOAD_S)
    for archive in sorted((root / "var/cache/apt/archives").glob("*.deb")):
        run(["dpkg-deb", "--extract", str(archive), str(root)], timeout_s=60)
        archive.unlink()


def _emulator(folder: Path) -> None:
    run(["env", f"--chdir={folder}", "apt-get", "download", "qemu-user-static"], timeout_s=_DOWNLOAD_S)
    (archive,) = folder.glob("qemu-user-static_*.deb")
    run(["dpkg-deb", "--extract", str(archive), str(folder / "qemu")], timeout_s=60)
    shutil.copy2(folder / "qemu/usr/bin/qemu-aarch64-static", folder)
    shutil.rmtree(folder / "qemu")
    archive.unlink()


def _wheels(requirements: Path, site: Path) -> None:
    requirements.write_text(for_the_board(LOCK.read_text(encoding="utf-8")), encoding="utf-8")
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in _GLIBC] + ["--platform=manylinux2014_aarch64"]
    run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--require-hashes", "--only-binary=:all:", "--implementation=cp", "--python-version=3.11"),
            *("--abi=cp311", "--abi=abi3", "--abi=none", *platforms),
            *("--no-compile", f"--target={site}", "-r", str(requirements)),
        ],
        timeout_s=_DOWNLOAD_S,
    )
