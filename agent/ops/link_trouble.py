"""What a failed connection to a broker means: from an error of the socket, of TLS or of MQTT to one finding."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import datetime

from agent.ops.certificates import SOON_DAYS, days_left
from agent.ops.findings import Finding, finding
from agent.uplink import Broker
from agent.uplink.link import NoAnswer, Refused

# X509_V_ERR_… of OpenSSL's x509_vfy.h; ssl gives the numbers without names.
_NOT_YET, _EXPIRED = 9, 10
_WRONG_NAME = (62, 63, 64)  # host, e-mail, address
# CONNACK and SUBACK of MQTT 5, OASIS 3.2.2.2 and 3.9.3.
_LOGIN_CODES = (0x86, 0x8A, 0x8C)  # bad user name or password, banned, bad authentication method
_NOT_AUTHORISED = 0x87


def in_connecting(exc: OSError, broker: Broker, now: datetime) -> Finding:
    """exc: of a connection as far as TLS. now: what the box's clock says, with its time zone."""
    name = str(broker)
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _certificate(exc, broker, now)
    if isinstance(exc, ssl.SSLError):
        kind = "broker-cert-of-ours" if _is_about_ours(exc) else "broker-tls"
        return finding(kind, name, why=exc.reason or exc)
    if isinstance(exc, socket.gaierror):
        return finding("broker-name", name, host=broker.host)
    if isinstance(exc, TimeoutError):
        return finding("broker-silent", name, host=broker.host, port=broker.port)
    if isinstance(exc, ConnectionRefusedError):
        return finding("broker-closed", name, host=broker.host, port=broker.port)
    if isinstance(exc, ConnectionError):
        return finding("broker-tls", name, why=exc.strerror or exc)
    return finding("broker-no-way", name, host=broker.host, why=exc.strerror or exc)


def in_logging_in(exc: Exception, broker: Broker, site: str, box: str) -> Finding:
    """exc: of MQTT over a connection that came about."""
    name, why = str(broker), str(exc).removeprefix(f"{broker}: ")
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
    """Of a broker's certificate that TLS took. With a clock that is not set, TLS does not look at the end of one."""
    days = days_left(der, now)
    if days < 0:
        yield finding("broker-cert-expired", str(broker), now=_short(now))
    elif days < SOON_DAYS:
        yield finding("broker-cert-soon", str(broker), days=days)


def _certificate(exc: ssl.SSLCertVerificationError, broker: Broker, now: datetime) -> Finding:
    if exc.verify_code == _EXPIRED:
        return finding("broker-cert-expired", str(broker), now=_short(now))
    if exc.verify_code == _NOT_YET:
        return finding("broker-cert-not-yet", str(broker), now=_short(now))
    if exc.verify_code in _WRONG_NAME:
        return finding("broker-cert-name", str(broker), host=broker.host, why=exc.verify_message)
    return finding("broker-cert-unknown", str(broker), why=exc.verify_message)


def _is_about_ours(exc: ssl.SSLError) -> bool:
    """An alert is what the other side says; these are about the certificate that we showed, or did not."""
    reason = exc.reason or ""
    return "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE", "ACCESS"))


def _short(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
