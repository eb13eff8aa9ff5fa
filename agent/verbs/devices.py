"""The verb `devices`: what is connected to this box, with the lines to paste into the configuration."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

from agent.camera import credentials_in
from agent.ops.words import say
from drivers.cameras import FoundCamera, FoundCsi, list_cameras, list_csi, list_onvif
from drivers.inventory import list_accelerators, list_ports
from drivers.inventory.accelerators import LOOKED_FOR
from drivers.inventory.ports import LOOKED_IN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--credentials", type=Path, metavar="FILE", help="login with which cameras of the network are asked for streams"
    )
    parser.add_argument(
        "--interface",
        action="append",
        metavar="NAME",
        help="ask for cameras on this network interface; may be repeated (default: all but the loopback)",
    )
    parser.add_argument("--offline", action="store_true", help="do not ask for cameras in the network")
    parser.add_argument(
        "--probe", action="store_true", help="ask on I2C buses which addresses answer; may disturb what is connected"
    )


def run(args: argparse.Namespace) -> int:
    """Exit code 0, whatever is there: an empty list is an answer too. A wrong credentials file is raised."""
    credentials = None if args.credentials is None else credentials_in(args.credentials, str(args.credentials))
    missing: list[str] = []
    plugged: list[FoundCamera | FoundCsi] = [*list_cameras(), *list_csi()]
    missing += [] if plugged else ["/dev/video*", "csi:"]
    network = [] if args.offline else list_onvif(credentials, interfaces=args.interface)
    if not args.offline and not network:
        names = args.interface or [name for _, name in socket.if_nameindex() if name != "lo"]
        missing.append(f"ONVIF ({', '.join(names)})")
    print(say("paste" if plugged or network else "no-cameras"))
    for number, camera in enumerate(plugged, 1):
        print(f"\n{camera.stanza(f'camera-{number}')}", end="")
    for number, found in enumerate(network, len(plugged) + 1):
        print(f"\n{found.stanza(f'camera-{number}', args.credentials)}", end="")
    if any(found.refused for found in network):
        print(f"\n{say('onvif-login')}")

    ports = list_ports(probe=args.probe)
    missing += [] if ports else LOOKED_IN
    if ports:
        print(f"\n{say('paste-sensors')}")
    for number, port in enumerate(ports, 1):
        print(f"\n{port.stanza(f'sensor-{number}')}", end="")

    accelerators = list_accelerators()
    missing += [] if accelerators else LOOKED_FOR
    if accelerators:
        print(f"\n{say('accelerators')}")
    for accelerator in accelerators:
        print(f"\n{accelerator.stanza()}", end="")
    if missing:
        print(f"\n{say('looked-for', what=', '.join(missing))}")
    return 0
