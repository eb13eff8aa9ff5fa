"""The verb `run`: what the service runs, until a signal ends it or every recording is over."""

from __future__ import annotations

import argparse
import faulthandler
import signal
import threading
from pathlib import Path

from agent import app, config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="at the end, write one annotated picture per camera"
    )


def run(args: argparse.Namespace) -> int:
    # Ended by a watchdog (SIGABRT) or a crash in a library, it prints where each thread was.
    faulthandler.enable()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    app.run(config.load(args.config), stop, pictures=args.pictures, config_path=args.config)
    return 0
