"""The verb `ingest`: what the boxes say, from the broker into PostgreSQL, and what the ledger says of it.

For the operations centre, not for a box. Any number of them share the work of one group.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from agent.contract.topics import check_id
from agent.errors import ConfigError
from agent.uplink.settings import Tls

_MISSING = "it needs what `pip install 'gateway-agent[ingest]'` brings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source",
        metavar="URL",
        help="mqtt://HOST (mosquitto), amqp://USER@HOST,HOST/VHOST (RabbitMQ), nats://HOST,HOST (NATS), each with "
        ":PORT if it is not the usual one; mqtts, amqps, tls: over TLS",
    )
    parser.add_argument(
        "--database", required=True, metavar="URL", help="postgresql://USER@HOST[:PORT]/NAME, ?tls behind it for TLS"
    )
    parser.add_argument("--report", action="store_true", help="print what is missing per box, and end")
    parser.add_argument("--json", action="store_true", help="with --report: one JSON object per box")
    parser.add_argument(
        "--group", default="ioc", metavar="ID", help="ingesters of one group share the messages (default: %(default)s)"
    )
    parser.add_argument(
        "--name",
        metavar="ID",
        help="who of the group this is; its own, and the same at each start (default: host name)",
    )
    parser.add_argument(
        "--batch", type=int, default=500, metavar="N", help="messages a transaction, at most (%(default)s)"
    )
    parser.add_argument(
        "--window",
        type=int,
        default=1000,
        metavar="N",
        help="messages handed to us and not stored, at most (%(default)s)",
    )
    parser.add_argument(
        "--joining", action="store_true", help="boxes have been running: begin where they are, not at 1"
    )
    parser.add_argument("--evidence", action="store_true", help="store pictures too")
    parser.add_argument("--for", dest="for_s", type=float, metavar="SECONDS", help="end after so long")
    parser.add_argument(
        "--leave", action="store_true", help="mqtt: leave the group for good: store what waits for this name, and end"
    )
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="holds the password of the source's user")
    parser.add_argument("--ca", type=Path, metavar="PEM", help="trust these authorities for the source")
    parser.add_argument("--cert", type=Path, metavar="PEM", help="our certificate, for brokers that ask for one")
    parser.add_argument("--key", type=Path, metavar="PEM", help="its key")
    parser.add_argument(
        "--database-password", type=Path, metavar="FILE", help="holds the password of the database's user"
    )
    parser.add_argument("--database-ca", type=Path, metavar="PEM", help="use TLS, trust these authorities")


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 stopped as asked, or nothing is missing; 1 something is; 64 wrong usage, 78 wrong setup."""
    try:
        return _report(args) if args.report else _ingest(args)
    except ValueError as exc:
        print(f"ingest: {exc}", file=sys.stderr)
        return 64
    except ModuleNotFoundError as exc:
        raise ConfigError(f"{exc.name}: not installed; {_MISSING}") from exc


def _report(args: argparse.Namespace) -> int:
    from agent.consumer.database import Database, read_database
    from agent.consumer.report import report

    database = Database(read_database(args.database, password_file=args.database_password, ca=args.database_ca))
    try:
        found = report(database)
    finally:
        database.close()
    for box in found.boxes:
        print(json.dumps(box.as_json(), ensure_ascii=False) if args.json else box)
    different, times = found.set_aside
    if times:
        print(f"set aside: {different} messages, {times} times; see gateway.set_aside", file=sys.stderr)
    return int(not found.is_complete)


def _ingest(args: argparse.Namespace) -> int:
    from agent.consumer.database import Database, read_database
    from agent.consumer.ingester import Ingester
    from agent.consumer.source import open_source, read_source

    if args.source is None:
        raise ValueError("--source is needed, except with --report")
    if not 1 <= args.batch <= args.window <= 65535:
        raise ValueError(f"--batch {args.batch}, --window {args.window}: wanted 1 <= batch <= window <= 65535")
    source = open_source(
        read_source(
            args.source,
            group=check_id(args.group, "--group"),
            name=check_id(args.name or socket.gethostname()[:32], "--name"),
            window=args.window,
            pictures=args.evidence,
            tls=Tls(args.ca, args.cert, args.key) if args.ca or args.cert or args.key else None,
            password_file=args.password_file,
        )
    )
    settings = read_database(args.database, password_file=args.database_password, ca=args.database_ca)
    database = Database(settings, joining=args.joining)
    stop = _until_told(args.for_s)
    ingester = Ingester(source, database, batch=args.batch, pictures=args.evidence, stop=stop)
    try:
        if args.leave:
            ingester.leave()
        else:
            ingester.run()
    finally:
        source.close()
        database.close()
        print(f"ingest: {ingester.tally}", file=sys.stderr)
    return 0


def _until_told(for_s: float | None) -> Callable[[], bool]:
    """True once SIGTERM or SIGINT came, or the time is over. What was begun is finished first."""
    told = threading.Event()
    end_s = time.monotonic() + for_s if for_s is not None else None

    def tell(number: int, frame: FrameType | None) -> None:
        told.set()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, tell)
        signal.signal(signal.SIGINT, tell)
    return lambda: told.is_set() or (end_s is not None and time.monotonic() >= end_s)
