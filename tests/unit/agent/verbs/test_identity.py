"""The verb `identity`: what it says, in which language, with which exit code, and what it never says."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.__main__ import main
from agent.identity import Identity, Trust, Verdict
from agent.identity.certificate import pem
from agent.tls import IdentityFolder
from agent.uplink import Broker, Tls, UplinkSettings
from agent.uplink.knock import CertificateRefused
from agent.verbs import identity as verb
from provisioning.ca.authority import Authority, create


@pytest.fixture
def city(tmp_path: Path) -> Authority:
    then = datetime.now(UTC) - timedelta(days=800)
    return create(tmp_path / "ca", "Test city", b"correct horse battery", now=then)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setattr("agent.verbs.identity.machine_clock_is_set", lambda: True)
    monkeypatch.setattr("agent.identity.identity.machine_clock_is_set", lambda: True)
    path = tmp_path / "gateway.toml"
    camera = '[[camera]]\nid = "c"\nsource = "file:c.mp4"\n'
    path.write_text(f'[box]\nsite = "cua-bac"\nid = "gw-01"\nidentity = "{tmp_path / "identity"}"\n{camera}')
    return path


def identity(config: Path, *arguments: str | Path) -> int:
    return main(["identity", arguments[0], "--config", str(config), *map(str, arguments[1:])])  # type: ignore[list-item]


def certified(config: Path, city: Authority, *, days_ago: int, name: str = "cua-bac/gw-01") -> None:
    box = Identity(config.with_name("identity"), name)
    certificate = city.sign(box.request(), name, now=datetime.now(UTC) - timedelta(days=days_ago))
    box.take(pem([certificate, city.issuing]), Trust(ca=pem([city.root])))


@pytest.mark.parametrize(
    ("days_ago", "code", "words"),
    [
        (None, 1, "cua-bac/gw-01 has no certificate yet"),
        (1, 0, "identity: fine, valid for 364 more days"),
        (300, 0, "it is time to renew: gateway-agent identity renew"),
    ],
)
def test_show_says_for_how_long(
    config: Path, city: Authority, capsys: pytest.CaptureFixture[str], days_ago: int | None, code: int, words: str
) -> None:
    if days_ago is not None:
        certified(config, city, days_ago=days_ago)
    assert identity(config, "show") == code
    assert words in capsys.readouterr().out


def test_show_says_that_it_is_over(
    config: Path, city: Authority, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    certified(config, city, days_ago=1)

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) + timedelta(days=400)

    monkeypatch.setattr(verb, "datetime", Later)
    assert identity(config, "show") == 1
    assert "PROBLEM: the certificate has expired" in capsys.readouterr().out


def test_show_notices_a_certificate_of_another_name(
    config: Path, city: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    certified(config, city, days_ago=1, name="cua-bac/gw-02")
    assert identity(config, "show") == 1
    assert "the configuration calls this box cua-bac/gw-01" in capsys.readouterr().out


def test_it_speaks_vietnamese(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "vi_VN.UTF-8")
    assert identity(config, "show") == 1
    assert identity(config, "enrol", "--certificate", "/absent", "--fingerprint", "x") == 1
    said = capsys.readouterr()
    assert "chưa có chứng thư" in said.out
    assert "LỖI" in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["enrol"], 64, "wants --server URL, or --certificate FILE"),
        (["enrol", "--server", "http://ca.city"], 64, "wanted https://HOST"),
        (["enrol", "--server", "ca.city", "--token-file", "/absent"], 1, "/absent: No such file"),
        (["enrol", "--server", "ca.city", "--fingerprint", "12:34"], 1, "64 hexadecimal digits"),
        (["enrol", "--server", "ca.city"], 1, "wanted the authority's certificate (--ca FILE) or its fingerprint"),
        (["enrol", "--certificate", "/dev/null"], 1, "no request is open"),
        (["request", "--request", "/absent/box.csr"], 1, "/absent/box.csr"),
        (["renew"], 0, "has no certificate yet"),
    ],
)
def test_what_cannot_be_done_is_told_with_what_was_wanted(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("SECR-ETSE-CRET\n"))
    assert identity(config, *arguments) == code
    said = capsys.readouterr()
    assert words in said.out + said.err
    assert "SECR" not in said.out + said.err


def test_a_token_is_taken_from_a_pipe_and_from_no_empty_one(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert identity(config, "enrol", "--server", "ca.city") == 1
    assert "no token given" in capsys.readouterr().err


def test_names_too_long_for_a_certificate_are_a_wrong_configuration(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text().replace("cua-bac", "s" * 32).replace("gw-01", "b" * 32))
    assert identity(config, "show") == 78
    assert "no longer than 63" in capsys.readouterr().err


def test_only_brokers_that_the_identity_is_for_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = IdentityFolder(tmp_path / "next")
    asked = []

    def knock(broker: Broker, tls: Tls) -> None:
        asked.append((broker.host, tls.identity))
        if broker.host == "refuses":
            raise CertificateRefused(f"{broker}: no")

    monkeypatch.setattr(verb, "knock", knock)
    own = Tls(certificate=tmp_path / "c", key=tmp_path / "k")
    brokers = (
        Broker("plain", 1883),
        Broker("other", 8883, own),
        Broker("takes", 8883, Tls()),
        Broker("refuses", 8883, Tls()),
    )
    said = verb._judge(UplinkSettings("s", "b", brokers), folder)
    assert asked == [("takes", folder), ("refuses", folder)]
    assert said == {"takes:8883": (Verdict.ACCEPTED, ""), "refuses:8883": (Verdict.REFUSED, "no")}
