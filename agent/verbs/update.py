"""The verb `update`: what is installed, whether a file would be taken, and taking it.

`work`, `recover` and `stick` are what the units in systemd/ run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from agent import __version__
from agent.clock import SystemClock
from agent.errors import GatewayError, UpdateRefused
from agent.ops.words import say
from agent.update import Places, state, system_places
from agent.update.machine import Machine, drop
from agent.update.slots import link_target
from agent.update.state import Report

_FILES = "gateway-update-*.gwu"
_MOST_FILES = 10
# What sticks come with. Fewer file systems than the kernel has: each is code that a stranger's stick would talk to.
_FILE_SYSTEMS = "vfat,exfat,ext4"


_WITH_ITEM = ("verify", "apply", "adopt", "stick")
_EXIT_USAGE = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=("status", *_WITH_ITEM, "work", "recover"),
        metavar="WHAT",
        help="status: what is installed, and what became of the last files; verify FILE: whether this box would take "
        "it, changes nothing; apply FILE: take it, and wait until it is proven or put back (root); adopt VERSION: run "
        "an installed release, the first of a box (root); work, recover, stick DEVICE: what the services do (root)",
    )
    parser.add_argument("item", nargs="?", metavar="FILE", help="with verify, apply; or VERSION or DEVICE")
    parser.add_argument(
        "--allow-downgrade",
        action="store_true",
        help="verify, apply: also an older version, where those who signed it allow that",
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1: refused, rolled back, or not to be told."""
    if (args.item is not None) != (args.what in _WITH_ITEM):
        wanted = "FILE, VERSION or DEVICE, see --help" if args.what in _WITH_ITEM else "nothing behind it"
        print(f"gateway-agent update {args.what}: wanted {wanted}", file=sys.stderr)
        return _EXIT_USAGE
    places = system_places(args.config)
    if args.what == "status":
        return _status(places)
    machine = Machine(places, agent=__version__, clock=SystemClock(), say=_print)
    if args.what == "verify":
        return _verify(machine, Path(args.item), downgrade=args.allow_downgrade)
    if os.geteuid() != 0:
        raise GatewayError(f"update {args.what} changes what only root may; run it with sudo")
    try:
        if args.what == "apply":
            report = machine.apply(Path(args.item), downgrade=args.allow_downgrade)
            return 0 if report.result == "confirmed" else 1
        if args.what == "adopt":
            machine.adopt(args.item)
        elif args.what == "work":
            machine.work()
        elif args.what == "recover":
            machine.recover()
        else:
            return _stick(places, Path(args.item))
    except OSError as exc:
        raise GatewayError(f"the update is not at its end and goes on with the next attempt: {exc}") from exc
    return 0


def _status(places: Places) -> int:
    now = state.load(places.state)
    current, proven, previous = (
        None if (target := link_target(link)) is None else Path(target).name
        for link in (places.current, places.proven, places.previous)
    )
    if current is None:
        print(say("update-none", root=places.root, version=__version__))
    elif current == proven:
        print(say("update-proven", version=current))
    else:
        print(say("update-unproven", version=current, proven=proven))
    if previous is not None:
        print(say("update-previous", version=previous))
    for key, version in sorted(now.installed.items()):
        print(f"  {key.replace(':', ' ')} {version}")
    if now.job is not None:
        print(say("update-under-way", file=now.job.file, phase=now.phase))
    for report in now.reports[-5:]:
        _print(report)
    return 0


def _verify(machine: Machine, file: Path, *, downgrade: bool) -> int:
    try:
        found = machine.judge(file, downgrade=downgrade)
    except UpdateRefused as exc:
        print(say("update-refused", file=file.name, why=exc))
        return 1
    what = f"{found.manifest.kind} {found.manifest.name} {found.manifest.version}"
    print(say("update-fine", file=file.name, what=what, signers=", ".join(found.signers)))
    if found.doubt is not None:
        print(say("update-clock"))
    return 0


def _print(report: Report) -> None:
    what = " ".join(part for part in (report.kind, report.name, report.version) if part)
    file, why = report.file, report.reason or ""
    sentence = {
        "accepted": lambda: say("update-accepted", file=file, what=what, why=why),
        "confirmed": lambda: say("update-confirmed", file=file, what=what, why=why),
        "refused": lambda: say("update-refused", file=file, why=why),
        "rolled-back": lambda: say("update-rolled-back", file=file, what=what, why=why),
    }[report.result]()
    print(sentence.rstrip(), flush=True)


def _stick(places: Places, device: Path) -> int:
    """Mounted for this process alone, read only, and for as long as the copying takes. What is on it is judged later,
    as what comes any other way."""
    with tempfile.TemporaryDirectory(prefix="gateway-agent-stick-") as folder:
        options = "ro,nosuid,nodev,noexec"
        command = ["mount", "-t", _FILE_SYSTEMS, "-o", options, str(device), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise GatewayError(f"{device}: cannot be mounted: {done.stderr.strip()}; wanted one of {_FILE_SYSTEMS}")
        try:
            files = sorted(Path(folder).glob(_FILES))
            for file in files[:_MOST_FILES]:
                try:
                    drop(file, places.inbox)
                    print(say("update-fetched", file=file.name))
                except (UpdateRefused, OSError) as exc:  # this one; there may be others
                    print(say("update-refused", file=file.name, why=exc), file=sys.stderr)
            if not files:
                print(say("update-no-files", device=device, files=_FILES))
        finally:
            subprocess.run(["umount", folder], check=True, timeout=60)
    return 0
