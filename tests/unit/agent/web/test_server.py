"""The server in its thread, over real sockets on loopback: what goes wrong with it is no matter of the agent's."""

import http.client
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent.config import WebConfig
from agent.identity.certificate import self_signed_pem
from agent.tls import IdentityFolder
from agent.web import listener as listener_module
from agent.web import server as server_module
from agent.web.listener import Listener
from agent.web.server import Certificate, WebServer
from tests.support.command import eventually
from tests.support.web import Page

SOON_S = 10.0


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    page = Page(tmp_path)
    yield page
    page.close()


@pytest.fixture
def serve(page: Page, tmp_path: Path) -> Iterator[Callable[..., WebServer]]:
    started: list[WebServer] = []

    def start(port: int | None = None, *, tls: bool = False) -> WebServer:
        # Port 0 is none that can be configured: here it is any free one.
        settings = WebConfig.model_construct(**{**page.site.box.settings.model_dump(), "port": port or 0})
        server = WebServer(
            page.site, settings, Certificate(IdentityFolder(tmp_path / "id"), tmp_path / "own.pem", "gw-01")
        )
        if tls:
            server._certificate = Certificate(IdentityFolder(tmp_path / "id"), tmp_path / "own.pem", "gw-01")
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()
        assert not server._thread.is_alive()


def port_of(server: WebServer) -> int:
    assert eventually(lambda: server._server is not None and server._server.started, SOON_S)
    assert server.port is not None
    return server.port


def status(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/login")
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_it_answers_and_ends(serve: Callable[..., WebServer]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(serve()), timeout=SOON_S)
    assert [status(connection), status(connection)] == [200, 200]
    connection.close()


def test_a_port_that_is_taken_is_one_line_in_the_log_and_tried_again(
    serve: Callable[..., WebServer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "_AGAIN_S", 0.01)
    with socket.socket() as taken, caplog.at_level(logging.ERROR):
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = serve(taken.getsockname()[1])
        assert eventually(lambda: "page: cannot be served" in caplog.text, SOON_S)
    assert port_of(server)
    assert caplog.text.count("page: cannot be served") == 1


def test_a_bug_in_the_page_does_not_end_the_thread(
    serve: Callable[..., WebServer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "_AGAIN_S", 0.01)
    make_app, failures = server_module.make_app, [1, 2]

    def breaks_twice(site: object) -> object:
        if failures.pop() if failures else False:
            raise SystemExit(3)
        return make_app(site)  # type: ignore[arg-type]

    monkeypatch.setattr(server_module, "make_app", breaks_twice)
    assert port_of(serve())
    assert "page: bug in the server; starting it anew" in caplog.text


def test_whoever_connects_and_says_nothing_or_half_is_sent_away(
    serve: Callable[..., WebServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_SAY_SOMETHING_S", 0.1)
    port = port_of(serve())
    for said in (b"", b"GET /login HTTP/1.1\r\nhost: ", b"\x16\x03\x01"):
        with socket.create_connection(("127.0.0.1", port), timeout=SOON_S) as connection:
            connection.sendall(said)
            with suppress(ConnectionResetError):  # aborted, or closed while something was unread
                while connection.recv(4096):
                    pass


def test_too_long_a_header_is_refused(serve: Callable[..., WebServer]) -> None:
    with socket.create_connection(("127.0.0.1", port_of(serve())), timeout=SOON_S) as connection:
        connection.sendall(b"GET /login HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 40_000)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")


def test_two_lengths_of_one_body_are_refused(serve: Callable[..., WebServer]) -> None:
    """Or what a proxy takes for one request would be two for us."""
    for lengths in (b"content-length: 1\r\ncontent-length: 2", b"content-length: 1\r\ntransfer-encoding: chunked"):
        with socket.create_connection(("127.0.0.1", port_of(serve())), timeout=SOON_S) as connection:
            connection.sendall(b"POST /login HTTP/1.1\r\nhost: localhost\r\n" + lengths + b"\r\n\r\nx")
            head = connection.recv(4096)
            assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))  # the latter: read as chunked, and no origin


def test_beyond_the_box_it_speaks_tls_with_a_certificate_of_its_own_until_it_has_the_boxs(
    serve: Callable[..., WebServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_RELOAD_S", 0.0)
    port = port_of(serve(tls=True))
    assert (tmp_path / "own.pem").stat().st_mode & 0o777 == 0o600
    own = ssl.get_server_certificate(("127.0.0.1", port))
    assert own in (tmp_path / "own.pem").read_text()
    (tmp_path / "id").mkdir()
    (tmp_path / "id" / "box.pem").write_bytes(self_signed_pem("cua-bac/gw-01"))
    box = (tmp_path / "id" / "box.pem").read_text()
    assert eventually(lambda: ssl.get_server_certificate(("127.0.0.1", port)) in box, SOON_S)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=SOON_S, context=context)
    assert status(connection) == 200
    connection.close()


def test_plain_http_to_tls_gets_nothing(serve: Callable[..., WebServer]) -> None:
    port = port_of(serve(tls=True))
    with socket.create_connection(("127.0.0.1", port), timeout=SOON_S) as connection:
        connection.sendall(b"GET /login HTTP/1.1\r\nhost: localhost\r\n\r\n")
        with suppress(ConnectionResetError):
            assert not connection.recv(4096).startswith(b"HTTP")


# ---- the listener ----------------------------------------------------------------------------------------------------


def test_the_listener_takes_so_many_connections_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "MOST_OF_ONE", 2)
    with Listener("127.0.0.1", 0) as listener:
        callers = [socket.create_connection(("127.0.0.1", listener.port), timeout=SOON_S) for _ in range(3)]
        taken = [listener.accept()[0] for _ in range(2)]
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert callers[2].recv(1) == b""  # closed, and not left waiting
        taken[0].close()
        taken[0].close()  # twice counts once
        with socket.create_connection(("127.0.0.1", listener.port), timeout=SOON_S):
            listener.accept()[0].close()
        for one in (*callers, *taken):
            one.close()
        assert listener._open.total() == 0


def test_of_all_addresses_together_it_takes_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "MOST", 1)
    with Listener("127.0.0.1", 0) as listener:
        first = socket.create_connection(("127.0.0.1", listener.port), timeout=SOON_S, source_address=("127.0.0.2", 0))
        second = socket.create_connection(("127.0.0.1", listener.port), timeout=SOON_S)
        taken, address = listener.accept()
        assert address[0] == "127.0.0.2"
        with pytest.raises(BlockingIOError):
            listener.accept()
        for one in (first, second, taken):
            one.close()


def test_an_address_that_is_not_the_boxs_is_an_error() -> None:
    with pytest.raises(OSError, match="assign"):
        Listener("192.0.2.1", 0)
