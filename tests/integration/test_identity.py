"""Certificates where they count: the authority's server, the broker as it is shipped, boxes good and bad.

"Stolen" means that somebody has a box's whole identity folder, and everything else a box has, too.
"""

from __future__ import annotations

import base64
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from agent.clock import machine_clock_is_set
from agent.errors import UplinkDown
from agent.identity import EstServer, Identity, Outcome, Trust, Unusable, Verdict, fingerprint
from agent.identity.certificate import key_pem, make_request, new_key, read_certificates, request_pem
from agent.tls import IdentityFolder, client_context
from agent.uplink import Broker
from agent.uplink.knock import CertificateRefused, knock
from agent.uplink.link import Link, Will
from agent.uplink.subscriber import Subscriber
from tests.fault.rig import clock_shim
from tests.support.city import City, CityBroker, utc_now
from tests.support.command import Agent, gateway_agent, write_config
from tests.support.consumer import Consumer, eventually
from tests.support.mosquitto import PROGRAM
from tests.support.traffic import write_traffic

if PROGRAM is None:
    pytest.skip("no mosquitto; apt-get install mosquitto", allow_module_level=True)

# Python's ssl leaves the socket of a failed handshake to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NOT_AUTHORISED = 0x87
BY = b"somebody"
CHANNELS = ("state", "health", "alert/north", "count/north", "reading/dust", "evidence/4-1a", "reply", "command")
TOP = Path(__file__).resolve().parents[2]


@pytest.fixture
def city(tmp_path: Path) -> City:
    return City(tmp_path / "city")


@pytest.fixture
def serving(city: City) -> Iterator[City]:
    with city.serving():
        yield city


@pytest.fixture
def broker(city: City) -> Iterator[CityBroker]:
    with city.broker() as broker:
        yield broker


def own_config(folder: Path, source: Path, *, camera: str = "", broker: str = "") -> Path:
    """With TLS, and the identity in the folder."""
    config = write_config(folder, source, camera=camera, broker=broker)
    text = config.read_text().replace("[box]", f'[box]\nidentity = "{folder / "identity"}"', 1)
    config.write_text(text.replace("tls = false\n", ""))
    return config


def answer(broker: Broker, topic: str) -> int:
    """To a message there: 0 taken, 16 taken and nobody listens, 128 and more refused."""
    link = Link(broker, client_id="any")
    link.open()
    mid = link.publish(topic, BY)
    try:
        assert eventually(lambda: (link.drive(0.05), bool(link.acks))[1])
    except UplinkDown:
        pass  # mosquitto 2.0 says why it refuses a message and hangs up in one breath
    finally:
        link.close()
    acked, code = link.acks.popleft()
    assert acked == mid
    return code


def heard(ioc: Subscriber) -> list[str]:
    """The topics of what came, in order, until it is quiet."""
    topics = []
    while (message := ioc.next(0.5)) is not None:
        topics.append(message.topic)
    return topics


def refused(broker: Broker) -> str:
    """What the link says that must not come up."""
    link = Link(broker, client_id="any", timeout_s=5.0)
    with pytest.raises(UplinkDown) as caught:
        link.open()
    words = str(caught.value)
    del caught
    gc.collect()
    return words


def is_taken(broker: Broker) -> bool:
    assert broker.tls is not None
    try:
        knock(broker, broker.tls)
    except CertificateRefused:
        return False
    return True


def knocked(broker: Broker) -> str:
    assert broker.tls is not None
    with pytest.raises(CertificateRefused) as caught:
        knock(broker, broker.tls)
    words = str(caught.value)
    del caught
    gc.collect()
    return words


# ---- at the broker ---------------------------------------------------------------------------------------------------


def test_a_box_says_what_is_its_own_and_hears_its_commands(city: City, broker: CityBroker) -> None:
    box = city.signed("cua-bac/gw-01")
    own = ["state", "health", "alert/north", "count/north", "reading/dust", "evidence/4-1a", "reply", "reply/x/7"]
    topics = [f"gw/v1/cua-bac/gw-01/{topic}" for topic in own]
    with Subscriber(city.ioc(broker), ["gw/v1/#"]) as ioc:
        assert [answer(broker.seen_by(box.folder), topic) for topic in topics] == [0] * len(topics)
        assert heard(ioc) == topics
        with Subscriber(broker.seen_by(box.folder), ["gw/v1/cua-bac/gw-01/command"]) as listening:
            ioc.publish("gw/v1/cua-bac/gw-01/command", BY)
            assert heard(listening) == ["gw/v1/cua-bac/gw-01/command"]


def test_whoever_stole_a_certificate_speaks_for_that_box_alone(city: City, broker: CityBroker) -> None:
    stolen = broker.seen_by(city.signed("cua-bac/gw-01").folder)
    topics = [
        *(f"gw/v1/cua-bac/gw-02/{channel}" for channel in CHANNELS),
        *(f"gw/v1/{name}/state" for name in ("cua-nam/gw-01", "cua-bac/gw-010", "cua-bac")),
        *("gw/v1/cua-bac/gw-01/command", "gw/v1/cua-bac/gw-01", "gw/v2/x", "x", "$SYS/x"),
    ]
    with Subscriber(city.ioc(broker), ["#"]) as ioc:
        answers = {topic: answer(stolen, topic) for topic in topics}
        assert {topic: code for topic, code in answers.items() if code != NOT_AUTHORISED} == {}
        assert heard(ioc) == []
        assert answer(stolen, "gw/v1/cua-bac/gw-01/health") == 0
        assert heard(ioc) == ["gw/v1/cua-bac/gw-01/health"]


def test_whoever_stole_a_certificate_hears_what_is_for_that_box_alone(city: City, broker: CityBroker) -> None:
    stolen, honest = city.signed("cua-bac/gw-01"), city.signed("cua-bac/gw-02")
    with Subscriber(city.ioc(broker), ["gw/v1/#"]) as ioc, Link(broker.seen_by(stolen.folder), client_id="x") as thief:
        for pattern in ("#", "gw/v1/#", "gw/v1/+/+/command", "gw/v1/cua-bac/gw-02/#"):
            thief.subscribe(pattern)
        assert answer(broker.seen_by(honest.folder), "gw/v1/cua-bac/gw-02/alert/north") == 0
        for name in ("gw-02", "gw-01"):
            ioc.publish(f"gw/v1/cua-bac/{name}/command", BY)
        assert eventually(lambda: (thief.drive(0.05), bool(thief.messages))[1])
        thief.drive(0.5)
        assert {message.topic for message in thief.messages} == {"gw/v1/cua-bac/gw-01/command"}


def test_a_stolen_certificate_leaves_no_last_will_for_another_box(city: City, broker: CityBroker) -> None:
    stolen, honest = city.signed("cua-bac/gw-01"), city.signed("cua-bac/gw-02")
    with Subscriber(city.ioc(broker), ["gw/v1/#"]) as ioc:
        for box in (stolen, honest):
            will = Will("gw/v1/cua-bac/gw-02/state", box.name.encode())
            link = Link(broker.seen_by(box.folder), client_id="x", will=will)
            try:
                link.open()
            except UplinkDown:
                assert box is stolen
            link.close()  # without a goodbye
        message = ioc.next(10)
        assert message is not None
        assert message.payload == b"cua-bac/gw-02"
        assert ioc.next(0.5) is None


def test_a_stolen_certificate_does_not_throw_another_box_out(city: City, broker: CityBroker) -> None:
    stolen, honest = city.signed("cua-bac/gw-01"), city.signed("cua-bac/gw-02")
    with Link(broker.seen_by(honest.folder), client_id="gw-cua-bac-gw-02") as link:
        with Link(broker.seen_by(stolen.folder), client_id="gw-cua-bac-gw-02") as thief:
            thief.drive(0.5)
        link.publish("gw/v1/cua-bac/gw-02/health", BY)
        assert eventually(lambda: (link.drive(0.05), bool(link.acks))[1])


def test_a_name_of_the_centre_opens_no_boxs_topics(city: City, broker: CityBroker) -> None:
    """A plain name, without the prefix, would be a site's, and its pattern that of all its boxes."""
    at = broker.seen_by(city.save(city.authority.client("cua-bac", now=utc_now()), "cua-bac"))
    for topic in ("gw/v1/cua-bac/alert/north", "gw/v1/cua-bac/gw-01/state", "gw/v1/cua-bac/gw-01/command"):
        assert answer(at, topic) == NOT_AUTHORISED
    assert answer(city.ioc(broker), "gw/v1/cua-bac/gw-01/state") == NOT_AUTHORISED


def test_who_has_no_valid_certificate_does_not_come_in(city: City, broker: CityBroker, tmp_path: Path) -> None:
    city.ago = timedelta(days=800)
    expired = city.signed_long_ago("cua-bac/gw-01")
    city.ago = timedelta()
    stranger = City(tmp_path / "other").signed("cua-bac/gw-01").folder
    stranger.ca.write_bytes(city.ca.read_bytes())
    server = city.save(city.authority.server(["localhost"], now=utc_now()), "a broker's own")
    assert "has expired" in knocked(broker.seen_by(expired))
    assert "wants a certificate" in knocked(broker.seen_by(None))
    assert "does not know the authority" in knocked(broker.seen_by(stranger))
    assert "certificate" in knocked(broker.seen_by(server))
    assert "wants a certificate" in refused(broker.seen_by(None))
    assert "has expired" in refused(broker.seen_by(expired))


def test_a_revoked_box_does_not_come_in_and_the_others_do(city: City, broker: CityBroker) -> None:
    stolen, honest = city.signed("cua-bac/gw-01"), city.signed("cua-bac/gw-02")
    at = broker.seen_by(stolen.folder)
    with Link(at, client_id="a") as link:
        city.authority.revoke("cua-bac/gw-01", "key_compromise", now=utc_now())
        broker.take_crl()
        broker.reload()
        assert eventually(lambda: not is_taken(at))
        assert "was revoked" in refused(at)
        link.publish("gw/v1/cua-bac/gw-01/health", BY)  # the reload does not end what was open
        assert eventually(lambda: (link.drive(0.05), bool(link.acks))[1])
    broker.restart()
    assert "was revoked" in knocked(at)
    assert answer(broker.seen_by(honest.folder), "gw/v1/cua-bac/gw-02/health") < 128


def test_a_broker_whose_list_is_over_takes_nobody_in(city: City, broker: CityBroker) -> None:
    """Why crl.pem must be fetched by a timer, as README.md says."""
    at = broker.seen_by(city.signed("cua-bac/gw-01").folder)
    assert is_taken(at)
    city.authority.write_crl(now=utc_now() - timedelta(days=91))
    broker.take_crl()
    broker.restart()
    assert not is_taken(at)


# ---- at the authority ------------------------------------------------------------------------------------------------


def test_a_box_enrols_with_a_fingerprint_and_a_token_and_keeps_its_key_to_itself(serving: City) -> None:
    box = serving.box("cua-bac/gw-01")
    token = serving.authority.new_token(box.name, hours=1, now=utc_now())
    trust = Trust(fingerprint=fingerprint(serving.authority.root))
    certificate = box.enrol(EstServer(serving.server_url), user="any", token=token.lower(), trust=trust)
    pair = box.pair()
    assert pair is not None
    assert pair.certificate == certificate
    assert box.folder.ca.read_bytes() == serving.ca.read_bytes()
    assert {path.name: path.stat().st_mode & 0o777 for path in box.folder.path.iterdir()} == {
        "box.pem": 0o600,
        "ca.pem": 0o644,
        "server": 0o644,
    }
    key = box.folder.pair.read_bytes().partition(b"-----END")[0].split(b"\n")[1]
    assert not any(key in path.read_bytes() for path in (serving.folder / "ca").iterdir())


@pytest.mark.parametrize(
    ("token_of", "hours_later", "spent", "words"),
    [
        pytest.param("cua-bac/gw-02", 0, False, "not known, or not for this box", id="another box's"),
        pytest.param(None, 0, False, "not known, or not for this box", id="guessed"),
        pytest.param("cua-bac/gw-01", 2, False, "ended on", id="expired"),
        pytest.param("cua-bac/gw-01", 0, True, "has been used", id="used by another key"),
    ],
)
def test_a_token_serves_one_box_once_and_in_time(
    serving: City, token_of: str | None, hours_later: int, spent: bool, words: str
) -> None:
    token = "AAAA-BBBB-CCCC-DDDD"
    if token_of is not None:
        token = serving.authority.new_token(token_of, hours=1, now=utc_now())
    trust = Trust(ca=serving.ca.read_bytes())
    if spent:
        first = Identity(serving.folder / "first", "cua-bac/gw-01")
        first.enrol(EstServer(serving.server_url), user="", token=token, trust=trust)
    serving.ago = -timedelta(hours=hours_later)
    box = serving.box("cua-bac/gw-01")
    with pytest.raises(Unusable, match=words) as caught:
        box.enrol(EstServer(serving.server_url), user="", token=token, trust=trust)
    assert caught.value.reason == "refused"
    assert box.pair() is None


def test_an_answer_that_was_lost_is_given_again_to_the_same_key(serving: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power fails between the authority's signature and our disk: the token is spent, the key is there."""
    box = serving.box("cua-bac/gw-01")
    token = serving.authority.new_token(box.name, hours=1, now=utc_now())
    trust = Trust(ca=serving.ca.read_bytes())

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("agent.identity.identity.Identity._accept", power_cut)
        with pytest.raises(KeyboardInterrupt):
            box.enrol(EstServer(serving.server_url), user="", token=token, trust=trust)
    assert box.pair() is None
    certificate = box.enrol(EstServer(serving.server_url), user="", token=token, trust=trust)
    assert [one.serial for one in serving.authority.issued() if one.use == "box"] == [f"{certificate.serial_number:x}"]


def test_a_box_that_enrols_anew_takes_the_place_of_the_one_before(serving: City) -> None:
    old = serving.enrolled("cua-bac/gw-01").pair()
    serving.box("cua-bac/gw-01").folder.pair.unlink()
    serving.enrolled("cua-bac/gw-01")
    assert old is not None
    states = {one.serial: one.state(utc_now()) for one in serving.authority.issued() if one.use == "box"}
    assert states.pop(f"{old.certificate.serial_number:x}") == "revoked (superseded)"
    assert [*states.values()] == ["valid"]


@pytest.mark.parametrize("how", ["fingerprint", "ca"])
def test_a_token_is_not_told_to_an_authority_that_is_not_the_one_meant(serving: City, tmp_path: Path, how: str) -> None:
    other = City(tmp_path / "other")
    trust = (
        Trust(fingerprint=fingerprint(other.authority.root))
        if how == "fingerprint"
        else Trust(ca=other.ca.read_bytes())
    )
    box = serving.box("cua-bac/gw-01")
    token = serving.authority.new_token(box.name, hours=1, now=utc_now())
    with pytest.raises(Unusable) as caught:
        box.enrol(EstServer(serving.server_url), user="", token=token, trust=trust)
    assert caught.value.reason == "untrusted"
    # Not spent, so never heard.
    box.enrol(EstServer(serving.server_url), user="", token=token, trust=Trust(ca=serving.ca.read_bytes()))


def test_a_server_by_another_name_is_not_trusted(city: City) -> None:
    with city.serving("elsewhere.example"):
        box = city.box("cua-bac/gw-01")
        with pytest.raises(Unusable, match="certificate is not accepted: Hostname mismatch"):
            box.enrol(
                EstServer(city.server_url),
                user="",
                token="AAAA",
                trust=Trust(fingerprint=fingerprint(city.authority.root)),
            )


def raw(city: City, request: bytes) -> bytes:
    """What the server says to these bytes, behind TLS."""
    context = client_context(city.ca)
    port = int(city.server_url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(request)
        answer = b""
        while part := sock.recv(4096):
            answer += part
    return answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"GET /.well-known/est/csrattrs HTTP/1.0\r\n\r\n", 204, id="wishes for requests"),
        pytest.param(b"GET /crl.pem HTTP/1.0\r\n\r\n", 200, id="the list"),
        pytest.param(b"GET /../ca.db HTTP/1.0\r\n\r\n", 404, id="a file of the authority"),
        pytest.param(b"GET /issuing.key HTTP/1.0\r\n\r\n", 404, id="its key"),
        pytest.param(b"POST /.well-known/est/simpleenroll HTTP/1.0\r\n\r\n", 400, id="no length"),
        pytest.param(
            b"POST /.well-known/est/simpleenroll HTTP/1.0\r\nContent-Length: 99999999\r\n\r\n", 400, id="too long"
        ),
        pytest.param(
            b"POST /.well-known/est/simpleenroll HTTP/1.0\r\nContent-Length: -1\r\n\r\n", 400, id="a negative length"
        ),
        pytest.param(
            b"POST /.well-known/est/simpleenroll HTTP/1.0\r\nContent-Length: 4\r\n\r\nMAA=", 400, id="no request"
        ),
        pytest.param(b"BREW /pot HTTP/1.0\r\n\r\n", 501, id="another method"),
    ],
)
def test_the_server_answers_whatever_it_is_sent(serving: City, request_: bytes, status: int) -> None:
    assert raw(serving, request_).split()[1] == str(status).encode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param("", 401, id="no token"),
        pytest.param("Authorization: Bearer x", 401, id="another kind of login"),
        pytest.param("Authorization: Basic ####", 401, id="not base64"),
        pytest.param("Authorization: Basic Z3c6", 401, id="an empty token"),
        pytest.param("Authorization: Basic Z3c6eA==", 403, id="a wrong token"),
    ],
)
def test_a_request_without_a_good_token_is_refused(serving: City, headers: str, status: int) -> None:
    csr = base64.b64encode(make_request(new_key(), "cua-bac/gw-01").public_bytes(Encoding.DER))
    for what, wanted in (("simpleenroll", status), ("simplereenroll", 401)):
        head = f"POST /.well-known/est/{what} HTTP/1.0\r\nContent-Length: {len(csr)}\r\n{headers}\r\n\r\n"
        answer = raw(serving, head.replace("\r\n\r\n\r\n", "\r\n\r\n").encode() + csr)
        assert answer.split()[1] == str(wanted).encode()
    assert [one for one in serving.authority.issued() if one.use == "box"] == []


def test_every_day_the_list_is_made_anew_and_the_servers_certificate_when_it_is_time(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioning.ca.server._REFRESH_S", 0.0)
    crl = city.folder / "ca" / "crl.pem"

    def own() -> int:
        return len([one for one in city.authority.issued() if one.use == "server"])

    city.ago = timedelta(days=50)
    with city.serving():
        first = crl.read_bytes()
        assert eventually(lambda: crl.read_bytes() != first)
        assert own() == 1
        city.ago = timedelta(days=-11)
        assert eventually(lambda: own() == 2)
        city.ago = timedelta()
        city.enrolled("cua-bac/gw-01")
    assert [path.name for path in (city.folder / "ca").iterdir() if path.is_dir()] == []


def test_who_stalls_in_the_handshake_holds_up_nobody(serving: City) -> None:
    port = int(serving.server_url.rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    try:
        serving.enrolled("cua-bac/gw-01")
    finally:
        for sock in silent:
            sock.close()


PKI = shutil.which("pki")


@pytest.mark.skipif(PKI is None, reason="no strongSwan; apt-get install strongswan-pki libstrongswan-standard-plugins")
def test_a_client_that_others_wrote_enrols_and_renews(serving: City, tmp_path: Path) -> None:
    """strongSwan's, which is stricter than ours about HTTP and base64."""
    authorities = [
        word for name in ("ca.pem", "issuing.crt") for word in ("--cacert", str(serving.folder / "ca" / name))
    ]

    def pki(verb: str, *arguments: str) -> bytes:
        command = [str(PKI), verb, "--url", serving.server_url, *arguments, *authorities, "--outform", "pem"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def asked(name: str) -> list[str]:
        key = new_key()
        (tmp_path / f"{name}.key").write_bytes(key_pem(key))
        (tmp_path / f"{name}.csr").write_bytes(request_pem(make_request(key, "cua-bac/gw-01")))
        return ["--in", str(tmp_path / f"{name}.csr")]

    pki("--estca", "--caout", str(tmp_path / "got.pem"))
    token = serving.authority.new_token("cua-bac/gw-01", hours=1, now=utc_now())
    first = tmp_path / "first.crt"
    first.write_bytes(pki("--est", *asked("first"), "--userpass", f"gw:{token}"))
    shown = ["--cert", str(first), "--key", str(tmp_path / "first.key")]
    second = pki("--est", *asked("second"), *shown)
    serials = {f"{read_certificates(content)[0].serial_number:x}" for content in (first.read_bytes(), second)}
    assert serials == {one.serial for one in serving.authority.issued() if one.use == "box"}
    assert len(serials) == 2


# ---- renewal ---------------------------------------------------------------------------------------------------------


def accepts(folder: IdentityFolder) -> dict[str, tuple[Verdict, str]]:
    return {"broker": (Verdict.ACCEPTED, "")}


def old_box(city: City) -> Identity:
    """Enrolled so long ago that it is time to renew."""
    city.ago = timedelta(days=250)
    box = city.enrolled("cua-bac/gw-01")
    city.ago = timedelta()
    return box


def test_renewal_waits_until_a_third_is_left_and_then_changes_key_and_certificate(serving: City) -> None:
    serving.ago = timedelta(days=240)
    box = serving.enrolled("cua-bac/gw-01")
    serving.ago = timedelta()
    assert box.renew(accepts) is Outcome.NOT_DUE
    box = old_box(serving)
    before = box.pair()
    assert box.renew(accepts) is Outcome.RENEWED
    after = box.pair()
    assert before is not None
    assert after is not None
    assert after.key.public_key() != before.key.public_key()
    assert after.certificate.not_valid_after_utc > utc_now() + timedelta(days=360)
    assert sorted(path.name for path in box.folder.path.iterdir()) == ["box.pem", "ca.pem", "server"]
    assert box.renew(accepts) is Outcome.NOT_DUE


def test_the_old_pair_stays_until_a_broker_takes_the_new_one(serving: City, broker: CityBroker) -> None:
    box = old_box(serving)
    before = box.folder.pair.read_bytes()
    asked = []

    def away(folder: IdentityFolder) -> dict[str, tuple[Verdict, str]]:
        asked.append(folder.pair.read_bytes())
        return {"broker": (Verdict.AWAY, "no answer")}

    def only_the_old(folder: IdentityFolder) -> dict[str, tuple[Verdict, str]]:
        new = folder != box.folder
        return {"broker": (Verdict.REFUSED, "unknown authority") if new else (Verdict.ACCEPTED, "")}

    for judge in (away, only_the_old, away):
        with pytest.raises(Unusable) as caught:
            box.renew(judge)
        assert caught.value.reason == "broker"
        assert box.folder.pair.read_bytes() == before
    assert asked[0] == asked[1], "the authority is not asked again for what there is"

    def knocks(folder: IdentityFolder) -> dict[str, tuple[Verdict, str]]:
        at = broker.seen_by(folder)
        assert at.tls is not None
        knock(at, at.tls)
        return {"broker": (Verdict.ACCEPTED, "")}

    assert box.renew(knocks) is Outcome.RENEWED
    assert box.folder.pair.read_bytes() == asked[0]


def test_a_revoked_box_gets_no_new_certificate(serving: City) -> None:
    box = old_box(serving)
    serving.authority.revoke("cua-bac/gw-01", "key_compromise", now=utc_now())
    with pytest.raises(Unusable, match="was revoked") as caught:
        box.renew(accepts)
    assert caught.value.reason == "refused"


def test_a_stolen_certificate_renews_in_no_other_name(serving: City) -> None:
    thief = old_box(serving)
    thief.name = "cua-bac/gw-02"
    with pytest.raises(Unusable, match="is for 'cua-bac/gw-01', the request for 'cua-bac/gw-02'"):
        thief.renew(accepts)


# ---- clocks ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock_is_set(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> bool:
    is_set: bool = request.param
    for module in ("agent.tls", "agent.identity.identity"):
        monkeypatch.setattr(f"{module}.machine_clock_is_set", lambda: is_set)
    return is_set


@pytest.mark.parametrize("clock_is_set", [True, False], indirect=True)
@pytest.mark.parametrize("days_off", [2, -200])
def test_a_beginning_that_has_not_come_is_forgiven_while_the_clock_is_unset_and_an_end_never(
    city: City, clock_is_set: bool, days_off: int
) -> None:
    """days_off: how far the authority's clock is ahead of ours when it makes its own certificate, of 90 days."""
    city.ago = timedelta(days=-days_off)
    with city.serving():
        city.ago = timedelta()
        token = city.authority.new_token("cua-bac/gw-01", hours=1, now=utc_now())
        trust = Trust(ca=city.ca.read_bytes())
        box = city.box("cua-bac/gw-01")
        if days_off > 0 and not clock_is_set:
            assert box.enrol(EstServer(city.server_url), user="", token=token, trust=trust)
            return
        with pytest.raises(Unusable, match="not yet valid" if days_off > 0 else "has expired") as caught:
            box.enrol(EstServer(city.server_url), user="", token=token, trust=trust)
        assert caught.value.reason == "untrusted"


@pytest.mark.parametrize("clock_is_set", [True, False], indirect=True)
@pytest.mark.parametrize("days_off", [2, -900])
def test_the_link_to_the_broker_judges_dates_alike(city: City, clock_is_set: bool, days_off: int) -> None:
    pair = city.authority.server(["localhost"], now=utc_now() + timedelta(days=days_off))
    box = city.signed("cua-bac/gw-01")
    with CityBroker(city.folder / "broker", city, pair) as broker:
        if days_off > 0 and not clock_is_set:
            assert answer(broker.seen_by(box.folder), "gw/v1/cua-bac/gw-01/health") < 128
        else:
            wanted = "not yet valid" if days_off > 0 else "has expired"
            assert f"certificate was not accepted: certificate {'is ' if days_off > 0 else ''}{wanted}" in refused(
                broker.seen_by(box.folder)
            )


@pytest.mark.parametrize("clock_is_set", [True, False], indirect=True)
def test_a_box_whose_clock_is_unset_renews_by_the_authoritys(serving: City, clock_is_set: bool) -> None:
    box = serving.enrolled("cua-bac/gw-01")
    serving.ago = -timedelta(days=250)  # they are there already, and for us time has stood still
    assert box.renew(accepts) is (Outcome.NOT_DUE if clock_is_set else Outcome.RENEWED)


@pytest.mark.skipif(machine_clock_is_set(), reason="this machine's clock is set, and no process believes otherwise")
def test_a_box_that_believes_it_is_1970_enrols_reports_and_does_not_take_an_expired_broker(
    serving: City, broker: CityBroker, tmp_path: Path
) -> None:
    """The verb and the agent as processes of their own, whose wall clock stands at the beginning of 1970."""
    shim = clock_shim(tmp_path)
    if shim is None:
        pytest.skip("no compiler; apt-get install gcc libc6-dev")
    (tmp_path / "clock-offset-s").write_text(str(86400 - int(utc_now().timestamp())))
    in_1970 = {"LD_PRELOAD": str(shim), "FAULT_CONTROL": str(tmp_path)}
    clip = write_traffic(tmp_path / "traffic.mp4", 2)
    config = own_config(tmp_path, clip, camera="loop = true", broker=f'host = "localhost"\nport = {broker.port}\n')
    token = tmp_path / "token"
    token.write_text(serving.authority.new_token("test/gw", hours=1, now=utc_now()))
    enrol = ("--server", serving.server_url, "--ca", serving.ca, "--token-file", token)
    done = gateway_agent("identity", "enrol", "--config", config, *enrol, **in_1970)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"until {utc_now() + timedelta(days=365):%Y}" in done.stdout
    done = gateway_agent("identity", "renew", "--config", config, **in_1970)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not yet time to renew" in done.stdout
    with Consumer(serving.ioc(broker)) as ioc, Agent(config, **in_1970) as agent:
        assert eventually(lambda: any(m["kind"] == "crossing" for m in list(ioc.messages)), 60)
        stale = serving.authority.server(["localhost"], now=utc_now() - timedelta(days=900))
        broker.show(stale)
        broker.restart()
        assert eventually(lambda: "certificate was not accepted: certificate has expired" in agent.log(), 60)


# ---- the whole way ---------------------------------------------------------------------------------------------------


def test_the_agent_enrols_connects_renews_and_connects_with_the_new_one(
    serving: City, broker: CityBroker, tmp_path: Path
) -> None:
    clip = write_traffic(tmp_path / "traffic.mp4", 2)
    config = own_config(tmp_path, clip, camera="loop = true", broker=f'host = "localhost"\nport = {broker.port}\n')
    serving.ago = timedelta(days=250)
    token = tmp_path / "token"
    token.write_text(serving.authority.new_token("test/gw", hours=1, now=serving.now()))
    root = fingerprint(serving.authority.root)
    enrol = ("--server", serving.server_url, "--fingerprint", root, "--token-file", token)
    with Consumer(serving.ioc(broker)) as ioc, Agent(config) as agent:
        assert eventually(lambda: "the broker's certificate was not accepted" in agent.log(), 60)
        done = gateway_agent("identity", "enrol", "--config", config, *enrol)
        assert (done.returncode, done.stderr) == (0, "")
        serving.ago = timedelta()
        first = Identity(tmp_path / "identity", "test/gw").pair()
        assert first is not None
        assert eventually(lambda: any(m["kind"] == "crossing" for m in list(ioc.messages)), 60)
        done = gateway_agent("identity", "renew", "--config", config)
        assert (done.returncode, done.stderr) == (0, "")
        assert "renewed" in done.stdout
        # Whoever still used the old one would now be turned away.
        serving.authority.revoke(f"{first.certificate.serial_number:x}", "superseded", now=utc_now())
        broker.take_crl()
        broker.restart()
        count = len(ioc.messages)
        assert eventually(lambda: len(ioc.messages) > count, 60)
        assert ioc.missing() == {}


def test_the_authority_by_its_own_commands(tmp_path: Path) -> None:
    """init, server, client, token, serve, revoke, list, as README.md shows them; the box by its own verb."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery\n")
    folder = tmp_path / "ca"

    def ca(*arguments: object) -> str:
        command = [sys.executable, "-m", "provisioning.ca", "--folder", folder, *arguments]
        done = subprocess.run([str(word) for word in command], cwd=TOP, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    root = ca("init", "--name", "Cửa Bắc", "--passphrase-file", passphrase).splitlines()[1].strip()
    ca("server", "localhost", "--out", tmp_path / "server")
    ca("client", "ioc", "--out", tmp_path / "ioc")
    token = tmp_path / "token"
    token.write_text(ca("token", "test/gw").splitlines()[0])
    config = own_config(tmp_path, tmp_path / "absent.mp4")
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "provisioning.ca",
            "--folder",
            folder,
            "serve",
            "--name",
            "localhost",
            "--listen",
            "127.0.0.1:0",
        ],
        cwd=TOP,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        port = server.stdout.readline().split()[-1]
        enrol = ("--server", f"localhost:{port}", "--fingerprint", root, "--token-file", token)
        done = gateway_agent("identity", "enrol", "--config", config, *enrol)
        server.send_signal(signal.SIGTERM)
        log = server.stderr.read()
        assert server.wait(10) == 0
    assert (done.returncode, done.stderr) == (0, "")
    assert token.read_text() not in log
    assert "CN=test/gw" in log
    assert "test/gw" in ca("list")
    assert (tmp_path / "server" / "server.key").stat().st_mode & 0o077 == 0
    ca("revoke", "test/gw")
    assert "test/gw" not in ca("list")
    assert "revoked (key_compromise)" in ca("list", "--all")
    assert os.listdir(tmp_path / "ioc") != []


def test_a_box_without_a_network_is_certified_by_file(city: City, tmp_path: Path) -> None:
    config = own_config(tmp_path, tmp_path / "absent.mp4")
    request, certificate = tmp_path / "box.csr", tmp_path / "box.crt"
    done = gateway_agent("identity", "request", "--config", config, "--request", request)
    assert (done.returncode, done.stderr) == (0, "")
    command = ["sign", str(request), "--box", "test/gw", "--out", str(certificate)]
    subprocess.run(
        [sys.executable, "-m", "provisioning.ca", "--folder", str(city.folder / "ca"), *command], cwd=TOP, check=True
    )
    take = ("--certificate", certificate, "--ca", city.ca)
    done = gateway_agent("identity", "enrol", "--config", config, *take)
    assert (done.returncode, done.stderr) == (0, "")
    done = gateway_agent("identity", "show", "--config", config)
    assert done.returncode == 0
    assert "test/gw, certified by Test city issuing" in done.stdout
    done = gateway_agent("identity", "enrol", "--config", config, *take)
    assert done.returncode == 1
    assert "no request is open" in done.stderr
