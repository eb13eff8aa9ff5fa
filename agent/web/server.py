"""The page's server: uvicorn in a thread of the agent's process, which the agent does not depend on.

A port that is taken, a certificate that cannot be read, a bug: each is one line in the log, and is tried again. The
thread gives no signs of life to the watchdog on purpose: a page that hangs is no reason to stop watching the gate.
Beyond the box itself it speaks TLS alone: with the box's certificate, or where it has none yet, with one of its own
that `gateway-agent web show` tells the fingerprint of.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.config import WebConfig
from agent.durable import write_private
from agent.identity.certificate import self_signed_pem
from agent.tls import IdentityFolder
from agent.web.listener import Listener
from agent.web.pages import make_app
from agent.web.site import Site

_log = logging.getLogger(__name__)

_AGAIN_S = 30.0
_STOP_S = 5.0
_SAY_SOMETHING_S = 10.0  # a connection without a whole request for so long is closed
_HEADER_BYTES = 16 * 1024
_RELOAD_S = 60.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """Which the page shows: the box's where it has one, else its own beside the password's file."""

    identity: IdentityFolder
    own: Path
    name: str

    def file(self) -> Path:
        """PEM with key and certificate, made if there is none. Raises OSError."""
        if self.identity.pair.exists():
            return self.identity.pair
        if not self.own.exists():
            self.own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self.own, self_signed_pem(self.name))
        return self.own


class _Protocol(H11Protocol):
    """uvicorn's, with an end for whoever connects and does not ask for anything."""

    _silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._unexpect()  # a request is being answered

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unexpect()
        is_idle = self.cycle is None or self.cycle.response_complete  # else the next request was there already
        if is_idle and not self.transport.is_closing():
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unexpect()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._silence = self.loop.call_later(_SAY_SOMETHING_S, self.transport.abort)

    def _unexpect(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None


class WebServer:
    """start() returns at once; stop() ends the thread, or leaves it behind if it hangs."""

    def __init__(self, site: Site, settings: WebConfig, certificate: Certificate) -> None:
        self._site = site
        self._settings = settings
        self._certificate = None if settings.is_local else certificate
        self._stopping = threading.Event()
        self._server: uvicorn.Server | None = None
        self._told: str | None = None
        self.port: int | None = None
        """At which it listens now."""
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        logging.getLogger("uvicorn").setLevel(logging.WARNING)  # that it starts is told by us
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._server is not None:
            self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)
            if self._thread.is_alive():
                _log.warning("page: still busy %g s after being told to stop; left behind", _STOP_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._serve()
            except (OSError, ssl.SSLError) as exc:
                self._complain(f"cannot be served: {exc}; trying again")
            except (Exception, SystemExit):  # by which uvicorn ends where it cannot start; the agent goes on
                _log.exception("page: bug in the server; starting it anew")
            self.port = None
            self._stopping.wait(_AGAIN_S)
        self._site.close()

    def _serve(self) -> None:
        listener = Listener(self._settings.listen, self._settings.port)
        try:
            tls = self._tls() if self._certificate else None
            config = uvicorn.Config(
                make_app(self._site),
                http=_Protocol,
                ws="none",
                loop="asyncio",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                h11_max_incomplete_event_size=_HEADER_BYTES,
                timeout_keep_alive=10,
                timeout_graceful_shutdown=1,
                ssl_context_factory=(lambda config, default: tls) if tls else None,
            )
            server = _Server(config, tls, self._certificate)
            self._server = server
            if self._stopping.is_set():
                return
            self.port = listener.port
            _log.info("page: %s://%s:%d", "https" if tls else "http", self._settings.listen, self.port)
            self._told = None
            server.run(sockets=[listener])
        finally:
            listener.close()

    def _tls(self) -> ssl.SSLContext:
        assert self._certificate is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._certificate.file(), password=lambda: b"")
        return context

    def _complain(self, words: str) -> None:
        if words != self._told:  # one line for an outage
            _log.error("page: %s", words)
        self._told = words


class _Server(uvicorn.Server):
    """It takes a certificate that was renewed without being told."""

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None, certificate: Certificate | None) -> None:
        super().__init__(config)
        self._context = tls
        self._certificate = certificate
        self._mark = self._look()
        self._looked_s = 0.0

    async def on_tick(self, counter: int) -> bool:
        now_s = asyncio.get_running_loop().time()
        if self._context is not None and now_s - self._looked_s >= _RELOAD_S:
            self._looked_s = now_s
            self._renew(self._context)
        return await super().on_tick(counter)

    def _renew(self, context: ssl.SSLContext) -> None:
        mark = self._look()
        if mark is None or mark == self._mark or self._certificate is None:
            return
        try:
            context.load_cert_chain(self._certificate.file(), password=lambda: b"")
        except (OSError, ssl.SSLError) as exc:
            _log.error("page: the new certificate cannot be used: %s; going on with the one before", exc)
        self._mark = mark

    def _look(self) -> tuple[Any, ...] | None:
        if self._certificate is None:
            return None
        try:
            file = self._certificate.file()
            stat = file.stat()
        except OSError:
            return None
        return file, stat.st_mtime_ns, stat.st_ino
