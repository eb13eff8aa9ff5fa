"""The verb `web`, as a technician uses it."""

import io
from pathlib import Path

import pytest

from agent.__main__ import main
from agent.identity.certificate import self_signed_pem
from agent.web.password import Passwords, Role

CONFIG = """
[box]
site = "cua-bac"
id = "gw-01"
identity = "{folder}/identity"
[[camera]]
id = "north"
source = "file:clip.mp4"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    text = CONFIG + '[web]\nlisten = "0.0.0.0"\nfolder = "{folder}/web"\n'
    path.write_text(text.format(folder=tmp_path))
    return path


def web(config: Path, *arguments: str) -> int:
    return main(["web", *arguments, "--config", str(config)])


def test_a_password_from_a_pipe_is_set(tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a ladder at noon\n"))
    assert web(config, "password") == 0
    assert Passwords({Role.TECHNICIAN: tmp_path / "web" / "technician"}).role_of("a ladder at noon") is Role.TECHNICIAN


def test_a_generated_password_is_printed_once_and_works(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert web(config, "password", "--generate") == 0
    password = capsys.readouterr().out.splitlines()[-1].split()[1]
    assert Passwords({Role.TECHNICIAN: tmp_path / "web" / "technician"}).role_of(password) is Role.TECHNICIAN
    web(config, "show")
    assert password not in capsys.readouterr().out


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaa"])
def test_a_weak_password_is_not_taken(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(password))
    assert web(config, "password") == 1
    assert not (tmp_path / "web").exists()


def test_show_tells_how_the_page_is_reached(tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert web(config, "show") == 1  # nobody could log in
    said = capsys.readouterr().out
    assert "page: https://0.0.0.0:8443/" in said
    assert "certificate: none yet" in said
    assert "password of the technician: PROBLEM" in said
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "page.pem").write_bytes(self_signed_pem("gw-01"))
    web(config, "show")
    assert "page.pem)" in capsys.readouterr().out
    (tmp_path / "identity").mkdir()
    (tmp_path / "identity" / "box.pem").write_bytes(self_signed_pem("cua-bac/gw-01"))
    web(config, "show")
    assert "box.pem)" in capsys.readouterr().out


def test_without_a_page_there_is_no_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG.format(folder=tmp_path))
    assert web(path, "password", "--generate") == 78
    assert "no table [web]" in capsys.readouterr().err


def test_a_viewer_has_a_password_of_its_own(tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    web(config, "show")
    assert "of the viewer" not in capsys.readouterr().out
    assert web(config, "password", "--generate", "--viewer") == 0
    assert (tmp_path / "web" / "viewer").exists()
    assert web(config, "show") == 1
    assert "password of the viewer: set" in capsys.readouterr().out
