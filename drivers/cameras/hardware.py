"""Decoders that boards have beside their processor, for network cameras: which there is, and how it is reached.

A Raspberry Pi (and others) has them behind the kernel's V4L2, where FFmpeg reaches them by name; a Jetson has them
behind NVIDIA's element for GStreamer, which is fed with the packets that FFmpeg receives. Neither has been run on its
board yet; the tests put a decoder that runs anywhere in the element's place, and see the processor take over where
there is none.
"""

from __future__ import annotations

from typing import Literal

from drivers.cameras.csi import is_jetson
from drivers.cameras.gstreamer import has_element, launch

Hardware = Literal["", "v4l2m2m", "nvv4l2decoder"]


def hardware_here() -> Hardware:
    """What to try on this board. Whether it works, opening a stream shows."""
    if is_jetson():
        return "nvv4l2decoder" if has_element("nvv4l2decoder") else ""
    return "v4l2m2m"


def program_for(hardware: Hardware) -> tuple[str, ...]:
    """The program that packets are fed to, where one is needed: H.264 or H.265 in, pictures out."""
    return launch("fdsrc fd=0", "parsebin", "nvv4l2decoder", "nvvidconv") if hardware == "nvv4l2decoder" else ()
