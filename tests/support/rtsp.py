"""RTSP for tests: a real server as a child process, and a TCP relay that can be told to misbehave."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

APT_PACKAGES = (
    "python3-gi",
    "gir1.2-gst-rtsp-server-1.0",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-plugins-ugly",
)
_SYSTEM_PYTHON = "/usr/bin/python3"
_SERVER = Path(__file__).with_name("rtsp_server.py")
_NEEDED = """
import gi
gi.require_version('GstRtspServer', '1.0')
from gi.repository import Gst
Gst.init(None)
missing = [n for n in ('videotestsrc', 'x264enc', 'x265enc', 'rtph264pay') if Gst.ElementFactory.find(n) is None]
raise SystemExit(f'no {missing}' if missing else 0)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def why_no_rtsp_server() -> str | None:
    """What is missing for the server, None if nothing is."""
    if not Path(_SYSTEM_PYTHON).exists():
        return f"no {_SYSTEM_PYTHON}"
    run = subprocess.run([_SYSTEM_PYTHON, "-c", _NEEDED], capture_output=True, text=True, check=False)
    if run.returncode:
        why = run.stderr.strip().splitlines()[-1]
        return f"RTSP server: {why}; apt-get install {' '.join(APT_PACKAGES)}"
    return None


def skip_without_gstreamer() -> None:
    """Skips the calling module unless the server's Debian packages are installed."""
    why = why_no_rtsp_server()
    if why is not None:
        pytest.skip(why, allow_module_level=True)


class RtspServer:
    """GStreamer's RTSP server on a loopback port, which it keeps over stop() and start()."""

    def __init__(self, *, login: str | None = None, codecs: str = "h264", size: str = "320x240", fps: int = 10) -> None:
        self.port = free_port()
        self._login = login
        self._arguments = ["--codecs", codecs, "--size", size, "--fps", str(fps)]
        self._process: subprocess.Popen[str] | None = None

    def url(self, path: str = "h264", port: int | None = None) -> str:
        return f"rtsp://127.0.0.1:{port or self.port}/{path}"

    def start(self, *, size: str | None = None) -> None:
        login = ["--login"] if self._login else []
        other_size = ["--size", size] if size else []
        self._process = subprocess.Popen(
            [_SYSTEM_PYTHON, str(_SERVER), str(self.port), *self._arguments, *login, *other_size],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{self._login or ''}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "ready\n", "the RTSP server did not start"

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

    def __enter__(self) -> RtspServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Relay:
    """Passes TCP on to a port; with `garbage` set, what the server says is replaced by random bytes of that length."""

    def __init__(self, to_port: int) -> None:
        self.garbage = threading.Event()
        self._to_port = to_port
        self._random = random.Random(20)  # the same garbage every time
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        for sock in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to_port))
            except OSError:
                return
            self._sockets += [client, server]
            for source, sink, is_server in ((client, server, False), (server, client, True)):
                thread = threading.Thread(target=self._pump, args=(source, sink, is_server))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_server: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(self._random.randbytes(len(data)) if is_server and self.garbage.is_set() else data)
            sink.shutdown(socket.SHUT_WR)
