"""A real mosquitto on a free loopback port, for tests: start, stop, kill, freeze, start again with what it kept."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Mosquitto:
    """folder: where it keeps its state and log; one folder, one broker, over any number of starts.

    extra: lines for its configuration. listener: lines for its only listener, in place of anonymous plain MQTT.
    """

    def __init__(
        self, folder: Path, *, extra: Sequence[str] = (), listener: Sequence[str] = (), port: int | None = None
    ) -> None:
        if PROGRAM is None:
            raise RuntimeError("mosquitto is not installed; apt-get install mosquitto")
        self.folder = folder
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            "user root" if os.geteuid() == 0 else "",
            "per_listener_settings false",
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_interval 1",
            "max_queued_messages 0",
            "queue_qos0_messages true",  # for a consumer at QoS 0 that comes back
            "log_dest file " + str(folder / "log"),
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_type subscribe",
            *extra,
            f"listener {self.port} 127.0.0.1",
            *(listener or ["allow_anonymous true"]),
        ]
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(lines) + "\n")

    def start(self) -> Mosquitto:
        if PROGRAM is None or self._process is not None:
            raise RuntimeError("mosquitto: not installed, or started already")
        self._process = subprocess.Popen(
            [PROGRAM, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline_s = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    self.kill()
                    raise RuntimeError(f"mosquitto did not start; see {self.folder / 'log'}") from None
                time.sleep(0.02)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def save(self) -> None:
        """Write sessions and retained messages to disk now, so that a kill cannot take them."""
        if self._process is not None:
            stored = self.folder / "mosquitto.db"
            before_ns = stored.stat().st_mtime_ns if stored.exists() else 0
            self._process.send_signal(signal.SIGUSR1)
            deadline_s = time.monotonic() + 5
            while not stored.exists() or stored.stat().st_mtime_ns == before_ns:
                if time.monotonic() > deadline_s:
                    raise RuntimeError("mosquitto did not save its state")
                time.sleep(0.01)

    def forget(self) -> None:
        """Lose its persistent state; only while stopped."""
        (self.folder / "mosquitto.db").unlink(missing_ok=True)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def __enter__(self) -> Mosquitto:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def in_temporary_folder(**options: Sequence[str]) -> Mosquitto:
    return Mosquitto(Path(tempfile.mkdtemp(prefix="mosquitto-")), **options)  # type: ignore[arg-type]
