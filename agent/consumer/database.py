"""The ingester's PostgreSQL: a batch goes in whole, or not at all.

pg8000 (BSD): plain Python, one connection, one thread. Locks are taken in one order (message, gap, ledger, box, and by
key within each), so that ingesters wait for each other and do not deadlock; where the server ends one of two all the
same, it is done again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pg8000.exceptions
import pg8000.native

from agent.consumer.rows import Record, Rows
from agent.errors import ConfigError, DatabaseDown
from agent.secret_file import warn_if_open
from agent.tls import client_context

_TIMEOUT_S = 60.0  # of one answer; a batch takes milliseconds
_AGAIN = {"40001", "40P01"}  # serialization failure, deadlock
_MOST_TRIES = 20
# Classes of SQLSTATE that are about what we sent: data that does not fit, rules that it breaks, limits that it exceeds.
_OURS = ("22", "23", "54")
_SETUP_LOCK = 7_105_701  # any number, the same for all ingesters
# By what the server says of them: wrong setup, which no waiting mends.
_SETUP = {"28000", "28P01", "3D000", "42501", "3F000", "42P01", "42703"}

_MESSAGES = """
with incoming as materialized (
  select * from json_to_recordset(:batch) as row(
    site text, box text, stream text, epoch bigint, seq bigint, source text, kind text, happened_ms bigint,
    clock_unset boolean, time_ms bigint, up_ms bigint, boot bigint, late_s bigint, received_ms bigint, body jsonb,
    gap_stream text, gap_epoch bigint, gap_first bigint, gap_last bigint, gap_reason text)
), stored as (
  insert into gateway.message
    (site, box, stream, epoch, seq, source, kind, happened, clock_unset, time_ms, up_ms, boot, late_s, received, body)
  select site, box, stream, epoch, seq, source, kind, to_timestamp(happened_ms / 1000.0), clock_unset, time_ms, up_ms,
    boot, late_s, to_timestamp(received_ms / 1000.0), body
  from incoming order by site, box, stream, epoch, seq
  on conflict do nothing
  returning site, box, stream, epoch, seq, kind
), excused as (
  insert into gateway.gap (site, box, stream, epoch, first, last, reason, said_epoch, said_seq)
  select site, box, gap_stream, gap_epoch, gap_first, gap_last, gap_reason, epoch, seq
  from stored join incoming using (site, box, stream, epoch, seq)
  where gap_stream is not null
  order by site, box, epoch, seq
  on conflict do nothing
  returning site, box, stream, epoch, first, last
), change as (
  select site, box, stream, epoch, null::int8range as seen, null::int8range as excused, 1 as arrived from incoming
  union all
  select site, box, stream, epoch, int8range(seq, seq, '[]'), null, -1 from stored
  union all
  select site, box, stream, epoch, null, int8range(first, last, '[]'), 0 from excused
), entered as (
  insert into gateway.ledger as l (site, box, stream, epoch, start, seen, excused, repeats, newest)
  select site, box, stream, epoch,
    case when :joining and not exists (
      select from gateway.ledger k where (k.site, k.box, k.stream) = (c.site, c.box, c.stream)
    ) then coalesce(lower(range_merge(range_agg(c.seen))), lower(range_merge(range_agg(c.excused))), 1) else 1 end,
    coalesce(range_agg(c.seen), '{}'), coalesce(range_agg(c.excused), '{}'), sum(arrived), now()
  from change c
  group by site, box, stream, epoch
  order by site, box, stream, epoch
  on conflict (site, box, stream, epoch) do update set
    start = least(l.start, lower(excluded.seen), lower(excluded.excused)),
    seen = l.seen + excluded.seen,
    excused = l.excused + excluded.excused,
    repeats = l.repeats + excluded.repeats,
    newest = excluded.newest
)
select count(*) from stored
"""
# A state that comes after a later one, through another ingester, is passed over as far as that can be told.
_STATES = """
insert into gateway.box as b (site, box, state, state_at, epoch, last)
select distinct on (site, box) site, box, said, to_timestamp(received_ms / 1000.0), epoch, last
from json_to_recordset(:batch)
  as row(site text, box text, said jsonb, received_ms bigint, epoch bigint, last jsonb, n int)
order by site, box, n desc
on conflict (site, box) do update set
  state = excluded.state, state_at = excluded.state_at,
  last = case when b.epoch = excluded.epoch then b.last || excluded.last else excluded.last end,
  epoch = excluded.epoch
where b.epoch is distinct from excluded.epoch
  or not coalesce(b.state ->> 'boot_id' = excluded.state ->> 'boot_id'
    and (b.state ->> 'since')::numeric > (excluded.state ->> 'since')::numeric, false)
"""
_HEALTHS = """
insert into gateway.box as b (site, box, health, health_at, last)
select distinct on (site, box) site, box, said, to_timestamp(received_ms / 1000.0), last
from json_to_recordset(:batch) as row(site text, box text, said jsonb, received_ms bigint, last jsonb, n int)
order by site, box, n desc
on conflict (site, box) do update set
  health = excluded.health, health_at = excluded.health_at, last = b.last || excluded.last
where b.health_at is null or b.health_at <= excluded.health_at
"""
_SET_ASIDE = """
insert into gateway.set_aside as s (digest, topic, payload, reason, times, first_at, last_at)
values (:digest, :topic, :payload, :reason, 1, to_timestamp(:received_ms / 1000.0), to_timestamp(:received_ms / 1000.0))
on conflict (digest) do update set times = s.times + 1, last_at = excluded.last_at
"""
_PICTURE = """
insert into gateway.picture (site, box, id, sha256, jpeg, received)
values (:site, :box, :id, :sha256, :jpeg, to_timestamp(:received_ms / 1000.0))
on conflict do nothing
"""


class RowsRefused(Exception):
    """The database takes the batch for what is in it: one row of it, or several. Nothing was stored."""


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """password_file: holds the password alone. ca: trust these authorities and use TLS; None with tls: the system's."""

    host: str
    port: int
    name: str
    user: str
    password_file: Path | None = None
    tls: bool = False
    ca: Path | None = None

    def __str__(self) -> str:
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.name}"


def read_database(text: str, *, password_file: Path | None = None, ca: Path | None = None) -> DatabaseSettings:
    """postgresql://USER@HOST[:PORT]/NAME, with ?tls behind it to use TLS. Raises ValueError for anything else."""
    wanted = "wanted postgresql://USER@HOST[:PORT]/NAME"
    try:
        parts = urlsplit(text)
        port = parts.port or 5432
    except ValueError as exc:
        raise ValueError(f"--database: {exc}; {wanted}") from exc
    name = parts.path.strip("/")
    if parts.password is not None:
        raise ValueError("--database: a password in an address can be read by every user here; use --database-password")
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not name or not parts.username:
        raise ValueError(f"--database {text!r}: {wanted}")
    if parts.query not in ("", "tls"):
        raise ValueError(f"--database: {parts.query!r} behind '?' is not known; wanted tls or nothing")
    tls = parts.query == "tls" or ca is not None
    return DatabaseSettings(parts.hostname, port, unquote(name), unquote(parts.username), password_file, tls, ca)


class Database:
    """One thread uses it. Raises DatabaseDown when it is away or has no room: the same call may be made again later."""

    def __init__(self, settings: DatabaseSettings, *, joining: bool = False) -> None:
        """joining: the boxes have been running; a box's first message that comes is where its ledger begins."""
        self._settings = settings
        self._joining = joining
        self._connection: pg8000.native.Connection | None = None
        self._prepared: dict[str, Any] = {}

    def setup(self) -> None:
        """Connect, and bring the schema to our version. Raises ConfigError for a database that cannot serve us."""
        self.close()
        with self._translated():
            connection = self._connect()
            connection.run("begin")
            connection.run("select pg_advisory_xact_lock(:key)", key=_SETUP_LOCK)
            versions = dict(_versions())
            ours, found = max(versions), self._version(connection)
            if found > ours:
                raise ConfigError(f"{self._settings}: schema {found}, this ingester knows {ours}; upgrade the ingester")
            for version in range(found + 1, ours + 1):
                connection.run(versions[version])
                connection.run("insert into gateway.version (version) values (:version)", version=version)
            connection.run("commit")

    def write(self, rows: Rows) -> int:
        """Store a batch. Returns how many messages were new. It is on the database's disk when this returns.

        Raises RowsRefused if the database objects to something in it: nothing is stored then.
        """
        for tried in range(_MOST_TRIES):
            try:
                with self._translated():
                    return self._write(rows)
            except _Again as exc:
                if tried == _MOST_TRIES - 1:
                    raise DatabaseDown(f"{self._settings}: {exc}, {_MOST_TRIES} times") from exc
        raise AssertionError("not reached")

    def query(self, sql: str, **values: Any) -> list[Sequence[Any]]:
        with self._translated():
            return list(self._connect().run(sql, **values) or [])

    def close(self) -> None:
        connection, self._connection = self._connection, None
        self._prepared.clear()
        if connection is not None:
            with suppress(pg8000.exceptions.Error, OSError):  # gone before the goodbye
                connection.close()

    def _write(self, rows: Rows) -> int:
        connection = self._connect()
        new = 0
        connection.run("begin")
        if rows.messages:
            ((new,),) = self._run(_MESSAGES, batch=_array(rows.messages, "body"), joining=self._joining)
        if rows.states:
            self._run(_STATES, batch=_array(rows.states, "said", "last"))
        if rows.healths:
            self._run(_HEALTHS, batch=_array(rows.healths, "said", "last"))
        for row in sorted(rows.set_aside, key=lambda row: row["digest"]):
            self._run(_SET_ASIDE, **row)
        for row in sorted(rows.pictures, key=lambda row: (row["site"], row["box"], row["id"])):
            self._run(_PICTURE, **row)
        connection.run("commit")
        return int(new)

    def _run(self, sql: str, **values: Any) -> list[Sequence[Any]]:
        if sql not in self._prepared:
            self._prepared[sql] = self._connect().prepare(sql)
        return list(self._prepared[sql].run(**values) or [])

    def _connect(self) -> pg8000.native.Connection:
        if self._connection is None:
            settings = self._settings
            self._connection = pg8000.native.Connection(
                settings.user,
                host=settings.host,
                port=settings.port,
                database=settings.name,
                password=_password(settings.password_file),
                ssl_context=client_context(settings.ca) if settings.tls else None,
                timeout=_TIMEOUT_S,
                application_name="gateway-agent ingest",
            )
            # What is acknowledged to the broker must outlive a power cut here, whatever this server's default is.
            self._connection.run(
                "select set_config('synchronous_commit', 'on', false)"
                " where current_setting('synchronous_commit') = 'off'"
            )
        return self._connection

    def _version(self, connection: pg8000.native.Connection) -> int:
        ((there,),) = connection.run("select to_regclass('gateway.version') is not null")
        if not there:
            return 0
        ((version,),) = connection.run("select coalesce(max(version), 0) from gateway.version")
        return int(version)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """pg8000's errors as ours. A connection on which one happened is not used again, unless it was about a row."""
        try:
            yield
        except pg8000.exceptions.DatabaseError as exc:
            fields = exc.args[0] if exc.args and isinstance(exc.args[0], dict) else {}
            code, words = str(fields.get("C", "")), str(fields.get("M", exc))
            self.close()
            if code in _AGAIN:
                raise _Again(words) from exc
            if code.startswith(_OURS):
                raise RowsRefused(words) from exc
            if code in _SETUP:
                raise ConfigError(f"{self._settings}: {words}") from exc
            raise DatabaseDown(f"{self._settings}: {words} ({code})") from exc
        except (pg8000.exceptions.Error, OSError) as exc:
            self.close()
            raise DatabaseDown(f"{self._settings}: {exc or type(exc).__name__}") from exc
        except ConfigError:
            self.close()
            raise


class _Again(Exception):
    """Another transaction was in the way, and the server chose ours to end."""


def _array(rows: Sequence[Record], *raw: str) -> str:
    """A JSON array of rows. raw: columns that are JSON text already. `n` numbers them."""
    return f"[{','.join(_object(row, n, raw) for n, row in enumerate(rows))}]"


def _object(row: Record, n: int, raw: tuple[str, ...]) -> str:
    plain = {"n": n, **{name: value for name, value in row.items() if name not in raw}}
    text = json.dumps(plain, ensure_ascii=False)
    return text[:-1] + "".join(f',"{name}":{row[name]}' for name in raw) + "}"


def _versions() -> Iterator[tuple[int, str]]:
    """(version, SQL) of every part of schema.sql."""
    text = resources.files("agent.consumer").joinpath("schema.sql").read_text(encoding="utf-8")
    for part in text.split("\n-- version ")[1:]:
        number, _, sql = part.partition("\n")
        yield int(number), sql


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        warn_if_open(path)
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot read the database's password: {exc}") from exc
