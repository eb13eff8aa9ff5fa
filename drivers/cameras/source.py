"""The front door: from the source string in a configuration to a camera.

    file:clip.mp4   file:folder-of-pictures/   rtsp://host[:port]/path   v4l2:/dev/v4l/by-id/...   csi:0
    http[s]://host[:port]/path (MJPEG)   snapshot:http[s]://host[:port]/path (one JPEG, asked for again and again)

Another kind can be added by an installed package that names a maker for it in its entry points, in the group below; how
to write one is in `drivers/README.md`.

`check_source` judges the string alone and opens nothing. Logins never belong in the string: it ends up in logs and
screenshots.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import urlsplit

from drivers.base import Camera, DriverError
from drivers.cameras.credentials import Credentials
from drivers.cameras.csi import CsiCamera
from drivers.cameras.decoder import NetworkCamera
from drivers.cameras.file import FileCamera
from drivers.cameras.hardware import hardware_here
from drivers.cameras.http_camera import HttpPictures
from drivers.cameras.v4l2 import V4l2Camera

_EXAMPLES = (
    "file:clip.mp4, rtsp://10.0.0.21/stream1, http://10.0.0.21/mjpg, snapshot:http://10.0.0.21/image.jpg, "
    "v4l2:/dev/v4l/by-id/usb-..., csi:0"
)
_HTTP = ("http", "https")
_PORTS = {"rtsp": 554, "http": 80, "https": 443}
_MOST_CSI = 7
# Cheap cameras take the login as a part of the address; {user} and {password} there are filled in where nobody sees it.
_LOGIN_IN_URL = re.compile(r"(?i)(?:pass(?:word|wd)?|pwd)=(?!\{password\})[^&]")

PLUGIN_GROUP = "gateway_agent.cameras"


class CameraMaker(Protocol):
    """What an entry point in PLUGIN_GROUP names: makes a camera that is not open yet from what follows the colon."""

    def __call__(self, camera_id: str, address: str, *, fps: float | None) -> Camera: ...


class SourceError(DriverError, ValueError):
    """The source string cannot be right, whatever is or is not connected."""


def check_source(source: str) -> None:
    """Raises SourceError (a ValueError) with a sentence if no camera can be made from this string. Opens nothing."""
    scheme, address = _split(source)
    if scheme == "rtsp" or scheme in _HTTP:
        _check_url(source)
    elif scheme == "snapshot":
        if _scheme_of(address) not in _HTTP:
            raise SourceError(
                f"source {_masked(source)!r} names no web address; write for example snapshot:http://10.0.0.21/image.jpg"
            )
        _check_url(address)
    elif scheme == "csi":
        if not (address.isascii() and address.isdigit() and int(address) <= _MOST_CSI):
            raise SourceError(
                f"source {source!r}: wanted the number of a ribbon-cable camera, 0 to {_MOST_CSI}; write csi:0"
            )
    elif scheme == "file":
        if not address:
            raise SourceError("source 'file:' names no file; write for example file:clip.mp4")
    elif scheme == "v4l2":
        if not address.startswith("/dev/") or len(address) == len("/dev/"):
            raise SourceError(
                f"source {source!r} names no video device; write v4l2:/dev/v4l/by-id/... as `gateway-agent devices` "
                "lists it, or v4l2:/dev/video0"
            )
    elif _plugin(scheme) is not None:
        return
    else:
        added = "".join(f", {plugin.name}:..." for plugin in entry_points(group=PLUGIN_GROUP))
        raise SourceError(f"source {_masked(source)!r}: unknown kind {scheme!r}; supported: {_EXAMPLES}{added}")


def make_camera(
    camera_id: str,
    source: str,
    *,
    width_px: int | None = None,
    height_px: int | None = None,
    fps: float | None = None,
    credentials: Credentials | None = None,
    hardware_decode: bool = False,
    realtime: bool = True,
    loop: bool = False,
) -> Camera:
    """A camera that is not open yet.

    width_px, height_px: asked of a USB camera, which may grant something else, and of a ribbon-cable camera; others
    have the size they have.
    fps: at most so many frames a second are delivered, None for all (a folder of pictures: its pace, None for 1).
    credentials: for network cameras. hardware_decode: of rtsp, by what the board has for it.
    realtime, loop: for recordings; see `drivers.cameras.file`.
    Raises SourceError as `check_source` does.
    """
    check_source(source)
    scheme, address = _split(source)
    if scheme == "file":
        return FileCamera(camera_id, Path(address), fps=fps, realtime=realtime, loop=loop)
    if scheme == "rtsp":
        hardware = hardware_here() if hardware_decode else ""
        return NetworkCamera(camera_id, f"rtsp:{address}", fps=fps, credentials=credentials, hardware=hardware)
    if scheme in _HTTP:
        return HttpPictures(camera_id, source, "mjpeg", fps=fps, credentials=credentials)
    if scheme == "snapshot":
        return HttpPictures(camera_id, address, "snapshot", fps=fps, credentials=credentials)
    if scheme == "csi":
        return CsiCamera(camera_id, int(address), width_px=width_px, height_px=height_px, fps=fps)
    if scheme == "v4l2":
        return V4l2Camera(camera_id, Path(address), width_px=width_px, height_px=height_px, fps=fps)
    plugin = _plugin(scheme)
    assert plugin is not None, "check_source has passed"
    return cast(CameraMaker, plugin.load())(camera_id, address, fps=fps)


def network_address(source: str) -> tuple[str, int] | None:
    """(host, port) of a camera in the network; None for every other."""
    scheme, address = _split(source)
    url = urlsplit(address if scheme == "snapshot" else source)
    if url.scheme.lower() not in _PORTS:
        return None
    return url.hostname or "", url.port or _PORTS[url.scheme.lower()]


def video_device(source: str) -> Path | None:
    """The device of a USB camera; None for every other."""
    scheme, address = _split(source)
    return Path(address) if scheme == "v4l2" else None


def _plugin(scheme: str) -> EntryPoint | None:
    return next(iter(entry_points(group=PLUGIN_GROUP, name=scheme)), None)


def _split(source: str) -> tuple[str, str]:
    scheme, colon, address = source.partition(":")
    if not colon or not scheme:
        raise SourceError(f"source {_masked(source)!r} does not say its kind; supported: {_EXAMPLES}")
    return scheme.lower(), address


def _scheme_of(url: str) -> str:
    return url.partition(":")[0].lower()


def _check_url(source: str) -> None:
    if any(c.isspace() or not c.isprintable() for c in source):
        raise SourceError(f"source {_masked(source)!r} holds blanks or unprintable characters")
    try:
        url = urlsplit(source)
        port = url.port
    except ValueError as exc:
        raise SourceError(f"source {_masked(source)!r} is not a URL: {exc}") from exc
    if "@" in url.netloc:
        raise SourceError(
            f"source {_masked(source)!r} holds a login; write the address alone and put user and password into "
            "the camera's credentials file, so that they do not end up in logs"
        )
    if _LOGIN_IN_URL.search(source):
        raise SourceError(
            f"source '{_scheme_of(source)}://{url.hostname}/…' holds a password; write {{user}} and {{password}} in "
            "its place, and put the login into the camera's credentials file"
        )
    if not url.hostname:
        raise SourceError(
            f"source {source!r} names no host; write for example {_scheme_of(source)}://10.0.0.21/stream1"
        )
    if port == 0:
        raise SourceError(f"source {source!r}: port 0 cannot be connected to")


def _masked(source: str) -> str:
    """The source without anything before an '@', where people put logins."""
    head, at, tail = source.rpartition("@")
    if not at:
        return source
    scheme, separator, _ = head.partition("://")
    return f"{scheme}{separator}…@{tail}" if separator else f"…@{tail}"
