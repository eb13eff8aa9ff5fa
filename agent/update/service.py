"""The service as systemd knows it: start it anew, and see whether it stays up."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

UNIT = "gateway-agent.service"
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """failed: it ended and is not started again. restarts: since it was last started on purpose."""

    failed: bool
    restarts: int


class Service(Protocol):
    def restart(self) -> None:
        """Raises OSError if nobody can be asked to."""

    def status(self) -> ServiceStatus: ...
    def reload(self, changed: Sequence[str], enable: Sequence[str]) -> None:
        """Files outside of the release were changed, by path; these units are to start by themselves, by name.
        Raises OSError."""


class SystemdService:
    """program: systemctl, or what stands for it."""

    def __init__(self, program: tuple[str, ...] = ("systemctl",), unit: str = UNIT) -> None:
        self._program = program
        self._unit = unit

    def restart(self) -> None:
        # One that crashed too often is not started before this; for any other it changes nothing.
        self._run("reset-failed", self._unit, check=False)
        # Not waited for: one that hangs at its start would keep us from our own time limit.
        self._run("restart", "--no-block", self._unit)

    def status(self) -> ServiceStatus:
        said = self._run("show", "--property=ActiveState", "--property=NRestarts", self._unit)
        values = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        return ServiceStatus(values.get("ActiveState") == "failed", int(values.get("NRestarts") or 0))

    def reload(self, changed: Sequence[str], enable: Sequence[str]) -> None:
        if any("/sysusers.d/" in path for path in changed):
            _run("systemd-sysusers")
        if any("/udev/" in path for path in changed):
            _run("udevadm", "control", "--reload", check=False)  # a container has none
        self._run("daemon-reload")
        if enable:
            self._run("enable", *enable)

    def _run(self, *arguments: str, check: bool = True) -> str:
        return _run(*self._program, *arguments, check=check)


def _run(*command: str, check: bool = True) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise OSError(f"{' '.join(command)} did not answer in {_TIMEOUT_S:.0f} s") from exc
    if check and done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout
