"""From an inbox into root's own folder: a copy that nobody else can change while it is verified and used.

The service's inbox belongs to a user that may have been taken over. So nothing in it is followed (no link anywhere on
the way), nothing is waited for (no pipe), and nothing is copied beyond the bound or into the last of the disk.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agent.durable import sync_folder
from agent.errors import UpdateRefused
from agent.update.archive import MAX_OVERHEAD_BYTES, SUFFIX
from agent.update.manifest import MAX_TOTAL_BYTES

_KEEP_FREE_BYTES = 64 << 20
_CHUNK = 1 << 20
_MAX_NAMES = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """A file in an inbox. source: what it is known by."""

    path: Path
    source: tuple[str, int, int]


def waiting(inbox: Path, *, within: Path) -> list[Found]:
    """The update files in an inbox, oldest first. within: the folder that may be trusted not to be a link."""
    found = []
    with _folder(inbox, within) as fd:
        if fd is None:
            return []
        for name in sorted(os.listdir(fd))[:_MAX_NAMES]:
            if not name.endswith(SUFFIX) or name.startswith("."):
                continue
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            found.append(Found(inbox / name, (str(inbox / name), info.st_ino, info.st_mtime_ns)))
    return sorted(found, key=lambda one: one.source[2])


@contextmanager
def opened(path: Path, *, within: Path) -> Iterator[BinaryIO]:
    """A plain file, for reading. Raises UpdateRefused for anything else, OSError."""
    with _folder(path.parent, within) as folder:
        if folder is None:
            raise UpdateRefused("it is not there")
        try:
            fd = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError as exc:
            raise UpdateRefused(f"it cannot be opened: {exc.strerror}; wanted a plain file") from exc
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise UpdateRefused("it is no plain file")
        with os.fdopen(fd, "rb") as file:
            yield file


def forget(source: tuple[str, int, int], *, within: Path) -> None:
    """Remove a file from its inbox, if it is still the same one."""
    path = Path(source[0])
    with _folder(path.parent, within) as folder:
        if folder is None:
            return
        try:
            info = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
            if (info.st_ino, info.st_mtime_ns) == source[1:]:
                if stat.S_ISDIR(info.st_mode):
                    shutil.rmtree(path.name, dir_fd=folder)
                else:
                    os.unlink(path.name, dir_fd=folder)
                os.fsync(folder)
        except FileNotFoundError:
            return


def copy(file: BinaryIO, target: Path) -> None:
    """On the disk when it returns, or not there. Raises UpdateRefused if it is too large for us or for the disk."""
    size = os.fstat(file.fileno()).st_size
    if size > MAX_TOTAL_BYTES + MAX_OVERHEAD_BYTES:
        raise UpdateRefused(f"it has {size} bytes; at most {MAX_TOTAL_BYTES} are taken")
    require_space(target.parent, size)
    try:
        with target.open("wb") as out:
            left = size
            while left and (chunk := file.read(min(left, _CHUNK))):
                out.write(chunk)
                left -= len(chunk)
            out.flush()
            os.fsync(out.fileno())
        sync_folder(target.parent)
    except OSError:
        target.unlink(missing_ok=True)
        raise


def require_space(folder: Path, wanted_bytes: int) -> None:
    """Raises UpdateRefused."""
    space = os.statvfs(folder)
    free_bytes = space.f_bavail * space.f_frsize
    if free_bytes < wanted_bytes + _KEEP_FREE_BYTES:
        raise UpdateRefused(
            f"the disk of {folder} is too full: {free_bytes >> 20} MB are free, "
            f"wanted {(wanted_bytes + _KEEP_FREE_BYTES) >> 20} MB"
        )


@contextmanager
def _folder(folder: Path, within: Path) -> Iterator[int | None]:
    """A descriptor of folder, by way of within and through no link below it. None: it is not there, or is no folder."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        fd = os.open(within, flags)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    try:
        for part in folder.relative_to(within).parts:
            try:
                inner = os.open(part, flags | os.O_NOFOLLOW, dir_fd=fd)
            except OSError:  # ELOOP and ENOTDIR for a link, ENOENT for nothing
                yield None
                return
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)
