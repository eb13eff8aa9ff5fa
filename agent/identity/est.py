"""Enrolment over Secure Transport (RFC 7030), the box's side: who is the authority, sign this, sign this again.

Speaks to `provisioning/ca` and to a city's own authority alike. Not part of it: keys made by the server (ours never
leaves the box), attributes that a server may want in requests (/csrattrs), and the optional full CMC.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import re
import ssl
import time
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.errors import ConfigError
from agent.identity.certificate import Certificate, Unusable, read_pkcs7
from agent.tls import client_context, why_over

_LARGEST_ANSWER = 256 * 1024
_FOLDER = "/.well-known/est"
_MAX_WAIT_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Answer:
    """now: the authority's time, None if it does not say."""

    certificates: tuple[Certificate, ...]
    now: datetime | None


class EstServer:
    """url: https://HOST[:PORT][/LABEL]. Every call is one connection, and raises Unusable with what to do about it.

    Raises ValueError for another kind of address.
    """

    def __init__(self, url: str, *, timeout_s: float = 20.0) -> None:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        try:
            port = parts.port
        except ValueError as exc:
            raise ValueError(f"{url!r}: {exc}") from exc
        label = parts.path.strip("/")
        fits = parts.scheme == "https" and parts.hostname and not (parts.username or parts.query or parts.fragment)
        if not fits or not re.fullmatch(r"[A-Za-z0-9._-]*", label):
            raise ValueError(f"{url.rpartition('@')[2]!r}: wanted https://HOST, https://HOST:PORT or with one /LABEL")
        self._host = parts.hostname or ""
        self._port = port or 443
        self._folder = f"{_FOLDER}/{label}" if label else _FOLDER
        self._timeout_s = timeout_s
        self.url = f"https://{parts.netloc}" + (f"/{label}" if label else "")

    def authorities_unproven(self) -> tuple[Certificate, ...]:
        """/cacerts from whoever answers there: nobody before a person's fingerprint says so (RFC 7030, 4.1.1)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return self._ask("GET", "/cacerts", context).certificates

    def authorities(self, trusted: str, *, ours: Path | None = None) -> Answer:
        """trusted: PEM of whom to trust. ours: our key and certificate, to be known by."""
        return self._ask("GET", "/cacerts", _context(trusted, ours), ours=ours)

    def enrol(
        self, request: x509.CertificateSigningRequest, *, trusted: str, user: str, token: str
    ) -> tuple[Certificate, ...]:
        login = base64.b64encode(f"{user}:{token}".encode()).decode("ascii")
        headers = {"Authorization": f"Basic {login}"}
        return self._ask("POST", "/simpleenroll", _context(trusted, None), request, headers=headers).certificates

    def enrol_again(
        self, request: x509.CertificateSigningRequest, *, trusted: str, ours: Path
    ) -> tuple[Certificate, ...]:
        return self._ask("POST", "/simplereenroll", _context(trusted, ours), request, ours=ours).certificates

    def _ask(
        self,
        method: str,
        what: str,
        context: ssl.SSLContext,
        request: x509.CertificateSigningRequest | None = None,
        *,
        headers: dict[str, str] | None = None,
        ours: Path | None = None,
    ) -> Answer:
        deadline_s = time.monotonic() + self._timeout_s
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=context)
        try:
            connection.connect()
            over = why_over(connection.sock, ours) if context.verify_mode is ssl.CERT_REQUIRED else None
            if over is not None:
                raise Unusable("untrusted", f"{self.url}: its {over}")
            body = None
            sent = {"Accept": "application/pkcs7-mime", **(headers or {})}
            if request is not None:
                body = base64.b64encode(request.public_bytes(Encoding.DER))
                sent |= {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
            connection.request(method, self._folder + what, body, sent)
            response = connection.getresponse()
            content = _read(response, deadline_s)
            return self._understand(response, content)
        except ssl.SSLCertVerificationError as exc:
            raise Unusable("untrusted", f"{self.url}: its certificate is not accepted: {exc.verify_message}") from exc
        except (OSError, http.client.HTTPException, UnicodeError) as exc:
            raise Unusable("unreachable", f"{self.url}: {_words(exc)}") from exc
        finally:
            connection.close()

    def _understand(self, response: http.client.HTTPResponse, content: bytes) -> Answer:
        if response.status == http.client.ACCEPTED:
            seconds = _retry_after_s(response.headers.get("Retry-After"))
            raise Unusable("wait", f"{self.url}: it wants to look at the request first; ask again in {seconds} s")
        if response.status != http.client.OK:
            said = f"{self.url}: it answers {response.status} {_plain(response.reason)}: {_plain(_text(content))}"
            refused = response.status in (400, 401, 403)
            raise Unusable("refused" if refused else "unreachable", said.rstrip(": "))
        try:
            certificates = tuple(read_answer(content))
        except ValueError as exc:
            raise Unusable("unusable", f"{self.url}: its answer holds no certificates: {exc}") from exc
        return Answer(certificates, _date(response.headers.get("Date")))


def read_answer(content: bytes) -> list[Certificate]:
    """The body of an answer: PKCS#7 in DER in base64. Raises ValueError."""
    try:
        der = base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error as exc:
        raise ValueError(f"not base64: {exc}") from exc
    return read_pkcs7(der)


def _context(trusted: str, ours: Path | None) -> ssl.SSLContext:
    try:
        return client_context(trusted, certificate=ours)
    except ConfigError as exc:
        raise Unusable("files", str(exc)) from exc


def _read(response: http.client.HTTPResponse, deadline_s: float) -> bytes:
    """Bounded in size and, but for one silence as long as the timeout, in time."""
    content = b""
    while part := response.read1(16 * 1024):
        content += part
        if len(content) > _LARGEST_ANSWER:
            raise http.client.HTTPException(f"its answer is longer than {_LARGEST_ANSWER // 1024} kB")
        if time.monotonic() > deadline_s:
            raise TimeoutError
    if response.length:
        raise http.client.HTTPException("it closed the connection in the middle of its answer")
    return content


def _retry_after_s(text: str | None) -> int:
    if text is not None and re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return min(int(text), _MAX_WAIT_S)
    return 3600  # a date, by a clock that need not be ours; or nothing


def _date(text: str | None) -> datetime | None:
    try:
        when = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return when if when is None or when.tzinfo is not None else None


def _text(content: bytes) -> str:
    return content[:400].decode("utf-8", "replace")


def _plain(text: str) -> str:
    """What a stranger wrote, in one line that a terminal can be given."""
    return "".join(char if char.isprintable() else " " for char in text)[:200].strip()


def _words(exc: Exception) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer (timed out)"
    if isinstance(exc, ssl.SSLError):
        return f"TLS: {exc.reason or exc}"
    return str(exc) or type(exc).__name__
