"""The file behind it: one line for each entry, `<hash> <entry as canonical JSON>`, each naming the hash before it.

    audit/000000000001.log      named by the first entry in it; a new one is begun when it is large

Several processes write it, the agent and verbs that a technician runs, so each write holds a lock on the folder's
file `lock` and continues from what is there. An entry is on the disk when `note` has returned. Whoever can write the
file can forge all of it; that shows when it is held against what was published on the ledger.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.clock import Clock
from agent.contract.audit import FIRST, canonical, hash_of, sealed
from agent.contract.event import Audit, Outcome, Via
from agent.contract.wire import PayloadError, read_body
from agent.durable import sync_folder

_log = logging.getLogger(__name__)

_FILE_BYTES = 4 << 20
_MOST_FILES = 8
_MAX_LINE = 16 * 1024
_LONGEST = 500  # characters of what and why
_NAME = re.compile(r"[0-9]{12}\.log")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def folder_beside(outbox: Path) -> Path:
    """Where it is for a box whose outbox is there."""
    return outbox.with_name("audit")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be noted. See contract's Audit for the fields."""

    did: str
    outcome: Outcome
    by: str
    via: Via
    role: str | None = None
    id: str | None = None
    what: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """entries: read and fine. last: the newest of them. trouble: where the chain is broken, in words; None: nowhere.

    begins: the number of the first entry that is kept; older ones have had their time.
    """

    entries: int
    begins: int
    last: Audit | None
    trouble: str | None


class AuditLog:
    """Any number of threads and processes may use it."""

    def __init__(self, folder: Path, *, clock: Clock, file_bytes: int = _FILE_BYTES) -> None:
        self.folder = folder
        self._clock = clock
        self._file_bytes = file_bytes

    def note(self, entry: Entry) -> Audit:
        """Append it, durably. Raises OSError where the disk does not take it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(self.folder):
            path, last = self._end()
            stamp = self._clock.stamp()
            body = Audit(
                n=1 if last is None else last.n + 1,
                at=stamp.wall_ms if stamp.trusted else None,
                via=entry.via,
                by=_plain(entry.by, 140),
                role=entry.role,
                did=_plain(entry.did, 64),
                outcome=entry.outcome,
                id=None if entry.id is None else _plain(entry.id, 64),
                what=None if entry.what is None else _plain(entry.what, _LONGEST),
                why=None if entry.why is None else _plain(entry.why, _LONGEST),
                before=FIRST if last is None else last.hash,
                hash="",
            )
            body = sealed(body)
            if path is None or path.stat().st_size > self._file_bytes:
                path = self.folder / f"{body.n:012}.log"
            _append(path, _line(body))
            for old in _files(self.folder)[:-_MOST_FILES]:
                old.unlink()
            return body

    def since(self, n: int) -> list[Audit]:
        """The entries after number n, oldest first. Raises OSError; what cannot be read is passed over."""
        found = []
        files = _files(self.folder)
        for path, after in zip(files, [*files[1:], None], strict=True):
            if after is not None and int(after.stem) <= n + 1:
                continue
            for line in path.read_bytes().splitlines():
                try:
                    entry = _read(line)
                except PayloadError:
                    continue  # `audit verify` says so
                if entry.n > n:
                    found.append(entry)
        return found

    def _end(self) -> tuple[Path | None, Audit | None]:
        """The file that is written, and the last entry in it. What a power cut left of a line goes."""
        files = _files(self.folder)
        if not files:
            return None, None
        path = files[-1]
        with path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - _MAX_LINE, 0))
            tail = file.read()
            whole, _, rest = tail.rpartition(b"\n")
            if rest:
                _log.warning("%s: %d bytes of an entry that was never finished are taken away", path, len(rest))
                file.truncate(end - len(rest))
                os.fsync(file.fileno())
        if not whole:
            # Begun, and its first line never finished: the one before it goes on.
            path.unlink()
            return self._end()
        try:
            return path, _read(whole.rpartition(b"\n")[2])
        except PayloadError as exc:
            raise OSError(f"{path}: its last entry cannot be read ({exc}); see `audit verify`, move it away") from exc


def verify(folder: Path) -> Verdict:
    """Walk the whole chain. Raises OSError for files that cannot be read."""
    last: Audit | None = None
    count, begins = 0, 0
    for path in _files(folder):
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
            where = f"{path}, line {number}"
            if not line.endswith(b"\n"):
                return Verdict(count, begins, last, f"{where}: not finished; a power cut, or somebody cut it off")
            try:
                entry = _read(line[:-1])
            except PayloadError as exc:
                return Verdict(count, begins, last, f"{where}: cannot be read: {exc}")
            if (found := hash_of(entry)) != entry.hash:
                return Verdict(count, begins, last, f"{where}: entry {entry.n} was changed: its hash is {found}, and "
                               f"it says {entry.hash}")  # fmt: skip
            wanted_n = entry.n if last is None else last.n + 1
            wanted = (FIRST if entry.n == 1 else entry.before) if last is None else last.hash
            if entry.n != wanted_n or entry.before != wanted:
                return Verdict(count, begins, last, f"{where}: found entry {entry.n} after {entry.before}; "
                               f"wanted {wanted_n} after {wanted}: something was taken out or put in")  # fmt: skip
            begins = begins or entry.n
            last = entry
            count += 1
    return Verdict(count, begins, last, None)


def _line(entry: Audit) -> bytes:
    return entry.hash.encode() + b" " + canonical(entry) + b"\n"


def _read(line: bytes) -> Audit:
    """Raises PayloadError."""
    found_hash, _, text = line.partition(b" ")
    try:
        fields = json.loads(text)
        body = read_body(json.dumps({**fields, "kind": "audit", "hash": found_hash.decode()}))
    except (ValueError, TypeError, RecursionError) as exc:  # PayloadError is a ValueError
        raise PayloadError(f"{line[:60]!r} is no entry") from exc
    assert isinstance(body, Audit)
    return body


def _append(path: Path, line: bytes) -> None:
    is_new = not path.exists()
    with open(path, "ab", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        if is_new and os.geteuid() == 0:
            folder = path.parent.stat()  # written by a verb with sudo, and the service's all the same
            os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
        before = file.tell()
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)  # half of it would stand in the way of the next
            raise
    if is_new:
        sync_folder(path.parent)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.geteuid() == 0:
            owner = folder.stat()
            os.fchown(fd, owner.st_uid, owner.st_gid)
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except FileNotFoundError:
        return []


def _plain(text: str, longest: int) -> str:
    """One line that can be shown, and no longer than that."""
    text = _UNPRINTABLE.sub("?", text)
    return text if len(text) <= longest else text[: longest - 1] + "…"
