"""A network stream that FFmpeg receives and another program decodes, inside the decoder process.

For decoders that only GStreamer reaches: it is fed with the packets of the stream, and gives pictures back. So logins,
and what a camera says when it refuses, stay where they are for every other network camera.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading

import cv2

from drivers.base import CameraFormat
from drivers.cameras.decoder_ffmpeg import open_stream
from drivers.cameras.decoder_program import ProgramSource
from drivers.cameras.decoder_protocol import Request
from drivers.cameras.decoder_source import SourceFailed


class FedSource(ProgramSource):
    """request.program reads H.264 or H.265 from its stdin, as a byte stream."""

    def __init__(self, request: Request) -> None:
        super().__init__(request, stdin=subprocess.PIPE)
        self._request = request

    def open(self) -> CameraFormat:
        capture, stream = open_stream(self._request, packets=True)
        threading.Thread(target=self._feed, args=(capture,), daemon=True).start()
        try:
            granted = super().open()
        except SourceFailed as exc:
            raise SourceFailed("hardware", exc.words) from exc
        return CameraFormat(granted.width_px, granted.height_px, stream.fps, f"{stream.codec} {self._request.hardware}")

    def _feed(self, capture: cv2.VideoCapture) -> None:
        """Packet after packet until the stream or the program ends; the other end is then noticed by who reads it."""
        assert self._process.stdin is not None
        headers_at = int(capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX))
        with contextlib.suppress(OSError):
            while capture.grab():
                if headers_at >= 0:  # some cameras say what decoders must know beforehand, and never again
                    ok, data = capture.retrieve(flag=headers_at)
                    self._process.stdin.write(data.tobytes() if ok else b"")
                    headers_at = -1
                ok, data = capture.retrieve()
                if ok:
                    self._process.stdin.write(data.tobytes())
                    self._process.stdin.flush()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
