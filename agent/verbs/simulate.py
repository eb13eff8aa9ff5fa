"""`gateway-agent simulate`: many light boxes against a broker, to see what it and the centre can carry."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

from agent.contract.topics import check_id
from agent.errors import GatewayError
from agent.simulate import Plan, simulate
from agent.simulate.fleet import forget
from agent.uplink import Login

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--broker",
        required=True,
        action="append",
        metavar="HOST[:PORT]",
        help="a node of the broker to try out; again for each further one: boxes spread over them and go to another "
        "when theirs is away (default port: 1883, with TLS 8883)",
    )
    parser.add_argument("--boxes", type=_whole, default=100, metavar="N", help="how many (default: 100)")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="for how long (default: 10)")
    parser.add_argument(
        "--at",
        type=_time,
        default="12:00",
        metavar="HH:MM",
        help="time of day to begin with; busiest is 17:00, quietest 02:00 (default: 12:00)",
    )
    parser.add_argument("--site", type=_site, default="sim", help="the boxes' site; they are box-0001 … (default: sim)")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="the same seed gives the same happenings (default: 1)"
    )
    parser.add_argument("--payload", choices=["json", "cbor"], default="json", help="form of messages (default: json)")
    parser.add_argument(
        "--calm", action="store_true", help="without outages of single boxes and faults of their clocks"
    )
    parser.add_argument(
        "--processes", type=_whole, default=4, metavar="N", help="to spread the boxes over (default: 4)"
    )
    parser.add_argument(
        "--account", type=Path, metavar="FILE", help="write what each box numbered, and what it cost, as JSON"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="for the boxes' outboxes, 5 MB each; emptied at the end if all was sent (default: a temporary one)",
    )
    parser.add_argument("--ca", type=Path, metavar="FILE", help="use TLS and trust these authorities (PEM)")
    parser.add_argument(
        "--identities",
        type=Path,
        metavar="DIR",
        help="use TLS; a folder BOX with box.pem and ca.pem in it for each box",
    )
    parser.add_argument("--username", metavar="NAME", help="login, the same for all boxes")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="its password, alone in a file")


def run(args: argparse.Namespace) -> int:
    tls = args.ca is not None or args.identities is not None
    try:
        brokers = tuple(_broker(text, 8883 if tls else 1883) for text in args.broker)
    except ValueError as exc:
        print(f"simulate: {exc}", file=sys.stderr)
        return 64
    folder = args.folder or Path(tempfile.mkdtemp(prefix="simulate-"))
    plan = Plan(
        boxes=args.boxes,
        brokers=brokers,
        length_s=args.minutes * 60.0,
        folder=folder,
        site=args.site,
        seed=args.seed,
        processes=args.processes,
        second_of_day=args.at,
        payload=args.payload,
        ca=args.ca,
        identities=args.identities,
        login=Login(args.username, args.password_file) if args.username else None,
        calm=args.calm,
    )
    stop = multiprocessing.get_context("spawn").Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    try:
        account = simulate(plan, stop)
    except GatewayError as exc:
        print(f"simulate: {exc}; the outboxes are in {folder}", file=sys.stderr)
        return 1
    if args.account is not None:
        args.account.write_text(json.dumps(account, indent=1), encoding="utf-8")
    settled = account["waiting"] == 0 and account["not_stored"] == 0
    if settled:
        forget(folder)
    _say(account)
    if not settled:
        print(f"simulate: not all was sent; the outboxes are in {folder}", file=sys.stderr)
    return 0 if settled else 1


def _say(account: dict[str, Any]) -> None:
    boxes, parts = account["boxes"].values(), account["processes"]
    count, numbered = len(boxes), account["numbered"]
    names = ("sent", "connects", "refused", "cuts", "sent_bytes", "received_bytes")
    total = {name: sum(box[name] for box in boxes) for name in names}
    ran_s, late_s, drain_s = (max(part[name] for part in parts) for name in ("ran_s", "late_s", "drain_s"))
    cpu_s, rss_mb = sum(part["cpu_s"] for part in parts), sum(part["rss_bytes"] for part in parts) / 1e6
    kb_per_s = (total["sent_bytes"] + total["received_bytes"]) / ran_s / 1000
    out_b, in_b = total["sent_bytes"] / count, total["received_bytes"] / count
    again, anew = total["sent"] - numbered, total["connects"] - count
    put_ms = {name: max(part["put_ms"][name] or 0.0 for part in parts) for name in ("p50", "p99")}
    for line in (
        f"{count} boxes, {ran_s:g} s: {numbered} messages numbered, {account['waiting']} not acknowledged",
        f"  a second     {numbered / ran_s:.1f} messages, {kb_per_s:.1f} kB to and from the broker",
        f"  a box        {out_b:.0f} B out, {in_b:.0f} B in; with TLS where it is used, without TCP and IP",
        f"  sent         {total['sent']} times, {again} of them again; refused {total['refused']} times",
        f"  connections  {total['connects']}, {anew} of them anew; {total['cuts']} outages of single boxes",
        f"  stored       in {put_ms['p50']} ms (p50), {put_ms['p99']} ms (p99); not stored {account['not_stored']}",
        f"  here         {cpu_s:.0f} s of CPU, {rss_mb / count:.2f} MB a box; at most {late_s:.1f} s behind the plan",
        f"  at the end   all was sent after {drain_s:.1f} s" if not account["waiting"] else "",
    ):
        if line:
            print(line)


def _broker(text: str, port: int) -> tuple[str, int]:
    host, colon, number = text.rpartition(":")
    if not colon:
        return text, port
    if not host or not number.isdigit() or not 0 < int(number) < 65536:
        raise ValueError(f"--broker {text!r}: wanted HOST or HOST:PORT")
    return host.strip("[]"), int(number)


def _whole(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 9999:
        raise argparse.ArgumentTypeError(f"{text!r}; wanted a whole number from 1 to 9999")
    return int(text)


def _time(text: str) -> float:
    if (match := _TIME.fullmatch(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r}; wanted a time of day, as 17:30")
    return int(match[1]) * 3600.0 + int(match[2]) * 60.0


def _site(text: str) -> str:
    try:
        return check_id(text, "site")
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
