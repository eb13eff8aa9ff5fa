"""The world outside of the box: a network of its own with a broker in it, and somebody who listens there.

A network namespace that only this test knows; the box is connected to it by a virtual cable, and to nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.guest.tools import GuestError, program, run

BROKER, BOX = "10.77.0.1", "10.77.0.2"
PORT = 1883


class City:
    """folder: for the broker's files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"gw-city-{os.getpid()}"
        self._broker: subprocess.Popen[bytes] | None = None
        self._listener: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._came = threading.Condition()
        self.messages: list[tuple[float, dict[str, Any]]] = []  # (monotonic seconds, what `watch --json` says of it)

    def __enter__(self) -> City:
        run(["ip", "netns", "add", self._name], timeout_s=10)
        self._ip("link", "set", "lo", "up")
        return self

    def connect(self, pid: int) -> None:
        """The cable to a box; pid: its systemd."""
        self._ip("link", "add", "box0", "type", "veth", "peer", "name", "host0", "netns", str(pid))
        self._ip("address", "add", f"{BROKER}/24", "dev", "box0")
        self._ip("link", "set", "box0", "up")
        inside = [program("nsenter"), f"--target={pid}", "--net", "--", "ip"]
        for words in (f"address add {BOX}/24 dev host0", "link set host0 up", "link set lo up"):
            run([*inside, *words.split()], timeout_s=10)

    def open(self) -> None:
        """Start the broker and listen."""
        self._folder.mkdir(parents=True)
        config = self._folder / "mosquitto.conf"
        config.write_text(
            f"user root\nlistener {PORT} {BROKER}\nallow_anonymous true\nlog_dest file {self._folder / 'log'}\n"
        )
        self._broker = subprocess.Popen([*self._inside(), program("mosquitto"), "-c", str(config)])
        deadline_s = time.monotonic() + 10
        while "running" not in ((self._folder / "log").read_text() if (self._folder / "log").exists() else ""):
            if self._broker.poll() is not None or time.monotonic() > deadline_s:
                raise GuestError(f"mosquitto did not start; see {self._folder / 'log'}")
            time.sleep(0.05)
        self._listener = subprocess.Popen(
            [
                *self._inside(),
                *(sys.executable, "-m", "agent", "watch"),
                *("--broker", f"{BROKER}:{PORT}", "--topic", "gw/v1/#", "--json"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._listener,))
        self._reader.start()

    def _read(self, listener: subprocess.Popen[str]) -> None:
        assert listener.stdout is not None
        for line in listener.stdout:
            with self._came:
                self.messages.append((time.monotonic(), json.loads(line)))
                self._came.notify_all()

    def wait_for(self, since_s: float, timeout_s: float, **fields: Any) -> tuple[float, dict[str, Any]]:
        """The first message that came after since_s and has these fields; when it came, and the whole of it.

        Raises TimeoutError with what came instead.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._came:
            while True:
                for came_s, message in self.messages:
                    said = {**message, **message.get("payload", {})}
                    if came_s >= since_s and all(said.get(name) == value for name, value in fields.items()):
                        return came_s, said
                if not self._came.wait(deadline_s - time.monotonic()):
                    last = [message for _, message in self.messages[-5:]]
                    raise TimeoutError(f"no message with {fields} in {timeout_s:g} s; the last: {last}")

    def _inside(self) -> list[str]:
        return [program("ip"), "netns", "exec", self._name]

    def _ip(self, *words: str) -> None:
        run([*self._inside(), "ip", *words], timeout_s=10)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (self._listener, self._broker):
            if process is not None:
                process.send_signal(signal.SIGTERM)
                process.wait(10)
        if self._reader is not None:
            self._reader.join(10)
        if self._listener is not None and self._listener.stdout is not None:
            self._listener.stdout.close()
        run(["ip", "netns", "delete", self._name], timeout_s=10)
