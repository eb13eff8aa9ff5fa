"""The web server of `http_camera_server` as a child process that keeps its port over stop() and start()."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.rtsp import free_port

TOP = Path(__file__).resolve().parents[2]


class HttpCameraServer:
    def __init__(self, *, auth: str = "", login: str = "", fps: float = 10.0) -> None:
        self.port = free_port()
        self._login = login
        self._arguments = [*(["--auth", auth] if auth else []), "--fps", str(fps)]
        self._process: subprocess.Popen[str] | None = None

    def url(self, path: str = "mjpg") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.http_camera_server", str(self.port), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TOP,
        )
        assert self._say(self._login) == "ready", "the HTTP server did not start"

    def mode(self, name: str) -> None:
        """What it does from now on; see `http_camera_server`."""
        assert self._say(name) == name

    def _say(self, line: str) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None

    def __enter__(self) -> HttpCameraServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
