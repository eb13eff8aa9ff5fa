"""The verb `run`: what the service runs, until a signal ends it or every recording is over."""

from __future__ import annotations

import argparse
import faulthandler
import signal
import threading
from functools import partial
from pathlib import Path

from agent import app, config
from agent.ops.findings import Finding


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
    app.run(
        config.load(args.config),
        stop,
        pictures=args.pictures,
        config_path=args.config,
        examine=partial(_examine, args.config),
    )
    return 0


def _examine(config_path: Path) -> list[Finding]:
    """Asked by the page alone: a box without one has no use for what the doctor is made of."""
    from agent.verbs.doctor import Examination

    seen = Examination(config_path)
    seen.examine()
    return seen.findings
