"""The decoder of one network camera, as a process of its own: `python -m drivers.cameras.decoder_child CAMERA_ID`.

A network stream is parsed by a large body of C code that hangs, crashes and can be attacked. Here it takes only itself
down. Started and spoken to by `drivers.cameras.decoder`; the language is in `drivers.cameras.decoder_protocol`. It
keeps away from files (none can be written, few can be opened), from the configuration and from the agent.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import threading
import time

import cv2
import numpy as np

from drivers.cameras.decoder_protocol import FRAME_BYTES, MAX_LINE_BYTES, MAX_PIXELS, Request, message_line
from drivers.cameras.opencv import fourcc_name
from drivers.cameras.pace import Pace

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_ADDRESS_SPACE_BYTES = 2 << 30
_OPEN_FILES = 64
# One thread would do for most streams; two keep a 4 MP one in time at the price of one frame of delay. OpenCV's own
# choice, one per core, delays by as many frames as there are cores.
_DECODER_THREADS = 2


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal is the agent's to handle
    to_camera_fd = os.dup(1)
    os.dup2(2, 1)  # OpenCV 5 prints FFmpeg's errors to stdout
    request = Request.from_line(_read_line())
    _die_with(request.parent_pid)
    _limit_ourselves()
    memory = mmap.mmap(request.memory_fd, FRAME_BYTES)
    os.close(request.memory_fd)
    wanted = threading.Event()
    threading.Thread(target=_watch_stdin, args=(wanted,), daemon=True).start()
    reason = _decode(request, memory, wanted, to_camera_fd)
    _LIBC.fflush(None)  # FFmpeg's last words lie in C's buffer; they must be there before the message is
    os.write(to_camera_fd, message_line("failed", reason=reason))
    os._exit(1)  # at once: FFmpeg's own tear-down can hang, and there is nothing to save


def _decode(request: Request, memory: mmap.mmap, wanted: threading.Event, to_camera_fd: int) -> str:
    """Play the stream until it fails; returns why it did."""
    capture = _open(request)
    if not capture.isOpened():
        return "not-opened"
    width_px = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    height_px = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if width_px <= 0 or height_px <= 0:
        return "no-size"  # the stream had not said what it is when FFmpeg stopped looking
    if width_px * height_px > MAX_PIXELS:
        return f"too-big {width_px}x{height_px}"
    codec = fourcc_name(int(capture.get(cv2.CAP_PROP_FOURCC)))
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    os.write(to_camera_fd, message_line("opened", width_px=width_px, height_px=height_px, fps=fps, codec=codec))
    pace = Pace(request.fps)
    shared = np.frombuffer(memory, np.uint8)
    index = -1
    while capture.grab():
        mono_s = time.monotonic()
        index += 1
        if not wanted.is_set() or not pace.wants(mono_s):
            continue
        width_px = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height_px = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width_px * height_px > MAX_PIXELS:
            return f"too-big {width_px}x{height_px}"
        slot = shared[: width_px * height_px * 3].reshape(height_px, width_px, 3)
        ok, image = capture.retrieve(slot)
        if not ok:
            continue
        if image.ndim != 3 or image.shape[2] != 3 or image.size > FRAME_BYTES:
            return f"strange-picture {image.shape}"
        if not np.may_share_memory(image, slot):  # the size was not what it said; then OpenCV makes its own array
            height_px, width_px = image.shape[:2]
            shared[: image.size] = image.reshape(-1)
        wanted.clear()
        answer = message_line("frame", index=index, width_px=width_px, height_px=height_px, mono_s=mono_s)
        os.write(to_camera_fd, answer)
    return "ended"


def _open(request: Request) -> cv2.VideoCapture:
    probe = (
        "analyzeduration;5000000|probesize;5000000" if request.thorough else "analyzeduration;200000|probesize;50000"
    )
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"rtsp_transport;tcp|{probe}"
    # How many packets may give no picture before grab() gives up. OpenCV's 64 is less than what comes in the 4 to 10 s
    # between the key frames of thrifty cameras, and before the first key frame there is nothing to show.
    os.environ["OPENCV_FFMPEG_DECODE_ATTEMPTS"] = "2000"
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "16"  # errors, to stderr: the camera reads there why opening failed
    parameters = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        int(request.open_timeout_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        int(request.read_timeout_s * 1000),
        cv2.CAP_PROP_N_THREADS,
        _DECODER_THREADS,
    ]
    return cv2.VideoCapture(request.url, cv2.CAP_FFMPEG, parameters)


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
