"""The authority itself: a root that is used once in ten years, and an issuing one that signs every day.

    FOLDER/
      root.key      encrypted with a passphrase; may be taken off this machine, nothing below needs it
      root.crt      what boxes and brokers trust
      issuing.key   0600: `serve` has to start without a person
      issuing.crt
      ca.pem        root.crt once more, by the name that boxes know
      crl.pem       for brokers: what is revoked, signed by both
      ca.db         SQLite, 0600: every certificate, every token (hashed)

Everything that must not happen twice, above all the use of a token, is one transaction in ca.db.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.contract.topics import check_id
from agent.durable import write_private, write_whole
from agent.identity.certificate import Key, Pair, box_name, common_name, key_pem, new_key, pem, read_key

Use = Literal["box", "client", "server"]
Reason = Literal["key_compromise", "superseded", "cessation_of_operation", "unspecified"]
REASONS: tuple[Reason, ...] = get_args(Reason)

_ROOT_DAYS, _ISSUING_DAYS = 20 * 365, 10 * 365
# A box that is off for a third of this still renews in time; one that is stolen is revoked, not waited for.
BOX_DAYS = 365
SERVER_DAYS = 825
# A broker takes nobody in with a list that is over: long enough for whoever must copy it.
CRL_DAYS = 90
# Clocks differ: a certificate counts from a little before it was made.
_BACKDATED = timedelta(hours=1)
_TOKEN_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # what can be read off a card: no 0, 1, I, O
_TOKEN_GROUPS = 4  # of four letters, five bits each: 80 bits

_SCHEMA = """
create table certificate (
  serial      text primary key,       -- hexadecimal
  use         text not null check (use in ('box', 'client', 'server')),
  name        text not null,          -- common name: SITE/BOX, client:NAME, or the first host name
  key         text not null,          -- SHA-256 of the public key
  from_s      integer not null,       -- Unix seconds
  until_s     integer not null,
  der         blob not null,
  revoked_s   integer,                -- null: it is not
  reason      text check ((reason is null) = (revoked_s is null))
);
create index certificate_name on certificate (name);
create table token (
  hash        text primary key,       -- SHA-256; the token itself is told once, when it is made
  name        text not null,          -- SITE/BOX, the only name it is good for
  until_s     integer not null,
  used_s      integer,                -- null: not yet
  key         text                    -- SHA-256 of the public key that used it, which may have its answer again
              check ((key is null) = (used_s is null))
);
create table crl (number integer not null);
insert into crl values (0);
"""


class CaError(Exception):
    """What cannot be done, in words for whoever asked."""


class Refused(CaError):
    """A box asked for what it may not have."""


@dataclass(frozen=True, slots=True)
class Issued:
    serial: str
    use: Use
    name: str
    begin: datetime
    until: datetime
    revoked: datetime | None
    reason: str | None

    renewed: bool  # a later one of the same name and use is there

    def state(self, now: datetime) -> str:
        if self.revoked is not None:
            return f"revoked ({self.reason})"
        if self.until <= now:
            return "expired"
        if self.renewed:
            return "valid, renewed"
        # Boxes renew by themselves at this time: one that stays so cannot reach us.
        return "valid, renewal is due" if self.until - now <= (self.until - self.begin) / 3 else "valid"


def create(folder: Path, name: str, passphrase: bytes, *, now: datetime) -> Authority:
    """A new authority in an empty folder. name: how certificates call it, such as the city's."""
    if folder.exists() and any(folder.iterdir()):
        raise CaError(f"{folder}: not empty; wanted a new folder: an authority is made once")
    if len(passphrase) < 12:
        raise CaError(f"the passphrase has {len(passphrase)} characters; wanted 12 or more")
    if not 1 <= len(name) <= 50:
        raise CaError(f"the name has {len(name)} characters; wanted 1 to 50")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    root_key, issuing_key = new_key(), new_key()
    root_name = _name(f"{name} root")
    issuing_name = _name(f"{name} issuing")
    root = _sign_authority(root_name, root_key, root_name, root_key, 1, now, _ROOT_DAYS)
    issuing = _sign_authority(issuing_name, issuing_key, root_name, root_key, 0, now, _ISSUING_DAYS)
    # Nothing but the issuing one is ever below the root, and the list of what the root revoked is empty: valid until
    # then, so that the root's key can stay in a safe.
    empty = _crl(root, root_key, [], 1, now, issuing.not_valid_after_utc)
    encrypted = root_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase),
    )
    write_private(folder / "root.key", encrypted)
    write_whole(folder / "root.crl", empty.public_bytes(serialization.Encoding.PEM))
    write_whole(folder / "root.crt", pem([root]))
    write_whole(folder / "ca.pem", pem([root]))
    write_private(folder / "issuing.key", key_pem(issuing_key))
    write_whole(folder / "issuing.crt", pem([issuing]))
    write_private(folder / "ca.db", b"")
    with closing(sqlite3.connect(folder / "ca.db")) as db:
        db.executescript(_SCHEMA)
    authority = Authority(folder)
    authority.write_crl(now=now)
    return authority


class Authority:
    """An authority that was made before. Any number of threads and processes may use it. Raises CaError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.root = x509.load_pem_x509_certificate((folder / "root.crt").read_bytes())
            self.issuing = x509.load_pem_x509_certificate((folder / "issuing.crt").read_bytes())
            self._key = read_key((folder / "issuing.key").read_bytes())
        except OSError as exc:
            raise CaError(
                f"{exc.filename}: {exc.strerror}; wanted the folder of an authority, as `init` makes it"
            ) from exc
        except ValueError as exc:
            raise CaError(f"{folder}: root.crt, issuing.crt or issuing.key is damaged: {exc}") from exc

    # ---- tokens ----------------------------------------------------------------------------------------------------

    def new_token(self, name: str, *, hours: float, now: datetime) -> str:
        """For one enrolment of the box of that name, told here and never again. Earlier ones of that name are over."""
        check_box_name(name)
        letters = "".join(secrets.choice(_TOKEN_LETTERS) for _ in range(4 * _TOKEN_GROUPS))
        token = "-".join(letters[n : n + 4] for n in range(0, len(letters), 4))
        until_s = int((now + timedelta(hours=hours)).timestamp())
        with self._change() as db:
            db.execute("delete from token where name = ? and used_s is null", (name,))
            db.execute("insert into token (hash, name, until_s) values (?, ?, ?)", (_hash(token), name, until_s))
        return token

    # ---- certificates ----------------------------------------------------------------------------------------------

    def enrol(self, csr: x509.CertificateSigningRequest, token: str, *, now: datetime) -> x509.Certificate:
        """The certificate of a box that shows a token. The same key gets the same answer again: the first may have
        been lost on its way. What the box of this name had before is revoked. Raises Refused."""
        key, name = _checked(csr)
        with self._change() as db:
            row = db.execute("select name, until_s, key from token where hash = ?", (_hash(token),)).fetchone()
            if row is None or row[0] != name:
                raise Refused("this token is not known, or not for this box")
            if row[1] < now.timestamp():
                raise Refused(f"this token ended on {datetime.fromtimestamp(row[1], UTC):%F %H:%M} UTC")
            used_by = row[2]
            if used_by is not None and used_by != key:
                raise Refused("this token has been used")
            if used_by is not None:
                again = db.execute(
                    "select der from certificate where name = ? and key = ? and revoked_s is null and until_s > ?",
                    (name, key, int(now.timestamp())),
                ).fetchone()
                if again is None:
                    raise Refused("this token has been used, and what was given for it is revoked")
                return x509.load_der_x509_certificate(again[0])
            self._revoke(db, "name = ? and use = 'box'", (name,), "superseded", now)
            db.execute("update token set used_s = ?, key = ? where hash = ?", (int(now.timestamp()), key, _hash(token)))
            certificate = self._issue(db, "box", name, csr.public_key(), [], BOX_DAYS, now)
        self.write_crl(now=now)
        return certificate

    def enrol_again(
        self, csr: x509.CertificateSigningRequest, shown: x509.Certificate, *, now: datetime
    ) -> x509.Certificate:
        """The next certificate of a box that shows its present one, which TLS has verified. Raises Refused."""
        _, name = _checked(csr)
        with self._change() as db:
            row = db.execute(
                "select name, use, revoked_s from certificate where serial = ?", (f"{shown.serial_number:x}",)
            ).fetchone()
            if row is None:
                raise Refused("the certificate shown is not one of this authority's")
            if row[2] is not None:
                raise Refused("the certificate shown was revoked")
            if row[1] != "box" or row[0] != name or csr.subject != shown.subject:
                raise Refused(f"the certificate shown is for {row[0]!r}, the request for {name!r}")
            return self._issue(db, "box", name, csr.public_key(), [], BOX_DAYS, now)

    def sign(self, csr: x509.CertificateSigningRequest, name: str, *, now: datetime) -> x509.Certificate:
        """The certificate for a request that a person brought. name: whose it is, by that person's word."""
        check_box_name(name)
        _, asked = _checked(csr)
        if asked != name:
            raise CaError(f"the request is for {asked!r}; wanted {name!r}")
        with self._change() as db:
            return self._issue(db, "box", name, csr.public_key(), [], BOX_DAYS, now)

    def server(self, names: Sequence[str], *, now: datetime, days: int = SERVER_DAYS) -> Pair:
        """Key and certificate of a broker or another server, for host names and addresses."""
        key = new_key()
        with self._change() as db:
            certificate = self._issue(
                db, "server", names[0], key.public_key(), [_general_name(name) for name in names], days, now
            )
        return Pair(key, (certificate, self.issuing))

    def client(self, name: str, *, now: datetime, days: int = SERVER_DAYS) -> Pair:
        """Key and certificate of a program at the centre. Its common name, client:NAME, cannot be taken for a box's or
        a site's: neither may have a ':'."""
        try:
            check_id(name, "name")
        except ValueError as exc:
            raise CaError(str(exc)) from exc
        key = new_key()
        with self._change() as db:
            certificate = self._issue(db, "client", f"client:{name}", key.public_key(), [], days, now)
        return Pair(key, (certificate, self.issuing))

    def revoke(self, name_or_serial: str, reason: Reason, *, now: datetime) -> list[str]:
        """The serial numbers that are revoked by this; crl.pem is new. Open tokens of the name are over, too."""
        with self._change() as db:
            serials = self._revoke(
                db, "(name = ? or serial = ?)", (name_or_serial, name_or_serial.lower()), reason, now
            )
            tokens = db.execute("delete from token where name = ? and used_s is null", (name_or_serial,)).rowcount
        if not serials and not tokens:
            raise CaError(f"{name_or_serial!r}: no certificate that is valid goes by this name or serial number")
        self.write_crl(now=now)
        return serials

    def issued(self) -> list[Issued]:
        with self._change() as db:
            rows = db.execute(
                "select serial, use, name, from_s, until_s, revoked_s, reason from certificate order by name, from_s"
            ).fetchall()
            latest = dict(
                db.execute(
                    "select use || name, max(from_s) from certificate where revoked_s is null group by use, name"
                )
            )
        return [
            Issued(
                serial,
                use,
                name,
                _time(from_s),
                _time(until_s),
                None if revoked is None else _time(revoked),
                reason,
                from_s < latest.get(use + name, from_s),
            )
            for serial, use, name, from_s, until_s, revoked, reason in rows
        ]

    def write_crl(self, *, now: datetime) -> Path:
        """crl.pem anew: a list that is over is worse than none, so whoever serves it also refreshes it."""
        with self._change() as db:
            db.execute("update crl set number = number + 1")
            (number,) = db.execute("select number from crl").fetchone()
            rows = db.execute(
                "select serial, revoked_s, reason from certificate where revoked_s is not null and until_s > ?",
                (int(now.timestamp()),),
            ).fetchall()
            revoked = [_entry(serial, revoked_s, reason) for serial, revoked_s, reason in rows]
            crl = _crl(self.issuing, self._key, revoked, number, now, now + timedelta(days=CRL_DAYS))
            path = self.folder / "crl.pem"
            # Inside the transaction: of two at once the later list is also the later file.
            write_whole(path, crl.public_bytes(serialization.Encoding.PEM) + (self.folder / "root.crl").read_bytes())
        return path

    # ---- below -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, alone; undone by an exception."""
        with closing(sqlite3.connect(self.folder / "ca.db", isolation_level=None, timeout=30)) as db:
            db.execute("pragma synchronous = full")
            db.execute("begin immediate")
            try:
                yield db
            except BaseException:
                db.execute("rollback")
                raise
            db.execute("commit")

    def _issue(
        self,
        db: sqlite3.Connection,
        use: Use,
        name: str,
        public: object,
        names: list[x509.GeneralName],
        days: int,
        now: datetime,
    ) -> x509.Certificate:
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise Refused(f"found a key of kind {type(public).__name__}; wanted EC P-256")
        until = min(now + timedelta(days=days), self.issuing.not_valid_after_utc)
        if until <= now:
            raise CaError(f"the issuing authority ended on {self.issuing.not_valid_after_utc:%F}; make a new authority")
        usage = ExtendedKeyUsageOID.SERVER_AUTH if use == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(_name(name), public, self.issuing.subject, now, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            # One or the other: a box cannot play broker, and what a broker is stolen of opens no box's topics.
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(_issuer_id(self.issuing), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        db.execute(
            "insert into certificate (serial, use, name, key, from_s, until_s, der) values (?, ?, ?, ?, ?, ?, ?)",
            (
                f"{certificate.serial_number:x}",
                use,
                name,
                _key_hash(public),
                int(certificate.not_valid_before_utc.timestamp()),
                int(certificate.not_valid_after_utc.timestamp()),
                certificate.public_bytes(serialization.Encoding.DER),
            ),
        )
        return certificate

    @staticmethod
    def _revoke(
        db: sqlite3.Connection, which: str, values: tuple[str, ...], reason: Reason, now: datetime
    ) -> list[str]:
        now_s = int(now.timestamp())
        rows = db.execute(
            f"update certificate set revoked_s = ?, reason = ? where {which} and revoked_s is null and until_s > ? "
            "returning serial",
            (now_s, reason, *values, now_s),
        ).fetchall()
        return [serial for (serial,) in rows]


def check_box_name(name: str) -> None:
    """SITE/BOX. Raises CaError."""
    site, _, box = name.partition("/")
    try:
        box_name(site, box)
    except ValueError as exc:
        raise CaError(f"{exc}; wanted SITE/BOX") from exc


def read_request(der: bytes) -> x509.CertificateSigningRequest:
    """A request that proves its key and asks for nothing but a box's name. Raises Refused."""
    try:
        csr = x509.load_der_x509_csr(der)
        public, subject, is_signed = csr.public_key(), csr.subject, csr.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as exc:
        raise Refused(f"wanted a request for a certificate (PKCS#10): {exc}") from exc
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise Refused(f"found a key of kind {type(public).__name__}; wanted EC P-256")
    if not is_signed:
        raise Refused("the request is not signed by the key in it")
    if len(subject) != 1 or not common_name(subject):
        raise Refused(f"found the subject {subject.rfc4514_string()!r}; wanted one common name, SITE/BOX")
    try:
        check_box_name(common_name(subject))
    except CaError as exc:
        raise Refused(str(exc)) from exc
    return csr


def _checked(csr: x509.CertificateSigningRequest) -> tuple[str, str]:
    """The key's hash and the name. Raises Refused."""
    csr = read_request(csr.public_bytes(serialization.Encoding.DER))
    public = csr.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return _key_hash(public), common_name(csr.subject)


def _hash(token: str) -> str:
    """As typed from a card: case, blanks and hyphens do not count."""
    return hashlib.sha256(re.sub(r"[\s-]", "", token).upper().encode()).hexdigest()


def _key_hash(public: ec.EllipticCurvePublicKey) -> str:
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*", text):
        raise CaError(f"{text!r}: wanted the host name or the address by which boxes reach it")
    return x509.DNSName(text)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, public: ec.EllipticCurvePublicKey, issuer: x509.Name, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(until)
    )


def _issuer_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _sign_authority(
    subject: x509.Name, key: Key, issuer: x509.Name, issuer_key: Key, below: int, now: datetime, days: int
) -> x509.Certificate:
    public = key.public_key()
    return (
        _builder(subject, public, issuer, now, now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _crl(
    issuer: x509.Certificate,
    key: Key,
    revoked: Sequence[x509.RevokedCertificate],
    number: int,
    now: datetime,
    until: datetime,
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - _BACKDATED)
        .next_update(until)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_issuer_id(issuer), critical=False)
    )
    for one in revoked:
        builder = builder.add_revoked_certificate(one)
    return builder.sign(key, hashes.SHA256())


def _entry(serial: str, revoked_s: int, reason: Reason) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(_time(revoked_s))
    if reason != "unspecified":  # which RFC 5280 wants left out
        builder = builder.add_extension(x509.CRLReason(x509.ReasonFlags[reason]), critical=False)
    return builder.build()
