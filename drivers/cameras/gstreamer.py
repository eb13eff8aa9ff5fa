"""GStreamer as a program that writes pictures into a pipe: its command line, from the elements that make the pictures.

`gst-launch-1.0` of the system rather than bindings: the wheels of OpenCV hold no GStreamer, and what crashes in a
vendor's element then ends that program only.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess

from drivers.cameras.decoder_program import FD

LAUNCH = "gst-launch-1.0"
INSPECT = "gst-inspect-1.0"
INSTALL = "apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"

# The widths are of whole 8 pixels, since GStreamer ends the rows of others with bytes that the receiver does not
# expect: a picture that does not fit is scaled by a few pixels.
_INTO_THE_PIPE = (
    "videoscale",
    "videoconvert",
    "video/x-raw,format=I420,width=[8,4096,8],height=[2,4096,2]",
    "y4menc",
    f"fdsink fd={FD} sync=false",
)
_INSPECT_TIMEOUT_S = 20.0  # the first time it looks through every plugin there is


def launch(*elements: str) -> tuple[str, ...]:
    """The command line. elements: each an element with its properties, or the caps between two."""
    words: list[str] = []
    for element in (*elements, *_INTO_THE_PIPE):
        # Caps are one word and stay as they are; their brackets and commas mean nothing to us.
        words += [element] if element.startswith("video/") else shlex.split(element)
        words.append("!")
    return (LAUNCH, "-q", *words[:-1])


def has_element(name: str) -> bool:
    """Whether this machine's GStreamer has an element of that name."""
    if shutil.which(INSPECT) is None:
        return False
    try:
        done = subprocess.run([INSPECT, "--exists", name], capture_output=True, timeout=_INSPECT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
