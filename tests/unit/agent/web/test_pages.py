"""Who may see and do what on the page: logins, sessions, origins, names, roles, and what an address may ask for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.contract.event import Crossing, Event, Evidence, Restricted, Stream
from agent.ops.findings import finding
from agent.vision.pipeline import Seen
from agent.web import door, guard, pages
from agent.web.door import Door, Visit
from agent.web.password import Role
from drivers.base import Frame
from tests.support.pictures import jpeg
from tests.support.vision import motion_of, road, sighting
from tests.support.web import ADDRESS, TECHNICIAN, VIEWER, Page, Visitor, write_password


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    page = Page(tmp_path)
    yield page
    page.close()


@pytest.fixture
def visitor(page: Page) -> Iterator[Visitor]:
    with page.visitor() as visitor:
        yield visitor


# ---- login -----------------------------------------------------------------------------------------------------------


def test_who_is_not_logged_in_is_led_to_the_login_and_sees_nothing_else(page: Page, visitor: Visitor) -> None:
    open_to_all = {"/login", "/language", "/metrics", "/static/{name}"}
    for one in pages.Pages(page.site).doors():
        path = one.path.format(camera="north", picture="1-aaaaaaaaaaaa", name="page.css")
        for method in one.methods:
            answer = visitor.request(method, path, headers={"origin": ADDRESS})
            if one.path in open_to_all:
                continue
            assert answer.status_code == (303 if method == "GET" else 401), path
            assert "north" not in answer.text


def test_a_program_that_is_not_logged_in_is_told_so(visitor: Visitor) -> None:
    answer = visitor.get("/camera/north/view", headers={"accept": "*/*"})
    assert (answer.status_code, answer.text) == (401, "log in first\n")


def test_the_password_opens_the_box_and_the_audit_log_has_the_name(page: Page, visitor: Visitor) -> None:
    answer = visitor.log_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert visitor.get("/").status_code == 200
    assert "Hùng, technician" in visitor.get("/").text
    assert page.audit == [("web login", "Hùng (technician) at 10.0.0.9", {})]


def test_a_wrong_password_opens_nothing_and_is_told(page: Page, visitor: Visitor) -> None:
    answer = visitor.log_in("not this one")
    assert answer.status_code == 403
    assert "That password is wrong." in answer.text
    assert "set-cookie" not in answer.headers
    assert visitor.get("/").status_code == 303
    assert page.audit == [("web login refused", "Hùng at 10.0.0.9", {"locked": False})]


def test_five_wrong_passwords_lock_the_address_for_the_right_one_too(page: Page, visitor: Visitor) -> None:
    codes = [visitor.log_in("not this one").status_code for _ in range(5)]
    assert codes == [403, 403, 403, 403, 429]
    answer = visitor.log_in()
    assert answer.status_code == 429
    assert "Wait 5 min" in answer.text
    assert answer.headers["retry-after"] == "301"
    with page.visitor("10.0.0.10") as other:
        assert other.log_in().status_code == 303
    page.clock.sleep(300)
    assert visitor.log_in().status_code == 303
    assert dict(page.site.logins) == {"wrong": 5, "locked": 1, "right": 2}


def test_a_right_password_in_between_does_not_set_the_count_back(page: Page, visitor: Visitor) -> None:
    for _ in range(4):
        visitor.log_in("not this one")
    assert visitor.log_in(VIEWER).status_code == 303
    assert visitor.log_in("not this one").status_code == 429


def test_a_session_goes_on_while_its_address_is_locked(page: Page, visitor: Visitor) -> None:
    visitor.log_in()
    with page.visitor() as other:
        for _ in range(5):
            other.log_in("not this one")
    assert visitor.get("/").status_code == 200


def test_there_is_no_password_before_one_is_set(page: Page, visitor: Visitor) -> None:
    for path in page.files.values():
        path.unlink()
    assert "This box has no password yet" in visitor.get("/login").text
    assert visitor.log_in("").status_code == 403
    assert visitor.log_in().status_code == 403


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "a\x00b"])
def test_a_name_is_needed_and_fits_into_a_log(visitor: Visitor, name: str) -> None:
    assert visitor.log_in(name=name).status_code == 400


def test_a_name_with_a_line_break_stays_in_its_line(page: Page, visitor: Visitor) -> None:
    visitor.log_in(name="Hùng\r\naudit: web login by 'Lan'")
    assert page.audit[0][1] == "Hùng audit: web login by 'Lan' (technician) at 10.0.0.9"


# ---- sessions --------------------------------------------------------------------------------------------------------


def test_the_cookie_is_for_this_box_alone_and_no_script_reads_it(page: Page) -> None:
    with page.visitor(base="https://10.0.0.5:8443") as visitor:
        cookie = visitor.log_in().headers["set-cookie"]
    name, *rest = cookie.split("; ")
    assert name.startswith("__Host-gateway=")
    assert {part.lower() for part in rest} == {"httponly", "path=/", "samesite=strict", "secure"}


def test_over_the_box_itself_the_cookie_works_without_tls(visitor: Visitor) -> None:
    cookie = visitor.log_in().headers["set-cookie"]
    assert {part.lower() for part in cookie.split("; ")[1:]} == {"httponly", "path=/", "samesite=strict"}


def test_who_logs_out_is_out_also_with_the_old_cookie(page: Page, visitor: Visitor) -> None:
    visitor.log_in()
    token = visitor.cookies["gateway"]
    assert visitor.send_form("/logout", csrf=visitor.csrf()).headers["location"] == "/login"
    visitor.cookies.set("gateway", token)
    assert visitor.get("/").status_code == 303
    assert page.audit[-1][0] == "web logout"


def test_logging_in_gives_a_new_session_and_ends_the_one_before(page: Page, visitor: Visitor) -> None:
    visitor.cookies.set("gateway", "chosen-by-somebody-else", domain="10.0.0.5")
    visitor.log_in()
    first = visitor.cookies["gateway"]
    assert first != "chosen-by-somebody-else"
    visitor.log_in()
    assert visitor.cookies["gateway"] != first
    assert len(page.site.sessions) == 1


def test_a_new_password_ends_sessions_at_once(page: Page, visitor: Visitor) -> None:
    visitor.log_in()
    write_password(page.files[Role.TECHNICIAN], "rain on the mast")
    assert visitor.get("/").status_code == 303


# ---- roles -----------------------------------------------------------------------------------------------------------


def with_a_change(page: Page, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The page with a door that changes something; who did."""
    done: list[str] = []

    async def change(visit: Visit) -> Any:
        done.append(visit.by)
        return pages.Response("done")

    doors = pages.Pages.doors
    more = [Door("/change", change, needs=Role.TECHNICIAN, methods=("POST",))]
    monkeypatch.setattr(pages.Pages, "doors", lambda self: doors(self) + more)
    page.app = pages.make_app(page.site)
    return done


def test_a_viewer_sees_everything_and_changes_nothing(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    done = with_a_change(page, monkeypatch)
    with page.visitor() as visitor:
        visitor.log_in(VIEWER)
        assert visitor.get("/").status_code == 200
        assert visitor.get("/camera/north").status_code == 200
        refused = visitor.send_form("/change", csrf=visitor.csrf())
        assert refused.status_code == 403
        assert "for looking only" in refused.text
        visitor.log_in(TECHNICIAN)
        assert visitor.send_form("/change", csrf=visitor.csrf()).text == "done"
    assert done == ["Hùng (technician) at 10.0.0.9"]


def test_a_viewer_is_there_only_if_a_password_is_set(tmp_path: Path) -> None:
    page = Page(tmp_path, viewer=False)
    try:
        with page.visitor() as visitor:
            assert visitor.log_in(VIEWER).status_code == 403
    finally:
        page.close()


# ---- changes from elsewhere ------------------------------------------------------------------------------------------


def test_a_change_needs_the_token_of_its_own_session(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    done = with_a_change(page, monkeypatch)
    with page.visitor() as visitor, page.visitor() as other:
        visitor.log_in()
        other.log_in()
        for given in ({}, {"csrf": ""}, {"csrf": "guess"}, {"csrf": other.csrf()}):
            assert visitor.send_form("/change", **given).status_code == 403
        by_script = {"origin": ADDRESS, "x-csrf-token": visitor.csrf()}
        assert visitor.post("/change", json={}, headers=by_script).text == "done"
    assert len(done) == 1


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no origin"),
        pytest.param({"origin": "null"}, id="null"),
        pytest.param({"origin": "http://evil.example"}, id="another"),
        pytest.param({"origin": "https://10.0.0.5:8443"}, id="another scheme"),
        pytest.param({"origin": "http://10.0.0.5"}, id="another port"),
        pytest.param({"origin": "http://10.0.0.5:8443.evil.example"}, id="one that begins alike"),
        pytest.param({"origin": ADDRESS, "sec-fetch-site": "cross-site"}, id="the browser says so"),
        pytest.param({"origin": ADDRESS, "sec-fetch-site": "same-site"}, id="a neighbour"),
    ],
)
@pytest.mark.parametrize("path", ["/login", "/logout", "/language"])
def test_a_change_from_another_origin_is_refused(visitor: Visitor, path: str, headers: dict[str, str]) -> None:
    visitor.log_in()
    form = {"csrf": visitor.csrf(), "name": "Hùng", "password": TECHNICIAN, "language": "vi"}
    assert visitor.post(path, data=form, headers=headers).status_code == 403
    assert visitor.get("/").status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("10.0.0.5:8443", 200),
        ("192.168.1.77", 200),
        ("[fe80::1]:8443", 200),
        ("localhost:8443", 200),
        ("gw-01", 200),
        ("gw-01.local:8443", 200),
        ("Gate.City.Example", 200),
        ("evil.example", 421),
        ("10.0.0.5.evil.example", 421),
        ("gate.city.example.evil.example", 421),
        ("", 421),
        ("10.0.0.5:8443@evil.example", 421),
        ("gw-01/../evil", 421),
        ("gw-01:8443:1", 421),
    ],
)
def test_only_addresses_and_the_boxs_own_names_lead_to_it(tmp_path: Path, host: str, status: int) -> None:
    page = Page(tmp_path, names=["gate.city.example"])
    try:
        with page.visitor() as visitor:
            assert visitor.get("/login", headers={"host": host}).status_code == status
    finally:
        page.close()


# ---- headers and paths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/login", "/camera/north", "/static/page.css", "/nothing", "/metrics"])
def test_every_answer_forbids_what_a_page_does_not_need(visitor: Visitor, path: str) -> None:
    visitor.log_in()
    headers = visitor.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] in ("no-store", "no-cache")
    assert "server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../pages.py",
        "/static/..%2fpages.py",
        "/static/%2e%2e/pages.py",
        "/static/....//pages.py",
        "/static/",
        "/static/page.css%00.js",
        "/camera/%2e%2e%2fetc/layout",
        "/camera/nobody",
        "/camera/nobody/view",
        "/camera/nobody/layout",
        "/camera/north/view?after=-1",
        "/camera/north/view?after=1e3",
        "/camera/north/view?after=٣",
        "/evidence/../outbox.db",
        "/evidence/%2e%2e%2ftechnician",
        "/evidence/1-aaaaaaaaaaaa",
        "/evidence/..%5ctechnician",
    ],
)
def test_an_address_leads_to_nothing_but_what_the_page_has(visitor: Visitor, path: str) -> None:
    visitor.log_in()
    answer = visitor.get(path)
    assert answer.status_code in (400, 404)
    assert "import" not in answer.text


def test_no_header_is_made_of_what_somebody_sends(visitor: Visitor) -> None:
    for back in ("http://evil.example", "//evil.example", "/\r\nset-cookie: a=b", "/camera/north\r\n", "/metrics"):
        answer = visitor.send_form("/language", language="vi\r\nx: y", back=back)
        assert answer.headers["location"] == "/"
        assert "set-cookie" not in answer.headers


def test_what_people_and_devices_say_is_never_markup(page: Page, visitor: Visitor) -> None:
    visitor.log_in(name="<script>alert(1)</script>")
    camera = page.health.cameras["north"].model_copy(update={"error": "<img src=x onerror=alert(1)>"})
    page.health = page.health.model_copy(update={"cameras": {"north": camera}})
    text = visitor.get("/").text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_nothing_runs_in_a_page_but_files_of_the_box(page: Page, visitor: Visitor) -> None:
    """So that the policy never has to be loosened."""
    visitor.log_in()
    for path in ("/", "/login", "/camera/north"):
        text = visitor.get(path).text
        assert " style=" not in text
        assert " onclick=" not in text
        assert "<style" not in text
        assert text.count("<script") == text.count('<script type="module" src="/static/')
        assert "http://" not in text.replace(ADDRESS, "")
        assert "https://" not in text


def test_too_much_at_once_is_refused(visitor: Visitor) -> None:
    answer = visitor.send_form("/login", name="Hùng", password="x" * guard.MAX_BODY_BYTES)
    assert answer.status_code == 413
    fields = {f"f{n}": "" for n in range(door._MOST_FIELDS + 1)}
    assert visitor.send_form("/login", **fields).status_code == 400


def test_a_method_that_a_page_has_not_is_refused(visitor: Visitor) -> None:
    visitor.log_in()
    assert visitor.put("/", headers={"origin": ADDRESS}).status_code == 405
    assert visitor.options("/", headers={"origin": ADDRESS}).status_code == 405
    assert visitor.get("/logout").status_code == 405


def test_a_bug_is_told_without_its_insides(page: Page, visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    visitor.log_in()
    page.health = None  # type: ignore[assignment]
    answer = visitor.get("/")
    assert answer.status_code == 500
    assert "A bug in the page" in answer.text
    assert "Traceback" not in answer.text
    assert "page: bug at /" in caplog.text


# ---- languages -------------------------------------------------------------------------------------------------------


def test_the_page_speaks_the_browsers_language_until_another_is_chosen(visitor: Visitor) -> None:
    assert '<html lang="vi">' in visitor.get("/login", headers={"accept-language": "vi-VN,vi;q=0.9"}).text
    assert '<html lang="en">' in visitor.get("/login").text
    answer = visitor.send_form("/language", language="vi", back="/login")
    assert answer.headers["location"] == "/login"
    assert "Mật khẩu" in visitor.get("/login").text


# ---- what is shown ---------------------------------------------------------------------------------------------------


def test_the_box_tells_how_it_is(visitor: Visitor) -> None:
    visitor.log_in()
    text = visitor.get("/").text
    for words in ("9.8 pictures/s", "12.5", "3 message(s)", "the oldest is from 3 min ago", "ioc:8883", "51 °C"):
        assert words in text
    assert "20.0 GB free" in text
    assert "gateway-agent 0.1.0" in text


def test_advice_is_in_the_language_of_the_visitor_and_never_waited_for(tmp_path: Path) -> None:
    page = Page(
        tmp_path, examine=lambda: [finding("clock-unset", date="2026-01-01"), finding("doctor-blind", what="x")]
    )
    try:
        with page.visitor() as visitor:
            visitor.log_in()
            visitor.get("/")  # asks, and waits for nothing
            page.site.advisor.wait(10)
            assert "the clock is not set from the network" in visitor.get("/").text
            visitor.send_form("/language", language="vi", back="/", csrf=visitor.csrf())
            text = visitor.get("/").text
    finally:
        page.close()
    assert "đồng hồ" in text
    assert "doctor" not in text.lower().replace("gateway-agent doctor", "")


def test_an_alert_is_shown_with_its_picture_and_only_such_pictures_are(page: Page, visitor: Visitor) -> None:
    visitor.log_in()
    shown, hidden = page.evidence.put(jpeg(1)), page.evidence.put(jpeg(2))
    assert isinstance(shown, Evidence)
    assert isinstance(hidden, Evidence)
    body = Restricted.model_validate(
        {"zone": "yard", "class": "person", "track": 4, "rule": "keep-out", "severity": "critical", "evidence": shown}
    )
    page.diary.noting(lambda *events: None)(Event(Stream.ALERT, "north", body, page.clock.stamp()))
    text = visitor.get("/").text
    assert "somebody in a restricted zone: person, yard" in text
    assert f'src="/evidence/{shown.id}"' in text
    answer = visitor.get(f"/evidence/{shown.id}")
    assert (answer.content, answer.headers["content-type"]) == (jpeg(1), "image/jpeg")
    assert visitor.get(f"/evidence/{hidden.id}").status_code == 404


def test_a_picture_comes_with_what_was_seen_in_it(page: Page, visitor: Visitor) -> None:
    visitor.log_in()
    crossing = Crossing.model_validate({"line": "gate", "direction": "in", "class": "car", "track": 3})
    page.diary.noting(lambda *events: None)(Event(Stream.ALERT, "north", crossing, page.clock.stamp()))
    box = (100.0, 100.0, 200.0, 200.0)
    seen = Seen([], sighting({3: box}, 5, 0.5), motion_of([box]), True)
    page.tap.show(Frame(road(), 5, page.clock.mono_s()), seen)
    body = visitor.get("/camera/north/view?after=0").content
    length = int.from_bytes(body[:4], "big")
    figures = json.loads(body[4 : 4 + length])
    assert body[4 + length :].startswith(b"\xff\xd8\xff")
    assert figures["n"] == 1
    assert figures["counts"] == {"gate": {"in": 1, "out": 0}}
    assert figures["boxes"][0]["box"] == pytest.approx([100 / 640, 100 / 360, 200 / 640, 200 / 360], abs=1e-3)
    layout = visitor.get("/camera/north/layout").json()
    assert layout["line"][0]["a"] == [0.1, 0.5]
    assert "source" not in layout
    assert np.isfinite(figures["detail"])


# ---- metrics ---------------------------------------------------------------------------------------------------------


def test_without_a_token_metrics_are_for_the_box_itself(page: Page) -> None:
    with page.visitor() as visitor, page.visitor("127.0.0.1") as local:
        assert visitor.get("/metrics").status_code == 401
        answer = local.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "gateway_outbox_rows 3.0" in answer.text


def test_with_a_token_metrics_are_for_whoever_has_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("a-long-token\n")
    page = Page(tmp_path, metrics_token_file=str(token))
    try:
        with page.visitor() as visitor, page.visitor("127.0.0.1") as local:
            right = {"authorization": "Bearer a-long-token"}
            assert visitor.get("/metrics", headers=right).status_code == 200
            for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "a-long-token"}):
                assert visitor.get("/metrics", headers=headers).status_code == 401
                assert local.get("/metrics", headers=headers).status_code == 401
            token.write_text("\n")
            assert visitor.get("/metrics", headers={"authorization": "Bearer "}).status_code == 401
    finally:
        page.close()
