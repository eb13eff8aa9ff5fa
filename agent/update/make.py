"""For those who make and sign updates: `python -m agent.update.make --help`.

    keygen   a key of a person
    release | pack | config | trust      an update file, not signed yet
    sign     add one person's signature
    show     what a file holds, and who signed it

Signing reads nothing of the box and needs no network; a file may go from person to person on a stick. See
provisioning/updates.md.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import json
import os
import shutil
import sys
import time
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from agent import config
from agent.contract.command import ROLES
from agent.errors import ConfigError, GatewayError, UpdateRefused
from agent.update import archive, keys
from agent.update.manifest import FILES, NAMES, Kind, Manifest, Payload, canonical, read_manifest, time_text
from agent.update.trust import load_trust, parse_trust, read_signatures
from agent.update.verify import update_id

_DAY_MS = 86_400_000
_CHUNK = 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        args.do(args)
    except (GatewayError, OSError, ValidationError, ValueError) as exc:
        print(f"make: {exc}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m agent.update.make", description="Make and sign update files.")
    below = top.add_subparsers(required=True, metavar="WHAT")

    one = below.add_parser("keygen", help="make a key: DIR/NAME.key (keep it) and what goes into trust.toml")
    one.add_argument("name", help="whose key it is")
    one.add_argument("--folder", type=Path, default=Path(), help="where to put it (default: here)")
    one.add_argument("--role", choices=ROLES, help="a key that signs commands, and no updates: what it may ask for")
    _passphrase(one)
    one.set_defaults(do=_keygen)

    one = below.add_parser("release", help="a release of the agent, from its wheels")
    one.add_argument(
        "wheels", type=Path, help="folder with every wheel that the release needs, the agent's own and pip's too"
    )
    one.add_argument("--machine", required=True, help="uname -m of the boards: aarch64, x86_64, armv7l")
    one.add_argument("--python", required=True, help="the boards' Python: 3.11")
    _common(one)
    one.set_defaults(do=_release)

    one = below.add_parser("pack", help="a model pack")
    one.add_argument("pack", type=Path, help="the pack's folder")
    _common(one)
    one.set_defaults(do=_pack)

    one = below.add_parser("config", help="the configuration of one box")
    one.add_argument("config", type=Path, help="its gateway.toml")
    one.add_argument("--version", required=True, help="grows with every configuration of this box")
    _common(one)
    one.set_defaults(do=_config)

    one = below.add_parser("trust", help="other keys: a trust.toml that the old keys and the new ones sign")
    one.add_argument("trust", type=Path, help="the new trust.toml")
    _common(one)
    one.set_defaults(do=_trust)

    one = below.add_parser("sign", help="add a signature to an update file")
    one.add_argument("file", type=Path)
    one.add_argument("--key", type=Path, required=True, action="append", help="a key of keygen's; may be given again")
    _passphrase(one)
    one.set_defaults(do=_sign)

    one = below.add_parser("show", help="what a file holds, and who signed it")
    one.add_argument("file", type=Path)
    one.add_argument("--trust", type=Path, help="a trust.toml, to tell by name who signed and whether it is enough")
    one.set_defaults(do=_show)
    return top


def _passphrase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file", type=Path, help="file with the key's passphrase; an empty one: none (default: ask)"
    )


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="the update file, gateway-update-….gwu")
    parser.add_argument("--days", type=float, default=180.0, help="it expires after so many (default: 180)")
    parser.add_argument("--site", action="append", default=[], help="for boxes of this site alone; may be given again")
    parser.add_argument("--box", action="append", default=[], help="site/box: for this box alone; may be given again")
    parser.add_argument("--minimum-agent", help="the version of the agent that must run on the box, at least")
    parser.add_argument(
        "--allow-downgrade", action="store_true", help="may replace a newer one, if asked for on the box"
    )


def _keygen(args: argparse.Namespace) -> None:
    key = keys.new_key()
    path = args.folder / f"{args.name}.key"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(keys.to_pem(key, _ask(args.passphrase_file, f"passphrase for {path} (empty: none): ")))
    print(f"{path}: keep it where no box and no stranger comes by; for trust.toml:\n")
    if args.role is not None:
        print(f'[commander.{args.name}]\npublic = "{keys.public_hex(key)}"\nrole = "{args.role}"')
        return
    print(f'[key.{args.name}]\npublic = "{keys.public_hex(key)}"\nmay_sign = ["release", "pack", "config", "trust"]')


def _release(args: argparse.Namespace) -> None:
    wheels = sorted(args.wheels.glob("*.whl"))
    own = [wheel for wheel in wheels if wheel.name.startswith("gateway_agent-")]
    if len(own) != 1:
        raise UpdateRefused(
            f"{args.wheels}: found {len(own)} wheels gateway_agent-….whl; wanted one, and its libraries'"
        )
    if len([wheel for wheel in wheels if wheel.name.startswith("pip-")]) != 1:
        raise UpdateRefused(f"{args.wheels}: wanted one wheel of pip as well, which installs the others on the box")
    unpacked = 0
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as content:
            unpacked += sum(info.file_size for info in content.infolist())
    version = own[0].name.split("-")[1]
    # Half as much again: the compiled modules, and the environment with pip.
    _make(args, "release", NAMES["release"], version, wheels, needs_bytes=unpacked * 3 // 2 + (30 << 20))


def _pack(args: argparse.Namespace) -> None:
    manifest = args.pack / "manifest.toml"
    said = tomllib.loads(manifest.read_text(encoding="utf-8"))
    files = sorted(path for path in args.pack.iterdir() if path.is_file())
    size = sum(path.stat().st_size for path in files)
    _make(args, "pack", said["name"], said["version"], files, needs_bytes=size)


def _config(args: argparse.Namespace) -> None:
    settings = config.load(args.config)
    args.box = args.box or [f"{settings.box.site}/{settings.box.id}"]
    _make(args, "config", NAMES["config"], args.version, [args.config])


def _trust(args: argparse.Namespace) -> None:
    table = load_trust(args.trust).table
    _make(args, "trust", NAMES["trust"], str(table.version), [args.trust])


def _make(
    args: argparse.Namespace, kind: Kind, name: str, version: str, files: Sequence[Path], *, needs_bytes: int = 0
) -> None:
    now_ms = int(time.time() * 1000)
    names = {FILES.get(kind, path.name): path for path in files}
    manifest = Manifest(
        kind=kind,
        name=name,
        version=version,
        created=time_text(now_ms),
        expires=time_text(int(now_ms + args.days * _DAY_MS)),
        minimum_agent=args.minimum_agent,
        allow_downgrade=args.allow_downgrade,
        sites=args.site,
        boxes=args.box,
        machine=getattr(args, "machine", None),
        python=getattr(args, "python", None),
        needs_bytes=needs_bytes,
        files=tuple(
            Payload(name=held, sha256=_sha256(path), bytes=path.stat().st_size) for held, path in names.items()
        ),
    )
    head = archive.Head(manifest.canonical(), canonical({}))
    with args.out.open("wb") as out:
        archive.write(out, head, manifest.files, lambda held: names[held].open("rb"))
    print(f"{args.out}: {kind} {name} {version}, {len(files)} file(s), expires {manifest.expires}; not signed yet")


def _sign(args: argparse.Namespace) -> None:
    with args.file.open("rb") as file:
        head = archive.read_head(file)
        manifest = read_manifest(head.manifest)
        archive.read_payload(file, manifest.files)  # nobody signs for a file that is not whole
    signatures = read_signatures(head.signatures)
    for path in args.key:
        try:
            key = keys.from_pem(path.read_bytes(), _ask(args.passphrase_file, f"passphrase of {path}: "))
        except ValueError as exc:
            raise ConfigError(f"key {path}: {exc}") from exc
        signatures[keys.key_id(keys.public_hex(key))] = keys.sign(key, head.manifest)
    new = args.file.with_name(args.file.name + ".new")
    with args.file.open("rb") as old, new.open("wb") as out:
        archive.read_head(old)
        # Behind its head an old file goes on as the new one does.
        archive.write_head(out, archive.Head(head.manifest, canonical(signatures)))
        shutil.copyfileobj(old, out, _CHUNK)
    new.replace(args.file)
    print(f"{args.file}: {manifest.kind} {manifest.name} {manifest.version}: {len(signatures)} signature(s)")


def _show(args: argparse.Namespace) -> None:
    with args.file.open("rb") as file:
        head = archive.read_head(file)
        manifest = read_manifest(head.manifest)
        archive.read_payload(file, manifest.files)
    signatures = read_signatures(head.signatures)
    print(json.dumps(manifest.model_dump(mode="json", exclude_none=True), indent=1, ensure_ascii=False))
    print(f"update {update_id(head.manifest)}, {len(signatures)} signature(s) by: {', '.join(signatures) or 'nobody'}")
    if args.trust is not None:
        trust = parse_trust(args.trust.read_text(encoding="utf-8"), str(args.trust))
        print(f"signed by {', '.join(trust.require(manifest.kind, head.manifest, signatures))}: enough")


def _ask(file: Path | None, question: str) -> bytes | None:
    text = file.read_text(encoding="utf-8").rstrip("\n") if file is not None else getpass.getpass(question)
    return text.encode() or None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
