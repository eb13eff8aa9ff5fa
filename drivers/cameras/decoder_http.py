"""Pictures over HTTP, inside the decoder process: an endless stream of JPEGs, or one JPEG asked for again and again.

Only the pictures that are wanted are decoded, and none before its header said that it is not too large.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from drivers.base import CameraFormat
from drivers.cameras.credentials import Credentials
from drivers.cameras.decoder_protocol import Request
from drivers.cameras.decoder_source import SourceFailed, put, refuse_too_big
from drivers.cameras.http_client import HttpCamera, HttpFailed, content_type
from drivers.cameras.jpeg import jpeg_size_px
from drivers.cameras.multipart import MAX_PART_BYTES, Multipart, NotMultipart, boundary_of

_CHUNK_BYTES = 65536
_USELESS_PARTS = 20  # in a row, then the stream is given up; one broken picture now and then is no reason
_SNAPSHOTS_PER_S = 1.0  # where nobody says


class _Jpegs:
    """What the two have in common: a JPEG that was received, and decoding it. open() receives the first already."""

    def __init__(self) -> None:
        self._jpeg = b""
        self._is_new = False  # received while opening, and not delivered yet
        self._undecodable = 0

    def _opened(self, fps: float) -> CameraFormat:
        """With the first picture received: what there is, and that picture is the next to be grabbed."""
        size_wh_px = jpeg_size_px(self._jpeg)
        assert size_wh_px is not None, "the caller has looked"
        refuse_too_big(*size_wh_px)
        self._is_new = True
        return CameraFormat(*size_wh_px, fps=fps, codec="jpeg")

    def grab(self) -> bool:
        if self._is_new:
            self._is_new = False
            return True
        return self._receive_jpeg()

    def _receive_jpeg(self) -> bool:
        """Wait for one into _jpeg. False at the end; may raise SourceFailed."""
        raise NotImplementedError

    def retrieve(self, shared: npt.NDArray[np.uint8]) -> tuple[int, int] | None:
        size_wh_px = jpeg_size_px(self._jpeg)
        if size_wh_px is not None:
            refuse_too_big(*size_wh_px)
            image = cv2.imdecode(np.frombuffer(self._jpeg, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            if image is not None:
                self._undecodable = 0
                return put(image.astype(np.uint8, copy=False), shared)
        self._undecodable += 1
        if self._undecodable >= _USELESS_PARTS:
            raise SourceFailed("broken", f"the last {_USELESS_PARTS} pictures could not be decoded")
        return None


class MjpegSource(_Jpegs):
    """multipart/x-mixed-replace."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._request = request
        self._parts = self._receive()
        self._open_until_s: float | None = None  # set while opening

    def open(self) -> CameraFormat:
        self._open_until_s = time.monotonic() + self._request.open_timeout_s
        if not self._receive_jpeg():
            raise SourceFailed("ended", "the stream ended before its first picture")
        self._open_until_s = None
        return self._opened(0.0)

    def _receive_jpeg(self) -> bool:
        """The next part that is one. Once open, it is the camera that loses patience with one that comes slowly."""
        try:
            for _ in range(_USELESS_PARTS):
                jpeg = next(self._parts, None)
                if jpeg is None:
                    return False
                if jpeg_size_px(jpeg) is not None:
                    self._jpeg = jpeg
                    return True
        except HttpFailed as exc:
            raise _failed(exc) from exc
        except NotMultipart as exc:
            raise SourceFailed("broken", f"{exc}; is it an MJPEG stream?") from exc
        raise SourceFailed("broken", f"{_USELESS_PARTS} parts in a row that are no JPEG pictures")

    def _receive(self) -> Iterator[bytes]:
        request = self._request
        server = HttpCamera(request.url, _login(request), timeout_s=request.open_timeout_s)
        with server.answer() as response:
            kind = content_type(response)
            if not kind.lower().startswith("multipart/"):
                raise _wrong_kind(kind)
            stream = Multipart(boundary_of(kind))
            while data := self._read(response):
                stream.feed(data)
                while (part := stream.next_part()) is not None:
                    yield part

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        if self._open_until_s is not None and time.monotonic() > self._open_until_s:
            raise HttpFailed(f"no picture within {self._request.open_timeout_s:g} s; is it an MJPEG stream?")
        try:
            return response.read1(_CHUNK_BYTES)
        except TimeoutError as exc:
            raise HttpFailed(f"nothing came for {self._request.open_timeout_s:g} s") from exc


class SnapshotSource(_Jpegs):
    """One picture per request, `fps` requests a second."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._period_s = 1.0 / (request.fps or _SNAPSHOTS_PER_S)
        self._server = HttpCamera(request.url, _login(request), timeout_s=request.open_timeout_s)
        self._due_s = 0.0

    def open(self) -> CameraFormat:
        self._fetch()
        return self._opened(1.0 / self._period_s)

    def _receive_jpeg(self) -> bool:
        wait_s = self._due_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        self._fetch()
        return True

    def _fetch(self) -> None:
        self._due_s = time.monotonic() + self._period_s
        try:
            with self._server.answer() as response:
                kind = content_type(response)
                if kind.lower().startswith("multipart/"):
                    raise SourceFailed("refused", "this is a stream, not one picture; write it without snapshot:")
                jpeg = self._server.whole_body(response, max_bytes=MAX_PART_BYTES)
        except HttpFailed as exc:
            raise _failed(exc) from exc
        if jpeg_size_px(jpeg) is None:
            raise SourceFailed("broken", f"it answers with {kind[:60] or 'something'} that is no JPEG picture")
        self._jpeg = jpeg


def _wrong_kind(kind: str) -> SourceFailed:
    if kind.lower().startswith("image/"):
        return SourceFailed("refused", f"it answers with one picture ({kind[:40]}); write snapshot: before the address")
    return SourceFailed("refused", f"it answers with {kind[:60] or 'no type'}; wanted multipart/x-mixed-replace")


def _failed(exc: HttpFailed) -> SourceFailed:
    return SourceFailed("refused" if exc.refused else "unavailable", exc.words)


def _login(request: Request) -> Credentials | None:
    return Credentials(request.user, request.password or "") if request.user is not None else None
