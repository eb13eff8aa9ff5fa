"""Small files that survive a power cut: the old content or the new, never half of either."""

from __future__ import annotations

import logging
import os
from pathlib import Path

_log = logging.getLogger(__name__)


class Memo:
    """A small file that the next run of the agent reads. A disk that cannot be written costs what it would have held,
    with one line in the log until it can be written again, and its user nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._failing = False

    def write(self, content: bytes) -> bool:
        """Whole or not at all; whether it is on the disk now."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, content)
        except OSError as exc:
            if not self._failing:
                _log.warning("%s: cannot be written, so the next run will not know: %s", self.path, exc.strerror)
            self._failing = True
            return False
        self._failing = False
        return True


def write_whole(path: Path, content: bytes) -> None:
    """A rename is one step, and content and name are on the disk by then. Raises OSError."""
    _write(path, content, 0o666)


def write_private(path: Path, content: bytes) -> None:
    """As write_whole, for what nobody but the folder's owner may read, root's files in it included: a key made with
    sudo is the service's all the same. Raises OSError."""
    path.with_name(path.name + ".new").unlink(missing_ok=True)  # its mode would be kept
    _write(path, content, 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    new = path.with_name(path.name + ".new")
    with open(new, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        if mode == 0o600 and os.geteuid() == 0:
            folder = path.parent.stat()
            os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names durable: a file without its name in the folder is lost in a power cut. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
