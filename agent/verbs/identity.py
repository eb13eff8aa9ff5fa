"""The verb `identity`: the box's key and certificate, without which a broker that checks them lets nobody in."""

from __future__ import annotations

import argparse
import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path

from agent import app, config
from agent.clock import machine_clock_is_set
from agent.durable import write_whole
from agent.errors import ConfigError, UplinkDown
from agent.identity import (
    EstServer,
    Identity,
    Outcome,
    Trust,
    Unusable,
    Verdict,
    box_name,
    days_left,
    fingerprint,
    read_fingerprint,
)
from agent.identity.certificate import common_name, renewal_is_due, request_pem
from agent.ops.words import say
from agent.tls import IdentityFolder
from agent.uplink import UplinkSettings
from agent.uplink.knock import CertificateRefused, knock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=("show", "request", "enrol", "renew"),
        help="show: what there is; request: a file for an authority that is reached by hand; enrol: get the "
        "certificate; renew: get the next one if it is time, what the timer runs",
    )
    parser.add_argument("--server", metavar="URL", help="enrol: the authority's EST server, https://HOST[:PORT]")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="enrol: file of the one-time token (default: it is asked for)"
    )
    parser.add_argument(
        "--user", metavar="NAME", help="enrol: with the token, for an authority that wants one (default: SITE/BOX)"
    )
    parser.add_argument(
        "--fingerprint", metavar="SHA256", help="enrol: of the authority's root certificate, as told by a person"
    )
    parser.add_argument("--ca", type=Path, metavar="FILE", help="enrol: the authority's certificate, PEM")
    parser.add_argument("--request", type=Path, metavar="FILE", help="request: where to write it (default: stdout)")
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="enrol: take this, signed by hand, in place of a server's"
    )


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 fine, 1 a problem, or `show` found nothing that can be used."""
    settings = config.load(args.config)
    try:
        name = box_name(settings.box.site, settings.box.id)
    except ValueError as exc:
        raise ConfigError(f"{args.config}: box: {exc}") from exc
    identity = Identity(settings.box.identity, name)
    try:
        if args.what == "show":
            return _show(identity)
        if args.what == "request":
            return _request(identity, args.request)
        if args.what == "enrol":
            return _enrol(identity, args)
        return _renew(identity, app.uplink_settings(settings))
    except Unusable as exc:
        print(say(f"identity-{exc.reason}", why=exc), file=sys.stderr)
        return 1


def _show(identity: Identity) -> int:
    pair = identity.pair()
    if pair is None:
        print(say("identity-none", name=identity.name, folder=identity.folder.path))
        return 1
    certificate, now = pair.certificate, datetime.now(UTC)
    print(
        say(
            "identity-is",
            name=common_name(certificate.subject),
            begin=f"{certificate.not_valid_before_utc:%F}",
            until=f"{certificate.not_valid_after_utc:%F}",
            issuer=common_name(certificate.issuer),
            serial=f"{certificate.serial_number:x}",
            fingerprint=fingerprint(certificate),
        )
    )
    if common_name(certificate.subject) != identity.name:
        print(say("identity-other", name=identity.name))
        return 1
    if not machine_clock_is_set():
        print(say("identity-clock"))
        return 0
    if certificate.not_valid_after_utc <= now:
        print(say("identity-over"))
        return 1
    left = days_left(certificate, now)
    print(say("identity-due" if renewal_is_due(certificate, now) else "identity-fine", days=left))
    return 0


def _request(identity: Identity, path: Path | None) -> int:
    content = request_pem(identity.request())
    if path is None:
        sys.stdout.write(content.decode("ascii"))
        return 0
    try:
        write_whole(path, content)
    except OSError as exc:
        raise Unusable("files", f"{path}: {exc.strerror}") from exc
    print(say("identity-request", path=path, name=identity.name))
    return 0


def _enrol(identity: Identity, args: argparse.Namespace) -> int:
    trust = Trust(_file(args.ca), _told(args.fingerprint))
    if args.certificate is not None:
        certificate = identity.take(_file(args.certificate) or b"", trust)
    else:
        if args.server is None:
            return _usage("enrol wants --server URL, or --certificate FILE")
        try:
            server = EstServer(args.server)
        except ValueError as exc:
            return _usage(f"--server {exc}")
        token = _token(args.token_file)
        certificate = identity.enrol(server, user=args.user or identity.name, token=token, trust=trust)
    print(
        say(
            "identity-enrolled",
            name=identity.name,
            until=f"{certificate.not_valid_after_utc:%F}",
            issuer=common_name(certificate.issuer),
        )
    )
    return 0


def _renew(identity: Identity, uplink: UplinkSettings) -> int:
    outcome = identity.renew(lambda folder: _judge(uplink, folder))
    pair = identity.pair()
    if outcome is Outcome.NOT_ENROLLED or pair is None:
        print(say("identity-none", name=identity.name, folder=identity.folder.path))
        return 0
    until = pair.certificate.not_valid_after_utc
    print(say("identity-renewed" if outcome is Outcome.RENEWED else "identity-not-due", until=f"{until:%F}"))
    return 0


def _judge(uplink: UplinkSettings, folder: IdentityFolder) -> dict[str, tuple[Verdict, str]]:
    """What the brokers that the identity is for say to the pair in a folder."""
    said: dict[str, tuple[Verdict, str]] = {}
    for broker in uplink.brokers:
        if broker.tls is None or broker.tls.certificate is not None:
            continue
        try:
            knock(broker, broker.tls.with_identity(folder))
            said[str(broker)] = (Verdict.ACCEPTED, "")
        except CertificateRefused as exc:
            said[str(broker)] = (Verdict.REFUSED, str(exc).removeprefix(f"{broker}: "))
        except (UplinkDown, ConfigError) as exc:
            said[str(broker)] = (Verdict.AWAY, str(exc).removeprefix(f"{broker}: "))
    return said


def _token(path: Path | None) -> str:
    """From a file, from a person, from a pipe; never from the command line, which every user of the box can read."""
    if path is not None:
        token = (_file(path) or b"").decode("utf-8", "replace").strip()
    elif sys.stdin.isatty():
        token = getpass.getpass(say("identity-token-ask")).strip()
    else:
        token = sys.stdin.readline().strip()
    if not token or not token.isprintable():
        raise Unusable("refused", "no token given; wanted one line of text")
    return token


def _told(text: str | None) -> str | None:
    try:
        return None if text is None else read_fingerprint(text)
    except ValueError as exc:
        raise Unusable("untrusted", f"--fingerprint: {exc}") from exc


def _file(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as exc:
        raise Unusable("files", f"{path}: {exc.strerror}") from exc


def _usage(words: str) -> int:
    print(f"gateway-agent identity: {words}; see gateway-agent identity --help", file=sys.stderr)
    return 64
