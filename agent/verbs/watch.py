"""The verb `watch`: everything the boxes say, one readable line each, with the ledger checked as an IOC would.

For people who build on the contract: it shows what arrives, drops repeats, names what is missing, and its exit code
says whether anything was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from agent.consumer import (
    Arrival,
    CommandMessage,
    Consumer,
    LedgerMessage,
    OtherMessage,
    PictureMessage,
    StateMessage,
    UnreadableMessage,
)
from agent.contract.ledger import Ledger
from agent.contract.topics import Topic
from agent.contract.wire import PayloadError, decode
from agent.errors import ConfigError, UplinkDown

Key = tuple[str, str, str]
"""(site, box, stream)"""

_LEDGER_FIELDS = ("epoch", "seq", "time", "up", "boot", "clock", "late", "kind")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--broker", required=True, metavar="HOST[:PORT]", help="port 1883, or 8883 with --ca")
    parser.add_argument(
        "--topic", action="append", metavar="FILTER", help="MQTT topic filter, may be repeated (default: gw/v1/#)"
    )
    parser.add_argument("--count", type=int, metavar="N", help="end after N messages")
    parser.add_argument("--for", dest="for_s", type=float, metavar="SECONDS", help="end after so long")
    parser.add_argument("--json", action="store_true", help="one JSON object per message: topic, payload, ledger")
    parser.add_argument(
        "--from-start", action="store_true", help="expect every stream from number 1 (default: from its first message)"
    )
    parser.add_argument("--ca", type=Path, metavar="PEM", help="use TLS, trust these authorities")
    parser.add_argument("--cert", type=Path, metavar="PEM", help="our certificate, for brokers that ask for one")
    parser.add_argument("--key", type=Path, metavar="PEM", help="its key")
    parser.add_argument("--username", metavar="NAME", help="login, for brokers that ask for one")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="holds the password of --username")


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 nothing is missing, 1 something is or the broker cannot be reached, 64 wrong usage."""
    try:
        consumer = Consumer(
            args.broker,
            topics=args.topic or ["gw/v1/#"],
            from_start=args.from_start,
            ca=args.ca,
            certificate=args.cert,
            key=args.key,
            username=args.username,
            password_file=args.password_file,
        )
    except ValueError as exc:
        print(f"watch: --{exc}", file=sys.stderr)
        return 64
    watch = Watch(consumer.ledger, as_json=args.json)
    end_s = time.monotonic() + args.for_s if args.for_s is not None else None
    try:
        with consumer:
            _follow(consumer, watch, args.count, end_s)
    except (UplinkDown, ConfigError) as exc:
        print(f"watch: {exc}", file=sys.stderr)
        watch.summary()
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        pass  # the usual ways to end a live view
    return watch.summary()


def _follow(consumer: Consumer, watch: Watch, count: int | None, end_s: float | None) -> None:
    while (count is None or watch.messages < count) and (end_s is None or time.monotonic() < end_s):
        wait_s = 1.0 if end_s is None else max(0.0, min(1.0, end_s - time.monotonic()))
        try:
            message = consumer.next(wait_s)
        except UplinkDown as exc:
            print(f"watch: {exc}; connecting again", file=sys.stderr)
            _reconnect(consumer, end_s)
            continue
        if message is not None:
            watch.show(message)


def _reconnect(consumer: Consumer, end_s: float | None) -> None:
    while True:
        try:
            consumer.connect()
            return
        except UplinkDown:
            if end_s is not None and time.monotonic() >= end_s:
                raise
            time.sleep(1.0)


class Watch:
    """Prints messages, and at the end what the ledger says of each series that it saw."""

    def __init__(self, ledger: Ledger, *, as_json: bool = False, out: TextIO | None = None) -> None:
        self.messages = 0
        self._as_json = as_json
        self._out = out or sys.stdout
        self._ledger = ledger
        self._new: Counter[Key] = Counter()
        self._repeats: Counter[Key] = Counter()
        self._unreadable = 0

    def show(self, message: Arrival) -> None:
        self.messages += 1
        if isinstance(message, UnreadableMessage):
            self._unreadable += 1
            self._print(f"{_now()} {message.topic}: {message.why}", {"topic": message.topic, "error": message.why})
        elif isinstance(message, PictureMessage):
            # What can be compared with the alert that names it.
            facts = {"id": message.id, "bytes": len(message.payload), "sha256": message.sha256}
            self._print(f"{_now()}  {_where(message)} {_pairs(facts)}", {"topic": message.topic, "evidence": facts})
        elif isinstance(message, CommandMessage):
            self._show_command(message)
        else:
            self._show_fields(message, getattr(message, "fields", {}))

    def _show_command(self, message: CommandMessage) -> None:
        try:
            self._show_fields(message, decode(message.payload))
        except PayloadError:  # signed ones are text
            text = message.payload.decode("utf-8", "replace")
            self._print(f"{_now()}  {_where(message)} {text}", {"topic": message.topic, "request": text})

    def _show_fields(self, message: Arrival, fields: dict[str, Any]) -> None:
        note, verdict = "", None
        if isinstance(message, LedgerMessage):
            note, verdict = self._count(message)
        elif isinstance(message, OtherMessage) and message.where is not None:
            note, verdict = "  ! no ledger fields", "invalid"
        record = {"topic": message.topic, "payload": fields, **({"ledger": verdict} if verdict else {})}
        self._print(f"{_when(fields)} {_where(message)} {_words(message, fields)}{note}", record)

    def summary(self) -> int:
        """Print what the ledger says. 1 if anything is missing, or could not be read."""
        missing = False
        for key in sorted(self._new):
            stretches = self._ledger.missing(key)
            missing = missing or bool(stretches)
            gaps = ", ".join(f"{_range(first, last)} of epoch {epoch}" for epoch, first, last in stretches)
            print(
                f"{'/'.join(key)}: {self._new[key]} messages, {self._repeats[key]} repeats dropped, "
                f"{'missing ' + gaps if gaps else 'nothing missing'}",
                file=sys.stderr,
            )
        if self._unreadable:
            print(f"{self._unreadable} messages could not be read", file=sys.stderr)
        return int(missing or self._unreadable > 0)

    def _count(self, message: LedgerMessage) -> tuple[str, str]:
        """The ledger's opinion, for a reader and for a program."""
        taken = message.taken
        if taken is None or taken.repeat:
            self._repeats[message.key] += 1
            return "  (repeat, dropped)", "repeat"
        self._new[message.key] += 1
        notes = [f"! missing {_range(first, last)}" for first, last in taken.missing]
        notes += ["(late, fills a gap)"] if taken.late else []
        notes += ["(new epoch)"] if taken.new_epoch else []
        return "".join(f"  {note}" for note in notes), "late" if taken.late else "new"

    def _print(self, line: str, record: dict[str, Any]) -> None:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":")) if self._as_json else line
        print(text, file=self._out, flush=True)


def _where(message: Arrival) -> str:
    topic: Topic | None = message.where
    if topic is None:
        return f"{message.topic:40}"
    return f"{f'{topic.site}/{topic.box}':20} {topic.channel or f'{topic.stream}/{topic.source}':16}"


def _when(fields: dict[str, Any]) -> str:
    """The message's own time, local; '?' where the box's clock had not been set."""
    time_ms = fields.get("time")
    if not isinstance(time_ms, int) or not 0 <= time_ms < 1 << 43:
        return f"{_now()} "
    return f"{datetime.fromtimestamp(time_ms / 1000):%H:%M:%S.%f}"[:-3] + ("?" if fields.get("clock") else " ")


def _now() -> str:
    return f"{datetime.now():%H:%M:%S.%f}"[:-3]


def _words(message: Arrival, fields: dict[str, Any]) -> str:
    if isinstance(message, StateMessage):
        online = "online" if fields.get("online") else f"offline ({fields.get('reason')})"
        return f"{online}, agent {fields.get('agent')}, epoch {fields.get('epoch')}"
    if message.where is None or message.where.stream is None:
        return _pairs(fields)
    late = f"  {fields['late']} s late" if "late" in fields else ""
    body = _pairs({name: value for name, value in fields.items() if name not in _LEDGER_FIELDS})
    return f"#{fields.get('seq')} {fields.get('kind')} {body}{late}"


def _pairs(fields: dict[str, Any]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in fields.items())


def _value(value: Any) -> str:
    if isinstance(value, str) and value and " " not in value:
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _range(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first} to {last}"
