"""Where the page meets the agent: it is there if it is configured, and costs nothing if nobody looks."""

import sys
from pathlib import Path
from typing import Any

import pytest

from agent import app, config
from agent.audit import AuditLog
from agent.clock import FakeClock
from agent.errors import ConfigError
from agent.evidence import EvidenceStore
from agent.web.diary import Diary
from tests.support.web import some_health

BOX = '[box]\nsite = "cua-bac"\nid = "gw-01"\n[[camera]]\nid = "north"\nsource = "file:clip.mp4"\n'


def made(text: str, tmp_path: Path) -> Any:
    clock = FakeClock()
    evidence = EvidenceStore(tmp_path / "evidence", max_bytes=1000, max_days=1.0, clock=clock)
    settings = config.parse(BOX + text, "gateway.toml")
    return app.make_web(
        settings, [], some_health, Diary("UTC"), evidence, list, AuditLog(tmp_path / "audit", clock=clock), clock
    )


def test_without_the_table_there_is_no_page(tmp_path: Path) -> None:
    assert made("", tmp_path) is None


def test_with_the_table_there_is_one(tmp_path: Path) -> None:
    server = made("[web]\n", tmp_path)
    assert server is not None
    server._site.close()


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "jinja2", "prometheus_client"])
def test_without_its_libraries_the_configuration_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == library or name.startswith("agent.web.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=r"\[web\].*pip install 'gateway-agent\[web\]'"):
        made("[web]\n", tmp_path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('listen = "gw-01"', "web.listen: found 'gw-01'; wanted an address of this box"),
        ('listen = "10.0.0.5:80"', "web.listen: found '10.0.0.5:80'"),
        ("port = 0", "web.port: found 0; wanted at least 1"),
        ('names = "gw"', 'web.names: found "gw"; wanted a list, such as ["gw-01.city.example"]'),
        ('names = ["https://gw"]', "web.names[1]"),
        ('password = "secret"', "web.password: unknown key"),
    ],
)
def test_a_wrong_key_is_told_with_what_was_wanted(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        made(f"[web]\n{line}\n", tmp_path)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("listen", "is_local"),
    [("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("10.0.0.5", False), ("0.0.0.0", False), ("::", False)],
)
def test_what_others_can_reach_is_known(listen: str, is_local: bool) -> None:
    settings = config.parse(f'{BOX}[web]\nlisten = "{listen}"\n', "gateway.toml").web
    assert settings is not None
    assert settings.is_local is is_local
