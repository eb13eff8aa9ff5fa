"""Cameras over HTTP: MJPEG streams and snapshots. Received and decoded in the decoder process, like RTSP."""

from __future__ import annotations

import os
from typing import Literal
from urllib.parse import quote

from drivers.cameras.credentials import Credentials
from drivers.cameras.decoded import OPEN_TIMEOUT_S, READ_TIMEOUT_S, DecodedCamera
from drivers.cameras.decoder_protocol import Request


class HttpPictures(DecodedCamera):
    """url: http or https, without a login; {user} and {password} in it are filled in when it is asked for.

    kind: "mjpeg" for an endless stream, "snapshot" to ask `fps` times a second.

    The rest is said at DecodedCamera.
    """

    def __init__(
        self,
        camera_id: str,
        url: str,
        kind: Literal["mjpeg", "snapshot"],
        *,
        fps: float | None = None,
        credentials: Credentials | None = None,
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
        self._url = url
        self._kind: Literal["mjpeg", "snapshot"] = kind

    def _request(self, memory_fd: int) -> Request:
        url, login = self._url, self._credentials
        if login is not None:
            url = url.replace("{user}", quote(login.user, safe="")).replace(
                "{password}", quote(login.password, safe="")
            )
        return Request(
            kind=self._kind,
            url=url,
            user=login.user if login else None,
            password=login.password if login else None,
            memory_fd=memory_fd,
            parent_pid=os.getpid(),
            fps=self._fps,
            open_timeout_s=self._open_timeout_s,
            read_timeout_s=self._read_timeout_s,
        )
