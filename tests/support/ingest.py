"""The centre's side as processes: `gateway-agent ingest`, and what the boxes it hears have numbered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.command import PROGRAM

_STOP_S = 30.0


class Ingester:
    """One `gateway-agent ingest`; its words are in log(). Killed and started again it is the same one of its group."""

    def __init__(self, folder: Path, name: str, source: str, database: str, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._log_path = folder / f"ingest-{name}.log"
        self._command = [PROGRAM, "ingest", "--source", source, "--database", database, "--name", name, *options]
        self._process: subprocess.Popen[bytes] | None = None
        self._cpu_s = 0.0

    def start(self) -> Ingester:
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        return self

    def kill(self) -> None:
        """SIGKILL: nothing more is acknowledged."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def wait(self, timeout_s: float = 60.0) -> int:
        """For one that ends by itself: its exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def log(self) -> str:
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def cpu_s(self) -> float:
        """Processor time of all its lives."""
        return self._cpu_s + (_cpu_s(self._process.pid) if self._process is not None else 0.0)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        self._cpu_s += _cpu_s(process.pid)
        process.send_signal(number)
        try:
            return process.wait(_STOP_S)
        finally:
            process.kill()
            process.wait()

    def __enter__(self) -> Ingester:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def report(database: str) -> tuple[int, list[dict[str, Any]]]:
    """`gateway-agent ingest --report`: its exit code, and what it says of each box."""
    words: Sequence[str | Path] = [PROGRAM, "ingest", "--report", "--json", "--database", database]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if ran.returncode not in (0, 1):
        raise RuntimeError(f"ingest --report ended with {ran.returncode}: {ran.stderr}")
    return ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()]


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
