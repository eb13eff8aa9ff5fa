"""The pages themselves, each behind its Door."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from agent.secret_file import warn_if_open
from agent.web import health_page, history
from agent.web.door import Door, Visit, cookie_name, language_of, routes, session_token
from agent.web.guard import Guard, Refused
from agent.web.live import TooMany
from agent.web.metrics import CONTENT_TYPE
from agent.web.password import Role
from agent.web.site import Site
from agent.web.words import LANGUAGES, words

_log = logging.getLogger(__name__)

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_NAME_LENGTH = 40
_YEAR_S = 365 * 24 * 3600


class Pages:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._static = _static_files()
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("agent.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(site=site.box.site, box=site.box.id, cameras=list(site.cameras))

    def doors(self) -> list[Door]:
        return [
            Door("/", self.box),
            Door("/camera/{camera}", self.camera),
            Door("/camera/{camera}/view", self.view),
            Door("/camera/{camera}/layout", self.layout),
            Door("/evidence/{picture}", self.evidence),
            Door("/login", self.login_form, needs=None),
            Door("/login", self.login, needs=None, methods=("POST",)),
            Door("/logout", self.logout, methods=("POST",)),
            Door("/language", self.language, needs=None, methods=("POST",)),
            Door("/metrics", self.metrics, needs=None),  # has a key of its own
            Door("/static/{name}", self.static, needs=None),
        ]

    # ---- the box ----

    async def box(self, visit: Visit) -> Response:
        site, language = self._site, visit.language
        health = await asyncio.to_thread(site.box.look)
        advice = health_page.advice(site.advisor.advice(), language)
        now = datetime.fromtimestamp(health.time / 1000, site.box.diary.zone)
        alerts = site.box.diary.alerts()
        kept = {one.evidence.id for one in alerts if one.evidence and site.box.evidence.has(one.evidence.id)}
        return self._page(
            visit,
            "box.html",
            here="/",
            now=f"{now:%H:%M:%S}",
            advice=advice,
            seen=health_page.cameras(health, language),
            sensors=health_page.sensors(health, site.history, language),
            outputs=health.outputs or {},
            figures=health_page.figures(health, site.history, now, language),
            alerts=health_page.alerts(alerts, kept, language),
            hours=health_page.hours(site.box.diary, list(site.cameras), health.time),
            curve_size=(history.WIDTH, history.HEIGHT),
            chart_height=health_page.CHART_HEIGHT,
        )

    async def evidence(self, visit: Visit) -> Response:
        """As it is stored: others in it are unrecognisable. Only what an alert on the page names is handed out."""
        picture = visit.request.path_params["picture"]
        known = picture in self._site.box.diary.evidence_ids()
        jpeg = await asyncio.to_thread(self._site.box.evidence.read, picture) if known else None
        if jpeg is None:
            raise Refused(404, "error-missing")
        return Response(jpeg, media_type="image/jpeg")

    # ---- a camera ----

    async def camera(self, visit: Visit) -> Response:
        camera = self._camera(visit)
        return self._page(visit, "camera.html", here=f"/camera/{camera}", camera=camera, says=_for_scripts(visit))

    async def layout(self, visit: Visit) -> Response:
        """What is drawn in the configuration, in fractions of the picture."""
        camera = self._site.cameras[self._camera(visit)]
        return JSONResponse(camera.model_dump(mode="json", include={"id", "line", "zone", "mask", "calibration"}))

    async def view(self, visit: Visit) -> Response:
        """The newest picture that is not number `after`, as `agent.web.live` says; 204 if none came in ten seconds."""
        after = visit.request.query_params.get("after", "0")
        if not after.isascii() or not after.isdecimal() or len(after) > 12:
            raise Refused(400, "error-missing")
        try:
            body = await self._site.live.next(self._camera(visit), int(after))
        except TooMany:
            raise Refused(503, "error-many") from None
        return Response(status_code=204) if body is None else Response(body, media_type="application/octet-stream")

    def _camera(self, visit: Visit) -> str:
        camera: str = visit.request.path_params["camera"]
        if camera not in self._site.cameras:
            raise Refused(404, "error-missing")
        return camera

    # ---- who is there ----

    async def login_form(self, visit: Visit) -> Response:
        return self._login_page(visit, "" if self._site.passwords.is_set() else "login-unset")

    async def login(self, visit: Visit) -> Response:
        """The password is compared one login at a time, and not at all while the address is locked."""
        site, address = self._site, visit.address
        name = " ".join(visit.form.get("name", "").split())
        if not 0 < len(name) <= _NAME_LENGTH or not name.isprintable():
            return self._login_page(visit, "login-name", status=400)
        if not site.passwords.is_set():
            return self._login_page(visit, "login-unset", status=403)
        locked_s, role = await asyncio.get_running_loop().run_in_executor(
            site.verifier, self._compare, visit.form.get("password", ""), address, name
        )
        if locked_s:
            return self._login_page(visit, "login-locked", status=429, locked_s=locked_s)
        opened = site.sessions.open(role, name) if role is not None else None
        if opened is None:
            return self._login_page(visit, "login-wrong", status=403)
        token, session = opened
        site.sessions.close(session_token(visit.request))  # who logs in again is not two people
        site.logins["right"] += 1
        site.box.audit("web login", f"{session.by} at {address}")
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            cookie_name(visit.request),
            token,
            httponly=True,
            samesite="strict",
            secure=visit.request.url.scheme == "https",
        )
        return answer

    def _compare(self, password: str, address: str, name: str) -> tuple[float, Role | None]:
        """(for how long the address is locked, the role that the password opens)."""
        site = self._site
        locked_s = site.lockout.locked_s(address)
        if locked_s:
            site.logins["locked"] += 1
            return locked_s, None
        role = site.passwords.role_of(password)
        if role is None:
            site.logins["wrong"] += 1
            is_locked = site.lockout.wrong(address)
            site.box.audit("web login refused", f"{name} at {address}", locked=is_locked)
        return site.lockout.locked_s(address), role

    async def logout(self, visit: Visit) -> Response:
        self._site.sessions.close(session_token(visit.request))
        self._site.box.audit("web logout", visit.by)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(cookie_name(visit.request), secure=visit.request.url.scheme == "https", httponly=True)
        return answer

    async def language(self, visit: Visit) -> Response:
        chosen = visit.form.get("language")
        back = visit.form.get("back")
        known = {"/", "/login", *(f"/camera/{camera}" for camera in self._site.cameras)}
        answer = RedirectResponse(back if back in known else "/", 303)
        if chosen in LANGUAGES:
            is_tls = visit.request.url.scheme == "https"
            answer.set_cookie("language", chosen, max_age=_YEAR_S, samesite="strict", secure=is_tls, httponly=True)
        return answer

    # ---- for programs, and for browsers ----

    async def metrics(self, visit: Visit) -> Response:
        if not self._may_read_metrics(visit):
            return Response("a token is needed, see [web] metrics_token_file\n", 401, media_type="text/plain")
        return Response(await asyncio.to_thread(self._site.metrics.text), headers={"content-type": CONTENT_TYPE})

    def _may_read_metrics(self, visit: Visit) -> bool:
        path = self._site.box.settings.metrics_token_file
        if path is None:
            return _is_loopback(visit.address)
        token = _token(path)
        given = visit.request.headers.get("authorization", "")
        return bool(token) and hmac.compare_digest(f"Bearer {token}".encode(), given.encode())

    async def static(self, visit: Visit) -> Response:
        """From a table made at the start: no path on the disk is made of what somebody asks for."""
        found = self._static.get(visit.request.path_params["name"])
        if found is None:
            raise Refused(404, "error-missing")
        media_type, content = found
        # Asked for again at each visit, and sent again only after an update.
        mark = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"cache-control": "no-cache", "etag": mark}
        if visit.request.headers.get("if-none-match") == mark:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    # ---- how a page is made ----

    def _login_page(self, visit: Visit, problem: str, *, status: int = 200, locked_s: float = 0.0) -> Response:
        said = words(problem, visit.language, minutes=-(-int(locked_s) // 60)) if problem else ""
        answer = self._page(visit, "login.html", here="/login", problem=said, status=status)
        if locked_s:
            answer.headers["retry-after"] = str(int(locked_s) + 1)
        return answer

    def refuse(self, visit: Visit, refused: Refused) -> Response:
        if "text/html" not in visit.request.headers.get("accept", ""):
            said = words(refused.key, visit.language)
            return Response(f"{said}\n", refused.status, media_type="text/plain")
        return self._page(visit, "error.html", here="/", said=words(refused.key, visit.language), status=refused.status)

    def _page(self, visit: Visit, template: str, *, here: str, status: int = 200, **values: Any) -> Response:
        language = visit.language
        other = next(one for one in LANGUAGES if one != language)
        text = self._templates.get_template(template).render(
            t=lambda key, **gaps: words(key, language, **gaps),
            language=language,
            other=other,
            here=here,
            session=visit.session,
            **values,
        )
        return Response(text, status, media_type="text/html")


def make_app(site: Site) -> Starlette:
    pages = Pages(site)

    @contextlib.asynccontextmanager
    async def at_work(app: Starlette) -> AsyncIterator[None]:
        sampling = asyncio.create_task(_sample(site))
        try:
            yield
        finally:
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)
            await site.live.stop()

    async def otherwise(request: Request, exc: Exception) -> Response:
        """What no Door leads to."""
        refused = request.scope["refused"]
        if refused is None:
            is_method = isinstance(exc, HTTPException) and exc.status_code == 405
            refused = Refused(405, "error-method") if is_method else Refused(404, "error-missing")
        return pages.refuse(Visit(request, language_of(request), None), refused)

    names = [*site.box.settings.names, *_own_names(), site.box.id, f"{site.box.id}.local"]
    return Starlette(
        routes=routes(pages.doors(), site.sessions, pages.refuse),
        middleware=[Middleware(Guard, names=names)],
        exception_handlers={HTTPException: otherwise},
        lifespan=at_work,
    )


async def _sample(site: Site) -> None:
    while True:
        try:
            site.history.sample(await asyncio.to_thread(site.box.look))
        except Exception:  # curves are not worth the page
            _log.exception("page: bug in sampling figures")
        await asyncio.sleep(history.EVERY_S)


def _for_scripts(visit: Visit) -> dict[str, str]:
    keys = [key for key in _SCRIPT_WORDS if key]
    return {key: words(key, visit.language) for key in keys}


_SCRIPT_WORDS = (
    *(f"class-{name}" for name in ("person", "bicycle", "motorcycle", "car", "bus", "truck", "vehicle")),
    *("live-away", "live-lost", "live-paused", "error-many", "light-fine", "light-dark", "light-bright", "in", "out"),
)


def _static_files() -> dict[str, tuple[str, bytes]]:
    folder = resources.files("agent.web") / "static"
    return {
        one.name: (_TYPES[Path(one.name).suffix], one.read_bytes())
        for one in folder.iterdir()
        if Path(one.name).suffix in _TYPES
    }


def _token(path: Path) -> str:
    try:
        warn_if_open(path)
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _own_names() -> list[str]:
    name = socket.gethostname()
    return [name, f"{name}.local"]
