"""The verb `devices`: what is plugged in, with the lines to paste into the configuration."""

from __future__ import annotations

import argparse

from agent.ops.words import say
from drivers.cameras import list_cameras
from drivers.sensors.discover import list_ports


def run(args: argparse.Namespace) -> int:
    """Always exit code 0: an empty list is an answer too."""
    cameras = list_cameras()
    print(say("paste" if cameras else "no-cameras"))
    for number, camera in enumerate(cameras, 1):
        print()
        print(camera.stanza(f"camera-{number}"), end="")
    ports = list_ports()
    if ports:
        print()
        print(say("paste-sensors"))
    for number, port in enumerate(ports, 1):
        print()
        print(port.stanza(f"sensor-{number}"), end="")
    return 0
