"""The authority on the network: an EST server (RFC 7030) on HTTPS, and the revocation list.

    GET  /.well-known/est/cacerts         whom to trust
    POST /.well-known/est/simpleenroll    HTTP Basic, user SITE/BOX (not looked at), password = the token
    POST /.well-known/est/simplereenroll  with the certificate that is to be renewed
    GET  /.well-known/est/csrattrs        204: we ask for nothing
    GET  /crl.pem                         for brokers

Its own certificate it makes itself and keeps in memory alone. What is asked and refused goes to the log, tokens do not.
"""

from __future__ import annotations

import base64
import binascii
import http.server
import logging
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from agent.durable import write_private
from agent.identity.certificate import pem, renewal_is_due
from provisioning.ca.authority import Authority, CaError, Refused, read_request

_log = logging.getLogger(__name__)

_EST = "/.well-known/est"
_LARGEST_REQUEST = 64 * 1024
_SILENCE_S = 20.0
_AT_ONCE = 32  # connections; further ones wait
_OWN_DAYS = 90
_REFRESH_S = 24 * 3600.0
_PKCS7 = "application/pkcs7-mime"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class EstService(http.server.ThreadingHTTPServer):
    """names: how boxes reach it. serve_forever() until shutdown(). Raises CaError if it cannot listen."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        authority: Authority,
        address: tuple[str, int],
        names: Sequence[str],
        *,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.authority = authority
        self.now = now
        self._names = names
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        self._refreshed_s = time.monotonic()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.verify_mode = ssl.CERT_OPTIONAL  # who enrols has none yet
        self.context.load_verify_locations(cadata=pem([authority.root, authority.issuing]).decode("ascii"))
        self._certify_itself()
        authority.write_crl(now=now())
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            super().__init__(address, _Handler)
        except OSError as exc:
            raise CaError(f"cannot listen on {address[0]} port {address[1]}: {exc.strerror}") from exc

    def _certify_itself(self) -> None:
        pair = self.authority.server(self._names, now=self.now(), days=_OWN_DAYS)
        self._own = pair.certificate
        with tempfile.TemporaryDirectory(dir=self.authority.folder) as folder:  # ssl reads files only
            file = Path(folder) / "own.pem"
            write_private(file, pair.pem())
            self.context.load_cert_chain(file)

    def service_actions(self) -> None:
        """Between requests: a day later the revocation list is made anew, and our own certificate if it is time."""
        if time.monotonic() - self._refreshed_s >= _REFRESH_S:
            self._refreshed_s = time.monotonic()
            if renewal_is_due(self._own, self.now()):
                self._certify_itself()
            self.authority.write_crl(now=self.now())

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        self._room.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """The handshake happens here and not in accept(): a client that stalls in it holds up nobody else."""
        plain = cast("socket.socket", request)
        try:
            plain.settimeout(_SILENCE_S)
            try:
                sock = self.context.wrap_socket(plain, server_side=True)
            except OSError as exc:
                _log.info("%s: no TLS: %s", _who(client_address), exc)
                self.shutdown_request(plain)
                return
            super().process_request_thread(sock, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        _log.exception("%s: an error that should not happen", _who(client_address))


class _Handler(http.server.BaseHTTPRequestHandler):
    server: EstService
    timeout = _SILENCE_S
    server_version, sys_version = "gateway-ca", ""
    protocol_version = "HTTP/1.1"  # strongSwan's client knows no other

    def handle(self) -> None:
        try:
            super().handle()
        except OSError as exc:  # went away in the middle
            _log.info("%s: %s", _who(self.client_address), exc)

    def do_GET(self) -> None:
        authority = self.server.authority
        if self.path == f"{_EST}/cacerts":
            self._certificates([authority.issuing, authority.root], _PKCS7)
        elif self.path == f"{_EST}/csrattrs":
            self._say(HTTPStatus.NO_CONTENT, b"")
        elif self.path == "/crl.pem":
            content = (authority.folder / "crl.pem").read_bytes()
            self._say(HTTPStatus.OK, content, "application/x-pem-file")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"nothing here; this is an EST server, {_EST}/cacerts")

    def do_POST(self) -> None:
        if self.path not in (f"{_EST}/simpleenroll", f"{_EST}/simplereenroll"):
            self._refuse(HTTPStatus.NOT_FOUND, f"nothing here; this is an EST server, {_EST}/simpleenroll")
            return
        csr = self._request()
        if csr is None:
            return
        try:
            if self.path.endswith("/simpleenroll"):
                token = self._token()
                if token is None:
                    self._refuse(HTTPStatus.UNAUTHORIZED, "a token is needed, as the password")
                    return
                certificate = self.server.authority.enrol(csr, token, now=self.server.now())
            else:
                shown = cast("ssl.SSLSocket", self.connection).getpeercert(binary_form=True)
                if shown is None:
                    self._refuse(HTTPStatus.UNAUTHORIZED, "the certificate that is to be renewed has to be shown")
                    return
                certificate = self.server.authority.enrol_again(
                    csr, x509.load_der_x509_certificate(shown), now=self.server.now()
                )
        except Refused as exc:
            self._refuse(HTTPStatus.FORBIDDEN, str(exc))
            return
        except CaError as exc:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(exc))
            return
        subject, until = certificate.subject.rfc4514_string(), certificate.not_valid_after_utc
        _log.info("%s: %s until %s, serial %x", self._what(), subject, f"{until:%F}", certificate.serial_number)
        self._certificates([certificate], f"{_PKCS7}; smime-type=certs-only")

    def _request(self) -> x509.CertificateSigningRequest | None:
        """What is asked to be signed; None if that was refused."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdecimal() or not 0 < int(length[:9]) <= _LARGEST_REQUEST:
            self._refuse(HTTPStatus.BAD_REQUEST, f"wanted a Content-Length of 1 to {_LARGEST_REQUEST}")
            return None
        try:
            content = b"".join(self.rfile.read(int(length)).split())
            return read_request(base64.b64decode(content, validate=True))
        except (binascii.Error, Refused) as exc:
            self._refuse(HTTPStatus.BAD_REQUEST, str(exc))
            return None

    def _token(self) -> str | None:
        kind, _, login = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        try:
            _, colon, token = base64.b64decode(login.strip(), validate=True).decode().partition(":")
        except ValueError:
            return None
        return token if colon and token else None

    def _certificates(self, certificates: list[x509.Certificate], kind: str) -> None:
        der = pkcs7.serialize_certificates(certificates, Encoding.DER)
        # In one line, which RFC 8951 allows: strongSwan's client takes a line's end for a part of it.
        self._say(HTTPStatus.OK, base64.b64encode(der), kind, {"Content-Transfer-Encoding": "base64"})

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        _log.warning("%s: refused: %s", self._what(), words)
        more = {"WWW-Authenticate": 'Basic realm="enrolment"'} if status == HTTPStatus.UNAUTHORIZED else {}
        self._say(status, f"{words}\n".encode(), "text/plain; charset=utf-8", more)

    def _say(
        self, status: HTTPStatus, content: bytes, kind: str | None = None, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Connection", "close")  # one connection, one answer
        if kind is not None:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _what(self) -> str:
        return f"{_who(self.client_address)} {self.path.removeprefix(_EST)[:60]!r}"

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The time by which certificates are made: a box whose clock is not set goes by it."""
        return super().date_time_string(int(self.server.now().timestamp() if timestamp is None else timestamp))

    def log_message(self, format: str, *args: object) -> None:
        _log.debug("%s: %s", _who(self.client_address), format % args)


def _who(client_address: object) -> str:
    return str(client_address[0]) if isinstance(client_address, tuple) else str(client_address)
