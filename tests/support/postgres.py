"""A real PostgreSQL on a free loopback port, in a folder of its own: start, stop, kill, freeze, start again.

PostgreSQL does not run as root: there it runs as the user `postgres`, which Debian's package brings.
"""

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
from typing import Any

import pg8000.exceptions
import pg8000.native

from tests.support.mosquitto import free_port

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
BINARIES = _BINARIES[-1] if _BINARIES else None
"""Debian keeps initdb and postgres out of the PATH."""


_INITDB = ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]


class Postgres:
    """`with Postgres() as server:`; one folder over any number of starts, removed at the end."""

    def __init__(self, *, extra: Sequence[str] = ()) -> None:
        if BINARIES is None:
            raise RuntimeError("PostgreSQL is not installed; apt-get install postgresql")
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # not below tmp_path: others may not enter that
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None
        self._as: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        subprocess.run(
            [*self._as, BINARIES / "initdb", "-D", self.folder / "data", "-U", "tests", "--auth=trust", *_INITDB],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
        )

    def start(self) -> Postgres:
        if self._process is not None or BINARIES is None:
            raise RuntimeError("PostgreSQL: not installed, or started already")
        options = ["listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={self.folder}"]
        options += ["max_connections=30", "shared_buffers=64MB", *self._extra]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as, BINARIES / "postgres", "-D", self.folder / "data"]
                + [part for option in options for part in ("-c", option)],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        deadline_s = time.monotonic() + 20
        while True:
            try:
                self.connect("postgres").close()
                return self
            except (pg8000.exceptions.Error, OSError):
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    self.kill()
                    raise RuntimeError(f"PostgreSQL did not start: {self.log()[-500:]}") from None
                time.sleep(0.05)

    def connect(self, name: str) -> pg8000.native.Connection:
        return pg8000.native.Connection("tests", host="127.0.0.1", port=self.port, database=name, timeout=20)

    def make(self, name: str) -> str:
        """A new, empty database. Returns its address."""
        connection = self.connect("postgres")
        connection.run(f"create database {name}")
        connection.close()
        return self.address(name)

    def address(self, name: str) -> str:
        return f"postgresql://tests@127.0.0.1:{self.port}/{name}"

    def query(self, name: str, sql: str, **values: Any) -> list[list[Any]]:
        connection = self.connect(name)
        try:
            return [list(row) for row in connection.run(sql, **values) or []]
        finally:
            connection.close()

    def stop(self) -> None:
        """At once, with its connections: a clean end on disk."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As when the power fails: its children end too."""
        self._end(signal.SIGQUIT)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)  # setpriv has become postgres: this is its own pid
            process.wait(20)
            self._wait_for_port()

    def _wait_for_port(self) -> None:
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                return
            time.sleep(0.02)

    def __enter__(self) -> Postgres:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
