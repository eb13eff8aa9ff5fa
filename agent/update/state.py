"""How far an update has come, and what became of those before: one small file, replaced whole.

    idle ──▶ claimed ──▶ verified ──▶ installed ──▶ trying ──▶ confirmed ──▶ idle
               │            │            │            └─────▶ rolling-back ──▶ idle
               └────────────┴────────────┴── refused ──▶ idle

A phase is written before the first thing is done that belongs to it; whoever finds one knows what may have been done
since, and all of that may be done again. What is reported is written in the same step as the phase: nothing is told
that did not happen, and nothing happens untold. The agent reads the reports here and tells them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from agent.durable import write_whole

_log = logging.getLogger(__name__)

Phase = Literal["idle", "claimed", "verified", "installed", "trying", "confirmed", "rolling-back"]
Result = Literal["accepted", "refused", "confirmed", "rolled-back"]
_FORMAT = 1
_KEEP_REPORTS = 30
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one file. n: counts reports. kind to update_id: of its manifest, where that could be read."""

    n: int
    time_ms: int
    result: Result
    file: str
    kind: str | None = None
    name: str | None = None
    version: str | None = None
    previous: str | None = None
    update_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """The file that is being worked on.

    source: of the file in its inbox: path, inode, time of change in ns; so that the same one is not taken twice.
    downgrade: a person asked for an older version.  attempts: how often it was begun.
    before: what a switch replaced (a link's target), as far as it cannot be told otherwise.
    baseline: what worked before the trial.  why: of the rolling back.
    """

    file: str
    source: tuple[str, int, int] | None = None
    downgrade: bool = False
    attempts: int = 0
    kind: str | None = None
    name: str | None = None
    version: str | None = None
    previous: str | None = None
    update_id: str | None = None
    created_ms: int = 0
    doubt: str | None = None
    before: str | None = None
    baseline: dict[str, Any] = field(default_factory=dict)
    why: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """installed: version last confirmed, per key. floor_ms: a time that is certainly over, UTC, Unix ms."""

    phase: Phase = "idle"
    job: Job | None = None
    installed: dict[str, str] = field(default_factory=dict)
    floor_ms: int = 0
    reports: tuple[Report, ...] = ()
    reported: int = 0

    def with_report(self, time_ms: int, result: Result, job: Job, reason: str | None) -> State:
        report = Report(
            self.reported + 1,
            time_ms,
            result,
            job.file,
            job.kind,
            job.name,
            job.version,
            job.previous,
            job.update_id,
            reason,
        )
        return replace(self, reported=report.n, reports=(*self.reports, report)[-_KEEP_REPORTS:])


def load(path: Path, *, set_aside: bool = False) -> State:
    """A missing file is a new box, and one that holds something else counts as missing.

    set_aside: keep such a one under `.damaged`; for whoever is about to write. Raises OSError for a disk that cannot be
    read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return State()
    try:
        return _read(json.loads(data))
    except (ValueError, TypeError, KeyError) as exc:
        _log.error("%s: cannot be read; what was installed is told by the links alone: %s", path, exc)
        if set_aside:
            path.replace(path.with_name(path.name + ".damaged"))
        return State()


def save(path: Path, state: State) -> None:
    """On the disk when it returns. Raises OSError."""
    write_whole(path, json.dumps({"format": _FORMAT, **asdict(state)}, indent=1).encode("ascii"))


def read_reports(path: Path) -> tuple[Report, ...]:
    """For the agent, which may read and not write. Raises OSError, ValueError."""
    with path.open("rb") as file:
        fields = json.loads(file.read(_MAX_BYTES))
    try:
        return tuple(Report(**report) for report in fields["reports"])
    except (TypeError, KeyError) as exc:
        raise ValueError(f"{path} holds no reports of this form: {exc}") from exc


def _read(fields: Mapping[str, Any]) -> State:
    if fields["format"] != _FORMAT:
        raise ValueError(f"format {fields['format']}; this agent reads {_FORMAT}")
    if fields["phase"] not in get_args(Phase):
        raise ValueError(f"phase {fields['phase']!r}")
    job = None if fields["job"] is None else Job(**fields["job"])
    if job is not None and job.source is not None:
        path, inode, changed_ns = job.source
        job = replace(job, source=(str(path), int(inode), int(changed_ns)))
    if (job is None) != (fields["phase"] == "idle"):
        raise ValueError(f"phase {fields['phase']!r} with job {job!r}")
    return State(
        fields["phase"],
        job,
        {str(key): str(version) for key, version in fields["installed"].items()},
        int(fields["floor_ms"]),
        tuple(Report(**report) for report in fields["reports"]),
        int(fields["reported"]),
    )
