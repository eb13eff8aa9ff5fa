"""Passwords of the page: kept as scrypt (RFC 7914) in one small file for each role, so that who reads it has none.

    scrypt$16384$8$1$<salt, hex>$<hash, hex>

The parameters stand in the file: a later release may make them dearer, and files from before still hold.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Literal

from agent.durable import write_private
from agent.errors import ConfigError
from agent.secret_file import warn_if_open

_log = logging.getLogger(__name__)

MIN_LENGTH = 10
_MAX_LENGTH = 128  # characters; more is no password but work for us
_LEAST_DIFFERENT = 5
_N, _R, _P = 16384, 8, 1  # 16 MB and 40 ms on a PC, some 200 ms on a small board: for a login now and then
_MOST_MEMORY = 64 << 20
_MOST_BYTES = 1024  # of a file
_SALT_BYTES, _HASH_BYTES = 16, 32
_WORDS = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is read for another on a small screen


class Role(IntEnum):
    """Who may do more has the greater number."""

    VIEWER = 1
    TECHNICIAN = 2


def password_files(folder: Path) -> dict[Role, Path]:
    """A role whose file is not there is nobody's."""
    return {role: folder / role.name.lower() for role in Role}


@dataclass(frozen=True, slots=True)
class PasswordHash:
    n: int
    r: int
    p: int
    salt: bytes
    hash: bytes

    @classmethod
    def of(cls, password: str) -> PasswordHash:
        salt = secrets.token_bytes(_SALT_BYTES)
        return cls(_N, _R, _P, salt, _scrypt(password, salt, _N, _R, _P))

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Raises ValueError, without a word of the text."""
        try:
            name, n, r, p, salt, digest = text.strip().split("$")
            found = cls(int(n), int(r), int(p), bytes.fromhex(salt), bytes.fromhex(digest))
        except ValueError:
            raise ValueError("not a line of the form scrypt$N$r$p$salt$hash") from None
        is_power_of_two = found.n > 1 and found.n & (found.n - 1) == 0
        fits = is_power_of_two and 1 <= found.r <= 32 and 1 <= found.p <= 16 and 128 * found.n * found.r <= _MOST_MEMORY
        if name != "scrypt" or not fits or len(found.salt) < 8 or len(found.hash) != _HASH_BYTES:
            raise ValueError("parameters of scrypt that cannot be used")
        return found

    def __str__(self) -> str:
        return f"scrypt${self.n}${self.r}${self.p}${self.salt.hex()}${self.hash.hex()}"

    def fits(self, password: str) -> bool:
        """In constant time once the hash is made, and always after the whole work of making it."""
        return hmac.compare_digest(_scrypt(password[:_MAX_LENGTH], self.salt, self.n, self.r, self.p), self.hash)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=2 * _MOST_MEMORY, dklen=_HASH_BYTES)


def why_weak(password: str) -> Literal["length", "plain"] | None:
    """None for a password that will do."""
    if not MIN_LENGTH <= len(password) <= _MAX_LENGTH or not password.isprintable():
        return "length"
    return "plain" if len(set(password.lower())) < _LEAST_DIFFERENT else None


def generate() -> str:
    """Three groups of five, 74 bits: "k7fmq-2hxwt-p9rbe"."""
    letters = "".join(secrets.choice(_WORDS) for _ in range(15))
    return "-".join(letters[n : n + 5] for n in range(0, 15, 5))


def write_password(path: Path, password: str) -> None:
    """0600, for the user who owns the folder. Raises ConfigError naming the file."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, f"{PasswordHash.of(password)}\n".encode())
    except OSError as exc:
        raise ConfigError(
            f"{path}: cannot write the password's file: {exc.strerror}; wanted sudo, or its user"
        ) from exc


class Passwords:
    """The files as they are now: a password that is changed is changed at once, and its sessions are over.

    Any number of threads may use it.
    """

    def __init__(self, files: Mapping[Role, Path]) -> None:
        self._files = dict(files)
        self._known: dict[Role, tuple[tuple[int, int, int], PasswordHash | None]] = {}

    def hash_of(self, role: Role) -> PasswordHash | None:
        """None: nobody can log in for this role, for want of a file or for one that cannot be used."""
        path = self._files.get(role)
        if path is None:
            return None
        try:
            stat = os.stat(path)
            mark = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            known = self._known.get(role)
            if known is None or known[0] != mark:
                known = self._known[role] = (mark, _read(path))
        except OSError:
            return None
        return known[1]

    def role_of(self, password: str) -> Role | None:
        """Every role's hash is made, whichever fits: the time tells nothing. Takes a while and some memory."""
        found = None
        for role in sorted(Role):
            known = self.hash_of(role)
            if known is not None and known.fits(password):
                found = role
        return found

    def is_set(self) -> bool:
        return any(self.hash_of(role) is not None for role in Role)


def _read(path: Path) -> PasswordHash | None:
    warn_if_open(path)
    try:
        with path.open("rb") as file:
            return PasswordHash.parse(file.read(_MOST_BYTES).decode("ascii", "replace"))
    except ValueError as exc:
        _log.error("%s: %s; nobody can log in with it; make it anew: sudo gateway-agent web password", path, exc)
        return None
