"""The verb `web`: passwords of the technician's page, and by which address and certificate it is found."""

from __future__ import annotations

import argparse
import getpass
import ipaddress
import sys

from agent import config
from agent.config import WebConfig
from agent.errors import ConfigError
from agent.identity import fingerprint
from agent.identity.certificate import read_certificates
from agent.ops.words import say
from agent.tls import IdentityFolder
from agent.web.password import Passwords, Role, generate, password_files, why_weak, write_password


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=("password", "show"),
        help="password: set the technician's, asked for twice or read from a pipe; show: how the page is reached, its "
        "certificate's fingerprint, and which passwords there are",
    )
    parser.add_argument("--viewer", action="store_true", help="password: of those who may look and change nothing")
    parser.add_argument("--generate", action="store_true", help="password: make one, and print it this once")


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 fine, 1 the password will not do, or `show` found none."""
    settings = config.load(args.config)
    if settings.web is None:
        raise ConfigError(f"{args.config}: no table [web], so there is no page; see provisioning/README.md")
    if args.what == "show":
        return _show(settings.web, IdentityFolder(settings.box.identity))
    return _set(settings.web, args)


def _set(settings: WebConfig, args: argparse.Namespace) -> int:
    path = password_files(settings.folder)[Role.VIEWER if args.viewer else Role.TECHNICIAN]
    password = generate() if args.generate else _asked()
    if password is None:
        print(say("web-password-differs"), file=sys.stderr)
        return 1
    weak = why_weak(password)
    if weak is not None:
        is_plain = weak == "plain"
        print(say("web-password-weak" if is_plain else "web-password-short"), file=sys.stderr)
        return 1
    write_password(path, password)
    print(say("web-password-set", path=path))
    if args.generate:
        print(say("web-password-is", password=password))
    return 0


def _asked() -> str | None:
    """From a person, twice, or from a pipe; never from the command line. None: the two differ."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass(say("web-password-ask"))
    return first if getpass.getpass(say("web-password-again")) == first else None


def _show(settings: WebConfig, identity: IdentityFolder) -> int:
    address = f"[{settings.listen}]" if ":" in settings.listen else settings.listen
    scheme = "http" if settings.is_local else "https"
    print(say("web-at", url=f"{scheme}://{address}:{settings.port}/"))
    if ipaddress.ip_address(settings.listen).is_unspecified:
        print(say("web-everywhere"))
    if not settings.is_local:
        _show_certificate(settings, identity)
    files = password_files(settings.folder)
    passwords = Passwords(files)
    for role, path in files.items():
        is_there = passwords.hash_of(role) is not None
        if is_there or role is Role.TECHNICIAN:  # who may only look is there if somebody wants it
            print(say("web-password-there" if is_there else "web-password-none", role=role.name.lower(), path=path))
    return 0 if passwords.hash_of(Role.TECHNICIAN) is not None else 1


def _show_certificate(settings: WebConfig, identity: IdentityFolder) -> None:
    file = identity.pair if identity.has(identity.pair) else settings.own_certificate
    try:
        certificate = read_certificates(file.read_bytes())[0]
    except FileNotFoundError:
        print(say("web-certificate-none"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{file}: cannot be read: {exc}") from exc
    else:
        print(say("web-certificate", fingerprint=fingerprint(certificate), path=file))
