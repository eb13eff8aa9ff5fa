"""Network cameras: each one's stream is decoded in a process of its own, so that one bad stream stops one camera.

The camera starts `drivers.cameras.decoder_child`, gives it the address over a pipe, and takes frames out of memory they
share. Whatever goes wrong over there (crash, hang, garbage, kill, stop) comes out here as CameraUnavailable from open()
or CameraStalled from read(); close() then kills the process, and the next open() starts another.

The shared memory has no name in the file system, so none is left behind however either side ends; and it is sealed, so
that a decoder run amok cannot shrink it under our hands.
"""

from __future__ import annotations

import fcntl
import json
import logging
import mmap
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import numpy as np

import drivers
from drivers.base import CameraFormat, CameraRefused, CameraStalled, CameraUnavailable, Frame
from drivers.cameras.credentials import Credentials
from drivers.cameras.decoder_protocol import FRAME_BYTES, MAX_LINE_BYTES, MAX_PIXELS, WANT_FRAME, Request

log = logging.getLogger(__name__)

_OPEN_TIMEOUT_S = 6.0
_START_TIMEOUT_S = 20.0  # for Python and OpenCV to load, on a slow board with a cold disk
# Only for the decoder to end by itself; the reader's own patience (read(timeout_s)) is usually shorter. Long, because
# the first picture has to wait for a key frame.
_READ_TIMEOUT_S = 15.0
_OLDEST_FRAME_S = 3600.0  # one that nobody asked for may lie there for a while
_STDERR_LINES_KEPT = 20
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")  # the agent's environment may hold secrets
_RTSP_STATUS = re.compile(r"method \w+ failed: (\d{3})")
_NETWORK_WORDS = {
    "Connection refused": "nothing listens there; is the camera on, and is RTSP switched on in its settings?",
    "No route to host": "there is no way to that address; check cable, address and network mask",
    "Network is unreachable": "there is no way to that address; check cable, address and network mask",
    "Connection timed out": "no answer; is the camera on, and is the address right?",
    "Failed to resolve hostname": "the name is not known; write the camera's IP address, or check the DNS server",
}


class NetworkCamera:
    """A camera whose stream FFmpeg can open by URL; today rtsp://, over TCP.

    url: without a login. fps: at most so many frames a second are delivered, None for all.
    mono_s of a frame is when it came out of the decoder, on this machine's monotonic clock.
    Open, read and close it in one thread: the kernel ends the decoder with the thread that started it.
    """

    def __init__(
        self,
        camera_id: str,
        url: str,
        *,
        fps: float | None = None,
        credentials: Credentials | None = None,
        open_timeout_s: float = _OPEN_TIMEOUT_S,
        read_timeout_s: float = _READ_TIMEOUT_S,
    ) -> None:
        self.camera_id = camera_id
        self.url = url
        self._fps = fps
        self._credentials = credentials
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._decoder: _Decoder | None = None
        self._next_index = 0
        self._index_base = 0
        self._thorough = False

    @property
    def decoder_pid(self) -> int | None:
        """The decoder process now at work, or None."""
        return self._decoder.pid if self._decoder else None

    def open(self) -> CameraFormat:
        self.close()
        self._decoder = _Decoder(self.camera_id, _Scrubber(self._credentials))
        request = Request(
            url=_with_login(self.url, self._credentials),
            memory_fd=self._decoder.memory_fd,
            parent_pid=os.getpid(),
            fps=self._fps,
            open_timeout_s=self._open_timeout_s,
            read_timeout_s=self._read_timeout_s,
            thorough=self._thorough,
        )
        try:
            self._decoder.send(request.to_line())
            kind, fields = self._decoder.next_message(_START_TIMEOUT_S + self._open_timeout_s)
        except (_NoMessage, _DecoderGone) as exc:
            self.close()
            raise CameraUnavailable(f"camera {self.camera_id}: cannot open {self.url}: {exc}") from exc
        if kind == "failed":
            error = self._explain(str(fields.get("reason")))
            self.close()
            raise error
        try:
            fps = float(fields["fps"])
            granted = CameraFormat(
                width_px=int(fields["width_px"]),
                height_px=int(fields["height_px"]),
                fps=fps if 0.1 <= fps <= 240 else 0.0,  # cameras that do not say give 0, 90000 and the like
                codec=str(fields["codec"])[:16],
            )
        except (KeyError, TypeError, ValueError) as exc:
            self.close()
            raise CameraUnavailable(f"camera {self.camera_id}: {self.url}: its decoder speaks nonsense") from exc
        self._index_base = self._next_index
        return granted

    def read(self, timeout_s: float) -> Frame:
        if self._decoder is None:
            raise CameraUnavailable(f"camera {self.camera_id}: {self.url} is not open; call open() first")
        try:
            self._decoder.ask()
            kind, fields = self._decoder.next_message(timeout_s)
        except _NoMessage as exc:
            raise CameraStalled(f"camera {self.camera_id}: no picture from {self.url} for {timeout_s:g} s") from exc
        except _DecoderGone as exc:
            raise CameraStalled(f"camera {self.camera_id}: {self.url}: {exc}") from exc
        if kind == "failed":
            raise CameraStalled(self._why_stalled(str(fields.get("reason"))))
        if self._decoder.size_changed:
            raise CameraStalled(f"camera {self.camera_id}: {self.url}: the pictures changed their size in mid-stream")
        frame = self._decoder.frame(fields)
        if frame is None:
            raise CameraStalled(f"camera {self.camera_id}: {self.url}: its decoder speaks nonsense")
        frame = Frame(frame.image_bgr, self._index_base + frame.index, frame.mono_s)
        self._next_index = frame.index + 1
        return frame

    def close(self) -> None:
        if self._decoder is not None:
            self._decoder.kill()
            self._decoder = None

    def _why_stalled(self, reason: str) -> str:
        assert self._decoder is not None
        if reason.startswith("too-big"):
            return self._too_big(reason)
        words = self._decoder.last_words()
        return f"camera {self.camera_id}: {self.url}: the stream broke off or could not be decoded any more" + (
            f" (FFmpeg: {words})" if words else ""
        )

    def _too_big(self, reason: str) -> str:
        return (
            f"camera {self.camera_id}: {self.url} sends pictures of {reason.split()[-1]}, more than the "
            f"{MAX_PIXELS} pixels that are accepted; choose a smaller (sub-)stream"
        )

    def _explain(self, reason: str) -> CameraUnavailable:
        """Why opening failed, from what FFmpeg said. OpenCV itself only says that it did."""
        assert self._decoder is not None
        if reason.startswith("too-big"):
            return CameraRefused(self._too_big(reason))
        if reason == "no-size":
            self._thorough = True  # this camera's stream does not announce itself; opening it takes seconds longer
            return CameraUnavailable(f"camera {self.camera_id}: {self.url}: no picture size found; looking longer next")
        said = self._decoder.drain_stderr()
        where = f"camera {self.camera_id}: {self.url}"
        status = next((int(m[1]) for line in reversed(said) if (m := _RTSP_STATUS.search(line))), None)
        if status == 401:
            return CameraRefused(
                f"{where}: the camera refuses the user or the password (401); correct them in its credentials file"
                if self._credentials
                else f"{where}: the camera wants a login (401); put user and password into its credentials file"
            )
        if status == 403:
            return CameraRefused(f"{where}: this user may not see the stream (403); see the camera's settings")
        if status == 404:
            return CameraRefused(f"{where}: the camera has no such stream (404); check the path in the source")
        if status is not None and 400 <= status < 500:
            return CameraRefused(f"{where}: the camera refuses the request ({status}); check the source")
        if status is not None:
            return CameraUnavailable(f"{where}: the camera answers with status {status}; it may be busy")
        for words, advice in _NETWORK_WORDS.items():
            if any(words in line for line in said):
                return CameraUnavailable(f"{where}: {words.lower()}: {advice}")
        slow = (
            f"no stream within {self._open_timeout_s:g} s: "
            if any("timeout triggered" in line for line in said)
            else ""
        )
        words = self._decoder.last_words()
        return CameraUnavailable(f"{where}: {slow}{_knock(self.url)}" + (f" (FFmpeg: {words})" if words else ""))


class _NoMessage(Exception):
    """The decoder said nothing in time."""


class _DecoderGone(Exception):
    """The decoder process ended, or what it says is no message."""


class _Scrubber:
    """Takes the login out of text that is not ours, in every form in which FFmpeg may print it."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._secrets: tuple[str, ...] = ()
        if credentials:
            user, password = credentials.user, credentials.password
            basic = b64encode(f"{user}:{password}".encode()).decode()
            forms = {f"{quote(user, safe='')}:{quote(password, safe='')}", basic, password, quote(password, safe="")}
            self._secrets = tuple(sorted((form for form in forms if form), key=len, reverse=True))

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text


class _Decoder:
    """One decoder process: its pipes, its memory, its last words."""

    def __init__(self, camera_id: str, scrub: _Scrubber) -> None:
        self._camera_id = camera_id
        self._scrub = scrub
        self._out = bytearray()
        self._err = bytearray()
        self._stderr_open = True
        self._said: deque[str] = deque(maxlen=_STDERR_LINES_KEPT)
        self._asked = False
        self.size_changed = False
        """OpenCV 4 cannot follow to a smaller one, and repeats the last picture; OpenCV 5 scales the new ones."""
        # The name is for /proc only; length is limited, and a camera's id may be long.
        self.memory_fd = os.memfd_create(f"camera-{camera_id[:100]}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.memory_fd, FRAME_BYTES)
            fcntl.fcntl(self.memory_fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self._memory = mmap.mmap(self.memory_fd, FRAME_BYTES, prot=mmap.PROT_READ)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "drivers.cameras.decoder_child", camera_id],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(self.memory_fd,),
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ}
                | {"PYTHONPATH": str(Path(drivers.__file__).resolve().parents[1])},
                cwd="/",
                bufsize=0,
            )
        except OSError as exc:  # out of memory, descriptors or processes
            raise CameraUnavailable(f"camera {camera_id}: cannot start its decoder: {exc}") from exc
        finally:
            os.close(self.memory_fd)  # ours; the decoder has inherited its own under the same number
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdin = self._process.stdin
        self._stdout = self._process.stdout
        self._stderr = self._process.stderr
        os.set_blocking(self._stdout.fileno(), False)
        os.set_blocking(self._stderr.fileno(), False)
        self.pid = self._process.pid

    def send(self, data: bytes) -> None:
        try:
            self._stdin.write(data)  # far less than a pipe holds, so it does not block
        except BrokenPipeError as exc:
            raise _DecoderGone(self._how_it_ended()) from exc

    def ask(self) -> None:
        """Ask for a frame, unless the answer to the last asking is still to come."""
        if not self._asked:
            self.send(WANT_FRAME)
            self._asked = True

    def next_message(self, timeout_s: float) -> tuple[str, dict[str, Any]]:
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._out:
            if len(self._out) > MAX_LINE_BYTES:
                raise _DecoderGone("its decoder speaks nonsense")
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not self._wait(left_s):
                raise _NoMessage(f"its decoder gave no sign for {timeout_s:g} s")
        line, _, rest = bytes(self._out).partition(b"\n")
        self._out[:] = rest
        try:
            ((kind, fields),) = json.loads(line).items()
            if not isinstance(fields, dict):
                raise TypeError("no fields")
        except (ValueError, TypeError, AttributeError) as exc:
            raise _DecoderGone("its decoder speaks nonsense") from exc
        return kind, fields

    def _wait(self, timeout_s: float) -> bool:
        """Read what comes on either pipe; False if nothing did. Both are read, or a chatty decoder would block."""
        poll = select.poll()  # select() itself cannot take descriptors above 1023
        poll.register(self._stdout, select.POLLIN)
        if self._stderr_open:
            poll.register(self._stderr, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(timeout_s * 1000)]
        if self._stderr.fileno() in ready:
            self._read_stderr()
        if self._stdout.fileno() in ready:
            data = os.read(self._stdout.fileno(), 65536)
            if not data:
                raise _DecoderGone(self._how_it_ended())
            self._out += data
        return bool(ready)

    def _read_stderr(self) -> None:
        try:
            data = os.read(self._stderr.fileno(), 65536)
        except BlockingIOError:
            return
        self._stderr_open = bool(data)
        self._err += data
        *lines, rest = bytes(self._err).split(b"\n")
        self._err[:] = rest[-MAX_LINE_BYTES:]
        for line in lines:
            text = self._scrub(line.decode(errors="replace").strip())
            if text:
                self._said.append(text[:300])
                self.size_changed |= text.startswith("[swscaler") and "Slice parameters" in text

    def drain_stderr(self) -> list[str]:
        """Everything it said that is kept, oldest first."""
        if self._stderr_open:
            self._read_stderr()
        return list(self._said)

    def last_words(self) -> str:
        """FFmpeg's last line; OpenCV's own ("cannot be used to capture by name") help nobody."""
        return next((line for line in reversed(self.drain_stderr()) if "global cap" not in line), "")

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "its decoder closed its end"
        words = self.last_words()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return f"its decoder {how}" + (f" ({words})" if words else "")

    def frame(self, fields: dict[str, Any]) -> Frame | None:
        """The frame that the message announces, or None if the message cannot be true."""
        self._asked = False
        try:
            width_px, height_px = int(fields["width_px"]), int(fields["height_px"])
            index, mono_s = int(fields["index"]), float(fields["mono_s"])
        except (KeyError, TypeError, ValueError):
            return None
        if not (width_px > 0 and height_px > 0 and width_px * height_px <= MAX_PIXELS and index >= 0):
            return None
        if not 0 <= time.monotonic() - mono_s < _OLDEST_FRAME_S:
            return None
        view = np.frombuffer(self._memory, np.uint8, width_px * height_px * 3)
        return Frame(view.reshape(height_px, width_px, 3).copy(), index, mono_s)

    def kill(self) -> None:
        self._process.kill()  # works on a stopped process too; a polite end could hang in FFmpeg
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.close()
        self._memory.close()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            log.warning("camera %s: decoder %d does not end; left to the kernel", self._camera_id, self.pid)


def _with_login(url: str, credentials: Credentials | None) -> str:
    if credentials is None:
        return url
    parts = urlsplit(url)
    login = f"{quote(credentials.user, safe='')}:{quote(credentials.password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))


def _knock(url: str) -> str:
    """What the network says of the address: asked only after opening failed and FFmpeg did not tell."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 554)
    try:
        with socket.create_connection(address, timeout=1.5):
            return "something listens there but does not give a stream that can be decoded; is it an RTSP camera?"
    except TimeoutError:
        return "no answer; is the camera on, and is the address right?"
    except OSError as exc:
        return f"{exc.strerror or exc}; check cable and address"
