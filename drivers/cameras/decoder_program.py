"""Pictures from another program, inside the decoder process: it writes YUV4MPEG2 into a pipe, here they become BGR.

So drivers that live in the system (GStreamer's elements for a Jetson's cameras and decoders, libcamera on a Raspberry
Pi) need no bindings in the agent's own Python, and their crash is the end of a program, nothing more. The pipe has a
number of its own, since some of them print on stdout. The program ends with this process, however that ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import subprocess

import cv2
import numpy as np
import numpy.typing as npt

from drivers.base import CameraFormat
from drivers.cameras.decoder_protocol import Request
from drivers.cameras.decoder_source import SourceFailed
from drivers.cameras.y4m import FRAME, MAGIC, MAX_LINE_BYTES, NotY4m, Y4mHeader, parse_header

FD = "{fd}"
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_PIPE_BYTES = 1 << 20  # fewer turns between the two processes; what Linux grants a user who is not root
_LAST_WORDS_S = 1.0


class ProgramSource:
    """Reads what request.program writes. Starts it at once, so that limits set later bind this process only."""

    def __init__(self, request: Request, *, stdin: int = subprocess.DEVNULL) -> None:
        self._name = os.path.basename(request.program[0])
        self._hint = request.hint
        self._header = Y4mHeader(8, 2, 0.0)
        self._frame = np.empty(0, np.uint8)
        self._pipe, write_end = os.pipe()
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        program = [word.replace(FD, str(write_end)) for word in request.program]
        try:
            self._process = subprocess.Popen(
                program,
                stdin=stdin,
                stdout=2,  # what it prints beside the pictures is for whoever reads our stderr
                pass_fds=(write_end,),
                preexec_fn=_prepare,  # two system calls, and this process has no locks yet that could be inherited
            )
        except OSError as exc:
            words = f"{program[0]} cannot be started: {exc.strerror}"
            raise SourceFailed("unavailable", "; ".join(part for part in (words, self._hint) if part)) from exc
        finally:
            os.close(write_end)

    def open(self) -> CameraFormat:
        line = self._line()
        if not line:
            raise SourceFailed("unavailable", self._how_it_ended())
        self._begin(line)
        return CameraFormat(self._header.width_px, self._header.height_px, fps=self._header.fps, codec="raw")

    def grab(self) -> bool:
        while True:
            line = self._line()
            if not line:
                raise SourceFailed("ended", self._how_it_ended())
            if not line.startswith(MAGIC):
                break
            self._begin(line)  # the size has changed in mid-stream
        if not line.startswith(FRAME):
            raise SourceFailed("broken", f"{self._name} writes {line[:20]!r} where a picture should begin")
        if not self._fill():
            raise SourceFailed("ended", self._how_it_ended())
        return True

    def retrieve(self, shared: npt.NDArray[np.uint8]) -> tuple[int, int]:
        width_px, height_px = self._header.width_px, self._header.height_px
        slot = shared[: width_px * height_px * 3].reshape(height_px, width_px, 3)
        cv2.cvtColor(self._frame.reshape(height_px * 3 // 2, width_px), cv2.COLOR_YUV2BGR_I420, dst=slot)
        return width_px, height_px

    def _begin(self, line: bytes) -> None:
        try:
            self._header = parse_header(line)
        except NotY4m as exc:
            raise SourceFailed("broken", f"{self._name}: {exc}") from exc
        self._frame = np.empty(self._header.frame_bytes, np.uint8)

    def _line(self) -> bytes:
        """One byte at a time: what follows is a picture, and belongs into its own memory. Empty at the end."""
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = os.read(self._pipe, 1)
            if not byte:
                return b""
            line += byte
            if len(line) > MAX_LINE_BYTES:
                raise SourceFailed("broken", f"{self._name} writes something that is not YUV4MPEG2")
        return bytes(line[:-1])

    def _fill(self) -> bool:
        """The whole next picture; False if it was cut off."""
        view = memoryview(self._frame.data)
        while view:
            count = os.readv(self._pipe, [view])
            if not count:
                return False
            view = view[count:]
        return True

    def _how_it_ended(self) -> str:
        """For a program that says nothing of use itself: what to look at."""
        try:
            code = self._process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            return f"{self._name} gives no more pictures"
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return "; ".join(part for part in (f"{self._name} {how}", self._hint) if part)


def _prepare() -> None:
    """In the program's process, before it is the program."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold pictures
