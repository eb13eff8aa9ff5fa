"""The service as systemd knows it: start it anew, and see whether it stays up."""

from __future__ import annotations

import subprocess
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

    def _run(self, *arguments: str, check: bool = True) -> str:
        try:
            done = subprocess.run(
                [*self._program, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise OSError(f"{' '.join(self._program)} {arguments[0]} did not answer in {_TIMEOUT_S:.0f} s") from exc
        if check and done.returncode != 0:
            raise OSError(f"{' '.join(self._program)} {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
        return done.stdout
