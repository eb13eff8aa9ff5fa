"""The verb `outbox`: what waits to be sent."""

from __future__ import annotations

import argparse
from pathlib import Path

from agent import config
from agent.outbox.show import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--path", type=Path, metavar="FILE", help="the outbox's file (default: the configuration's)")
    parser.add_argument("--export", action="store_true", help="print the waiting messages, one JSON object a line")
    parser.add_argument("--aside", action="store_true", help="print the messages the broker will never take instead")


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 fine, 1 cannot be read."""
    return show(args.path or config.load(args.config).outbox.path, export=args.export, aside=args.aside)
