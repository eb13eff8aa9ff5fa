"""python -m provisioning.ca: make an authority, certify brokers and boxes, take certificates back."""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from agent.durable import write_private, write_whole
from agent.identity.certificate import Pair, fingerprint, key_pem, pem
from provisioning.ca.authority import BOX_DAYS, REASONS, SERVER_DAYS, Authority, CaError, create
from provisioning.ca.fleet import provision
from provisioning.ca.server import EstService

_EPILOG = "Exit codes: 0 done, 1 not done (the reason is told), 64 wrong usage."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        self.print_usage(sys.stderr)
        self.exit(64, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    top = _Parser(prog="python -m provisioning.ca", description=__doc__, epilog=_EPILOG)
    top.add_argument("--folder", type=Path, required=True, metavar="DIR", help="where the authority is kept")
    below = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    one = below.add_parser("init", help="make a new authority: a root and an issuing one")
    one.add_argument("--name", required=True, help='how certificates call it, such as "Cua Bac city"')
    one.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="for the root's key (default: it is asked for)"
    )

    one = below.add_parser("serve", help="answer boxes (EST) and brokers (crl.pem) until stopped")
    one.add_argument("--listen", default="0.0.0.0:8443", metavar="ADDRESS:PORT", help="(default: %(default)s)")
    one.add_argument(
        "--name", action="append", required=True, metavar="HOST", help="how boxes reach it; may be repeated"
    )

    one = below.add_parser("token", help="a one-time token for a box")
    one.add_argument("box", metavar="SITE/BOX")
    one.add_argument("--hours", type=_positive, default=72.0, help="how long it may be used (default: %(default)g)")

    one = below.add_parser("sign", help="certify a request that was brought by hand (gateway-agent identity request)")
    one.add_argument("request", type=Path, metavar="FILE")
    one.add_argument("--box", required=True, metavar="SITE/BOX", help="whose request it is; you vouch for it")
    one.add_argument("--out", type=Path, required=True, metavar="FILE", help=f"the certificate, for {BOX_DAYS} days")

    one = below.add_parser("server", help="key and certificate for a broker")
    one.add_argument("name", nargs="+", metavar="HOST", help="host names and addresses by which boxes reach it")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="for server.key, server.crt and ca.pem")
    one.add_argument("--days", type=int, default=SERVER_DAYS, help="(default: %(default)s)")

    one = below.add_parser("client", help="key and certificate for a program of the centre, named client:NAME")
    one.add_argument("name", metavar="NAME")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="for client.key, client.crt and ca.pem")
    one.add_argument("--days", type=int, default=SERVER_DAYS, help="(default: %(default)s)")

    one = below.add_parser("revoke", help="take back what a box has, and write crl.pem")
    one.add_argument("what", metavar="NAME|SERIAL", help="SITE/BOX, client:NAME, a host name, or one serial number")
    one.add_argument("--reason", choices=REASONS, default="key_compromise", help="(default: %(default)s)")

    below.add_parser("crl", help="write crl.pem anew; `serve` does it every day by itself")
    one = below.add_parser("list", help="every certificate, with its state")
    one.add_argument("--all", action="store_true", help="those too that are expired or revoked")

    one = below.add_parser("fleet", help="tokens, configurations and cards for many boxes at once")
    one.add_argument("csv", type=Path, metavar="FILE.csv", help="one box a row; the columns are in README.md")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder, one folder a box in it")
    one.add_argument("--server", required=True, metavar="URL", help="where boxes enrol: https://HOST:PORT")
    one.add_argument("--hours", type=_positive, default=30 * 24.0, help="life of the tokens (default: %(default)g)")
    one.add_argument("--append", type=Path, metavar="FILE.toml", help="what every configuration has besides")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    os.umask(0o077)
    try:
        _do(args)
    except CaError as exc:
        print(f"provisioning.ca {args.verb}: {exc}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"provisioning.ca {args.verb}: {exc.filename}: {exc.strerror}", file=sys.stderr)
        return 1
    return 0


def _do(args: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    if args.verb == "init":
        made = create(args.folder, args.name, _passphrase(args.passphrase_file), now=now)
        print(f"made {args.folder}; boxes need ca.pem, or its fingerprint:\n  {fingerprint(made.root)}")
        print("root.key is not needed from day to day: keep it, and its passphrase, somewhere else")
        return
    authority = Authority(args.folder)
    if args.verb == "serve":
        _serve(authority, args.listen, args.name)
    elif args.verb == "token":
        token = authority.new_token(args.box, hours=args.hours, now=now)
        print(f"{token}\nfor {args.box}, once, within {args.hours:g} hours; told only here", file=sys.stdout)
    elif args.verb == "sign":
        certificate = authority.sign(_csr(args.request), args.box, now=now)
        write_whole(args.out, pem([certificate, authority.issuing]))
        print(f"{args.out}: {args.box} until {certificate.not_valid_after_utc:%F}; the box needs it and ca.pem")
    elif args.verb == "server":
        _hand_over(authority.server(args.name, now=now, days=args.days), authority, args.out, "server")
    elif args.verb == "client":
        _hand_over(authority.client(args.name, now=now, days=args.days), authority, args.out, "client")
    elif args.verb == "revoke":
        for serial in authority.revoke(args.what, args.reason, now=now):
            print(f"revoked {serial}")
        print(f"{args.folder / 'crl.pem'}: take it to the brokers and make them read it; see README.md")
    elif args.verb == "crl":
        print(authority.write_crl(now=now))
    elif args.verb == "list":
        for one in authority.issued():
            state = one.state(now)
            if args.all or state.startswith("valid"):
                print(f"{one.name:32} {one.use:6} {one.begin:%F} {one.until:%F} {one.serial:40} {state}")
    else:
        made_boxes = provision(
            authority, args.csv, args.out, server=args.server, hours=args.hours, append=args.append, now=now
        )
        print(f"{args.out}: {made_boxes} box(es), a folder each; the cards hold their tokens: keep them as keys")


def _serve(authority: Authority, listen: str, names: list[str]) -> None:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise CaError(f"--listen {listen!r}: wanted ADDRESS:PORT")
    service = EstService(authority, (host.strip("[]"), int(port)), names)
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for serve_forever(), which is interrupted here: so from another thread.
        signal.signal(number, lambda *_: threading.Thread(target=service.shutdown).start())
    address, actual = service.server_address[:2]
    print(f"serving on {address!s} port {actual}", flush=True)
    with service:
        service.serve_forever()


def _hand_over(pair: Pair, authority: Authority, folder: Path, what: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / f"{what}.key", key_pem(pair.key))
    write_whole(folder / f"{what}.crt", pem(pair.certificates))
    write_whole(folder / "ca.pem", pem([authority.root]))
    print(f"{folder}: {what}.key, {what}.crt until {pair.certificate.not_valid_after_utc:%F}, ca.pem")


def _csr(path: Path) -> x509.CertificateSigningRequest:
    try:
        return x509.load_pem_x509_csr(path.read_bytes())
    except ValueError as exc:
        raise CaError(f"{path}: not a request for a certificate in PEM: {exc}") from exc


def _passphrase(path: Path | None) -> bytes:
    if path is not None:
        return path.read_bytes().rstrip(b"\r\n")
    first = getpass.getpass("passphrase for the root's key: ")
    if getpass.getpass("again: ") != first:
        raise CaError("the two differ")
    return first.encode()


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 24 * 366:
        raise argparse.ArgumentTypeError(f"found {text}; wanted hours, more than 0 and at most a year")
    return value


if __name__ == "__main__":
    sys.exit(main())
