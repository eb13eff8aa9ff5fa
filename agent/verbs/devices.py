"""The verb `devices`: what is plugged in, with the lines to paste into the configuration."""

from __future__ import annotations

import argparse

from agent.ops.words import say
from drivers.cameras import list_cameras


def run(args: argparse.Namespace) -> int:
    """Always exit code 0: an empty list is an answer too."""
    cameras = list_cameras()
    if not cameras:
        print(say("no-cameras"))
        return 0
    print(say("paste"))
    for number, camera in enumerate(cameras, 1):
        print()
        print(camera.stanza(f"camera-{number}"), end="")
    return 0
