"""What a failed connection to a broker means: from an error of the socket, of TLS or of MQTT to one finding."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from agent.errors import UplinkDown
from agent.ops.certificates import SOON_DAYS, days_left
from agent.ops.findings import Finding, finding
from agent.uplink import Broker
from agent.uplink.knock import CertificateRefused
from agent.uplink.link import NoAnswer, Refused

Unreached = Literal["name", "no-way", "silent", "closed"]
"""Why an address cannot be connected to: its name is not known, no way leads there, no answer, nothing listens."""

# X509_V_ERR_… of OpenSSL's x509_vfy.h; ssl gives the numbers without names.
_NOT_YET, _EXPIRED = 9, 10
_WRONG_NAME = (62, 63, 64)  # host, e-mail, address
# CONNACK and SUBACK of MQTT 5, OASIS 3.2.2.2 and 3.9.3.
_LOGIN_CODES = (0x86, 0x8A, 0x8C)  # bad user name or password, banned, bad authentication method
_NOT_AUTHORISED = 0x87


def why_unreached(exc: OSError) -> tuple[Unreached, str]:
    """And in the kernel's words."""
    words = exc.strerror or str(exc)
    if isinstance(exc, socket.gaierror):
        return "name", words
    if isinstance(exc, TimeoutError):
        return "silent", words
    return ("closed" if isinstance(exc, ConnectionError) else "no-way"), words


def in_knocking(exc: UplinkDown, broker: Broker, now: datetime) -> Finding:
    """exc: of `agent.uplink.knock`. now: what the box's clock says, with its time zone."""
    name, why, cause = str(broker), _tail(exc, broker), exc.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _certificate(cause, broker, now)
    if isinstance(exc, CertificateRefused):
        is_about_ours = "ALERT" in (getattr(cause, "reason", None) or "")  # the other side says it
        return finding("broker-cert-of-ours" if is_about_ours else "broker-tls", name, why=why)
    if isinstance(cause, ConnectionError) and not isinstance(cause, ConnectionRefusedError):
        return finding("broker-tls", name, why=why)
    if isinstance(cause, OSError):
        return in_reaching(broker, *why_unreached(cause))
    # While the clock is not set, TLS leaves the end of a certificate to us, and there is no error of its own.
    if "has expired" in why:
        return finding("broker-cert-expired", name, now=_short(now))
    return finding("broker-tls", name, why=why)


def in_reaching(broker: Broker, kind: Unreached, why: str) -> Finding:
    return finding(f"broker-{kind}", str(broker), host=broker.host, port=broker.port, why=why)


def in_logging_in(exc: Exception, broker: Broker, site: str, box: str) -> Finding:
    """exc: of MQTT over a connection that came about."""
    name, why = str(broker), _tail(exc, broker)
    if isinstance(exc, Refused) and exc.code in _LOGIN_CODES:
        return finding("broker-login", name, why=why)
    if isinstance(exc, Refused) and exc.code == _NOT_AUTHORISED:
        # Some say so for a wrong password too: the words of the answer show at which step it was.
        kind = "broker-not-authorised" if "subscription" in why else "broker-login"
        return finding(kind, name, why=why, site=site, box=box)
    if (isinstance(exc, NoAnswer) and broker.tls is None) or "CONNECT" in why or "not MQTT" in why:
        return finding("broker-no-mqtt", name, host=broker.host, port=broker.port, why=why)
    return finding("broker-other", name, why=why)


def in_delivering(error: str, broker: Broker, site: str, box: str) -> Finding:
    """error: what the running service's link says while it is connected."""
    if "not authorised" in error or "refused the subscription" in error:
        return finding("broker-not-authorised", str(broker), why=error, site=site, box=box)
    return finding("broker-other", str(broker), why=error)


def in_certificate(der: bytes, broker: Broker, now: datetime) -> Iterator[Finding]:
    """Of a broker's certificate that TLS took."""
    days = days_left(der, now)
    if days < SOON_DAYS:
        yield finding("broker-cert-soon", str(broker), days=days)


def _certificate(exc: ssl.SSLCertVerificationError, broker: Broker, now: datetime) -> Finding:
    if exc.verify_code == _EXPIRED:
        return finding("broker-cert-expired", str(broker), now=_short(now))
    if exc.verify_code == _NOT_YET:
        return finding("broker-cert-not-yet", str(broker), now=_short(now))
    if exc.verify_code in _WRONG_NAME:
        return finding("broker-cert-name", str(broker), host=broker.host, why=exc.verify_message)
    return finding("broker-cert-unknown", str(broker), why=exc.verify_message)


def _tail(exc: Exception, broker: Broker) -> str:
    return str(exc).removeprefix(f"{broker}: ")


def _short(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
