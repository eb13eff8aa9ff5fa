"""The box's disk: a small ext4 of its own, so that it can be full, broken or read-only without harm to this machine.

Without root it is a plain folder, and the faults that need a real file system are left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

_SIZE_BYTES = 40 * 1024 * 1024
_CORRECTED = 1  # what e2fsck says when it has mended something


def why_not() -> str | None:
    """Why there can be no file system of our own here, or None."""
    if os.geteuid() != 0:
        return "mounting a small file system needs root"
    if shutil.which("mkfs.ext4") is None:
        return "no mkfs.ext4; apt-get install e2fsprogs"
    return None


class Disk:
    """`folder` is where it is mounted. real: it is a file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "disk"
        self._image = folder / "disk.img"
        self.real = False

    def __enter__(self) -> Disk:
        self.folder.mkdir()
        if why_not() is None:
            self._image.touch()
            os.truncate(self._image, _SIZE_BYTES)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-b", "4096", str(self._image)], check=True)
            self.real = self._mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.real:
            subprocess.run(["umount", str(self.folder)], check=True)

    def fill(self) -> None:
        """Take every byte that is left."""
        with (self.folder / "hog").open("ab", buffering=0) as out:
            for size in (1 << 20, 4096, 512):
                while True:
                    try:
                        if out.write(b"\0" * size) < size:
                            break
                    except OSError:
                        break

    def free(self) -> None:
        (self.folder / "hog").unlink(missing_ok=True)

    def break_down(self) -> None:
        """As an SD card does: the kernel gives up on it, and every write from now on fails. No process is asked."""
        subprocess.run(["mount", "-o", "remount,abort", str(self.folder)], check=True)

    def repair(self) -> None:
        """What a restart of the box does; nobody may have a file open."""
        subprocess.run(["umount", str(self.folder)], check=True)
        # As another file: whoever on this machine has made a mount namespace meanwhile (`unshare --mount`) still holds
        # the file system that broke, and as long as it lives, a mount of the same file gives that one again.
        repaired = self._image.with_suffix(".repaired")
        shutil.copyfile(self._image, repaired)
        os.replace(repaired, self._image)
        done = subprocess.run(["e2fsck", "-p", str(self._image)], check=False, capture_output=True, text=True)
        assert done.returncode in (0, _CORRECTED), f"e2fsck: {done.returncode}\n{done.stdout}{done.stderr}"
        assert self._mount(), f"{self._image}: cannot be mounted again"

    def read_only(self, on: bool) -> None:
        subprocess.run(["mount", "-o", f"remount,{'ro' if on else 'rw'}", str(self.folder)], check=True)

    def _mount(self) -> bool:
        command = ["mount", "-o", "loop", str(self._image), str(self.folder)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
