"""The real command as a process, and the configurations it is given in tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

PROGRAM = Path(sys.executable).with_name("gateway-agent")
_ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}

BOX = '[box]\nsite = "test"\nid = "gw"\n'
MIDDLE = '[[camera.line]]\nid = "mid"\na = [0.5, 1.0]\nb = [0.5, 0.2]\n'


def gateway_agent(
    *arguments: str | Path, timeout_s: float = 90.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one verb to its end."""
    return subprocess.run(
        [PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**_ENVIRONMENT, **environment},
    )


def write_config(
    folder: Path, source: str | Path | None, *, camera: str = "", broker: str = "", rules: str = MIDDLE, more: str = ""
) -> Path:
    """A gateway.toml with one camera "cam"; source None: with no camera. camera, broker: lines for their tables;
    without broker there is none."""
    path = folder / "gateway.toml"
    text = str(source) if ":" in str(source) else f"file:{source}"
    table = f'[[camera]]\nid = "cam"\nsource = "{text}"\n{camera}\n{rules}' if source is not None else ""
    path.write_text(
        f'{BOX}[outbox]\npath = "{folder / "outbox.db"}"\nmax_mb = 64\nalert_reserve_mb = 16\n'
        f"[health]\ninterval_s = 1\n" + (f"[[broker]]\ntls = false\n{broker}\n" if broker else "") + f"{more}\n{table}"
    )
    return path


def broker_lines(port: int) -> str:
    return f'host = "127.0.0.1"\nport = {port}'


class Agent:
    """`gateway-agent run` as a process; its words are in `log()`."""

    def __init__(self, config: Path, *arguments: str | Path, **environment: str) -> None:
        self._environment = {**_ENVIRONMENT, **environment}
        self._log_path = config.with_suffix(".log")
        self._command = [PROGRAM, "run", "--config", config, *arguments]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Agent:
        with self._log_path.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """Its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout_s)
        finally:
            self.process.kill()
            self.process.wait()

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def rss_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def __enter__(self) -> Agent:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def eventually(true: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    """Whether it comes true in time. The time is patience for a broken build, not a measurement."""
    deadline_s = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True
