"""The folder of an identity through power cuts and damage. The authority is real, the network between is not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from agent.identity import Identity, Outcome, Trust, Unusable, Verdict
from agent.identity.certificate import Certificate, make_request, new_key, pem
from agent.identity.est import Answer
from agent.tls import IdentityFolder
from provisioning.ca.authority import Authority, create

NAME = "cua-bac/gw-01"


class Est:
    """An EstServer whose authority is in the room. ago: how old what it signs is."""

    url = "https://ca.example"

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.ago = timedelta()
        self.asked = 0

    def _now(self) -> datetime:
        return datetime.now(UTC) - self.ago

    def authorities(self, trusted: str, *, ours: Path | None = None) -> Answer:
        return Answer((self.authority.issuing, self.authority.root), datetime.now(UTC))

    def enrol(
        self, request: x509.CertificateSigningRequest, *, trusted: str, user: str, token: str
    ) -> tuple[Certificate, ...]:
        return (self.authority.enrol(request, token, now=self._now()),)

    def enrol_again(
        self, request: x509.CertificateSigningRequest, *, trusted: str, ours: Path
    ) -> tuple[Certificate, ...]:
        self.asked += 1
        shown = x509.load_pem_x509_certificate(ours.read_bytes())
        return (self.authority.enrol_again(request, shown, now=self._now()),)


@pytest.fixture
def est(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Est:
    est = Est(
        create(tmp_path / "ca", "Test city", b"correct horse battery", now=datetime.now(UTC) - timedelta(days=800))
    )
    monkeypatch.setattr("agent.identity.identity.EstServer", lambda url: est)
    return est


def enrol(box: Identity, est: Any, token: str) -> None:
    box.enrol(est, user="", token=token, trust=Trust(ca=pem([est.authority.root])))


def enrolled(folder: Path, est: Est, *, days_ago: int) -> Identity:
    box = Identity(folder, NAME)
    est.ago = timedelta(days=days_ago)
    enrol(box, est, est.authority.new_token(NAME, hours=1, now=datetime.now(UTC) - est.ago))
    est.ago = timedelta()
    return box


def accepts(folder: IdentityFolder) -> dict[str, tuple[Verdict, str]]:
    return {"broker": (Verdict.ACCEPTED, "")}


class PowerCut(BaseException):
    pass


@contextmanager
def power_cut_before(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[list[str]]:
    """Before the disk's change of that number, from 0. Gives the changes that were made."""
    done: list[str] = []
    changes = ("replace", "unlink", "rmdir", "mkdir", "fsync")

    def guarded(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def change(*arguments: Any, **named: Any) -> object:
            if len(done) == step:
                raise PowerCut
            done.append(name)
            return real(*arguments, **named)

        return change

    with monkeypatch.context() as patched:
        for name in changes:
            patched.setattr(os, name, guarded(name, getattr(os, name)))
        yield done


def test_a_renewal_survives_a_power_cut_at_every_step(
    tmp_path: Path, est: Est, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = 0
    for step in range(100):
        box = enrolled(tmp_path / f"box-{step}", est, days_ago=250)
        old = box.pair()
        assert old is not None
        with power_cut_before(monkeypatch, step):
            try:
                box.renew(accepts)
                break
            except PowerCut:
                cuts += 1
        found = box.pair()
        assert found is not None, f"step {step}: neither the old pair nor the new one"
        Identity(box.folder.path, NAME).renew(accepts)
        after = box.pair()
        assert after is not None
        assert after.certificate.serial_number != old.certificate.serial_number
        assert sorted(path.name for path in box.folder.path.iterdir() if path.name != "next") == [
            "box.pem",
            "ca.pem",
            "server",
        ]
    assert cuts > 10
    assert cuts == step, "the last run was whole"


def test_an_enrolment_survives_a_power_cut_at_every_step(
    tmp_path: Path, est: Est, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = 0
    for step in range(100):
        box = Identity(tmp_path / f"box-{step}", NAME)
        token = est.authority.new_token(NAME, hours=1, now=datetime.now(UTC))
        with power_cut_before(monkeypatch, step):
            try:
                enrol(box, est, token)
                break
            except PowerCut:
                cuts += 1
        if box.pair() is None:
            enrol(Identity(box.folder.path, NAME), est, token)
        pair = box.pair()
        assert pair is not None
        # The token went to one key only, though it was shown more than once.
        valid = [one for one in est.authority.issued() if one.state(datetime.now(UTC)) == "valid"]
        assert [one.serial for one in valid] == [f"{pair.certificate.serial_number:x}"]
    assert cuts > 8
    assert cuts == step, "the last run was whole"


@pytest.mark.parametrize("content", [b"", b"\x00" * 4096, b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_damaged_pair_is_told_by_its_name_and_a_new_enrolment_mends_it(
    tmp_path: Path, est: Est, content: bytes
) -> None:
    box = enrolled(tmp_path / "box", est, days_ago=1)
    box.folder.pair.write_bytes(content)
    with pytest.raises(Unusable, match=r"box\.pem: damaged") as caught:
        box.pair()
    assert caught.value.reason == "files"
    enrolled(tmp_path / "box", est, days_ago=1)
    assert box.pair() is not None


def test_a_damaged_renewal_is_thrown_away_and_asked_for_again(tmp_path: Path, est: Est) -> None:
    box = enrolled(tmp_path / "box", est, days_ago=250)
    with pytest.raises(Unusable):
        box.renew(lambda _: {"broker": (Verdict.AWAY, "no answer")})
    (box.folder.path / "next" / "box.pem").write_bytes(b"")
    assert box.renew(accepts) is Outcome.RENEWED
    assert est.asked == 2


@pytest.mark.parametrize(
    ("new", "old", "switches"),
    [
        pytest.param(Verdict.ACCEPTED, Verdict.ACCEPTED, True, id="both are taken"),
        pytest.param(Verdict.REFUSED, Verdict.ACCEPTED, False, id="only the old one"),
        pytest.param(Verdict.REFUSED, Verdict.REFUSED, True, id="neither, so the new one is no worse"),
        pytest.param(Verdict.REFUSED, Verdict.AWAY, True, id="the old one cannot be said to work"),
        pytest.param(Verdict.AWAY, Verdict.AWAY, False, id="nobody to ask"),
    ],
)
def test_the_new_pair_takes_over_unless_a_broker_takes_the_old_one_alone(
    tmp_path: Path, est: Est, new: Verdict, old: Verdict, switches: bool
) -> None:
    box = enrolled(tmp_path / "box", est, days_ago=250)
    before = box.folder.pair.read_bytes()

    def judge(folder: IdentityFolder) -> dict[str, tuple[Verdict, str]]:
        return {"a": (old if folder == box.folder else new, "why"), "b": (Verdict.AWAY, "no answer")}

    if switches:
        assert box.renew(judge) is Outcome.RENEWED
    else:
        with pytest.raises(Unusable, match=r"why|no answer"):
            box.renew(judge)
    assert (box.folder.pair.read_bytes() != before) is switches


def test_with_the_old_one_over_there_is_nothing_to_wait_for(
    tmp_path: Path, est: Est, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No authority renews for a certificate that is over; a renewal that lay ready takes its place."""
    box = enrolled(tmp_path / "box", est, days_ago=360)
    with pytest.raises(Unusable):
        box.renew(lambda _: {"broker": (Verdict.AWAY, "no answer")})

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) + timedelta(days=10)

    monkeypatch.setattr("agent.identity.identity.datetime", Later)
    monkeypatch.setattr("agent.identity.identity.machine_clock_is_set", lambda: True)
    assert box.renew(lambda _: {"broker": (Verdict.AWAY, "no answer")}) is Outcome.RENEWED


def test_an_answer_for_another_box_or_another_key_is_not_taken(tmp_path: Path, est: Est) -> None:
    box = enrolled(tmp_path / "box", est, days_ago=1)
    before, trust, now = box.folder.pair.read_bytes(), Trust(ca=pem([est.authority.root])), datetime.now(UTC)
    for name, key, words in ((NAME, new_key(), "for another key"), ("cua-bac/gw-02", None, "is for 'cua-bac/gw-02'")):
        request = Identity(box.folder.path, name).request() if key is None else make_request(key, name)
        box.request()
        certificate = est.authority.sign(request, name, now=now)
        with pytest.raises(Unusable, match=words):
            box.take(pem([certificate, est.authority.issuing]), trust)
        assert box.folder.pair.read_bytes() == before


def test_two_commands_at_once_take_turns(tmp_path: Path, est: Est) -> None:
    box = enrolled(tmp_path / "box", est, days_ago=250)

    def meanwhile(folder: IdentityFolder) -> dict[str, tuple[Verdict, str]]:
        with pytest.raises(Unusable, match="is at work"):
            Identity(box.folder.path, NAME).request()
        return {}

    assert box.renew(meanwhile) is Outcome.RENEWED


def test_a_box_that_was_certified_by_hand_is_told_to_renew_by_hand(tmp_path: Path, est: Est) -> None:
    box, then = Identity(tmp_path / "box", NAME), datetime.now(UTC) - timedelta(days=250)
    certificate = est.authority.sign(box.request(), NAME, now=then)
    box.take(pem([certificate, est.authority.issuing]), Trust(ca=pem([est.authority.root])))
    with pytest.raises(Unusable, match="brought by hand") as caught:
        box.renew(accepts)
    assert caught.value.reason == "by-hand"


def test_a_box_that_is_not_enrolled_has_nothing_to_renew(tmp_path: Path) -> None:
    assert Identity(tmp_path / "box", NAME).renew(accepts) is Outcome.NOT_ENROLLED


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_makes_belongs_to_the_service(tmp_path: Path, est: Est) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65534, 65534)
    box = enrolled(state / "identity", est, days_ago=250)
    box.renew(accepts)
    owners = {path.name: path.stat().st_uid for path in (box.folder.path, box.folder.pair)}
    assert owners == {"identity": 65534, "box.pem": 65534}
    assert box.folder.pair.stat().st_mode & 0o777 == 0o600
