"""The durable queue between the stages and the link: accepted means on disk.

`put` returns when the event is committed and synced; one writer thread commits whatever waits at that moment
together. The link reads with `peek`, and `remove`s what the broker acknowledged. Nothing here knows the network.

When the bound is reached, the oldest of the least important stream go first, alerts last, and a "gap" message on the
alert stream says which. A damaged file is set aside under a dated name, not deleted here, and never stops the box.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from agent.alive import Signs, excused
from agent.clock import Clock, Stamp, SystemClock
from agent.contract.event import Body, Event, Gap, GapReason, NewLedger, Stream
from agent.contract.topics import check_id
from agent.contract.wire import body_json
from agent.errors import EventStoreError
from agent.outbox import salvage
from agent.outbox import store as sql
from agent.outbox.store import Position, Row, Store

_log = logging.getLogger(__name__)

_REMOVE_AFTER_S = 1.0  # acknowledged rows are deleted together: each commit of its own costs a sync and 9 kB of wear
_REMOVE_AT_ROWS = 500
_TIDY_EVERY_S = 10.0
_GIVE_BACK_STEPS = 8  # at each tidying, of 2 MB: what a week without a link has filled is free again minutes later
_EVICT_ROWS = 256
_RESERVE_BYTES = 3 * 1024 * 1024  # more than the log can hold, so that log and file can be mended on a full disk
_MAX_BODY_BYTES = 128 * 1024
_LATE_S = 10
# How long the writer's step may take. Cards stand still for seconds while they erase, and a tidying writes 16 MB. Of a
# damaged file, which may be as large as its bound, what can be saved is read row by row and written again.
_STEP_WITHIN_S = 120.0
_SALVAGE_WITHIN_S = 3600.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits for the link, its clock corrected as far as it can be now.

    boot: None when it happened in the boot that runs now. late_s: None when short, or not known.
    """

    row: Row
    time_ms: int
    clock_unset: bool
    boot: int | None
    late_s: int | None

    @property
    def position(self) -> Position:
        return self.row.era, self.row.seq


@dataclass(frozen=True, slots=True)
class StreamDepth:
    rows: int
    bytes: int
    last_seq: int
    acked_ms: int | None
    oldest_ms: int | None  # when the oldest waiting message happened, uncorrected


@dataclass(frozen=True, slots=True)
class Depth:
    """How full the outbox is. error: what keeps it from storing, None while all is well."""

    epoch: int
    boot: int
    max_bytes: int
    streams: dict[Stream, StreamDepth]
    error: str | None

    @property
    def rows(self) -> int:
        return sum(stream.rows for stream in self.streams.values())

    @property
    def bytes(self) -> int:
        return sum(stream.bytes for stream in self.streams.values())

    @property
    def oldest_ms(self) -> int | None:
        return min((s.oldest_ms for s in self.streams.values() if s.oldest_ms is not None), default=None)

    @property
    def last(self) -> dict[str, int]:
        """Last number given out per stream, as `state` and `health` say it."""
        return {name.value: stream.last_seq for name, stream in self.streams.items() if stream.last_seq}


@dataclass(eq=False, slots=True)
class _Request:
    """Work for the writer. act runs inside a transaction and may run again in another if that one failed."""

    act: Callable[[Store], None]
    important: bool = False  # alerts: worth evicting lesser rows for on a full disk
    frees: bool = False  # makes room: may use the reserve
    error: str | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Outbox:
    """Opens or makes the file at path. Any number of threads may use it.

    max_bytes bounds the messages waiting (the file is about as large, plus 2 MB of log and 3 MB of reserve);
    alert_reserve_bytes of it are for alerts alone.
    Raises EventStoreError only if another process has the file; a damaged or unwritable one is reported by `put`
    and `depth`, and tried again.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 512 * 1024 * 1024,
        alert_reserve_bytes: int = 32 * 1024 * 1024,
        clock: Clock | None = None,
    ) -> None:
        if not 0 <= alert_reserve_bytes < max_bytes:
            raise ValueError(f"alert_reserve_bytes {alert_reserve_bytes}: wanted 0 to less than max_bytes {max_bytes}")
        self.path = path
        self.signs = Signs("outbox", clock or SystemClock())
        self._max_bytes = max_bytes
        self._bulk_bytes = max_bytes - alert_reserve_bytes
        self._clock = clock or SystemClock()
        self._wake: Callable[[], None] = lambda: None
        self._changed = threading.Condition()
        self._requests: list[_Request] = []
        self._removals: dict[Stream, list[Position]] = {stream: [] for stream in Stream}
        self._removals_since_s: float | None = None
        self._closing = False
        self._error: str | None = None
        self._store: Store | None = None
        self._refused_in_log = False  # a commit failed: remains of it may lie behind those that count
        self._damage: sqlite3.Error | None = None  # found in the file: it is to be set aside before anything else
        self._identity = sql.Identity(1, 0, 1, self._clock.boot_id)
        self._read_lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._lock_fd: int | None = self._claim()
        self._reserve = _Reserve(path.with_name(path.name + ".reserve"))
        try:
            self._ready()
        except (sqlite3.Error, OSError) as exc:
            self._fail(exc)
        self._tidied_s = time.monotonic()
        self._writer = threading.Thread(target=self._run, name="outbox-writer", daemon=True)
        self._writer.start()

    # ---- for the stages -------------------------------------------------------------------------------------------

    def put(self, *events: Event) -> None:
        """Store events, all or none. Returns when they are on disk.

        Raises EventStoreError if they could not be stored: the caller still has them and tries again. Raises ValueError
        for a source that cannot stand in a topic.
        """
        if not events:
            return
        rows = [(event.stream, check_id(event.source, "source"), _encoded(event.body), event.stamp) for event in events]

        def act(store: Store) -> None:
            for row in rows:
                store.insert(*row)

        self._do(_Request(act, important=all(event.stream is Stream.ALERT for event in events)))

    # ---- for the link ---------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return self._identity.epoch

    @property
    def boot(self) -> int:
        return self._identity.boot

    @property
    def boot_id(self) -> str:
        return self._identity.boot_id

    def on_stored(self, wake: Callable[[], None]) -> None:
        """Call wake, from the writer's thread, whenever new rows are on disk. It must be quick and not raise."""
        self._wake = wake

    def peek(self, stream: Stream, after: Position = (0, 0), limit: int = 200) -> list[Waiting]:
        """The next waiting messages of a stream, in order, from after on. Raises EventStoreError."""
        store = self._store
        if store is None:
            # A log that the writer has not taken over may end in commits that were never synced: sent now and lost with
            # the disk, their numbers would come again.
            raise EventStoreError(self._error or f"{self.path}: not open")
        if stream is Stream.ALERT and store.has_gaps:
            self._do(_Request(self._announce_gaps, important=True, frees=True))
        try:
            with self._read_lock:
                rows = sql.read_rows(self._open_reader(), stream, after, limit)
        except (sqlite3.Error, OSError) as exc:
            raise self._read_failed(exc, store) from exc
        now = self._clock.stamp()
        return [self._corrected(row, now) for row in rows]

    def remove(self, stream: Stream, positions: list[Position]) -> None:
        """Forget acknowledged messages: soon, together with others. One that comes back after a crash is sent again."""
        with self._changed:
            self._removals[stream] += positions
            if self._removals_since_s is None:
                self._removals_since_s = time.monotonic()
                self._changed.notify()
            elif sum(map(len, self._removals.values())) >= _REMOVE_AT_ROWS:
                self._changed.notify()

    def set_aside(self, waiting: Waiting, reason: GapReason) -> None:
        """Take a message that can never be delivered out of the way; a gap notice follows. Raises EventStoreError."""
        self._do(_Request(lambda store: store.set_aside(waiting.row, reason), frees=True))

    # ---- for health and for the end --------------------------------------------------------------------------------

    def depth(self) -> Depth:
        """A snapshot; acknowledged rows leave it within a second or so."""
        counters = self._store.counters if self._store else {stream: sql.Counter() for stream in Stream}
        streams = {}
        for stream, counter in counters.items():
            oldest_ms = None
            if counter.rows:
                with suppress(sqlite3.Error, OSError), self._read_lock:
                    rows = sql.read_rows(self._open_reader(), stream, (0, 0), 1)
                    oldest_ms = rows[0].wall_ms if rows else None
            streams[stream] = StreamDepth(counter.rows, counter.bytes, counter.last_seq, counter.acked_ms, oldest_ms)
        return Depth(self.epoch, self.boot, self._max_bytes, streams, self._error)

    def flush(self) -> None:
        """Delete what was acknowledged now. Raises EventStoreError."""
        self._do(_Request(lambda store: None, frees=True))

    def close(self) -> None:
        """Finish what waits, put the log into the file, let go of it. May be called twice."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._writer.join()
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    # ---- the writer's thread ---------------------------------------------------------------------------------------

    def _do(self, request: _Request) -> None:
        with self._changed:
            if self._closing:
                raise EventStoreError(f"{self.path}: closed")
            self._requests.append(request)
            self._changed.notify()
        with excused():  # the writer gives signs of its own
            request.done.wait()
        if request.error is not None:
            raise EventStoreError(request.error)

    def _run(self) -> None:
        while True:
            self.signs.give(_STEP_WITHIN_S)
            with self._changed:
                while not self._something_to_do() and (left_s := self._left_s()) > 0:
                    self._changed.wait(left_s)  # not wait_for: what is waited for changes with the first removal
                requests, self._requests = self._requests, []
                removals, self._removals = self._removals, {stream: [] for stream in Stream}
                self._removals_since_s = None
                closing = self._closing
            removal = self._removal(removals) if any(removals.values()) else None
            if removal:
                requests.insert(0, removal)
            if requests:
                try:
                    self._serve(requests)
                except Exception as exc:
                    # A bug of ours. Whoever waits must hear of it: a thread that dies here would stop every stage.
                    _log.exception("outbox: an error that should not happen")
                    for request in requests:
                        request.error = f"{self.path}: {type(exc).__name__}: {exc}"
                        request.done.set()
            if removal and removal.error:
                for stream, positions in removals.items():
                    self.remove(stream, positions)
            if closing and not self._requests:
                break
            if time.monotonic() - self._tidied_s >= _TIDY_EVERY_S:
                self._tidy()
        self._shut()
        self.signs.end()

    def _something_to_do(self) -> bool:
        return (
            bool(self._requests)
            or self._closing
            or sum(map(len, self._removals.values())) >= _REMOVE_AT_ROWS
            or (self._removals_since_s is not None and time.monotonic() - self._removals_since_s >= _REMOVE_AFTER_S)
        )

    def _left_s(self) -> float:
        """How long there is nothing to do if nobody asks for anything."""
        until_s = self._tidied_s + _TIDY_EVERY_S
        if self._removals_since_s is not None:
            until_s = min(until_s, self._removals_since_s + _REMOVE_AFTER_S)
        return until_s - time.monotonic()

    def _removal(self, removals: dict[Stream, list[Position]]) -> _Request:
        acked_ms = self._clock.stamp().wall_ms

        def act(store: Store) -> None:
            for stream, positions in removals.items():
                if positions:
                    store.remove(stream, positions, acked_ms)

        return _Request(act, frees=True)

    def _serve(self, requests: list[_Request]) -> None:
        """One commit for all; what that commit's failure means for each."""
        error = self._try(requests)
        if error is not None and isinstance(error, sqlite3.Error) and sql.is_full(error):
            # Removals need room in the log too. Make it from the reserve, then see who can be served.
            freeing = [request for request in requests if request.frees]
            important = [request for request in requests if request.important and not request.frees]
            if freeing or important:
                self._free_space(freeing, evict=bool(important))
                if important:
                    self._try(important)
        for request in requests:
            request.done.set()
        if not all(request.error for request in requests):
            self._wake()

    def _try(self, requests: list[_Request]) -> Exception | None:
        """Do requests in one transaction; on failure each carries the error's words."""
        failure: Exception | None = None
        for attempt in (1, 2):
            try:
                store = self._ready()
                with store.transaction():
                    for request in requests:
                        request.act(store)
                    self._keep_bounds(store)
                    self._note_clock(store)
            except (sqlite3.Error, OSError) as exc:
                failure = exc
                words = self._fail(exc)
                if attempt == 1 and isinstance(exc, sqlite3.Error) and sql.is_damage(exc):
                    continue  # the damaged file is closed and will be set aside: once more, in the new one
                for request in requests:
                    request.error = words
                return failure
            for request in requests:
                request.error = None
            self._error = None
            if self._refused_in_log:
                with suppress(sqlite3.Error):
                    self._refused_in_log = not store.checkpoint()
            return None
        return failure

    def _note_clock(self, store: Store) -> None:
        """Once the wall clock is set, events that happened before it can be dated, even after the next boot."""
        now = self._clock.stamp()
        if now.trusted:
            store.note_clock(store.identity.boot, now.wall_ms - now.mono_ms)

    def _keep_bounds(self, store: Store) -> None:
        while True:
            alert, count, reading = (store.counters[stream] for stream in Stream)
            bulk_over = count.bytes + reading.bytes > self._bulk_bytes
            if not bulk_over and alert.bytes + count.bytes + reading.bytes <= self._max_bytes:
                return
            least = Stream.READING if reading.rows else Stream.COUNT if count.rows else Stream.ALERT
            if not store.evict(least, _EVICT_ROWS):
                return

    def _free_space(self, freeing: list[_Request], *, evict: bool) -> None:
        """On a full disk: spend the reserve on deleting, so that the file has free pages again."""

        def drop_least_important(store: Store) -> None:
            for stream in (Stream.READING, Stream.COUNT):
                if store.evict(stream, _EVICT_ROWS):
                    return

        self._reserve.release()
        with suppress(sqlite3.Error):  # then the deletion below fails too, and says so
            self._ready().checkpoint()
        self._try([*freeing, _Request(drop_least_important)] if evict else freeing)
        with suppress(sqlite3.Error):
            self._ready().checkpoint()
        self._reserve.restore()

    def _announce_gaps(self, store: Store) -> None:
        stamp = self._clock.stamp()
        for stream, epoch, reason, first, last in store.take_gaps():
            of = epoch if epoch != store.identity.epoch else None
            notice = Gap(stream=stream, first=first, last=last, reason=reason, of=of)
            store.insert(Stream.ALERT, "box", body_json(notice), stamp)

    def _tidy(self) -> None:
        """Now and then: a short log, unused pages given back, the reserve there again."""
        self._tidied_s = time.monotonic()
        try:
            store = self._ready()
            with store.transaction():
                self._note_clock(store)
            for _ in range(_GIVE_BACK_STEPS):
                if self._requests or store.unused_pages() <= 2 * sql.WAL_PAGES:
                    break
                store.give_back(sql.WAL_PAGES)
            store.checkpoint()
        except (sqlite3.Error, OSError) as exc:
            self._fail(exc)
        self._reserve.restore()

    def _shut(self) -> None:
        self._close_reader()
        if self._store:
            with suppress(sqlite3.Error):  # what is committed is in the log, and read from there next time
                self._store.checkpoint()
            self._store.close()
            self._store = None

    # ---- opening, failing, mending ---------------------------------------------------------------------------------

    def _ready(self) -> Store:
        """The open store; opens it if need be, and sets a damaged one aside."""
        if self._store is None:
            damaged = self._damage if self.path.exists() else None
            self._store = self._replace_damaged(damaged) if damaged else self._open()
            self._damage = None
            self._identity = self._store.identity
            self._reserve.restore()
        return self._store

    def _open(self) -> Store:
        self._finish_replacing()
        try:
            return Store(self.path, self._clock.boot_id)
        except sqlite3.Error as exc:
            if not sql.is_damage(exc):
                raise
            return self._replace_damaged(exc)

    def _fail(self, exc: Exception) -> str:
        """Remember why it does not store. Only what this connection can never mend leads to a new one."""
        words = f"{self.path}: cannot store events: {exc}"
        self._refused_in_log = True
        if isinstance(exc, sqlite3.Error):
            if sql.is_full(exc):
                words += "; free some space on this disk, alerts are kept at the expense of counts and readings"
            if sql.is_damage(exc):
                self._damage = exc
            # After a failed sync the refused rows are in the log, whole but for their sync. This connection will write
            # over them; a new one would find them there and take them for accepted.
            if self._store is not None and (sql.is_damage(exc) or sql.is_closed_to_us(exc)):
                self._store.close()
                self._store = None
        if words != self._error:
            _log.error("%s", words)
        self._error = words
        return words

    def _replace_damaged(self, exc: sqlite3.Error) -> Store:
        """A new file in place of a damaged one, with what can be read of it. May be interrupted anywhere."""
        self.signs.give(_SALVAGE_WITHIN_S)
        self._close_reader()
        aside = _free_name(self.path)
        saved = self._build_replacement(exc, aside.name)
        # The log goes with its file, under the name SQLite looks for: the newest rows may be in it alone.
        for suffix in ("", "-wal"):
            salvage.second_name(Path(f"{self.path}{suffix}"), Path(f"{aside}{suffix}"))
        os.replace(f"{self.path}.part", f"{self.path}.new")  # from here on the new one counts
        self._finish_replacing()
        _log.error("%s: damaged (%s); kept as %s, %d messages saved, new epoch", self.path, exc, aside.name, saved)
        return Store(self.path, self._clock.boot_id)

    def _build_replacement(self, exc: sqlite3.Error, aside: str) -> int:
        part = Path(f"{self.path}.part")
        with salvage.readable(self.path) as readable:
            was = salvage.read_identity(readable)
            known = was or (self._identity if self._identity.epoch else None)
            # Without a copy of the rows if there is no room for one: the damaged file keeps them, and gaps name them.
            for copy in (True, False):
                salvage.forget(part)
                store = Store(part, self._clock.boot_id, after=known)
                try:
                    with store.transaction():
                        saved, lost = salvage.salvage(readable, store, copy=copy)
                        notice = NewLedger(of=was.epoch if was else None, salvaged=saved, reason=str(exc), file=aside)
                        store.insert(Stream.ALERT, "box", body_json(notice), self._clock.stamp())
                        for stream, epoch, first, last in lost:
                            store.note_gap(stream, epoch, "corrupt", first, last)
                    store.checkpoint()
                    break
                except sqlite3.Error as trouble:
                    if not (copy and sql.is_full(trouble)):
                        raise
                finally:
                    store.close()
        return saved

    def _finish_replacing(self) -> None:
        """Put a complete replacement in its place; the old log must be gone before, or it would be applied to it."""
        new = Path(f"{self.path}.new")
        if new.exists():
            for suffix in ("-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            os.replace(new, self.path)

    def _close_reader(self) -> None:
        with self._read_lock:
            if self._reader:
                self._reader.close()
                self._reader = None

    def _open_reader(self) -> sqlite3.Connection:
        if self._reader is None:
            self._reader = sql.connect(self.path, read_only=True)
            self._reader.execute(sql.SMALL_CACHE)
        return self._reader

    def _read_failed(self, exc: Exception, read: Store) -> EventStoreError:
        self._close_reader()
        if isinstance(exc, sqlite3.Error) and sql.is_damage(exc):

            def tell_the_writer(store: Store) -> None:
                if store is read:  # not if it has met the damage itself meanwhile, and has a new file
                    raise exc

            with suppress(EventStoreError):
                self._do(_Request(tell_the_writer))
        return EventStoreError(f"{self.path}: cannot read events: {exc}")

    def _claim(self) -> int:
        """Hold a lock for this process's life: two agents with one outbox would number messages twice."""
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as exc:
                if exc.errno != errno.EROFS:
                    raise
                fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)  # enough to hold it; the disk may come back
        except OSError as exc:
            raise EventStoreError(f"{lock}: {exc.strerror}; the outbox needs a folder it may write to") from exc
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(fd)
            raise EventStoreError(f"{self.path}: another agent is using this outbox; stop it first") from exc
        return fd

    def _corrected(self, row: Row, now: Stamp) -> Waiting:
        """Row times as well as they are known now: in this boot the monotonic clock tells how long ago it was, and what
        happened in an earlier one is dated by when that boot began, if its wall clock was ever set."""
        this_boot = row.boot == self.boot
        age_ms = now.mono_ms - row.mono_ms if this_boot else None
        time_ms, known = row.wall_ms, row.clock_ok
        if not known and now.trusted and age_ms is not None:
            time_ms, known = now.wall_ms - age_ms, True
        elif not known and not this_boot and self._store and (began_ms := self._store.began_ms.get(row.boot)):
            time_ms, known = began_ms + row.mono_ms, True
        if age_ms is None and known and now.trusted:
            age_ms = now.wall_ms - time_ms
        late_s = age_ms // 1000 if age_ms is not None and age_ms >= _LATE_S * 1000 else None
        return Waiting(row, time_ms, not known, None if this_boot else row.boot, late_s)


class _Reserve:
    """A file of nothing, given up when the disk is full so that rows can be deleted."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def restore(self) -> None:
        with suppress(OSError):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(fd).st_size < _RESERVE_BYTES:
                    os.posix_fallocate(fd, 0, _RESERVE_BYTES)
            except OSError:
                os.ftruncate(fd, 0)  # half a reserve is none, and keeps the space from others
            finally:
                os.close(fd)

    def release(self) -> None:
        with suppress(OSError):
            os.truncate(self._path, 0)


def _encoded(body: Body) -> str:
    text = body_json(body)
    if len(text.encode()) > _MAX_BODY_BYTES:
        raise EventStoreError(
            f"event of kind {getattr(body, 'kind', '?')}: {len(text)} bytes, at most {_MAX_BODY_BYTES}"
        )
    return text


def _free_name(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    candidate = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 2
    while candidate.exists():
        candidate = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
        number += 1
    return candidate
