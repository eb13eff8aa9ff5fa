"""What every request passes before a page sees it, and every answer after: names, origins, sizes, headers.

An address in numbers cannot be taken over by a name that changes what it points to (DNS rebinding), so those are
always let in; of names only those that the box has. A change is asked for by a page of this very origin, or refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 256 * 1024
_SAFE = ("GET", "HEAD")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/@\s]+)(?::[0-9]{1,5})?")
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # Not no-referrer: browsers would then say "null" for the origin of a form, and that is refused.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "x-robots-tag": "noindex",
}
# Not Strict-Transport-Security: the box's certificate is the city's own, and with it a browser would not let anybody in
# who has compared the fingerprint.


class Refused(Exception):
    """status: the answer's; key: of `agent.web.words`, why."""

    def __init__(self, status: int, key: str) -> None:
        super().__init__(key)
        self.status = status
        self.key = key


class Guard:
    """names: by which the box is reached beside its addresses, in small letters."""

    def __init__(self, app: ASGIApp, *, names: Iterable[str]) -> None:
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # nothing speaks WebSocket here

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        # Told to the pages and not answered here, so that there is one way to say no.
        scope["refused"] = why_not(scope, self._names)
        await self._app(scope, bounded(receive), send_with_headers)


def why_not(scope: Scope, names: set[str]) -> Refused | None:
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not _is_ours(hosts[0], names):
        return Refused(421, "error-host")
    if scope["method"] not in _SAFE:
        if headers.getlist("origin") != [f"{scope['scheme']}://{hosts[0]}"]:
            return Refused(403, "error-origin")
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return Refused(403, "error-origin")
    return None


def bounded(receive: Receive) -> Receive:
    """The same, up to MAX_BODY_BYTES of a body; then Refused."""
    taken = 0

    async def receive_bounded() -> Message:
        nonlocal taken
        message: dict[str, Any] = dict(await receive())
        taken += len(message.get("body", b""))
        if taken > MAX_BODY_BYTES:
            raise Refused(413, "error-size")
        return message

    return receive_bounded


def _is_ours(host: str, names: set[str]) -> bool:
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1].strip("[]").lower().rstrip(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True
