"""The box's identity on its disk: asked for, certified, renewed. A power cut at any point leaves one that works.

    identity/
      box.pem        the key, the certificate, its intermediates: one file, so one rename changes both
      ca.pem         the authorities trusted for the broker and for enrolment
      server         address of the authority's EST server; absent where certificates are brought by hand
      pending.key    of a request that has not been answered
      next/          box.pem and ca.pem of a renewal that no broker has accepted yet

A key is on the disk before anybody is asked to certify it: if the answer is lost on its way, the same request is sent
again, and an authority that has spent the token on this key answers again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path

from cryptography import x509

from agent.clock import machine_clock_is_set
from agent.durable import sync_folder, write_private, write_whole
from agent.identity.certificate import (
    Certificate,
    Key,
    Pair,
    Unusable,
    belong_together,
    chain,
    common_name,
    fingerprint,
    is_root,
    key_pem,
    make_request,
    new_key,
    pem,
    read_certificates,
    read_key,
    read_pair,
    renewal_is_due,
)
from agent.identity.est import EstServer
from agent.tls import IdentityFolder, known_to_be_over_s


class Verdict(Enum):
    ACCEPTED = auto()
    REFUSED = auto()  # for the certificate
    AWAY = auto()


# Broker → what it says to the pair in a folder, and in which words.
Judge = Callable[[IdentityFolder], Mapping[str, tuple[Verdict, str]]]


class Outcome(Enum):
    NOT_ENROLLED = auto()
    NOT_DUE = auto()
    RENEWED = auto()


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe at the first contact: their PEM, or the fingerprint of a root; neither = the ca.pem there is."""

    ca: bytes | None = None
    fingerprint: str | None = None


class Identity:
    """name: SITE/BOX. Every method but those that read raises Unusable, and takes turns with other processes."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = IdentityFolder(folder)
        self.name = name
        self._next = IdentityFolder(folder / "next")
        self._pending = folder / "pending.key"
        self._server = folder / "server"

    def pair(self) -> Pair | None:
        """None: not enrolled. Raises Unusable if the file is damaged or may not be read."""
        return _read_pair(self.folder.pair)

    def server(self) -> str | None:
        return self._server.read_text(encoding="utf-8").strip() if self._server.exists() else None

    def request(self) -> x509.CertificateSigningRequest:
        """For an authority that is reached by hand. The same key, until a certificate for it has come."""
        with self._alone():
            return make_request(self._pending_key(), self.name)

    def enrol(self, server: EstServer, *, user: str, token: str, trust: Trust) -> Certificate:
        """The first certificate, or a new one, for a one-time token. Without one that works, what there was stays."""
        with self._alone():
            trusted = self._first_trust(server, trust)
            answer = server.authorities(trusted)
            roots = [one for one in answer.certificates if is_root(one)] or read_certificates(trusted.encode())
            key = self._pending_key()
            certified = server.enrol(make_request(key, self.name), trusted=trusted, user=user, token=token)
            pair = self._accept(key, certified, answer.certificates, roots, _now(answer.now))
            self._forget_next()
            write_whole(self.folder.ca, pem(roots))
            write_whole(self._server, f"{server.url}\n".encode())
            write_private(self.folder.pair, pair.pem())
            self._forget_pending()
            return pair.certificate

    def take(self, certificates: bytes, trust: Trust) -> Certificate:
        """A certificate that was brought by hand, PEM, for the request made last."""
        with self._alone():
            if not self._pending.exists():
                raise Unusable("unusable", "no request is open; make one first: gateway-agent identity request")
            trusted = trust.ca or _bytes(self.folder.ca)
            if trusted is None:
                raise Unusable("untrusted", "the authority's own certificate is wanted beside the box's: --ca FILE")
            try:
                brought, authorities = read_certificates(certificates), read_certificates(trusted)
            except ValueError as exc:
                raise Unusable("unusable", f"not PEM certificates: {exc}") from exc
            roots = [one for one in authorities if is_root(one)]
            if trust.fingerprint is not None and trust.fingerprint not in [fingerprint(one) for one in roots]:
                raise Unusable("untrusted", _no_such_root(trust.fingerprint, roots))
            pair = self._accept(self._pending_key(), brought, authorities, roots, _now(None))
            self._forget_next()
            write_whole(self.folder.ca, pem(roots))
            self._server.unlink(missing_ok=True)
            write_private(self.folder.pair, pair.pem())
            self._forget_pending()
            return pair.certificate

    def renew(self, judge: Judge) -> Outcome:
        """A new key and certificate, once a third of the old one's life is left; safe to call at any time.

        The new pair takes the old one's place when no broker that takes the old one refuses it.
        """
        with self._alone():
            ours = self.pair()
            if ours is None:
                return Outcome.NOT_ENROLLED
            url = self.server()
            now = datetime.now(UTC)
            if not machine_clock_is_set() and url is not None:
                # 1970 would never be the day to renew; who signed has a clock.
                now = _now(EstServer(url).authorities(self._trusted(), ours=self.folder.pair).now)
            if not renewal_is_due(ours.certificate, now):
                return Outcome.NOT_DUE
            if not self._next_fits(now):
                if url is None:
                    raise Unusable(
                        "by-hand",
                        f"the certificate is valid until {ours.certificate.not_valid_after_utc:%F} and was brought by "
                        "hand; bring the next one so, too",
                    )
                self._ask_for_next(EstServer(url), now)
            self._prove_next(judge, still_valid=ours.certificate.not_valid_after_utc > now)
            self._switch()
            return Outcome.RENEWED

    # ---- at the first contact --------------------------------------------------------------------------------------

    def _first_trust(self, server: EstServer, trust: Trust) -> str:
        """PEM of whom to trust from here on."""
        given = trust.ca
        if given is None and trust.fingerprint is None:
            given = _bytes(self.folder.ca)
        if given is not None:
            try:
                found = read_certificates(given)
            except ValueError as exc:
                raise Unusable("untrusted", f"the authority's file holds no PEM certificate: {exc}") from exc
            if trust.fingerprint is not None and trust.fingerprint not in [fingerprint(one) for one in found]:
                raise Unusable("untrusted", _no_such_root(trust.fingerprint, found))
            return pem(found).decode("ascii")
        if trust.fingerprint is None:
            raise Unusable(
                "untrusted", "wanted the authority's certificate (--ca FILE) or its fingerprint (--fingerprint)"
            )
        offered = server.authorities_unproven()
        for one in offered:
            if is_root(one) and fingerprint(one) == trust.fingerprint:
                return pem([one]).decode("ascii")
        raise Unusable("untrusted", f"{server.url}: {_no_such_root(trust.fingerprint, offered)}")

    def _accept(
        self,
        key: Key,
        certified: Sequence[Certificate],
        authorities: Sequence[Certificate],
        roots: Sequence[Certificate],
        now: datetime,
    ) -> Pair:
        """What an authority answered, if it is what was asked for."""
        ours = [one for one in certified if belong_together(key, one)]
        if not ours:
            raise Unusable("unusable", "the certificate is for another key than this box's; was it made for it?")
        named = common_name(ours[0].subject)
        if named != self.name:
            raise Unusable("unusable", f"the certificate is for {named!r}; wanted {self.name!r}, as in [box]")
        if ours[0].not_valid_after_utc <= now:
            raise Unusable("unusable", f"the certificate has ended on {ours[0].not_valid_after_utc:%F}")
        try:
            return Pair(key, chain(ours[0], [*certified, *authorities], roots))
        except ValueError as exc:
            raise Unusable("untrusted", f"the certificate: {exc}") from exc

    def _pending_key(self) -> Key:
        content = _bytes(self._pending)
        if content is not None:
            try:
                return read_key(content)
            except ValueError:
                pass  # damaged: nobody has certified it, a new one costs nothing
        key = new_key()
        with _told(self._pending):
            write_private(self._pending, key_pem(key))
        return key

    # ---- renewal ---------------------------------------------------------------------------------------------------

    def _next_fits(self, now: datetime) -> bool:
        """A renewal from before is there, whole and young enough to go on with."""
        try:
            pair = _read_pair(self._next.pair)
        except Unusable:
            return False
        return pair is not None and self._next.ca.exists() and not renewal_is_due(pair.certificate, now)

    def _ask_for_next(self, server: EstServer, now: datetime) -> None:
        self._forget_next()
        trusted = self._trusted()
        answer = server.authorities(trusted, ours=self.folder.pair)
        roots = [one for one in answer.certificates if is_root(one)] or read_certificates(trusted.encode())
        key = new_key()
        certified = server.enrol_again(make_request(key, self.name), trusted=trusted, ours=self.folder.pair)
        pair = self._accept(key, certified, answer.certificates, roots, now)
        with _told(self._next.path):
            _make_folder(self._next.path)
            write_whole(self._next.ca, pem(roots))
            write_private(self._next.pair, pair.pem())

    def _prove_next(self, judge: Judge, *, still_valid: bool) -> None:
        new = judge(self._next)
        refused = {broker: words for broker, (verdict, words) in new.items() if verdict is Verdict.REFUSED}
        if refused and still_valid:
            old = judge(self.folder)
            for broker, words in refused.items():
                if old[broker][0] is Verdict.ACCEPTED:
                    raise Unusable("broker", f"{broker} takes the old certificate and not the new one: {words}")
        if new and still_valid and all(verdict is Verdict.AWAY for verdict, _ in new.values()):
            raise Unusable("broker", "; ".join(f"{broker}: {words}" for broker, (_, words) in new.items()))

    def _switch(self) -> None:
        # The authorities first: those that vouch for the new pair's broker were there when it was tried.
        with _told(self.folder.path):
            os.replace(self._next.ca, self.folder.ca)
            sync_folder(self.folder.path)
            os.replace(self._next.pair, self.folder.pair)
            sync_folder(self.folder.path)
        self._forget_next()

    def _forget_next(self) -> None:
        with _told(self._next.path):
            if self._next.path.is_dir():
                for file in self._next.path.iterdir():
                    file.unlink()
                self._next.path.rmdir()

    def _forget_pending(self) -> None:
        with _told(self._pending):
            self._pending.unlink(missing_ok=True)

    def _trusted(self) -> str:
        content = _bytes(self.folder.ca)
        if content is None:
            raise Unusable("files", f"{self.folder.ca}: no such file; enrol anew")
        try:
            return pem(read_certificates(content)).decode("ascii")
        except ValueError as exc:
            raise Unusable("files", f"{self.folder.ca}: damaged: {exc}; enrol anew") from exc

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time: the timer and a technician may come together. Files that fail are told as Unusable."""
        with _told(self.folder.path):
            _make_folder(self.folder.path)
            fd = os.open(self.folder.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                words = f"{self.folder.path}: another `gateway-agent identity` is at work; wait for it"
                raise Unusable("files", words) from exc
            with _told(self.folder.path):
                yield
        finally:
            os.close(fd)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        where = exc.filename or path
        raise Unusable("files", f"{where}: {exc.strerror}; run as the service's user or with sudo") from exc


def _make_folder(path: Path) -> None:
    """For the owner alone. Made by root it belongs to whom the folder around it belongs to: the service."""
    if path.is_dir():
        return
    path.mkdir(mode=0o700, parents=True)
    if os.geteuid() == 0:
        around = path.parent.stat()
        os.chown(path, around.st_uid, around.st_gid)
    sync_folder(path.parent)


def _bytes(path: Path) -> bytes | None:
    with _told(path):
        return path.read_bytes() if path.exists() else None


def _read_pair(path: Path) -> Pair | None:
    content = _bytes(path)
    if content is None:
        return None
    try:
        return read_pair(content)
    except ValueError as exc:
        raise Unusable("files", f"{path}: damaged: {exc}; enrol anew") from exc


def _now(theirs: datetime | None) -> datetime:
    """The authority's time where ours is not set."""
    if machine_clock_is_set():
        return datetime.now(UTC)
    return max(theirs or datetime.min.replace(tzinfo=UTC), datetime.fromtimestamp(known_to_be_over_s(None), UTC))


def _no_such_root(wanted: str, found: Sequence[Certificate]) -> str:
    listed = ", ".join(fingerprint(one) for one in found if is_root(one)) or "no root"
    return f"found {listed}; wanted the root with the fingerprint {wanted}"
