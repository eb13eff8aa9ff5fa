"""Keys, requests and certificates, as the box makes and judges them. No file, no clock, no network.

A box is called by its place and its own name, `SITE/BOX`, as the common name of its certificate: neither may hold a
'/', so no two boxes share a name, and a broker can put it into a topic as it is (`gw/v1/%u/…`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.contract.topics import check_id
from agent.errors import IdentityError

_LONGEST_NAME = 64  # ub-common-name of RFC 5280
_LONGEST_CHAIN = 6
_OWN_FROM, _OWN_UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2046, 1, 1, tzinfo=UTC)

# What cryptography says of certificates and keys beside ValueError; our readers say ValueError for all.
_UNREADABLE = (UnsupportedAlgorithm, x509.InvalidVersion)

Certificate = x509.Certificate
Key = ec.EllipticCurvePrivateKey
# What a person can do about it: each has its sentence in `agent.ops.words`.
Reason = Literal["unreachable", "untrusted", "refused", "wait", "unusable", "files", "broker", "by-hand"]


class Unusable(IdentityError):
    """reason: which advice fits."""

    def __init__(self, reason: Reason, words: str) -> None:
        super().__init__(words)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key with its certificate and what leads from there to an authority; certificates[0] is ours."""

    key: Key
    certificates: tuple[Certificate, ...]

    @property
    def certificate(self) -> Certificate:
        return self.certificates[0]

    def pem(self) -> bytes:
        return key_pem(self.key) + pem(self.certificates)


def box_name(site: str, box: str) -> str:
    """The common name. Raises ValueError for what no certificate can hold."""
    name = f"{check_id(site, 'site')}/{check_id(box, 'box')}"
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"{name!r} has {len(name)} characters; wanted site and id together no longer than 63")
    return name


def new_key() -> Key:
    """EC P-256: every broker and authority takes it, Ed25519 not yet."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_key(content: bytes) -> Key:
    """Raises ValueError."""
    try:
        key = serialization.load_pem_private_key(content, None)
    except (TypeError, UnsupportedAlgorithm) as exc:  # encrypted; of a kind unknown here
        raise ValueError(str(exc)) from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"found a key of kind {type(key).__name__}; wanted an EC key")
    return key


def read_pair(content: bytes) -> Pair:
    """Raises ValueError for what is not whole: no key, no certificate, or two that do not belong together."""
    key = read_key(content)
    pair = Pair(key, tuple(read_certificates(content)))
    if not belong_together(key, pair.certificate):
        raise ValueError("key and certificate do not belong together")
    return pair


def make_request(key: Key, name: str) -> x509.CertificateSigningRequest:
    """What an authority is asked to sign; that it is signed itself proves that we have the key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())


def self_signed_pem(name: str) -> bytes:
    """A key and a certificate of its own making, PEM: for the box's page as long as no authority has signed one.

    Whoever is to believe it compares the fingerprint. Its dates are the same on every box, so that one whose clock is
    not set can make it.
    """
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_LONGEST_NAME])])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(_OWN_FROM)
        .not_valid_after(_OWN_UNTIL)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key_pem(key) + pem([certificate])


def request_pem(request: x509.CertificateSigningRequest) -> bytes:
    return request.public_bytes(serialization.Encoding.PEM)


def belong_together(key: Key, certificate: Certificate) -> bool:
    try:
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):  # of a kind unknown here: another's
        return False
    return isinstance(public, ec.EllipticCurvePublicKey) and public == key.public_key()


def common_name(subject: x509.Name) -> str:
    """Empty if it has none, or several."""
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def pem(certificates: Sequence[Certificate]) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def read_certificates(content: bytes) -> list[Certificate]:
    """Of PEM. Raises ValueError if there is none in it."""
    try:
        return [_readable(one) for one in x509.load_pem_x509_certificates(content)]
    except _UNREADABLE as exc:
        raise ValueError(str(exc)) from exc


def read_pkcs7(content: bytes) -> list[Certificate]:
    """Of a certs-only PKCS#7 message in DER, as EST answers. Raises ValueError."""
    try:
        with warnings.catch_warnings():
            # OpenSSL, and who builds on it, leaves certificates in the order they came in; strictly that is BER.
            warnings.filterwarnings("ignore", "PKCS#7 certificates could not be parsed as DER", UserWarning)
            found = pkcs7.load_der_pkcs7_certificates(content)
    except _UNREADABLE as exc:
        raise ValueError(str(exc)) from exc
    if not found:
        raise ValueError("no certificate in it")
    return [_readable(one) for one in found]


def _readable(certificate: Certificate) -> Certificate:
    """Names and dates are read when they are asked for: asked here, so that nobody later has to expect ValueError."""
    _ = certificate.subject, certificate.issuer, certificate.serial_number
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate


def fingerprint(certificate: Certificate) -> str:
    """SHA-256 of the certificate, 64 hexadecimal digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def read_fingerprint(text: str) -> str:
    """As fingerprint() gives it, of what people and tools write: colons, blanks, capitals, "sha256:" before it.

    Raises ValueError.
    """
    plain = re.sub(r"^sha-?256[:=]", "", text.strip().lower())
    plain = re.sub(r"[:\s-]", "", plain)
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise ValueError(f"found {text.strip()[:80]!r}; wanted the SHA-256 of a certificate, 64 hexadecimal digits")
    return plain


def is_root(certificate: Certificate) -> bool:
    """An authority that signed itself."""
    return is_authority(certificate) and _signed(certificate, certificate)


def is_authority(certificate: Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):  # none; or none that can be read
        return False


def chain(leaf: Certificate, others: Sequence[Certificate], roots: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """The leaf and the intermediates up to one of the roots, which itself is left out: the other side has it.

    Dates are not looked at. Raises ValueError if no way leads there.
    """
    way = [leaf]
    while len(way) <= _LONGEST_CHAIN:
        if any(_signed(way[-1], root) for root in roots):
            return tuple(way)
        above = [other for other in others if is_authority(other) and other not in way and _signed(way[-1], other)]
        if not above:
            break
        way.append(above[0])
    wanted = ", ".join(common_name(root.subject) or root.subject.rfc4514_string() for root in roots) or "nobody"
    raise ValueError(f"signed by {way[-1].issuer.rfc4514_string()}, from which no way leads to {wanted}")


def _signed(certificate: Certificate, by: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def renewal_is_due(certificate: Certificate, now: datetime) -> bool:
    """Once a third of its life or less is left: a box that is off for a third of a year has not missed its day."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return end - now <= (end - begin) / 3


def days_left(certificate: Certificate, now: datetime) -> float:
    return (certificate.not_valid_after_utc - now) / timedelta(days=1)
