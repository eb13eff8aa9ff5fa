"""The command `gateway-agent`: verbs, arguments, exit codes. 0 fine, 1 a problem, 64 wrong usage, 78 wrong setup."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from agent import app, check, config, devices, model, replay, watch
from agent.errors import ConfigError, GatewayError
from agent.outbox import show
from drivers.base import DriverError, ModelPackError

EXIT_FINE, EXIT_PROBLEM, EXIT_USAGE, EXIT_CONFIG = 0, 1, 64, 78


class Help(argparse.HelpFormatter):
    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)  # a path stays in one piece


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    top = Parser(
        prog="gateway-agent",
        description="Watches the cameras of a gateway, counts and warns, and reports to the operations centre by MQTT.",
        epilog="Exit codes: 0 fine, 1 a problem was found, 64 wrong usage, 78 wrong configuration.",
    )
    top.add_argument("--version", action="version", version=f"gateway-agent {app.version()}")
    top.add_argument("-v", "--verbose", action="store_true", help="say more about what happens")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    run = _verb(verbs, "run", "watch the cameras and report, until stopped (what the service runs)")
    run.add_argument("--pictures", type=Path, metavar="DIR", help="at the end, write one annotated picture per camera")
    _verb(verbs, "check", "try everything once: configuration, model, cameras, broker; say what to do")
    replay.add_arguments(_verb(verbs, "replay", "run a recording through the same stages and write the events found"))
    watch.add_arguments(_verb(verbs, "watch", "show what arrives at a broker, for developers", config_needed=False))
    _verb(verbs, "devices", "list the cameras plugged in, with the lines to paste", config_needed=False)
    show.add_arguments(_verb(verbs, "outbox", "show what waits to be sent"))
    model.add_arguments(_verb(verbs, "model", "list and verify the model packs", config_needed=False))
    return top


def _verb(
    verbs: argparse._SubParsersAction[Parser], name: str, words: str, *, config_needed: bool = True
) -> argparse.ArgumentParser:
    description = words[0].upper() + words[1:] + "."
    verb = verbs.add_parser(name, help=words, description=description, formatter_class=Help)
    if config_needed:
        verb.add_argument(
            "--config",
            type=Path,
            default=config.DEFAULT_PATH,
            metavar="PATH",
            help="configuration file (default: %(default)s)",
        )
    return verb


def main(arguments: Sequence[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO if args.verb == "run" else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        return _act(args)
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


def _act(args: argparse.Namespace) -> int:
    match args.verb:
        case "run":
            stop = threading.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
            app.run(config.load(args.config), stop, pictures=args.pictures)
            return EXIT_FINE
        case "check":
            return check.run(args)
        case "replay":
            return replay.run(args)
        case "watch":
            return watch.run(args)
        case "devices":
            return devices.run()
        case "outbox":
            args.path = args.path or config.load(args.config).outbox.path
            return show.run(args)
        case _:
            return model.run(args)


if __name__ == "__main__":
    sys.exit(main())
