"""One HTTP request to a camera, with a login if it asks, and a bound on everything: time, bytes, redirections (none).

Nothing is followed to another address: a camera's answer must not send the login elsewhere. Certificates of https are
checked as everywhere; a camera that signs its own is refused.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from urllib.parse import urlsplit

from drivers.cameras.credentials import Credentials
from drivers.cameras.http_auth import Authenticator
from drivers.cameras.refusals import status_words

_CHUNK_BYTES = 65536


class HttpFailed(Exception):
    """No usable answer. refused: it answered and said no, so waiting does not mend it. status: 0 without an answer."""

    def __init__(self, words: str, *, refused: bool = False, status: int = 0) -> None:
        super().__init__(words)
        self.words = words
        self.refused = refused
        self.status = status


class HttpCamera:
    """Requests to one address. Not for several threads."""

    def __init__(self, url: str, credentials: Credentials | None, *, timeout_s: float) -> None:
        """url: http or https, without a login. timeout_s: for connecting, for a request, and for each read after."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._is_tls = parts.scheme.lower() == "https"
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._has_login = credentials is not None
        self._authenticator = Authenticator(credentials)
        self._timeout_s = timeout_s

    @contextmanager
    def answer(
        self,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        accepted: Container[int] = (200,),
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer with an accepted status, its body still to be read. Raises HttpFailed for every other end.

        What is raised inside the with-block by reading the body comes out as HttpFailed too.
        """
        with ExitStack() as stack, _in_our_words():
            response = self._ask(stack, method, body, headers)
            if response.status == 401 and self._authenticator.learn(response.headers.get_all("WWW-Authenticate") or []):
                stack.close()
                response = self._ask(stack, method, body, headers)
            if response.status not in accepted:
                refused, words = status_words(response.status, has_login=self._has_login)
                raise HttpFailed(words, refused=refused, status=response.status)
            yield response

    def whole_body(self, response: http.client.HTTPResponse, *, max_bytes: int) -> bytes:
        """The body, if it comes within timeout_s and is no longer than max_bytes; call it inside `answer`."""
        deadline_s = time.monotonic() + self._timeout_s
        found = bytearray()
        while chunk := response.read1(_CHUNK_BYTES):
            found += chunk
            if len(found) > max_bytes:
                raise HttpFailed(f"its answer is longer than the {max_bytes} bytes that are accepted", refused=True)
            if time.monotonic() > deadline_s:
                raise HttpFailed(f"its answer took longer than {self._timeout_s:g} s")
        return bytes(found)

    def _ask(
        self, stack: ExitStack, method: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> http.client.HTTPResponse:
        """The answer to one request, on a connection of its own that the stack closes."""
        make = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = stack.enter_context(closing(make(self._host, self._port, timeout=self._timeout_s)))
        connection.connect()
        all_headers = {"Connection": "close", "User-Agent": "gateway-agent", **(headers or {})}
        authorization = self._authenticator.header(method, self._target)
        if authorization is not None:
            all_headers["Authorization"] = authorization
        # A server that sends its headers one byte every few seconds never meets the socket's own timeout.
        is_late = threading.Event()
        cut_off = threading.Timer(self._timeout_s, _cut, [connection.sock, is_late])
        cut_off.daemon = True
        cut_off.start()
        try:
            connection.request(method, self._target, body, all_headers)
            return stack.enter_context(closing(connection.getresponse()))
        except (OSError, http.client.HTTPException) as exc:
            if is_late.is_set():
                raise TimeoutError from exc
            raise
        finally:
            cut_off.cancel()
            cut_off.join()


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Whatever the network and http.client raise, as HttpFailed."""
    try:
        yield
    except TimeoutError as exc:
        raise HttpFailed("no answer; is the camera on, and is the address right?") from exc
    except ssl.SSLCertVerificationError as exc:
        words = f"its certificate is not accepted: {exc.verify_message}; give it one of an authority, or use http"
        raise HttpFailed(words, refused=True) from exc
    except socket.gaierror as exc:
        raise HttpFailed("the name is not known; write the camera's IP address, or check the DNS server") from exc
    except OSError as exc:
        raise HttpFailed(f"{(exc.strerror or str(exc)).lower()}; is the camera on, is the port right?") from exc
    except (http.client.HTTPException, ValueError) as exc:  # ValueError: for lengths that are no numbers
        raise HttpFailed(f"what answers there does not speak HTTP ({type(exc).__name__})") from exc


def content_type(response: http.client.HTTPResponse) -> str:
    """As the server wrote it, in lower case but for parameters' values; "" if it says nothing."""
    return (response.getheader("Content-Type") or "").strip()


def _cut(sock: socket.socket, is_late: threading.Event) -> None:
    is_late.set()
    with suppress(OSError):  # it has ended by itself
        sock.shutdown(socket.SHUT_RDWR)
