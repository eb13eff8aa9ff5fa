"""RTSP cameras: FFmpeg decodes the stream in the decoder process; here is what its failures mean to a technician."""

from __future__ import annotations

import logging
import os
import re
import socket
from urllib.parse import quote, urlsplit, urlunsplit

from drivers.base import CameraFormat, CameraRefused, CameraUnavailable
from drivers.cameras.credentials import Credentials
from drivers.cameras.decoded import OPEN_TIMEOUT_S, READ_TIMEOUT_S, DecodedCamera
from drivers.cameras.decoder_protocol import Request
from drivers.cameras.hardware import Hardware, program_for
from drivers.cameras.refusals import status_words

log = logging.getLogger(__name__)

_RTSP_STATUS = re.compile(r"method \w+ failed: (\d{3})")
_NETWORK_WORDS = {
    "Connection refused": "nothing listens there; is the camera on, and is RTSP switched on in its settings?",
    "No route to host": "there is no way to that address; check cable, address and network mask",
    "Network is unreachable": "there is no way to that address; check cable, address and network mask",
    "Connection timed out": "no answer; is the camera on, and is the address right?",
    "Failed to resolve hostname": "the name is not known; write the camera's IP address, or check the DNS server",
}


class NetworkCamera(DecodedCamera):
    """A camera whose stream FFmpeg can open by URL; today rtsp://, over TCP.

    url: without a login. hardware: decode with this if it works, see `drivers.cameras.hardware`; it is tried once.
    The rest is said at DecodedCamera.
    """

    def __init__(
        self,
        camera_id: str,
        url: str,
        *,
        fps: float | None = None,
        credentials: Credentials | None = None,
        hardware: Hardware = "",
        open_timeout_s: float = OPEN_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        super().__init__(
            camera_id,
            url,
            fps=fps,
            credentials=credentials,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s,
        )
        self.url = url
        self._thorough = False
        self._hardware: Hardware = hardware

    def open(self) -> CameraFormat:
        granted = super().open()
        if self._hardware and self._hardware not in granted.codec:
            self._do_without_hardware("it does not open such a stream")
        return granted

    def _do_without_hardware(self, why: str) -> None:
        log.warning(
            "camera %s: the hardware decoder %s cannot be used, the processor decodes: %s",
            self.camera_id,
            self._hardware,
            why,
        )
        self._hardware = ""

    def _request(self, memory_fd: int) -> Request:
        return Request(
            kind="ffmpeg",
            url=_with_login(self.url, self._credentials),
            hardware=self._hardware,
            program=program_for(self._hardware),
            memory_fd=memory_fd,
            parent_pid=os.getpid(),
            fps=self._fps,
            open_timeout_s=self._open_timeout_s,
            read_timeout_s=self._read_timeout_s,
            thorough=self._thorough,
        )

    def _why_stalled(self, reason: str, words: str) -> str:
        if reason.startswith("too-big"):
            return self._too_big(reason)
        assert self._decoder is not None
        words = self._decoder.last_words()
        return f"camera {self.camera_id}: {self.url}: the stream broke off or could not be decoded any more" + (
            f" (FFmpeg: {words})" if words else ""
        )

    def _explain(self, reason: str, words: str) -> CameraUnavailable:
        """Why opening failed, from what FFmpeg said. OpenCV itself only says that it did."""
        assert self._decoder is not None
        if reason.startswith("too-big"):
            return CameraRefused(self._too_big(reason))
        if reason in ("hardware", "unavailable"):  # of the program that decodes
            self._do_without_hardware(self._with_last_words(words))
            return CameraUnavailable(f"camera {self.camera_id}: {self.url}: its hardware decoder failed: {words}")
        if reason == "no-size":
            self._thorough = True  # this camera's stream does not announce itself; opening it takes seconds longer
            return CameraUnavailable(f"camera {self.camera_id}: {self.url}: no picture size found; looking longer next")
        said = self._decoder.drain_stderr()
        where = f"camera {self.camera_id}: {self.url}"
        status = next((int(m[1]) for line in reversed(said) if (m := _RTSP_STATUS.search(line))), None)
        if status is not None:
            is_refusal, words = status_words(status, has_login=self._credentials is not None)
            if is_refusal:
                return CameraRefused(f"{where}: {words}", status=status)
            return CameraUnavailable(f"{where}: {words}")
        for network_words, advice in _NETWORK_WORDS.items():
            if any(network_words in line for line in said):
                return CameraUnavailable(f"{where}: {network_words.lower()}: {advice}")
        slow = (
            f"no stream within {self._open_timeout_s:g} s: "
            if any("timeout triggered" in line for line in said)
            else ""
        )
        words = self._decoder.last_words()
        return CameraUnavailable(f"{where}: {slow}{_knock(self.url)}" + (f" (FFmpeg: {words})" if words else ""))


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
