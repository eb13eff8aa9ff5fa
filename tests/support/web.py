"""The technician's page around a box made of fakes, and a visitor who asks for its pages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from agent.clock import FakeClock
from agent.config import CameraConfig, WebConfig
from agent.contract.box import CameraHealth, Health, LinkHealth, OutboxHealth, SensorHealth
from agent.evidence import EvidenceStore
from agent.ops.findings import Finding
from agent.vision.live import Tap
from agent.web.diary import Diary
from agent.web.pages import make_app
from agent.web.password import PasswordHash, Role, password_files
from agent.web.site import Box, Site

TECHNICIAN, VIEWER = "a ladder at noon", "only looking"
ADDRESS = "http://10.0.0.5:8443"
CAMERA = CameraConfig.model_validate(
    {
        "id": "north",
        "source": "file:clip.mp4",
        "line": [{"id": "gate", "a": [0.1, 0.5], "b": [0.9, 0.5]}],
        "zone": [{"id": "yard", "polygon": [[0, 0], [1, 0], [1, 1]]}],
    }
)


def write_password(path: Path, password: str) -> None:
    """As the command does, cheaper."""
    salt = b"0123456789abcdef"
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2, r=1, p=1, dklen=32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(f"{PasswordHash(2, 1, 1, salt, digest)}\n")


def some_health(**given: Any) -> Health:
    usual: dict[str, Any] = {
        "time": 1_700_000_000_000,
        "uptime_s": 90.0,
        "agent": "0.1.0",
        "clock_trusted": True,
        "cameras": {"north": CameraHealth(state="open", fps=9.8, dropped=3, inferred=70)},
        "sensors": {"air": SensorHealth(state="ok", age_s=2.0, values={"pm25": 12.5})},
        "outbox": OutboxHealth(rows=3, bytes=600, max_bytes=8_000_000, oldest_s=200.0, last={"alert": 7}),
        "link": LinkHealth(state="up", broker="ioc:8883", acked=4),
        "cpu_c": 51.0,
        "rss_bytes": 130_000_000,
        "disk_free_bytes": 20_000_000_000,
    }
    return Health(**{**usual, **given})


class Page:
    """A site in a folder. health: what the box says of itself; set it anew. audit: what was told to the audit log."""

    def __init__(
        self,
        folder: Path,
        *,
        viewer: bool = True,
        examine: Callable[[], Sequence[Finding]] = tuple,
        **settings: Any,
    ) -> None:
        self.clock = FakeClock()
        self.health = some_health()
        self.audit: list[tuple[str, str, dict[str, Any]]] = []
        self.files = password_files(folder)
        write_password(self.files[Role.TECHNICIAN], TECHNICIAN)
        if viewer:
            write_password(self.files[Role.VIEWER], VIEWER)
        given = {"folder": str(folder), **settings}
        self.diary = Diary("Asia/Ho_Chi_Minh")
        self.evidence = EvidenceStore(folder / "evidence", max_bytes=1_000_000, max_days=1.0, clock=self.clock)
        self.tap = Tap(self.clock)
        self.site = Site(
            Box(
                site="cua-bac",
                id="gw-01",
                settings=WebConfig.model_validate(given),
                cameras=(CAMERA,),
                taps={"north": self.tap},
                look=lambda: self.health,
                diary=self.diary,
                evidence=self.evidence,
                examine=examine,
                clock=self.clock,
                audit=lambda what, by, **facts: self.audit.append((what, by, facts)),
            )
        )
        self.app = make_app(self.site)

    def visitor(self, address: str = "10.0.0.9", *, base: str = ADDRESS) -> Visitor:
        return Visitor(self, address, base)

    def close(self) -> None:
        self.site.close()


class Visitor(TestClient):
    """A browser: it sends what browsers send, keeps cookies, and does not follow redirects by itself."""

    def __init__(self, page: Page, address: str, base: str) -> None:
        super().__init__(
            page.app,
            base_url=base,
            client=(address, 50000),
            follow_redirects=False,
            headers={"accept": "text/html", "accept-language": "en"},
        )
        self.origin = base

    def send_form(self, path: str, **fields: str) -> Any:
        return self.post(path, data=fields, headers={"origin": self.origin})

    def log_in(self, password: str = TECHNICIAN, name: str = "Hùng") -> Any:
        return self.send_form("/login", name=name, password=password, csrf=self.csrf("/login"))

    def csrf(self, path: str = "/") -> str:
        """What the forms of a page carry; nothing for who is not logged in."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.get(path).text)
        return found[1] if found else ""
