"""Cameras whose pictures are decoded in a process of their own, so that one bad stream stops one camera.

Network streams, ribbon-cable cameras and hardware decoders share this: the camera starts a decoder process, gives it a
Request over a pipe, and takes frames out of memory they share. Whatever goes wrong over there (crash, hang, garbage,
kill, stop) comes out here as CameraUnavailable from open() or CameraStalled from read(); close() then kills the
process, and the next open() starts another. What a kind of camera adds is the request, and words for its failures.
"""

from __future__ import annotations

from typing import Any

from drivers.base import CameraFormat, CameraRefused, CameraStalled, CameraUnavailable, Frame
from drivers.cameras.credentials import Credentials
from drivers.cameras.decoder_process import DecoderGone, DecoderProcess, NoMessage, Scrubber
from drivers.cameras.decoder_protocol import MAX_PIXELS, Request, is_size
from drivers.cameras.refusals import status_in

OPEN_TIMEOUT_S = 6.0
# Only for the decoder to end by itself; the reader's own patience (read(timeout_s)) is usually shorter. Long, because
# the first picture has to wait for a key frame.
READ_TIMEOUT_S = 15.0
_START_TIMEOUT_S = 20.0  # for Python and OpenCV to load, on a slow board with a cold disk
_WORDS_KEPT = 300
_CODEC_KEPT = 32


class DecodedCamera:
    """What the kinds have in common; use one of them.

    where: how messages call the source; never holds a login.
    fps: at most so many frames a second are delivered, None for all.
    mono_s of a frame is when it came out of the decoder, on this machine's monotonic clock.
    Open, read and close it in one thread: the kernel ends the decoder with the thread that started it.
    """

    def __init__(
        self,
        camera_id: str,
        where: str,
        *,
        fps: float | None,
        credentials: Credentials | None,
        open_timeout_s: float,
        read_timeout_s: float,
    ) -> None:
        self.camera_id = camera_id
        self._where = where
        self._fps = fps
        self._credentials = credentials
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._decoder: DecoderProcess | None = None
        self._next_index = 0
        self._index_base = 0

    @property
    def decoder_pid(self) -> int | None:
        """The decoder process now at work, or None."""
        return self._decoder.pid if self._decoder else None

    def _request(self, memory_fd: int) -> Request:
        """What to open and how."""
        raise NotImplementedError

    def open(self) -> CameraFormat:
        self.close()
        self._decoder = DecoderProcess(self.camera_id, Scrubber(self._credentials))
        try:
            self._decoder.send(self._request(self._decoder.memory_fd).to_line())
            kind, fields = self._decoder.next_message(_START_TIMEOUT_S + self._open_timeout_s)
        except (NoMessage, DecoderGone) as exc:
            self.close()
            raise CameraUnavailable(f"camera {self.camera_id}: cannot open {self._where}: {exc}") from exc
        if kind == "failed":
            error = self._explain(str(fields.get("reason")), self._words_in(fields))
            self.close()
            raise error
        granted = granted_by(fields)
        if granted is None:
            self.close()
            raise CameraUnavailable(f"camera {self.camera_id}: {self._where}: its decoder speaks nonsense")
        self._index_base = self._next_index
        return granted

    def read(self, timeout_s: float) -> Frame:
        if self._decoder is None:
            raise CameraUnavailable(f"camera {self.camera_id}: {self._where} is not open; call open() first")
        try:
            self._decoder.ask()
            kind, fields = self._decoder.next_message(timeout_s)
        except NoMessage as exc:
            raise CameraStalled(f"camera {self.camera_id}: no picture from {self._where} for {timeout_s:g} s") from exc
        except DecoderGone as exc:
            raise CameraStalled(f"camera {self.camera_id}: {self._where}: {exc}") from exc
        if kind == "failed":
            raise CameraStalled(self._why_stalled(str(fields.get("reason")), self._words_in(fields)))
        if self._decoder.size_changed:
            raise CameraStalled(
                f"camera {self.camera_id}: {self._where}: the pictures changed their size in mid-stream"
            )
        frame = self._decoder.frame(fields)
        if frame is None:
            raise CameraStalled(f"camera {self.camera_id}: {self._where}: its decoder speaks nonsense")
        frame = Frame(frame.image_bgr, self._index_base + frame.index, frame.mono_s)
        self._next_index = frame.index + 1
        return frame

    def close(self) -> None:
        if self._decoder is not None:
            self._decoder.kill()
            self._decoder = None

    def _explain(self, reason: str, words: str) -> CameraUnavailable:
        """Why opening failed. reason, words: of the decoder; see `drivers.cameras.decoder_protocol`."""
        if reason.startswith("too-big"):
            return CameraRefused(self._too_big(reason))
        where = f"camera {self.camera_id}: {self._where}"
        if reason == "refused":
            return CameraRefused(f"{where}: {words}", status=status_in(words))
        return CameraUnavailable(f"{where}: {self._with_last_words(words or 'it ended')}")

    def _why_stalled(self, reason: str, words: str) -> str:
        if reason.startswith("too-big"):
            return self._too_big(reason)
        return f"camera {self.camera_id}: {self._where}: {self._with_last_words(words or 'the stream broke off')}"

    def _with_last_words(self, what_happened: str) -> str:
        assert self._decoder is not None
        said = self._decoder.last_words()
        return f"{what_happened} ({said})" if said else what_happened

    def _too_big(self, reason: str) -> str:
        return (
            f"camera {self.camera_id}: {self._where} sends pictures of {reason.split()[-1]}, more than the "
            f"{MAX_PIXELS} pixels that are accepted; choose a smaller (sub-)stream"
        )

    def _words_in(self, fields: dict[str, Any]) -> str:
        """The decoder's own sentence: it has read what strangers sent, so what is no plain text is dropped."""
        assert self._decoder is not None
        words = "".join(c if c.isprintable() else " " for c in str(fields.get("words", "")))
        return self._decoder.scrub(words)[:_WORDS_KEPT].strip()


def granted_by(fields: dict[str, Any]) -> CameraFormat | None:
    """What the decoder says it has opened, or None if it cannot be true."""
    try:
        width_px, height_px, fps = int(fields["width_px"]), int(fields["height_px"]), float(fields["fps"])
        codec = str(fields["codec"])[:_CODEC_KEPT]
    except (KeyError, TypeError, ValueError, OverflowError):  # the last for Infinity, which Python's JSON knows
        return None
    if not is_size(width_px, height_px):
        return None
    # Cameras that do not say their rate give 0, 90000 and the like.
    return CameraFormat(width_px=width_px, height_px=height_px, fps=fps if 0.1 <= fps <= 240 else 0.0, codec=codec)
