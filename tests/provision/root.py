"""A bare Debian: what debootstrap calls minimal, systemd, and nothing of ours; no Python. Made once, and kept."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tests.guest.image import MASKED, locked, mirror
from tests.guest.tools import run

TOP = Path(__file__).parents[2]
CACHE = TOP / ".cache" / "provision"
_SUITE = "bookworm"
_PACKAGES = ("systemd", "systemd-sysv", "dbus", "udev", "iproute2")
_DEBOOTSTRAP_S = 1800.0


def bare() -> Path:
    """The root, from the cache or made now. Nobody writes to it: a machine has an overlay. Raises GuestError."""
    recipe = repr((_SUITE, _PACKAGES, MASKED))
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
    print(f"making the bare Debian in {folder}: some minutes, once", flush=True)
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
    part.rename(folder)
