"""The decoder of one camera, as a process of its own: `python -m drivers.cameras.decoder_child CAMERA_ID`.

A network stream is parsed by a large body of C code that hangs, crashes and can be attacked; so do the drivers behind
GStreamer and libcamera. Here it takes only itself down. Started and spoken to by `drivers.cameras.decoder_process`; the
language is in `drivers.cameras.decoder_protocol`. It keeps away from files (none can be written, few can be opened),
from the configuration and from the agent.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import threading
import time
from dataclasses import asdict

import numpy as np

from drivers.cameras.decoder_fed import FedSource
from drivers.cameras.decoder_ffmpeg import FfmpegSource
from drivers.cameras.decoder_http import MjpegSource, SnapshotSource
from drivers.cameras.decoder_program import ProgramSource
from drivers.cameras.decoder_protocol import FRAME_BYTES, MAX_LINE_BYTES, Request, message_line
from drivers.cameras.decoder_source import Source, SourceFailed
from drivers.cameras.pace import Pace

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_ADDRESS_SPACE_BYTES = 2 << 30
_OPEN_FILES = 64
_FIRST_ASKED_S = 0.5


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal is the agent's to handle
    to_camera_fd = os.dup(1)
    os.dup2(2, 1)  # OpenCV 5 prints FFmpeg's errors to stdout
    request = Request.from_line(_read_line())
    _die_with(request.parent_pid)
    memory = mmap.mmap(request.memory_fd, FRAME_BYTES)
    os.close(request.memory_fd)
    wanted = threading.Event()
    try:
        source = _source(request)
        _limit_ourselves()  # not the program that a source may have started: graphics drivers need more
        threading.Thread(target=_watch_stdin, args=(wanted,), daemon=True).start()
        fps = None if request.kind == "snapshot" else request.fps  # those are asked for no more often than that
        _play(source, fps, memory, wanted, to_camera_fd)
        failed = SourceFailed("ended")
    except SourceFailed as exc:
        failed = exc
    _LIBC.fflush(None)  # FFmpeg's last words lie in C's buffer; they must be there before the message is
    os.write(to_camera_fd, message_line("failed", reason=failed.reason, words=failed.words))
    os._exit(1)  # at once: FFmpeg's own tear-down can hang, and there is nothing to save


def _play(source: Source, fps: float | None, memory: mmap.mmap, wanted: threading.Event, to_camera_fd: int) -> None:
    """Play the stream to its end. Raises SourceFailed if it fails before."""
    granted = source.open()
    os.write(to_camera_fd, message_line("opened", **asdict(granted)))
    pace = Pace(fps)
    shared = np.frombuffer(memory, np.uint8)
    index = -1
    wanted.wait(_FIRST_ASKED_S)  # or the first picture would be gone before anybody asks, and snapshots are rare
    while source.grab():
        mono_s = time.monotonic()
        index += 1
        if not wanted.is_set() or not pace.wants(mono_s):
            continue
        size_wh_px = source.retrieve(shared)
        if size_wh_px is None:
            continue
        wanted.clear()
        width_px, height_px = size_wh_px
        answer = message_line("frame", index=index, width_px=width_px, height_px=height_px, mono_s=mono_s)
        os.write(to_camera_fd, answer)


def _source(request: Request) -> Source:
    if request.kind == "ffmpeg":
        return FedSource(request) if request.program else FfmpegSource(request)
    if request.kind == "program":
        return ProgramSource(request)
    return MjpegSource(request) if request.kind == "mjpeg" else SnapshotSource(request)


def _watch_stdin(wanted: threading.Event) -> None:
    """Runs beside the decoding, so that the end of the agent is noticed while FFmpeg waits for the network."""
    while os.read(0, 1):
        wanted.set()
    os._exit(0)


def _read_line() -> bytes:
    """One byte at a time, because what follows the line belongs to _watch_stdin."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
        byte = os.read(0, 1)
        if not byte:
            os._exit(0)
        line += byte
    return bytes(line)


def _die_with(parent_pid: int) -> None:
    """If the agent is killed, so are we, even if we are stopped or stuck and could not notice the closed pipe."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before we asked for that
        os._exit(0)


def _limit_ourselves() -> None:
    for what, limit in (
        (resource.RLIMIT_CORE, 0),  # a core file would hold pictures and the login
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_AS, _ADDRESS_SPACE_BYTES),
    ):
        resource.setrlimit(what, (limit, limit))


if __name__ == "__main__":
    main()
