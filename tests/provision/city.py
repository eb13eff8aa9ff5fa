"""The world outside of the box: a network of its own with the city's authority and broker in it, and a centre that
listens there.

A network namespace that only this test knows; the box is connected to it by a virtual cable, and to nothing else.
Authority, broker and their files are what a city would use: provisioning/ca and provisioning/broker.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.guest.tools import GuestError, program, run

TOP = Path(__file__).parents[2]
BROKER, BOX = "10.77.0.1", "10.77.0.2"
PORT, EST_PORT = 8883, 8443
_NAME = "cua-bac/gw-01"
_BESIDES = """
loop = true

  [[camera.line]]
  id = "gate"
  a = [0.5, 1.0]
  b = [0.5, 0.2]

[health]
interval_s = 2
"""


class City:
    """folder: for what authority and broker keep."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"gw-city-{os.getpid()}"
        self._processes: list[subprocess.Popen[str]] = []
        self._reader: threading.Thread | None = None
        self._came = threading.Condition()
        self.messages: list[tuple[float, dict[str, Any]]] = []  # (monotonic seconds, what `watch --json` says of it)

    @property
    def card(self) -> Path:
        """What the authority made for the box."""
        return self._folder / "fleet" / _NAME.replace("/", "_")

    def found(self, source: str) -> None:
        """Make the authority, the broker's files, the centre's certificate, and the box's card.

        source: of the box's one camera.
        """
        self._folder.mkdir(parents=True)
        (self._folder / "passphrase").write_text("correct horse")
        (self._folder / "besides.toml").write_text(_BESIDES)
        (self._folder / "fleet.csv").write_text(
            f"site,box,broker,camera:north\n{_NAME.replace('/', ',')},{BROKER},{source}\n"
        )
        self._ca("init", "--name", "Test city", "--passphrase-file", str(self._folder / "passphrase"))
        self._ca("server", "--out", str(self._folder / "broker"), BROKER)
        self._ca("client", "--out", str(self._folder / "ioc"), "ioc")
        besides = ["--append", str(self._folder / "besides.toml")]
        url = f"https://{BROKER}:{EST_PORT}"
        out = ["--out", str(self._folder / "fleet"), "--server", url]
        self._ca("fleet", *out, *besides, str(self._folder / "fleet.csv"))

    def new_token(self) -> str:
        return self._ca("token", _NAME).splitlines()[0]

    def _ca(self, *words: str) -> str:
        command = [sys.executable, "-m", "provisioning.ca", "--folder", str(self._folder / "ca"), *words]
        return run(["env", f"--chdir={TOP}", *command], timeout_s=60)

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
        """Start authority and broker, and listen."""
        ca, broker, ioc = (self._folder / name for name in ("ca", "broker", "ioc"))
        conf = (TOP / "provisioning/broker/mosquitto.conf").read_text()
        conf = conf.replace("/etc/mosquitto/gateway/crl.pem", str(ca / "crl.pem"))
        conf = conf.replace("/etc/mosquitto/gateway/acl", str(TOP / "provisioning/broker/acl"))
        conf = conf.replace("/etc/mosquitto/gateway", str(broker)).replace("listener 8883", f"listener {PORT} {BROKER}")
        (broker / "mosquitto.conf").write_text(
            f"user root\nlog_dest file {broker / 'log'}\npersistence_location {broker}/\n{conf}"
        )
        listen = ["--listen", f"{BROKER}:{EST_PORT}", "--name", BROKER]
        self._start(sys.executable, "-m", "provisioning.ca", "--folder", str(ca), "serve", *listen)
        self._start(program("mosquitto"), "-c", str(broker / "mosquitto.conf"))
        self._wait(lambda: (broker / "log").exists() and "running" in (broker / "log").read_text(), "mosquitto")
        login = [f"--{name}={path}" for name, path in (("ca", ioc / "ca.pem"), ("cert", ioc / "client.crt"))]
        login.append(f"--key={ioc / 'client.key'}")
        words = ["--broker", f"{BROKER}:{PORT}", *login, "--topic", "gw/v1/#", "--json"]
        listener = self._start(sys.executable, "-m", "agent", "watch", *words)
        self._reader = threading.Thread(target=self._read, args=(listener,))
        self._reader.start()

    def _start(self, *command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([*self._inside(), *command], stdout=subprocess.PIPE, text=True, cwd=TOP)
        self._processes.append(process)
        return process

    def _wait(self, is_there: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + 20
        while not is_there():
            if time.monotonic() > deadline_s:
                raise GuestError(f"{what} did not start; see {self._folder}")
            time.sleep(0.05)

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
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            process.wait(10)
        if self._reader is not None:
            self._reader.join(10)
        for process in self._processes:
            if process.stdout is not None:
                process.stdout.close()
        run(["ip", "netns", "delete", self._name], timeout_s=10)
