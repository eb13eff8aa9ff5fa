"""What tests of commands need: people of the operations centre with keys, tokens, and a box that believes them."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

from agent.audit import AuditLog
from agent.clock import Clock, SystemClock
from agent.commands import Desk, Handler, Journal, sign_request
from agent.commands.handlers.ping import ping
from agent.contract.command import Command, Role
from agent.outbox import Outbox
from agent.update import keys
from tests.support.updates import PEOPLE, trust_text

COMMANDERS: dict[str, Role] = {"vy": "viewer", "oanh": "operator", "en": "engineer", "ad": "admin"}


def commanders_text() -> str:
    return "".join(
        f'[commander.{name}]\npublic = "{keys.public_hex(_key(name))}"\nrole = "{role}"\n'
        for name, role in COMMANDERS.items()
    )


def write_trust(folder: Path) -> Path:
    path = folder / "trust.toml"
    path.write_text(trust_text() + commanders_text())
    return path


def pem(name: str) -> bytes:
    return keys.to_pem(_key(name), None)


def claims(
    cmd: str, /, box: str = "site/box", *, id: str | None = None, now_s: float | None = None, **args: Any
) -> dict[str, Any]:
    """Of an ordinary command, good for an hour."""
    at_s = int(time.time() if now_s is None else now_s)
    return {"jti": id or secrets.token_hex(8), "aud": box, "iat": at_s, "exp": at_s + 3600, "cmd": cmd, "args": args}


def token(name: str, fields: dict[str, Any]) -> bytes:
    """Signed by whoever is named; mallory's key is in no trust file."""
    return sign_request(Command.model_validate(fields), pem(name), None).encode()


def ask(name: str, cmd: str, /, box: str = "site/box", *, id: str | None = None, **args: Any) -> bytes:
    return token(name, claims(cmd, box, id=id, **args))


def make_desk(
    folder: Path, handlers: dict[str, Handler] | None = None, *, box: str = "site/box", clock: Clock | None = None
) -> Desk:
    clock = clock or SystemClock()
    audit = AuditLog(folder / "audit", clock=clock)
    return Desk(box, write_trust(folder), Journal(folder / "commands.db"), audit, handlers or {}, clock=clock)


def ping_desk(folder: Path, outbox: Outbox) -> Desk:
    return make_desk(folder, {"ping": ping(outbox, version="0.1.0", config_version="0")})


def _key(name: str) -> Any:
    from hashlib import sha256

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return PEOPLE.get(name) or Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())
