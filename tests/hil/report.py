"""What was tried, what it answered, what failed and what to do: on the terminal, then in report.md and report.json."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from agent import __version__
from agent.errors import GatewayError
from drivers.base import DriverError
from tests.hil.profile import Profile
from tests.hil.words import say

_ANSWER_IN_TABLE = 160


@dataclass
class Entry:
    """outcome: "fine", "problem" or "not-tried". why: of the latter two. answered: the device's own words."""

    device: str
    tried: str
    test: str
    outcome: str = "not-tried"
    answered: str = ""
    why: str = ""
    todo: str = ""
    detail: str = ""
    seconds: float = 0.0


class Report:
    """A plugin of pytest's, in place of its terminal. terminal: where a line goes for each thing that was tried."""

    def __init__(self, profile: Profile, terminal: IO[str]) -> None:
        self._profile = profile
        self._terminal = terminal
        self._entries: dict[str, Entry] = {}
        self._began_s = time.monotonic()
        self._wall = time.strftime("%Y-%m-%d %H:%M:%S %z")

    # ---- pytest's hooks ----------------------------------------------------------------------------------------------

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self._entries[item.nodeid] = _entry(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Iterator[None] | pytest.TestReport:
        report: pytest.TestReport = yield  # type: ignore[misc, assignment]
        entry = self._entries[item.nodeid]
        entry.seconds = round(entry.seconds + report.duration, 1)
        entry.answered = next((str(value) for name, value in report.user_properties if name == "answered"), "")
        if report.failed and call.excinfo is not None:
            entry.outcome = "problem"
            entry.why, entry.todo = _why(call.excinfo)
            entry.detail = str(report.longrepr)
        elif report.skipped and entry.outcome != "problem":
            entry.why = _skipped(report)
        elif report.when == "call" and report.passed:
            entry.outcome = "fine"
        if report.when == "teardown":
            self._tell(entry)
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._entries[report.nodeid] = Entry(
                say("whole-box"),
                report.nodeid,
                report.nodeid,
                "problem",
                "",
                str(report.longrepr),
                say("to-developers"),
            )
            self._tell(self._entries[report.nodeid])

    def pytest_internalerror(self, excrepr: object) -> None:
        print(excrepr, file=self._terminal, flush=True)

    # ---- the report --------------------------------------------------------------------------------------------------

    @property
    def entries(self) -> list[Entry]:
        return [*self._entries.values()]

    @property
    def problems(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.outcome == "problem"]

    def write(self, folder: Path) -> Path:
        """report.md and report.json; returns the first."""
        folder.mkdir(parents=True, exist_ok=True)
        box = self._profile.config.box
        data: dict[str, Any] = {
            "box": f"{box.site}/{box.id}",
            "profile": str(self._profile.path),
            "when": self._wall,
            "seconds": round(time.monotonic() - self._began_s),
            "agent": __version__,
            "machine": machine(),
            "fine": not self.problems,
            "tried": [asdict(entry) for entry in self.entries],
        }
        (folder / "report.json").write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        path = folder / "report.md"
        path.write_text(self._markdown(data), encoding="utf-8")
        return path

    def summary(self) -> str:
        return say("failed", n=len(self.problems)) if self.problems else say("passed")

    def _markdown(self, data: dict[str, Any]) -> str:
        box = self._profile.config.box
        counts = {outcome: sum(e.outcome == outcome for e in self.entries) for outcome in ("fine", "not-tried")}
        lines = [
            f"# {say('title', site=box.site, box=box.id)}",
            "",
            f"**{self.summary()}** "
            + say(
                "tried",
                fine=counts["fine"],
                problems=len(self.problems),
                left=counts["not-tried"],
                seconds=data["seconds"],
            ),
            "",
            f"{data['when']}, {data['profile']}, gateway-agent {data['agent']}",
            "",
            f"{say('machine')}: {', '.join(map(str, data['machine'].values()))}",
            "",
        ]
        if self.problems:
            lines += [f"## {say('problems-head')}", ""]
            for entry in self.problems:
                lines += [f"- **{entry.device}: {entry.tried}**", "", *_quoted(entry.why)]
                lines += [f"  {entry.todo}", ""] if entry.todo else []
        lines += [say("head"), "|---|---|---|---|"]
        for entry in self.entries:
            answer = entry.answered or (entry.why if entry.outcome == "not-tried" else "")
            cells = (entry.device, entry.tried, say(entry.outcome), _short(answer))
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        long = [entry for entry in self.entries if len(_short(entry.answered)) > _ANSWER_IN_TABLE]
        for entry in long:
            lines += ["", f"### {entry.device}: {entry.tried}", "", *_quoted(entry.answered)]
        return "\n".join(lines) + "\n"

    def _tell(self, entry: Entry) -> None:
        answer = entry.answered or entry.why
        word = say(entry.outcome).strip("*")
        print(f"{word:9} {entry.device}: {entry.tried}. {_short(answer)}", file=self._terminal, flush=True)


def machine() -> dict[str, str]:
    """Which board, kernel and Python this is."""
    model = Path("/proc/device-tree/model")
    try:
        board = model.read_bytes().rstrip(b"\0").decode("utf-8", "replace")
    except OSError:
        board = platform.machine()
    return {
        "board": board,
        "kernel": f"Linux {platform.release()}",
        "python": f"Python {platform.python_version()}",
        "processors": f"{os.cpu_count()} processors",
    }


def _entry(item: pytest.Item) -> Entry:
    """Which device it is about, and what is tried of it: from the test's name and parameters."""
    given = item.callspec.params if hasattr(item, "callspec") else {}
    kind, device = next(
        ((k, given[k]) for k in ("camera", "sensor", "output", "event") if given.get(k) is not None), (None, None)
    )
    check = given.get("check")
    name = check.__name__ if check is not None else item.name.partition("[")[0]
    if kind == "event" and device is not None:
        return Entry(device.source, say(name, event=device.id), item.nodeid)
    about = f"{kind} {device.id}" if device is not None else say("whole-box")
    return Entry(about, say(name, event="-"), item.nodeid)


def _why(found: pytest.ExceptionInfo[BaseException]) -> tuple[str, str]:
    """What went wrong, and what to do where the words do not say it already."""
    exc = found.value
    if isinstance(exc, DriverError | GatewayError):
        return str(exc), ""  # they end with what to do
    said, _, _ = str(exc).partition("\nassert ")
    if isinstance(exc, pytest.fail.Exception) and not exc.pytrace:
        return said, ""  # the suite's own, likewise
    place = found.traceback[-1]
    return f"{type(exc).__name__}: {said or place.statement} ({Path(place.path).name}:{place.lineno + 1})", say(
        "to-developers"
    )


def _skipped(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _ANSWER_IN_TABLE else f"{words[:_ANSWER_IN_TABLE]} …"


def _quoted(text: str) -> list[str]:
    return ["```", *(line.replace("```", "'''") for line in text.rstrip().splitlines()), "```", ""]
