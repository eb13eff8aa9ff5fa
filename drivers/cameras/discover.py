"""Which cameras there are, and what to write into the configuration to use them. Opens each, reads no picture.

Those that are plugged in by USB, those at a ribbon cable, and in the network those that know ONVIF.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from drivers.cameras import v4l2_ioctl
from drivers.cameras.credentials import Credentials
from drivers.cameras.onvif import OnvifDevice, OnvifFailed, Stream, discover, list_streams
from drivers.cameras.v4l2 import USUAL_FOURCCS
from drivers.cameras.v4l2_ioctl import PixelFormat

_UNUSUAL_LISTED = 4

_ON_BOARD = "on the board itself, not USB: a video codec or a ribbon-cable camera's receiver; such cameras are csi:0 …"
# The makers of image sensors, as their drivers begin; focus motors and flashes hang on the same cables.
_SENSOR = re.compile(r"(?:^|[ ,])((?:imx|ov|ar|gc|hi|os|og|mira|sc|vd)\d+\w*) (\d+)-00([0-9a-f]{2})$")
_GOOD_WIDTH_PX = 640
_MOST_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """One device that gives pictures, or one that cannot be asked, and why.

    source: what to write into the configuration; by a name that stays the same, where the system has one.
    """

    source: str
    device: str  # /dev/video0
    name: str
    formats: tuple[PixelFormat, ...]
    problem: str | None = None

    def stanza(self, camera_id: str) -> str:
        """The piece of TOML to paste, with what the camera offers as comments."""
        usual = [f for f in self.formats if f.fourcc in USUAL_FOURCCS] or self.formats[:_UNUSUAL_LISTED]
        offers = "".join(f"# {f.fourcc}: {', '.join(f'{w}x{h}' for w, h in f.sizes_wh_px)}\n" for f in usual)
        problem = f"# {self.problem}\n" if self.problem else ""
        return f'# {self.name}\n{offers}{problem}[[camera]]\nid = "{camera_id}"\nsource = "{self.source}"\n'


def list_cameras(dev: Path = Path("/dev")) -> list[FoundCamera]:
    """Every V4L2 device that gives pictures, in the order of the numbers the kernel gave."""
    by_id = {os.path.realpath(link): link for link in sorted((dev / "v4l" / "by-id").glob("*"), reverse=True)}
    nodes = sorted(dev.glob("video[0-9]*"), key=lambda node: int(node.name.removeprefix("video") or 0))
    found = (_look_at(node, by_id.get(os.path.realpath(node), node)) for node in nodes)
    return [camera for camera in found if camera is not None]


@dataclass(frozen=True, slots=True)
class FoundCsi:
    """A sensor at a ribbon cable. The number is ours: the board's own tools may count otherwise."""

    number: int
    sensor: str

    def stanza(self, camera_id: str) -> str:
        tools = "rpicam-hello --list-cameras shows the board's own numbers"
        return (
            f"# ribbon-cable camera, sensor {self.sensor}; {tools}\n"
            f'[[camera]]\nid = "{camera_id}"\nsource = "csi:{self.number}"\nwidth_px = 1280\nheight_px = 720\n'
        )


def list_csi(sys: Path = Path("/sys")) -> list[FoundCsi]:
    """The image sensors that the kernel has found on the board's camera connectors."""
    found: dict[tuple[int, str], str] = {}
    for file in sorted(sys.glob("class/video4linux/*/name")):
        match = _SENSOR.search(file.read_text(errors="replace").strip())
        if match:
            found.setdefault((int(match[2]), match[3]), match[1])
    return [FoundCsi(number, found[place]) for number, place in enumerate(sorted(found))]


@dataclass(frozen=True, slots=True)
class FoundOnvif:
    """A camera of the network. problem: why its streams are not known; refused: it wants a login for them."""

    device: OnvifDevice
    streams: tuple[Stream, ...]
    problem: str | None = None
    refused: bool = False

    def stanza(self, camera_id: str, credentials_file: Path | None = None) -> str:
        name = " ".join(part for part in (self.device.name, self.device.hardware) if part) or "a camera"
        said = f"# {name} at {self.device.host}, by ONVIF\n"
        if not self.streams:
            return f"{said}# {self.problem or 'it names no streams'}\n"
        # Large pictures cost time to decode and are made small for the detector: the smallest that is large enough.
        good = [stream for stream in self.streams if stream.width_px >= _GOOD_WIDTH_PX]
        best = min(good, key=lambda stream: stream.width_px) if good else self.streams[0]
        others = "".join(f"# source = {_quoted(one.url)}  # {_kind(one)}\n" for one in self.streams if one is not best)
        login = f'credentials_file = "{credentials_file}"\n' if credentials_file else ""
        source = f"source = {_quoted(best.url)}  # {_kind(best)}\n"
        return f'{said}[[camera]]\nid = "{camera_id}"\n{source}{others}{login}'


def list_onvif(
    credentials: Credentials | None,
    *,
    interfaces: Sequence[str] | None = None,
    find: Callable[..., list[OnvifDevice]] = discover,
) -> list[FoundOnvif]:
    """The cameras that answer in the network, each asked for its streams. find: for tests."""

    def ask(device: OnvifDevice) -> FoundOnvif:
        try:
            return FoundOnvif(device, tuple(list_streams(device.service_url, credentials)))
        except OnvifFailed as exc:
            return FoundOnvif(device, (), f"it does not tell its streams: {exc}", exc.refused)

    devices = find(interfaces=interfaces)
    with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
        return list(pool.map(ask, devices))


def _quoted(url: str) -> str:
    """As TOML: an address is a stranger's word, and may hold quotes."""
    return json.dumps(url, ensure_ascii=False)


def _kind(stream: Stream) -> str:
    size = f"{stream.width_px}x{stream.height_px}" if stream.width_px else "size not told"
    rate = f", {stream.fps:g} fps" if stream.fps else ""
    return f"{stream.profile}: {stream.encoding or 'encoding not told'} {size}{rate}"


def _look_at(node: Path, stable: Path) -> FoundCamera | None:
    source = f"v4l2:{stable}"
    try:
        fd = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        problem = f"cannot be opened: {exc.strerror}; is this user in group 'video'?"
        return FoundCamera(source, str(node), node.name, (), problem)
    try:
        device = v4l2_ioctl.describe(fd)
    except OSError:  # a loopback or codec node that knows no QUERYCAP is no camera
        return None
    finally:
        os.close(fd)
    if not device.captures:
        return None
    on_board = device.bus.startswith("platform:")
    return FoundCamera(source, str(node), device.name, device.formats, _ON_BOARD if on_board else None)
