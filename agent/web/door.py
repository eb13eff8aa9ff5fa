"""How a page is asked for: every route is a Door, which says who may come in; a page behind it need not look again.

A change (any method but GET) needs a session that may do it, a form or a header with that session's CSRF token, and an
origin that `agent.web.guard` has checked. A page that has no Door is not there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from agent.web.guard import Refused
from agent.web.password import Role
from agent.web.session import Session, Sessions
from agent.web.words import LANGUAGES, Language, preferred

_log = logging.getLogger(__name__)
_MOST_FIELDS = 200
_BODY_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody asks for a page. session: None where a Door needs none. form: of a change that came as one."""

    request: Request
    language: Language
    session: Session | None
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.request.client.host if self.request.client else ""

    @property
    def by(self) -> str:
        """For the audit log."""
        return f"{self.session.by if self.session else 'nobody'} at {self.address}"


Page = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Door:
    """needs: the least role; None: anybody, logged in or not."""

    path: str
    page: Page
    needs: Role | None = Role.VIEWER
    methods: tuple[str, ...] = ("GET",)


class Says(Protocol):
    def __call__(self, visit: Visit, refused: Refused) -> Response: ...


def routes(doors: Sequence[Door], sessions: Sessions, say_no: Says) -> list[Route]:
    return [Route(door.path, _endpoint(door, sessions, say_no), methods=list(door.methods)) for door in doors]


def _endpoint(door: Door, sessions: Sessions, say_no: Says) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        token = session_token(request)
        session = sessions.find(token) if token else None
        visit = Visit(request, language_of(request), session)
        try:
            if request.scope["refused"] is not None:
                raise request.scope["refused"]
            if door.needs is not None and session is None:
                return _to_the_login(request)
            if door.needs is not None and session is not None and session.role < door.needs:
                raise Refused(403, "error-role")
            if request.method not in ("GET", "HEAD"):
                visit = Visit(request, visit.language, session, await _form(request))
                given = visit.form.get("csrf") or request.headers.get("x-csrf-token", "")
                if session is not None and not session.takes(given):
                    raise Refused(403, "error-csrf")
            return await door.page(visit)
        except Refused as refused:
            return say_no(visit, refused)
        except Exception:  # a bug in a page is told, and the box goes on
            _log.exception("page: bug at %s", door.path)
            return say_no(visit, Refused(500, "error-bug"))

    return answer


def _to_the_login(request: Request) -> Response:
    """A person is led there; a program, which asks for something else than a page, is told."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/login", 303)
    return Response("log in first\n", 401, media_type="text/plain")


async def _form(request: Request) -> dict[str, str]:
    """Of application/x-www-form-urlencoded, the last of each name; of anything else nothing."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return {}
    try:
        body = await asyncio.wait_for(request.body(), _BODY_WITHIN_S)
    except TimeoutError as exc:
        raise Refused(408, "error-size") from exc
    except ClientDisconnect as exc:
        raise Refused(400, "error-size") from exc
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as exc:
        raise Refused(400, "error-size") from exc
    return {name: values[-1] for name, values in fields.items()}


def cookie_name(request: Request) -> str:
    """__Host-: a browser takes such a cookie from this very host and over TLS only."""
    return "__Host-gateway" if request.url.scheme == "https" else "gateway"


def session_token(request: Request) -> str:
    return request.cookies.get(cookie_name(request), "")[:100]


def language_of(request: Request) -> Language:
    chosen = request.cookies.get("language")
    for known in LANGUAGES:
        if chosen == known:
            return known
    return preferred(request.headers.get("accept-language", ""))
