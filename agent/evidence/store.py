"""The folder of pictures: `<id>.jpg`, and beside it an empty `<id>.send` while it is still to be sent. (Another one,
with another suffix, holds what the doctor wrote.)

Stored means on the disk: when `put` has returned, the alert may name the picture. Bounded by bytes and by age; the
oldest go first, those still to be sent last. An id is `<number>-<random>`: numbers rise, so that the order needs no
clock, and the random part never repeats, so that an old alert never fetches a new picture, even if the folder was lost.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agent.clock import Clock, SystemClock
from agent.contract.event import Evidence
from agent.durable import sync_folder
from agent.evidence.picture import as_jpeg

_log = logging.getLogger(__name__)

_ID = re.compile(r"([0-9]{1,12})-[0-9a-f]{12}")
_BLOCK_BYTES = 4096  # what a file takes on a disk is whole blocks
_DAY_S = 86_400.0
_TIDY_EVERY_S = 60.0
_UNDATED = 0  # modification time of a picture stored while the clock was not set


@dataclass(slots=True)
class _Kept:
    bytes: int
    stored_s: float  # UTC, Unix seconds; _UNDATED
    waits: bool = False  # to be sent


@dataclass(frozen=True, slots=True)
class Holding:
    """What the store holds. not_stored: pictures that had to be given up since start, error: why the last one was."""

    pictures: int
    bytes: int
    max_bytes: int
    waiting: int
    not_stored: int
    error: str | None


class EvidenceStore:
    """Any number of threads may use it. Raises nothing for what the disk does: a picture is worth less than its alert.

    send: mark every picture to be sent. Without, only those that are asked for.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        max_days: float,
        send: bool = False,
        clock: Clock | None = None,
        suffix: str = ".jpg",
    ) -> None:
        self.folder = folder
        self._suffix = suffix
        self.max_days = max_days
        self._max_bytes = max_bytes
        self._send = send
        self._clock = clock or SystemClock()
        self._wake: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}  # by id, oldest first
        self._bytes = 0
        self._next = 1
        self._tidy_at_s = 0.0
        self._not_stored = 0
        self._error: str | None = None
        self._find()
        self.tidy()

    def put(self, jpeg: bytes) -> Evidence | None:
        """Store one picture, durably; what an alert says of it, or None if the disk did not take it."""
        with self._lock:
            evidence_id = f"{self._next}-{secrets.token_hex(6)}"
            self._next += 1
            self._make_room(_on_disk(len(jpeg)))
            self._bytes += _on_disk(len(jpeg))
        now = self._clock.stamp()
        try:
            self._write(evidence_id, jpeg, dated=now.trusted)
        except OSError as exc:
            with self._lock:
                self._bytes -= _on_disk(len(jpeg))
                self._not_stored += 1
                self._failed("no picture can be stored, alerts go without", exc)
            return None
        with self._lock:
            self._error = None
            self._kept[evidence_id] = _Kept(len(jpeg), now.wall_ms / 1000 if now.trusted else _UNDATED, self._send)
        if self._send:
            self._wake()
        return Evidence(id=evidence_id, sha256=hashlib.sha256(jpeg).hexdigest(), bytes=len(jpeg))

    def put_picture(self, picture_bgr: npt.NDArray[np.uint8]) -> Evidence | None:
        """As put, of a picture, uint8 (h, w, 3), that is no JPEG yet."""
        return self.put(as_jpeg(picture_bgr))

    def on_waiting(self, wake: Callable[[], None]) -> None:
        """Call wake from whatever thread marked a picture to be sent. One listener; it must not block."""
        self._wake = wake

    def request(self, evidence_id: str) -> int | None:
        """Mark a picture to be sent; its size in bytes, or None if it is not here (any more)."""
        with self._lock:
            kept = self._kept.get(evidence_id)  # no path is made of an id that is not ours
            if kept is None:
                return None
            kept.waits = True
            with suppress(OSError):  # a disk that takes no mark: it is sent all the same, unless the power fails first
                self._mark(evidence_id).touch()
                sync_folder(self.folder)
        self._wake()
        return kept.bytes

    def waiting(self) -> list[str]:
        """Ids of the pictures to be sent, oldest first."""
        with self._lock:
            return [evidence_id for evidence_id, kept in self._kept.items() if kept.waits]

    def has(self, evidence_id: str) -> bool:
        with self._lock:
            return evidence_id in self._kept

    def read(self, evidence_id: str) -> bytes | None:
        """The JPEG, or None if it is not here any more."""
        with self._lock:
            if evidence_id not in self._kept:
                return None
            try:
                return self._picture(evidence_id).read_bytes()
            except OSError as exc:
                self._failed(f"{evidence_id}{self._suffix} cannot be read", exc)
                self._forget(evidence_id)
                return None

    def settle(self, evidence_id: str) -> None:
        """It need not be sent (again): it has arrived, or never will."""
        with self._lock:
            if evidence_id in self._kept:
                self._kept[evidence_id].waits = False
            with suppress(OSError):  # then it is sent once more after a restart
                self._mark(evidence_id).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Delete what is too old; call it often, it works once a minute. Ages count while the clock can be believed."""
        now, mono_s = self._clock.stamp(), self._clock.mono_s()
        if not now.trusted or mono_s < self._tidy_at_s:
            return
        self._tidy_at_s = mono_s + _TIDY_EVERY_S
        now_s = now.wall_ms / 1000
        with self._lock:
            kept = list(self._kept.items())
        for evidence_id, one in kept:
            if one.stored_s == _UNDATED or one.stored_s > now_s + _DAY_S:
                # Stored by a clock that was not set, or ran ahead. Its time of keeping starts now.
                one.stored_s = now_s
                with suppress(OSError):
                    os.utime(self._picture(evidence_id), (now_s, now_s))
            elif now_s - one.stored_s > self.max_days * _DAY_S:
                with self._lock:  # for one at a time: a thousand deletions must not keep a camera waiting
                    if evidence_id in self._kept:
                        self._delete(evidence_id)

    def holding(self) -> Holding:
        with self._lock:
            waiting = sum(kept.waits for kept in self._kept.values())
            return Holding(len(self._kept), self._bytes, self._max_bytes, waiting, self._not_stored, self._error)

    def _find(self) -> None:
        """What is there from before, and remove what a power cut left half done. Names that are not ours are let be."""
        try:
            entries = list(os.scandir(self.folder))
        except FileNotFoundError:
            return  # made with the first picture
        except OSError as exc:
            self._failed("no picture can be stored, alerts go without", exc)
            return
        marks = {entry.name.removesuffix(".send") for entry in entries if entry.name.endswith(".send")}
        found: list[tuple[int, str, _Kept]] = []
        for entry in entries:
            name = _ID.fullmatch(entry.name.removesuffix(self._suffix))
            if name is not None and entry.name.endswith(self._suffix):
                with suppress(OSError):
                    stat = entry.stat(follow_symlinks=False)
                    evidence_id = name[0]
                    kept = _Kept(stat.st_size, stat.st_mtime, evidence_id in marks)
                    found.append((int(name[1]), evidence_id, kept))
            elif entry.name.endswith(".part") and _ID.fullmatch(entry.name.removesuffix(f"{self._suffix}.part")):
                with suppress(OSError):
                    os.unlink(entry.path)
        for _, evidence_id, kept in sorted(found, key=lambda one: one[0]):
            self._kept[evidence_id] = kept
            self._bytes += _on_disk(kept.bytes)
        self._next = max((number for number, _, _ in found), default=0) + 1
        for evidence_id in marks - self._kept.keys():
            if _ID.fullmatch(evidence_id):
                with suppress(OSError):
                    self._mark(evidence_id).unlink()

    def _write(self, evidence_id: str, jpeg: bytes, *, dated: bool) -> None:
        picture = self._picture(evidence_id)
        part = picture.with_name(picture.name + ".part")
        try:
            if not self.folder.exists():
                self.folder.mkdir(parents=True)
            with part.open("xb") as out:
                out.write(jpeg)
                out.flush()
                if not dated:
                    os.utime(out.fileno(), (_UNDATED, _UNDATED))
                os.fsync(out.fileno())
            if self._send:
                self._mark(evidence_id).touch()
            part.rename(picture)
            sync_folder(self.folder)
        except OSError:
            for path in (part, self._mark(evidence_id), picture):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            raise

    def _make_room(self, for_bytes: int) -> None:
        if self._bytes + for_bytes <= self._max_bytes:
            return
        in_order = [
            *(evidence_id for evidence_id, kept in self._kept.items() if not kept.waits),
            *(evidence_id for evidence_id, kept in self._kept.items() if kept.waits),
        ]
        for evidence_id in in_order:
            if self._bytes + for_bytes <= self._max_bytes:
                return
            self._delete(evidence_id)

    def _delete(self, evidence_id: str) -> None:
        try:
            self._picture(evidence_id).unlink(missing_ok=True)
            self._mark(evidence_id).unlink(missing_ok=True)
        except OSError as exc:  # what cannot be deleted still counts
            self._failed("old pictures cannot be deleted", exc)
            return
        self._forget(evidence_id)

    def _forget(self, evidence_id: str) -> None:
        self._bytes -= _on_disk(self._kept.pop(evidence_id).bytes)

    def _failed(self, what: str, exc: OSError) -> None:
        words = f"{self.folder}: {what}: {exc.strerror}"
        if words != self._error:  # one line for an outage
            _log.error("%s", words)
        self._error = words

    def _picture(self, evidence_id: str) -> Path:
        return self.folder / f"{evidence_id}{self._suffix}"

    def _mark(self, evidence_id: str) -> Path:
        return self.folder / f"{evidence_id}.send"


def _on_disk(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
