"""What systemd says of the agent's service, for `doctor`."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.ops.findings import Finding, finding
from agent.ops.words import say

UNIT = "gateway-agent.service"

_BOOTED_WITH_SYSTEMD = Path("/run/systemd/system")  # as sd_booted(3) asks
_TIMEOUT_S = 10.0
_JOURNAL_TIMEOUT_S = 60.0  # a large journal on a slow card
_JOURNAL_LINES = 3000
_PROPERTIES = (
    *("LoadState", "ActiveState", "SubState", "Result", "NRestarts", "StatusText"),
    *("ExecMainCode", "ExecMainStatus", "ActiveEnterTimestampMonotonic"),
)
_SETUP_CODES = (64, 78)  # the unit does not start it again after these: waiting mends nothing
_SETTLED_S = 3600.0  # running for so long, what was before is history


@dataclass(frozen=True, slots=True)
class Service:
    """As `systemctl show` tells. restarts: by systemd itself, since somebody started it. up_s: since it is active."""

    load: str
    active: str
    sub: str
    result: str
    restarts: int
    exit_code: int
    was_signalled: bool
    up_s: float
    status: str

    @property
    def is_running(self) -> bool:
        return self.active in ("active", "reloading") or (self.active, self.sub) == ("activating", "start")


def ask(now_mono_s: float, program: str = "systemctl") -> Service | None:
    """None where there is no systemd, or it does not answer. now_mono_s: the monotonic clock."""
    if program == "systemctl" and not _BOOTED_WITH_SYSTEMD.exists():
        return None
    command = [program, "show", UNIT, *(f"--property={name}" for name in _PROPERTIES)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode != 0 or "LoadState" not in said:
        return None
    since_s = _number(said.get("ActiveEnterTimestampMonotonic", "")) / 1e6
    return Service(
        load=said["LoadState"],
        active=said.get("ActiveState", ""),
        sub=said.get("SubState", ""),
        result=said.get("Result", ""),
        restarts=_number(said.get("NRestarts", "")),
        exit_code=_number(said.get("ExecMainStatus", "")),
        was_signalled=said.get("ExecMainCode") in ("2", "3"),  # CLD_KILLED, CLD_DUMPED
        up_s=max(now_mono_s - since_s, 0.0),
        status=said.get("StatusText", ""),
    )


def journal(program: str = "journalctl") -> str | None:
    """The last lines of the agent's units; None where there is no journal."""
    command = [program, "--unit=gateway-agent*", f"--lines={_JOURNAL_LINES}", "--no-pager", "--output=short-iso"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_JOURNAL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def judge(service: Service | None) -> Iterator[Finding]:
    if service is None or service.load == "not-found":
        yield finding("service-missing")
    elif service.is_running and service.restarts:
        kind = "service-flaps" if service.up_s < _SETTLED_S else "service-restarted"
        yield finding(kind, restarts=service.restarts, minutes=round(service.up_s / 60))
    elif service.is_running:
        return
    elif service.sub == "auto-restart":
        yield finding("service-waits", how=_how(service), restarts=service.restarts)
    elif service.active == "failed" and not service.was_signalled and service.exit_code in _SETUP_CODES:
        yield finding("service-config", code=service.exit_code)
    elif service.active == "failed":
        yield finding("service-failed", how=_how(service))
    else:
        yield finding("service-stopped", state=f"{service.load}, {service.active} ({service.sub})")


def _how(service: Service) -> str:
    if service.result == "watchdog":
        return say("ended-watchdog")
    if service.result == "oom-kill":
        return say("ended-memory")
    if service.was_signalled:
        return say("ended-signal", name=_signal_name(service.exit_code))
    return say("ended-code", code=service.exit_code, result=service.result)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
