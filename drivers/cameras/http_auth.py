"""Answers to an HTTP server that wants a login: Digest (RFC 7616) where it is offered, else Basic (RFC 7617).

Ours, because the standard library's reads the first offer only and knows no SHA-256, which newer cameras put first.
Pure: text in, text out. Digest never sends the password; Basic does, so over plain http only to cameras that know
nothing better.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b64encode
from dataclasses import dataclass

from drivers.cameras.credentials import Credentials

_LONGEST_HEADER = 4096
# The start of a parameter (name = value, quoted or not), or the name of the next scheme.
_PART = re.compile(
    r'[\s,]*(?:([A-Za-z0-9_.-]{1,40})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))|([A-Za-z][A-Za-z0-9_-]{0,40}))'
)
_HASHES = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}  # best first


@dataclass(frozen=True, slots=True)
class Challenge:
    """One offer of a WWW-Authenticate header. scheme and the names of parameters are in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """The offers in one header, as far as it can be read; nothing in it is an error."""
    found: list[Challenge] = []
    at = 0
    header = header[:_LONGEST_HEADER]
    while match := _PART.match(header, at):
        at = match.end()
        name, quoted, bare, scheme = match.groups()
        if scheme is not None:
            found.append(Challenge(scheme.lower(), {}))
        elif found:
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
            found[-1].parameters.setdefault(name.lower(), value)
    return found


class Authenticator:
    """Remembers what a server asked for, so that later requests bring the login at once."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials
        self._digest: Challenge | None = None
        self._basic = False
        self._count = 0

    def learn(self, headers: list[str]) -> bool:
        """headers: every WWW-Authenticate of a 401. False if nothing in them can be answered."""
        offers = [challenge for header in headers for challenge in parse_challenges(header)]
        digests = [c for c in offers if c.scheme == "digest" and _hash_of(c) and "nonce" in c.parameters and _qop(c)]
        best = list(_HASHES)
        self._digest = min(digests, key=lambda c: best.index(_algorithm(c)), default=None)
        self._basic = self._digest is None and any(c.scheme == "basic" for c in offers)
        self._count = 0
        return self._credentials is not None and (self._digest is not None or self._basic)

    def header(self, method: str, target: str, *, cnonce: str | None = None) -> str | None:
        """The Authorization header for one request; None before the server has asked, and without a login.

        target: as in the request line. cnonce: for tests.
        """
        if self._credentials is None or (self._digest is None and not self._basic):
            return None
        user, password = self._credentials.user, self._credentials.password
        if self._digest is None:
            return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
        self._count += 1
        return _digest_header(self._digest, user, password, method, target, self._count, cnonce or secrets.token_hex(8))


def _digest_header(
    challenge: Challenge, user: str, password: str, method: str, target: str, count: int, cnonce: str
) -> str:
    parameters = challenge.parameters
    make = _HASHES[_algorithm(challenge)]

    def hashed(*parts: str) -> str:
        return make(":".join(parts).encode()).hexdigest()

    realm, nonce = parameters.get("realm", ""), parameters["nonce"]
    nc = f"{count:08x}"
    ha1 = hashed(user, realm, password)
    if parameters.get("algorithm", "").upper().endswith("-SESS"):
        ha1 = hashed(ha1, nonce, cnonce)
    ha2 = hashed(method, target)
    pairs = {"username": user, "realm": realm, "nonce": nonce, "uri": target}
    bare = {}
    if "qop" in parameters:
        pairs["response"] = hashed(ha1, nonce, nc, cnonce, "auth", ha2)
        pairs["cnonce"] = cnonce
        bare = {"qop": "auth", "nc": nc}
    else:  # RFC 2069: old cameras
        pairs["response"] = hashed(ha1, nonce, ha2)
    if "opaque" in parameters:
        pairs["opaque"] = parameters["opaque"]
    if "algorithm" in parameters:
        bare["algorithm"] = parameters["algorithm"]
    escaped = (f'{name}="{_escaped(value)}"' for name, value in pairs.items())
    return "Digest " + ", ".join([*escaped, *(f"{name}={_token(value)}" for name, value in bare.items())])


def _algorithm(challenge: Challenge) -> str:
    """ "MD5" or "SHA-256", without -sess; what else a server may name, as it named it."""
    return challenge.parameters.get("algorithm", "MD5").upper().removesuffix("-SESS")


def _hash_of(challenge: Challenge) -> bool:
    return _algorithm(challenge) in _HASHES


def _qop(challenge: Challenge) -> bool:
    offered = challenge.parameters.get("qop")
    return offered is None or "auth" in [one.strip().lower() for one in offered.split(",")]


def _escaped(value: str) -> str:
    return _printable(value).replace("\\", "\\\\").replace('"', '\\"')


def _token(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "", value)


def _printable(value: str) -> str:
    """Without line ends and the like: what a server sent comes back in our header."""
    return "".join(c for c in value if c.isprintable())
