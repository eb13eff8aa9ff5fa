"""The commissioning report: what was tried when the box was installed, and what each camera showed.

A folder beside the outbox: `report.html` for a person, with everything in it; `report.json` and a picture per camera
for programs. Written by the verb `check`, whole, the JSON last. The service takes a report up when it starts: pictures
go the way of evidence, the rest is an event on the ledger, and an empty `report.sent` says that it is done. A power cut
between the two sends a report twice, and never none.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.clock import Clock, Stamp
from agent.contract.event import Check, Event, Stream
from agent.contract.wire import read_body
from agent.durable import sync_folder, write_whole
from agent.errors import EventStoreError
from agent.evidence import EvidenceStore
from agent.ops.words import language, say
from agent.raised import Put

_log = logging.getLogger(__name__)

FOLDER = "commissioning"  # beside the outbox
_MOST_BYTES = 1_000_000  # of report.json: more is not ours
_STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% }
td { border-top: 1px solid #ccc; padding: .3em .6em; vertical-align: top }
.fine { color: #17692b } .bad { color: #b00020; font-weight: bold } img { max-width: 100% } footer { color: #666 }
"""


@dataclass(frozen=True, slots=True)
class Report:
    """made: when. pictures: JPEG by camera, to be shown to anybody: all people in them are pixelated."""

    site: str
    box: str
    made: Stamp
    versions: Mapping[str, str]
    checks: tuple[Check, ...]
    pictures: Mapping[str, bytes]

    @property
    def problems(self) -> int:
        return sum(not check.fine for check in self.checks)


def write(folder: Path, report: Report) -> Path:
    """Replace what is in the folder; the path of the page. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (folder / "report.json", folder / "report.sent", *folder.glob("*.jpg")):
        old.unlink(missing_ok=True)
    for camera, jpeg in report.pictures.items():
        write_whole(folder / f"{camera}.jpg", jpeg)
    page = folder / "report.html"
    write_whole(page, as_html(report).encode())
    write_whole(folder / "report.json", as_json(report).encode())
    return page


def as_json(report: Report) -> str:
    fields = {
        "site": report.site,
        "box": report.box,
        "time": report.made.wall_ms,
        "clock_trusted": report.made.trusted,
        "problems": report.problems,
        "versions": dict(report.versions),
        "checks": [check.model_dump() for check in report.checks],
        "pictures": sorted(report.pictures),
    }
    return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"


def as_html(report: Report) -> str:
    """One file that shows everything in any browser, without a network."""
    title = html.escape(say("report-title", box=report.box, site=report.site))
    verdict = say("problems", n=report.problems) if report.problems else say("all-fine")
    rows = "".join(
        f'<tr><td class="{"fine" if check.fine else "bad"}">{"✔" if check.fine else "✘"}</td>'
        f"<td>{html.escape(check.words)}</td></tr>\n"
        for check in report.checks
    )
    figures = "".join(
        f'<figure><figcaption>{html.escape(camera)}</figcaption><img alt="{html.escape(camera)}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"></figure>\n'
        for camera, jpeg in report.pictures.items()
    )
    versions = "<br>".join(f"{html.escape(name)}: {html.escape(said)}" for name, said in report.versions.items())
    return (
        f'<!doctype html>\n<html lang="{language()}"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        f'<p class="{"bad" if report.problems else "fine"}">{html.escape(verdict)}</p>\n'
        f"<table>\n{rows}</table>\n{figures}<footer>{_time(report.made)}<br>{versions}</footer></body></html>\n"
    )


def versions(agent: str, model: str | None, runtime: str | None) -> dict[str, str]:
    """Of what the box runs on, as far as it tells."""
    known = {
        "agent": agent,
        "model": model,
        "runtime": runtime,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "system": _system(),
        "board": _board(),
    }
    return {name: said for name, said in known.items() if said}


def take_up(folder: Path, put: Put, evidence: EvidenceStore, clock: Clock) -> None:
    """Hand a report that was not sent yet to outbox and evidence. Raises nothing for what the disk does."""
    path, mark = folder / "report.json", folder / "report.sent"
    try:
        if not path.exists() or mark.exists():
            return
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes; wanted at most {_MOST_BYTES}")
        said = json.loads(path.read_text(encoding="utf-8"))
        pictures = _store(folder, said["pictures"], evidence)
        fields = {name: said[name] for name in ("problems", "checks", "versions")}
        shown = {"pictures": pictures} if pictures else {}
        body = read_body(json.dumps({"kind": "commissioned", **fields, **shown}))
    except (OSError, ValueError, KeyError, TypeError) as exc:  # a PayloadError is a ValueError
        _log.error("%s: not sent: %s; gateway-agent check --report writes a new one", path, exc)
        return
    try:
        put(Event(Stream.ALERT, "box", body, clock.stamp()))
    except EventStoreError as exc:
        _log.error("%s: not sent before the next start: %s", path, exc)
        return
    for one in pictures.values():
        evidence.request(one["id"])
    try:
        mark.touch()
        sync_folder(folder)
    except OSError as exc:
        _log.warning("%s: cannot be written, the report is sent again at the next start: %s", mark, exc.strerror)
    _log.info("commissioning report handed over: %d check(s), %d problem(s)", len(said["checks"]), said["problems"])


def _store(folder: Path, cameras: list[str], evidence: EvidenceStore) -> dict[str, dict[str, Any]]:
    """Names in the file are those of files beside it, and of nothing else."""
    stored = {}
    for camera in cameras:
        picture = folder / f"{Path(camera).name}.jpg"
        kept = evidence.put(picture.read_bytes())
        if kept is not None:
            stored[camera] = kept.model_dump()
    return stored


def _time(made: Stamp) -> str:
    said = datetime.fromtimestamp(made.wall_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return said if made.trusted else f"{said} ({html.escape(say('clock-unset'))})"


def _system() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _board() -> str | None:
    try:
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").rstrip("\0\n") or None
    except OSError:  # a PC has none
        return None


def beside(outbox: Path) -> Path:
    """Where the reports of the box with that outbox are."""
    return Path(os.path.abspath(outbox)).parent / FOLDER
