"""Who is logged in: kept in memory alone, so that a restart ends all sessions and no file can be stolen."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass

from agent.clock import Clock
from agent.web.password import PasswordHash, Passwords, Role

IDLE_S, LONGEST_S = 30 * 60.0, 12 * 3600.0  # an open picture is no idleness; a day's work ends
_MOST = 64
_BYTES = 32


@dataclass(slots=True, eq=False)
class Session:
    """csrf: what a form of this session carries. credential: the password's hash it was opened with."""

    role: Role
    name: str
    csrf: str
    credential: PasswordHash
    opened_s: float
    used_s: float

    @property
    def by(self) -> str:
        """As the audit log has it."""
        return f"{self.name} ({self.role.name.lower()})"

    def takes(self, csrf: str) -> bool:
        return hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "replace"))


class Sessions:
    """Any number of threads may use it. Bounded: of too many, the one that was idle longest ends."""

    def __init__(self, passwords: Passwords, clock: Clock) -> None:
        self._passwords = passwords
        self._clock = clock
        self._lock = threading.Lock()
        self._by_key: dict[bytes, Session] = {}

    def open(self, role: Role, name: str) -> tuple[str, Session] | None:
        """The token for the cookie, and the session; None if the password was taken away meanwhile."""
        credential = self._passwords.hash_of(role)
        if credential is None:
            return None
        token, now_s = secrets.token_urlsafe(_BYTES), self._clock.mono_s()
        session = Session(role, name, secrets.token_urlsafe(_BYTES), credential, now_s, now_s)
        with self._lock:
            self._forget_old(now_s)
            while len(self._by_key) >= _MOST:
                del self._by_key[min(self._by_key, key=lambda key: self._by_key[key].used_s)]
            self._by_key[_key(token)] = session
        return token, session

    def find(self, token: str) -> Session | None:
        """The session that is open under a token, which counts as used now."""
        key, now_s = _key(token), self._clock.mono_s()
        with self._lock:
            session = self._by_key.get(key)
            if session is None:
                return None
            if _is_over(session, now_s) or self._passwords.hash_of(session.role) != session.credential:
                del self._by_key[key]
                return None
            session.used_s = now_s
            return session

    def close(self, token: str) -> None:
        with self._lock:
            self._by_key.pop(_key(token), None)

    def __len__(self) -> int:
        with self._lock:
            self._forget_old(self._clock.mono_s())
            return len(self._by_key)

    def _forget_old(self, now_s: float) -> None:
        self._by_key = {key: one for key, one in self._by_key.items() if not _is_over(one, now_s)}


def _is_over(session: Session, now_s: float) -> bool:
    return now_s - session.used_s > IDLE_S or now_s - session.opened_s > LONGEST_S


def _key(token: str) -> bytes:
    """Looked up by its hash: how long a search takes tells nothing of a token that is there."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
