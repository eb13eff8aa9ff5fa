"""What systemd does for gateway-agent.service, as far as updates have to do with it: start, start anew, keep count."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from agent.update.places import Places

_RESTART_S = 0.3
_STOP_S = 3.0
_BAD_CONFIG = 78


class ServiceManager:
    """One thread. The service is what `current` points to when it is started."""

    def __init__(self, places: Places, door: Path, log: Path) -> None:
        self._places = places
        self._log = log
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._failed = False
        self._restarts = 0
        self._again_s = 0.0
        self._ended = threading.Event()
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(door))
        self._door.listen()
        self._door.settimeout(0.05)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def start(self) -> None:
        with self._lock:
            self._end(signal.SIGTERM)
            self._wanted, self._failed, self._restarts = True, False, 0
            self._begin()

    def power_off(self) -> None:
        """At once, and not started again before `start`."""
        with self._lock:
            self._wanted = False
            self._end(signal.SIGKILL)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        with self._lock:
            self._wanted = False
            self._end(signal.SIGTERM)
        self._door.close()

    @property
    def pid(self) -> int | None:
        with self._lock:
            return self._process.pid if self._process is not None and self._process.poll() is None else None

    def _begin(self) -> None:
        environment = {
            **os.environ,
            "GATEWAY_AGENT_ROOT": str(self._places.root),
            "STATE_DIRECTORY": str(self._places.var),
            "RUNTIME_DIRECTORY": str(self._places.run),
        }
        program = self._places.current.resolve() / "bin" / "gateway-agent"
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [program, "run", "--config", self._places.config], stdout=log, stderr=log, env=environment
                )
        except OSError:
            self._process = None  # as any other that ends at once

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._door.accept()
            except TimeoutError:
                self._watch()
                continue
            with connection:
                connection.settimeout(5.0)
                asked = b""
                while chunk := connection.recv(4096):
                    asked += chunk
                connection.sendall(self._answer(asked.decode().split("\0")).encode())
            self._watch()

    def _answer(self, asked: list[str]) -> str:
        if asked[0] == "restart":
            self.start()
        elif asked[0] == "reset-failed":
            with self._lock:
                self._failed = False
        elif asked[0] == "show":
            return f"ActiveState={'failed' if self._failed else 'active'}\nNRestarts={self._restarts}\n"
        return ""

    def _watch(self) -> None:
        with self._lock:
            if not self._wanted or self._failed:
                return
            code = self._process.poll() if self._process is not None else 203
            if code is None:
                return
            if code == _BAD_CONFIG:
                self._failed = True
            elif self._again_s == 0.0:
                self._again_s = time.monotonic() + _RESTART_S
            elif time.monotonic() >= self._again_s:
                self._again_s = 0.0
                self._restarts += 1
                self._begin()
