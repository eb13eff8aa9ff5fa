"""The command `gateway-agent`: verbs, arguments, exit codes. 0 fine, 1 a problem, 64 wrong usage, 78 wrong setup."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from agent import __version__, config
from agent.errors import ConfigError, GatewayError
from agent.ops.journal import JournalHandler, stderr_is_the_journal
from drivers.base import DriverError, ModelPackError

EXIT_PROBLEM, EXIT_USAGE, EXIT_CONFIG = 1, 64, 78


class Help(argparse.HelpFormatter):
    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)  # a path stays in one piece


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


@dataclass(frozen=True)
class Verb:
    """Each is a module of agent.verbs: run(args) -> exit code, and add_arguments(parser) where there are any."""

    words: str
    takes_config: bool = False


VERBS = {
    "run": Verb("watch the cameras and report, until stopped (what the service runs)", True),
    "check": Verb("try everything once: configuration, model, cameras, broker; say what to do", True),
    "doctor": Verb("look at the box as it stands and runs; say what is wrong and what to do", True),
    "replay": Verb("run a recording through the same stages and write the events found", True),
    "watch": Verb("show what arrives at a broker, for developers"),
    "ingest": Verb("centre: store what the boxes say in PostgreSQL, and tell what is missing"),
    "devices": Verb("list what is connected, cameras in the network too, with the lines to paste"),
    "identity": Verb("the box's own key and certificate: show, request, get and renew it", True),
    "outbox": Verb("show what waits to be sent", True),
    "audit": Verb("show who did what on this box, and verify that nothing was changed or taken out of it", True),
    "command": Verb("centre: sign a command for a box, send it, show the answer"),
    "update": Verb("show, verify and take signed updates: releases, model packs, configurations, keys", True),
    "web": Verb("the technician's page: set its passwords, show how it is reached", True),
    "model": Verb("list and verify the model packs"),
    "simulate": Verb("many light boxes against a broker, to see what it and the centre can carry"),
}


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"agent.verbs.{verb}")


def parser(*verbs: str) -> Parser:
    """verbs: those whose modules are loaded for their arguments; a box has better things to do than load all."""
    top = Parser(
        prog="gateway-agent",
        description="Watches the cameras of a gateway, counts and warns, and reports to the operations centre by MQTT.",
        epilog="Exit codes: 0 fine, 1 a problem was found, 64 wrong usage, 78 wrong configuration.",
    )
    top.add_argument("--version", action="version", version=f"gateway-agent {__version__}")
    top.add_argument("-v", "--verbose", action="store_true", help="say more about what happens")
    below = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        description = verb.words[0].upper() + verb.words[1:] + "."
        one = below.add_parser(name, help=verb.words, description=description, formatter_class=Help)
        if verb.takes_config:
            one.add_argument(
                "--config",
                type=Path,
                default=config.DEFAULT_PATH,
                metavar="PATH",
                help="configuration file (default: %(default)s)",
            )
        if name in verbs:
            add_arguments = getattr(_module(name), "add_arguments", None)
            if add_arguments is not None:
                add_arguments(one)
    return top


def _log_handler() -> logging.Handler:
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    return JournalHandler(lines) if stderr_is_the_journal() else lines


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    args = parser(*given).parse_args(given)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO if args.verb in ("run", "ingest") else logging.WARNING,
        handlers=[_log_handler()],
    )
    try:
        return int(_module(args.verb).run(args))
    except (ConfigError, ModelPackError) as exc:
        print(f"gateway-agent {args.verb}: {exc}", file=sys.stderr)
        return EXIT_CONFIG
    except (GatewayError, DriverError) as exc:
        print(f"gateway-agent {args.verb}: {exc}", file=sys.stderr)
        return EXIT_PROBLEM
    except KeyboardInterrupt:  # `run` and `watch` end in their own way; the others have nothing to tidy up
        return EXIT_PROBLEM
    except BrokenPipeError:  # the reader of our output has seen enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PROBLEM


if __name__ == "__main__":
    sys.exit(main())
