"""Is our certificate taken? A TLS handshake with a broker and not a word of MQTT.

A broker that binds names to certificates lets one connection in per name: saying CONNECT would throw the running
service out.
"""

from __future__ import annotations

import socket
import ssl
import time

from agent.errors import UplinkDown
from agent.tls import why_over
from agent.uplink.settings import Broker, Tls

# With TLS 1.3 a refusal comes after the handshake, one way through the network later: as long as that took, and more.
_LEAST_WAIT_S = 1.0


class CertificateRefused(UplinkDown):
    """The broker does not take our certificate, or wants one."""


def knock(broker: Broker, tls: Tls, *, timeout_s: float = 10.0) -> bytes | None:
    """Returns the broker's certificate, DER, if it took ours. Raises CertificateRefused, another UplinkDown for a
    broker that cannot be reached or is not to be trusted (its cause is the socket's error, if it was one), ConfigError
    for files that cannot be used."""
    context = tls.context()
    began_s = time.monotonic()
    try:
        with socket.create_connection((broker.host, broker.port), timeout=timeout_s) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=broker.host) as sock:
                    over = why_over(sock, tls.own())
                    if over is not None:
                        raise UplinkDown(f"{broker}: {not_accepted(over)}")
                    sock.settimeout(max(_LEAST_WAIT_S, 2 * (time.monotonic() - began_s)))
                    try:
                        hung_up = sock.recv(1) == b""
                    except TimeoutError:
                        return sock.getpeercert(binary_form=True)  # it waits for us to speak
            except ssl.SSLCertVerificationError as exc:
                raise UplinkDown(f"{broker}: {not_accepted(exc.verify_message)}") from exc
            except ssl.SSLError as exc:
                raise CertificateRefused(f"{broker}: {_refusal(exc)}") from exc
    except OSError as exc:
        words = "no answer (timed out)" if isinstance(exc, TimeoutError) else str(exc)
        raise UplinkDown(f"{broker}: {words}") from exc
    if hung_up:
        raise UplinkDown(f"{broker}: closed the connection")
    return None  # it spoke before it was spoken to: no MQTT, as will be seen


def not_accepted(why: str) -> str:
    return f"TLS: the broker's certificate was not accepted: {why}"


# OpenSSL's reasons for what the other side said about our certificate.
_REFUSALS = {
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "this box's certificate was revoked; it needs a new one from the authority",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "this box's certificate has expired; it needs a new one from the authority",
    "TLSV1_ALERT_UNKNOWN_CA": "the broker does not know the authority of this box's certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the broker does not accept this box's certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the broker does not accept this box's certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the broker does not accept this box's kind of certificate",
    "TLSV1_ALERT_DECRYPT_ERROR": "the broker does not accept this box's certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "the broker does not accept this box's certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the broker wants a certificate of this box, which has none yet",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "no agreement with the broker; it may want a certificate of this box",
}


def _refusal(exc: ssl.SSLError) -> str:
    """What an alert of the broker's means, in words; the library's for any other."""
    words = _REFUSALS.get(exc.reason or "")
    return f"TLS: {words} ({exc.reason})" if words else f"TLS: {exc.reason or exc}"
