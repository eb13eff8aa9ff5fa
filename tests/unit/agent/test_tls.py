"""Which files a connection uses, and what is known of the time while the clock is not set."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.errors import ConfigError
from agent.identity.certificate import Pair, pem
from agent.tls import IdentityFolder, client_context, known_to_be_over_s
from agent.uplink import Broker, Tls, UplinkSettings
from provisioning.ca.authority import Authority, create


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return create(tmp_path_factory.mktemp("ca") / "ca", "Test city", b"correct horse battery", now=datetime.now(UTC))


def stored(folder: Path, city: Authority, pair: Pair) -> IdentityFolder:
    identity = IdentityFolder(folder)
    folder.mkdir()
    identity.pair.write_bytes(pair.pem())
    identity.ca.write_bytes(pem([city.root]))
    return identity


def trusted(context: ssl.SSLContext) -> int:
    return len(context.get_ca_certs())


def test_an_identity_is_used_once_it_is_there_and_for_what_is_not_given(city: Authority, tmp_path: Path) -> None:
    tls = Tls(identity=IdentityFolder(tmp_path / "identity"))
    assert tls.own() is None
    tls.context()
    identity = stored(tmp_path / "identity", city, city.client("x", now=datetime.now(UTC)))
    assert tls.own() == identity.pair
    assert [str(one["subject"]) for one in tls.context().get_ca_certs()] == ["((('commonName', 'Test city root'),),)"]
    other = tmp_path / "other.pem"
    other.write_bytes(pem([city.root, city.issuing]))
    assert trusted(Tls(other, identity=identity).context()) == 2
    assert Tls(other, tmp_path / "c", tmp_path / "k", identity).own() == tmp_path / "c"


def test_a_damaged_identity_is_named_and_does_not_keep_the_agent_from_starting(city: Authority, tmp_path: Path) -> None:
    identity = stored(tmp_path / "identity", city, city.client("x", now=datetime.now(UTC)))
    identity.pair.write_bytes(b"")
    tls = Tls(identity=identity)
    with pytest.raises(ConfigError, match=r"box\.pem with key"):
        tls.context()
    UplinkSettings("s", "b", (Broker("h", 8883, tls),)).check()


def test_whoever_may_not_look_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", denied)
    with pytest.raises(ConfigError, match="may not look there"):
        Tls(identity=IdentityFolder(tmp_path)).context()


@pytest.mark.parametrize("is_set", [True, False])
def test_dates_are_left_to_openssl_while_the_clock_is_set(monkeypatch: pytest.MonkeyPatch, is_set: bool) -> None:
    monkeypatch.setattr("agent.tls.machine_clock_is_set", lambda: is_set)
    assert bool(client_context(None).verify_flags & 0x200000) is not is_set


def test_a_time_that_is_over_is_known_from_the_programs_age_and_from_our_own_certificate(
    city: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.tls.time.time", lambda: 0.0)
    assert datetime.fromtimestamp(known_to_be_over_s(None), UTC) == datetime(2026, 1, 1, tzinfo=UTC)
    signed = datetime.now(UTC)
    identity = stored(tmp_path / "identity", city, city.client("x", now=signed))
    known = datetime.fromtimestamp(known_to_be_over_s(identity.pair), UTC)
    assert signed - timedelta(hours=2) < known <= signed
    identity.pair.write_bytes(b"damaged")
    assert known_to_be_over_s(identity.pair) == known_to_be_over_s(None)
