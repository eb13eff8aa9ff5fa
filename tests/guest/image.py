"""The guest's root disk: a small Debian with the kernel's modules, made once per recipe and kept.

    python -m tests.guest.image     make it now, and print where it is

Made by debootstrap as root, from the mirror that this machine's own apt uses; three to five minutes. It is in
.cache/guest/<hash of the recipe>/ and never written to again: every guest writes to an overlay of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.guest.disk import make_ext4
from tests.guest.tools import GuestError, run, why_not

CACHE = Path(__file__).parents[2] / ".cache" / "guest"
ADDRESS = "10.0.2.15"  # QEMU's user network gives its first guest this one
_ROOT_BYTES = 4 << 30  # sparse
_DEBOOTSTRAP_S = 1800.0
_SETUP_S = 1800.0

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "kmod",
    "iproute2",
    "e2fsprogs",
    "python3",
    "openssh-server",
    "linux-image-amd64",
)
_FILES = {
    "etc/hostname": "guest\n",
    "etc/fstab": "/dev/vda / ext4 noatime 0 1\n",
    "etc/systemd/network/guest.network": f"[Match]\nType=ether\n\n[Network]\nAddress={ADDRESS}/24\n",
}
_ENABLED = ("systemd-networkd.service",)
# What would wait for a network that there is not, or work at a time of its own choosing while something is measured.
MASKED = (
    "systemd-networkd-wait-online.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-tmpfiles-clean.timer",
)


@dataclass(frozen=True)
class Recipe:
    """What is in the image. More packages make another image beside this one.

    setup: a shell script that is run in it at the end, as root, with the network and apt at hand.
    """

    suite: str = "bookworm"
    packages: tuple[str, ...] = PACKAGES
    files: dict[str, str] = field(default_factory=lambda: dict(_FILES))
    enabled: tuple[str, ...] = _ENABLED
    masked: tuple[str, ...] = MASKED
    setup: str = ""
    root_bytes: int = _ROOT_BYTES

    @property
    def key(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Image:
    """A folder with what a guest starts from. Nobody writes to these files."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root.img"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.img"

    @property
    def ssh_key(self) -> Path:
        return self.folder / "ssh_key"


def image(recipe: Recipe | None = None) -> Image:
    """The image of a recipe, from the cache or made now. Raises GuestError."""
    recipe = recipe or Recipe()
    folder = CACHE / recipe.key
    with locked(CACHE / f"{recipe.key}.lock"):
        made = folder.exists()
        if (reason := why_not(build=not made)) is not None:
            raise GuestError(reason)
        if not made:
            _make(recipe, folder)
    return Image(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Two runs at once make a thing once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def mirror() -> str:
    """Where this machine's apt gets Debian from. Raises GuestError."""
    # As apt itself has understood its sources, in whichever of their formats they are written.
    filters = ("Created-By: Packages", "Origin: Debian", "Label: Debian")
    found = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", *filters], timeout_s=30).split()
    if not found:
        raise GuestError("apt has no list of Debian's packages; check its sources and run apt-get update")
    return found[0]


def _make(recipe: Recipe, folder: Path) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was ended
    root = part / "root"
    root.mkdir(parents=True)
    print(f"making the guest's root disk in {folder}: some minutes, once", flush=True)
    include = ",".join(recipe.packages)
    # In namespaces of its own: what it mounts and starts is gone with it, even when it is killed.
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    run(
        [*alone, "debootstrap", "--variant=minbase", f"--include={include}", recipe.suite, str(root), mirror()],
        timeout_s=_DEBOOTSTRAP_S,
        env={"DEBIAN_FRONTEND": "noninteractive"},
    )
    _set_up(recipe, root, part / "ssh_key")
    for name in ("vmlinuz", "initrd.img"):
        # A link that is absolute, and leads to the guest's root.
        (part / name).write_bytes((root / "boot" / Path(os.readlink(root / name)).name).read_bytes())
    make_ext4(part / "root.img", recipe.root_bytes, root)
    shutil.rmtree(root)
    part.rename(folder)


def _set_up(recipe: Recipe, root: Path, ssh_key: Path) -> None:
    for name, text in recipe.files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guest", "-f", str(ssh_key)], timeout_s=30)
    keys = root / "root/.ssh/authorized_keys"
    keys.parent.mkdir(mode=0o700, exist_ok=True)
    keys.write_text(ssh_key.with_suffix(".pub").read_text())
    units = root / "etc/systemd/system"
    for unit in recipe.masked:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    if recipe.enabled:
        run(["chroot", str(root), "systemctl", "enable", *recipe.enabled], timeout_s=60)
    if recipe.setup:
        alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "chroot", str(root)]
        run([*alone, "sh", "-ec", recipe.setup], timeout_s=_SETUP_S, env={"DEBIAN_FRONTEND": "noninteractive"})
    for archive in (root / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()


if __name__ == "__main__":
    print(image().folder)
