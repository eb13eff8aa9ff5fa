"""The verb `audit`: who did or asked for what on this box, and whether that log is whole."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from agent import config
from agent.audit import AuditLog, folder_beside, verify
from agent.clock import SystemClock
from agent.contract.event import Audit
from agent.contract.wire import body_json
from agent.errors import GatewayError
from agent.ops.words import say

_EXIT_USAGE = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", choices=("show", "verify"), help="show: the newest entries; verify: that the chain of hashes is whole"
    )
    parser.add_argument("--last", type=int, default=20, metavar="N", help="show: so many (default: 20)")
    parser.add_argument("--json", action="store_true", help="show: one JSON object a line")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="the log's folder (default: beside the outbox)")
    parser.add_argument(
        "--against",
        metavar="N:HASH",
        help="verify: what the centre has for entry N; without it, nobody can tell whether the end was cut off",
    )


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 fine, 1 the log was changed or cannot be read, 64 wrong usage."""
    folder = args.folder or folder_beside(config.load(args.config).outbox.path)
    try:
        if args.what == "show":
            for entry in AuditLog(folder, clock=SystemClock()).since(0)[-max(args.last, 0) or sys.maxsize :]:
                print(body_json(entry) if args.json else _line(entry))
            return 0
        return _verify(folder, args.against)
    except OSError as exc:
        raise GatewayError(f"{folder}: cannot be read: {exc.strerror or exc}; sudo?") from exc


def _verify(folder: Path, against: str | None) -> int:
    wanted: tuple[int, str] | None = None
    if against is not None:
        number, _, wanted_hash = against.partition(":")
        if not number.isdigit() or not wanted_hash:
            print(f"audit: --against {against!r}: wanted N:HASH, as the entry on the ledger has them", file=sys.stderr)
            return _EXIT_USAGE
        wanted = int(number), wanted_hash
    found = verify(folder)
    if found.trouble is not None:
        print(say("audit-broken", why=found.trouble, entries=found.entries))
        return 1
    if wanted is not None:
        held = {entry.n: entry.hash for entry in AuditLog(folder, clock=SystemClock()).since(wanted[0] - 1)[:1]}
        if held.get(wanted[0]) != wanted[1]:
            print(say("audit-differs", n=wanted[0], found=held.get(wanted[0], "-"), wanted=wanted[1]))
            return 1
    if found.last is None:
        print(say("audit-empty", folder=folder))
    else:
        print(say("audit-fine", entries=found.entries, first=found.begins, last=found.last.n, hash=found.last.hash))
    return 0


def _line(entry: Audit) -> str:
    when = "?" if entry.at is None else f"{datetime.fromtimestamp(entry.at / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
    who = entry.by if entry.role is None else f"{entry.by}, {entry.role}"
    words = " ".join(part for part in (entry.did, entry.what, f"[{entry.id}]" if entry.id else None) if part)
    why = f": {entry.why}" if entry.why else ""
    return f"{entry.n:>6} {when} {entry.via:<5} {who}: {words}: {entry.outcome}{why}"
