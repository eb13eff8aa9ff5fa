"""The verb `command`: sign a command with a person's key, send it to a box, show what it answers."""

from __future__ import annotations

import argparse
import getpass
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from agent.commands import sign_request
from agent.consumer.consumer import read_broker
from agent.contract.command import COMMANDS, MAX_LIFE_S, Command, Reply, read_args
from agent.contract.topics import BoxTopics
from agent.contract.wire import PayloadError, decode
from agent.errors import ConfigError, UplinkDown
from agent.uplink import Login
from agent.uplink.subscriber import Subscriber

_EXIT_USAGE = 64
_DAY_S = 24 * 3600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "commands: " + "; ".join(f"{name} ({known.role})" for name, known in COMMANDS.items())
    parser.add_argument("box", metavar="SITE/BOX", help="which box is meant")
    parser.add_argument("name", metavar="COMMAND", help="see below")
    parser.add_argument(
        "argument",
        nargs="*",
        metavar="NAME=VALUE",
        help="VALUE: JSON, or text as it stands; NAME=@FILE: the text of a file",
    )
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="the commander's key, see update.make")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="of the key; an empty one: none")
    parser.add_argument("--by", metavar="NAME", help="who wants it (default: this user)")
    parser.add_argument("--for", dest="life_s", type=int, default=_DAY_S, metavar="SECONDS", help="good for so long")
    parser.add_argument(
        "--broker", metavar="HOST[:PORT]", help="port 1883, or 8883 with --ca; without: print the token"
    )
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for the answer (default: 60)")
    parser.add_argument("--ca", type=Path, metavar="PEM", help="use TLS, trust these authorities")
    parser.add_argument("--cert", type=Path, metavar="PEM", help="our certificate, for brokers that ask for one")
    parser.add_argument("--cert-key", type=Path, metavar="PEM", help="its key")
    parser.add_argument("--username", metavar="NAME", help="login, for brokers that ask for one")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="holds the password of --username")


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 done, 1 refused, failed or no answer in time, 64 wrong usage."""
    try:
        topics = BoxTopics(*args.box.split("/")) if args.box.count("/") == 1 else None
        if topics is None:
            raise ValueError(f"box {args.box!r}: wanted SITE/BOX")
        command = _command(args)
    except (ValueError, PayloadError, OSError) as exc:
        print(f"command: {exc}", file=sys.stderr)
        return _EXIT_USAGE
    token = _signed(args, command)
    if args.broker is None:
        print(token)
        return 0
    try:
        return _send(args, topics, command, token)
    except UplinkDown as exc:
        print(f"command: {exc}", file=sys.stderr)
        return 1


def _command(args: argparse.Namespace) -> Command:
    if args.name not in COMMANDS:
        raise ValueError(f"unknown command {args.name!r}; there is: {', '.join(COMMANDS)}")
    if not 1 <= args.life_s <= MAX_LIFE_S:
        raise ValueError(f"--for {args.life_s}: wanted 1 to {MAX_LIFE_S}")
    values = dict(_value(one) for one in args.argument)
    read_args(args.name, values)
    now_s = int(time.time())
    return Command(
        jti=secrets.token_hex(8),
        aud=args.box,
        iat=now_s,
        exp=now_s + args.life_s,
        cmd=args.name,
        args=values,
        by=args.by or getpass.getuser(),
    )


def _value(argument: str) -> tuple[str, Any]:
    name, equals, text = argument.partition("=")
    if not equals:
        raise ValueError(f"argument {argument!r}: wanted NAME=VALUE")
    if text.startswith("@"):
        return name, Path(text[1:]).read_text(encoding="utf-8")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


def _signed(args: argparse.Namespace, command: Command) -> str:
    """Raises ConfigError for a key that cannot be used."""
    try:
        pem = args.key.read_bytes()
        if args.passphrase_file is not None:
            passphrase = args.passphrase_file.read_text(encoding="utf-8").rstrip("\n")
        else:
            passphrase = getpass.getpass(f"passphrase of {args.key}: ") if b"ENCRYPTED" in pem else ""
        return sign_request(command, pem, passphrase.encode() or None)
    except (OSError, ValueError) as exc:
        raise ConfigError(f"key {args.key}: {exc}") from exc


def _send(args: argparse.Namespace, topics: BoxTopics, command: Command, token: str) -> int:
    """By the box's own topic for answers: it is the same with MQTT 5 and 3.1.1."""
    broker = read_broker(args.broker, args.ca, args.cert, args.cert_key)
    login = Login(args.username, args.password_file) if args.username else None
    with Subscriber(broker, [topics.reply], login=login) as ours:
        ours.publish(topics.command, token.encode())
        end_s = time.monotonic() + args.wait
        while (left_s := end_s - time.monotonic()) > 0:
            message = ours.next(left_s)
            reply = None if message is None else _ours(message.payload, command.jti)
            if reply is not None:
                print(json.dumps(reply.fields(), ensure_ascii=False), flush=True)
                if reply.result != "accepted":
                    return 0 if reply.result == "done" else 1
    print(
        f"command: no answer in {args.wait:g} s. It waits in the broker until the box is back, or until it expires; "
        f"its id is {command.jti}",
        file=sys.stderr,
    )
    return 1


def _ours(payload: bytes, request_id: str) -> Reply | None:
    try:
        reply = Reply.read(decode(payload))
    except PayloadError:
        return None
    return reply if reply.id == request_id else None
