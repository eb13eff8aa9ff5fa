"""A request as it comes from the broker: whose it is, whether it is for this box and still good. Does nothing.

A JSON Web Token (RFC 7519) by the rules of RFC 8725: one algorithm, an explicit type, an audience that must be this
box. PyJWT reads and checks it. Times are checked here, by the box's own idea of the time: see agent/update/verify.py
for what a box does that has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import jwt
from jwt.types import Options

from agent.contract.command import (
    ALGORITHM,
    COMMANDS,
    MAX_LIFE_S,
    MAX_TOKEN_BYTES,
    ROLES,
    TOKEN_TYPE,
    Args,
    Command,
    Role,
    read_args,
)
from agent.contract.wire import PayloadError
from agent.errors import CommandRefused
from agent.update import keys
from agent.update.trust import CommanderTable
from agent.update.verify import UNSET, Now

_DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asked for who may.

    by: whose key signed it, and who wanted it if that was said. digest: SHA-256 of the token, hexadecimal. doubt: what
    could not be told.
    """

    id: str
    name: str
    args: Args
    role: Role
    by: str
    expires_s: int
    signed_s: int
    digest: str
    token: str = ""
    doubt: str | None = None


class NotTaken(CommandRefused):
    """A token that is not to be obeyed. id, command: as far as the token says; nobody vouches for either."""

    def __init__(self, message: str, claims: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.id = _text(claims.get("jti"))
        self.command = _text(claims.get("cmd"))


def read_request(token: bytes, commanders: Mapping[str, CommanderTable], box: str, now: Now) -> Request:
    """commanders: who may command, by name. box: "site/box". Raises NotTaken saying why not."""
    if len(token) > MAX_TOKEN_BYTES:
        raise NotTaken(f"request of {len(token)} bytes; wanted at most {MAX_TOKEN_BYTES}", {})
    text = token.decode("ascii", "replace")
    said = _unverified(text)
    name, commander = _signer(text, commanders, said)
    claims = _verified(text, commander, said)
    try:
        command = Command.read(claims)
    except PayloadError as exc:
        raise NotTaken(f"claim {exc}", said) from exc
    doubt = _check_time(command, now, said)
    if box not in command.boxes:
        raise NotTaken(f"it is for {', '.join(command.boxes[:5]) or 'nobody'}; this box is {box}", said)
    known = COMMANDS.get(command.cmd)
    if known is None:
        raise NotTaken(f"unknown command {command.cmd!r}; this agent knows: {', '.join(COMMANDS)}", said)
    if ROLES.index(commander.role) < ROLES.index(known.role):
        raise NotTaken(f"{name} is a {commander.role}; {command.cmd} is for {known.role} and above", said)
    try:
        args = read_args(command.cmd, command.args)
    except PayloadError as exc:
        raise NotTaken(str(exc), said) from exc
    return Request(
        id=command.jti,
        name=command.cmd,
        args=args,
        role=commander.role,
        by=name if command.by is None else f"{command.by} ({name})",
        expires_s=command.exp,
        signed_s=command.iat,
        digest=hashlib.sha256(token).hexdigest(),
        token=text,
        doubt=doubt,
    )


def sign_request(command: Command, pem: bytes, passphrase: bytes | None) -> str:
    """The token of a command, signed with a person's key. Raises ValueError for what is no such key."""
    key = keys.from_pem(pem, passphrase)
    headers = {"typ": TOKEN_TYPE, "kid": keys.key_id(keys.public_hex(key))}
    return jwt.encode(command.fields(), key, algorithm=ALGORITHM, headers=headers)


def _unverified(text: str) -> Mapping[str, Any]:
    """What the token says of itself, for the words of a refusal."""
    try:
        claims: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as exc:
        raise NotTaken(f"no signed command ({_short(exc)}); wanted a JSON Web Token, see the contract", {}) from exc
    return claims


def _signer(text: str, commanders: Mapping[str, CommanderTable], said: Mapping[str, Any]) -> tuple[str, CommanderTable]:
    header = jwt.get_unverified_header(text)
    if header.get("typ") != TOKEN_TYPE or header.get("alg") != ALGORITHM:
        raise NotTaken(
            f"its header says typ {header.get('typ')!r:.40}, alg {header.get('alg')!r:.40}; "
            f"wanted {TOKEN_TYPE!r}, {ALGORITHM!r}",
            said,
        )
    for name, commander in commanders.items():
        if keys.key_id(commander.public) == header.get("kid"):
            return name, commander
    known = ", ".join(commanders) or "nobody: trust.toml has no [commander.…]"
    raise NotTaken(f"signed with key {header.get('kid')!r:.40}, which may not command this box; who may: {known}", said)


def _verified(text: str, commander: CommanderTable, said: Mapping[str, Any]) -> dict[str, Any]:
    # Audience and times are checked below, in words of ours and by our clock.
    skipped = cast(Options, {f"verify_{claim}": False for claim in ("aud", "exp", "iat", "nbf", "sub", "jti", "iss")})
    try:
        claims: dict[str, Any] = jwt.decode(
            text, keys.public_key(commander.public), algorithms=[ALGORITHM], options=skipped
        )
    except (jwt.PyJWTError, ValueError, RecursionError) as exc:
        raise NotTaken(f"not signed as it should be: {_short(exc)}", said) from exc
    if "nbf" in claims or "crit" in claims:  # a condition that we would not keep
        raise NotTaken("it has a claim nbf or crit, which this agent does not keep", said)
    return claims


def _check_time(command: Command, now: Now, said: Mapping[str, Any]) -> str | None:
    if command.exp - command.iat > MAX_LIFE_S:
        raise NotTaken(f"it is good for {command.exp - command.iat} s; wanted at most {MAX_LIFE_S}", said)
    if now.is_over(command.exp * 1000):
        raise NotTaken("it has expired; sign it anew", said)
    if now.now_ms is None:
        return UNSET
    if command.iat > now.now_ms / 1000 + _DAY_S:
        raise NotTaken("it was signed more than a day from now: one of the two clocks is wrong", said)
    return None


def _short(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"[:200]


def _text(value: object) -> str | None:
    return value[:64] if isinstance(value, str) and value.isprintable() else None
