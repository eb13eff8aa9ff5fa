"""Which cameras are plugged in, and what to write into the configuration to use them. Opens each, reads no picture."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from drivers.cameras import v4l2_ioctl
from drivers.cameras.v4l2 import USUAL_FOURCCS
from drivers.cameras.v4l2_ioctl import PixelFormat

_UNUSUAL_LISTED = 4

_ON_BOARD = "on the board itself, not USB: probably a video codec or a ribbon-cable camera's receiver, not usable yet"


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
