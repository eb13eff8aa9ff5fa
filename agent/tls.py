"""TLS as a client: whom we trust, who we are, and what a certificate's dates mean while the clock is not set.

A board without a battery believes that it is 1970 until a time server has answered, and in a city's closed network
none may ever. Every certificate is then "not valid yet", and the box could neither enrol nor report. An unset clock is
behind, not ahead: so while it is unset, and only then, a beginning that has not come is forgiven. An end that has
passed is not: it is held against the latest time that the box knows to be over.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.clock import machine_clock_is_set
from agent.errors import ConfigError
from agent.secret_file import warn_if_open

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL; ssl has no name for it
_WRITTEN_S = datetime(2026, 1, 1, tzinfo=UTC).timestamp()  # this program is not older


@dataclass(frozen=True, slots=True)
class IdentityFolder:
    """Where the box keeps who it is. `agent.identity` writes it; whoever makes connections reads `pair` and `ca`.

    pair: PEM, the private key and behind it the certificate with its intermediates: one file, so that one rename
    changes both. ca: PEM, the authorities trusted for the broker and for enrolment.
    """

    path: Path

    @property
    def pair(self) -> Path:
        return self.path / "box.pem"

    @property
    def ca(self) -> Path:
        return self.path / "ca.pem"

    def has(self, file: Path) -> bool:
        """Raises ConfigError for a user who may not look: to go on without would end in riddles."""
        try:
            return file.exists()
        except PermissionError as exc:
            raise ConfigError(
                f"{file}: this user may not look there; use the service's user (sudo -u gateway-agent …) or sudo"
            ) from exc


def client_context(
    ca: Path | str | None, *, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """TLS 1.2 or newer; the other side's certificate must name the host that was asked for.

    ca: file of the authorities to trust, or their PEM; None = the system's. certificate, key: ours; a file may hold
    both. Raises ConfigError naming the file that cannot be used.
    """
    for path in (ca, certificate, key):
        if isinstance(path, Path) and not path.is_file():
            raise ConfigError(f"{path}: no such file; it is needed for TLS")
    try:
        if isinstance(ca, str):
            context = ssl.create_default_context(cadata=ca)
        else:
            context = ssl.create_default_context(cafile=ca)
    except (ssl.SSLError, OSError) as exc:
        raise ConfigError(f"{ca}: not a PEM file of certificates: {exc}") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        try:
            warn_if_open(key or certificate)
            # Without a password to ask for: a terminal may be there, and a service has none.
            context.load_cert_chain(certificate, key, password=lambda: b"")
        except (ssl.SSLError, OSError) as exc:
            raise ConfigError(f"{certificate} with key {key or certificate}: {exc}; do they belong together?") from exc
    if not machine_clock_is_set():
        context.verify_flags |= _NO_CHECK_TIME
    return context


def why_over(sock: ssl.SSLSocket, certificate: Path | None = None) -> str | None:
    """What is wrong with the end of the other side's certificate, where the clock is not set; None if nothing is.

    With a clock that is set OpenSSL has looked. certificate: our own, which tells a time that is over.
    """
    if not sock.context.verify_flags & _NO_CHECK_TIME:
        return None
    peer = sock.getpeercert()
    end = str(peer["notAfter"]) if peer else ""
    known_s = known_to_be_over_s(certificate)
    if end and ssl.cert_time_to_seconds(end) >= known_s:
        return None
    return f"certificate has expired ({end or 'no date'}; this box knows of {datetime.fromtimestamp(known_s, UTC):%F})"


def known_to_be_over_s(certificate: Path | None) -> float:
    """Unix seconds that have passed for sure, whatever the clock says.

    certificate: PEM of our own: its authority had a clock when it signed.
    """
    known_s = max(time.time(), _WRITTEN_S)
    if certificate is not None:
        # Here and not above: a box whose clock is set has no use for it.
        from cryptography import x509

        try:
            ours = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
            known_s = max(known_s, ours.not_valid_before_utc.timestamp())
        except (OSError, ValueError, x509.InvalidVersion):
            pass  # missing or damaged: whoever uses it says so
    return known_s
