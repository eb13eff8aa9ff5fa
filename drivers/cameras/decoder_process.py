"""The decoder process as the agent's side sees it: its pipes, its memory, its last words.

Starts `drivers.cameras.decoder_child` and speaks `drivers.cameras.decoder_protocol` with it. Believes nothing it says:
a message that cannot be true, too long a line, a picture larger than the memory are all told as "nonsense".

The shared memory has no name in the file system, so none is left behind however either side ends; and it is sealed, so
that a decoder run amok cannot shrink it under our hands.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import mmap
import os
import select
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

import drivers
from drivers.base import CameraUnavailable, Frame
from drivers.cameras.credentials import Credentials
from drivers.cameras.decoder_protocol import FRAME_BYTES, MAX_LINE_BYTES, WANT_FRAME, is_size

log = logging.getLogger(__name__)

_OLDEST_FRAME_S = 3600.0  # one that nobody asked for may lie there for a while
_STDERR_LINES_KEPT = 20
# The agent's environment may hold secrets. HOME and what begins with GST_ are for GStreamer, which keeps a list of its
# plugins there and looks through all of them, for seconds, where it finds none.
_PASSED_ON = (
    *("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ"),
    *("HOME", "XDG_CACHE_HOME", "GST_PLUGIN_PATH", "GST_REGISTRY"),
)


class NoMessage(Exception):
    """The decoder said nothing in time."""


class DecoderGone(Exception):
    """The decoder process ended, or what it says is no message."""


class Scrubber:
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


class DecoderProcess:
    """One decoder process: its pipes, its memory, its last words."""

    def __init__(self, camera_id: str, scrub: Scrubber) -> None:
        self._camera_id = camera_id
        self.scrub = scrub
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
            raise DecoderGone(self._how_it_ended()) from exc

    def ask(self) -> None:
        """Ask for a frame, unless the answer to the last asking is still to come.

        One that has ended may have said why before, so this does not raise: `next_message` reads that first.
        """
        if not self._asked:
            with contextlib.suppress(BrokenPipeError):
                self._stdin.write(WANT_FRAME)
            self._asked = True

    def next_message(self, timeout_s: float) -> tuple[str, dict[str, Any]]:
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._out:
            if len(self._out) > MAX_LINE_BYTES:
                raise DecoderGone("its decoder speaks nonsense")
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not self._wait(left_s):
                raise NoMessage(f"its decoder gave no sign for {timeout_s:g} s")
        line, _, rest = bytes(self._out).partition(b"\n")
        self._out[:] = rest
        try:
            ((kind, fields),) = json.loads(line).items()
            if not isinstance(fields, dict):
                raise TypeError("no fields")
        except (ValueError, TypeError, AttributeError, RecursionError) as exc:  # the last for [[[[…
            raise DecoderGone("its decoder speaks nonsense") from exc
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
                raise DecoderGone(self._how_it_ended())
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
            text = self.scrub(line.decode(errors="replace").strip())
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
        except (KeyError, TypeError, ValueError, OverflowError):  # the last for Infinity, which Python's JSON knows
            return None
        if not is_size(width_px, height_px) or index < 0:
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
