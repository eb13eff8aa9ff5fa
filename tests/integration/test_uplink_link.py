"""Getting a connection: TLS with client certificates, passwords, and who is turned away with what words."""

from __future__ import annotations

import gc
import ipaddress
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from tenacity import wait_fixed

from agent.contract.event import Stream
from agent.errors import ConfigError, UplinkDown
from agent.outbox import Outbox
from agent.uplink import Broker, Login, Tls, Uplink, UplinkSettings
from agent.uplink.link import Link
from tests.fault.road import QUOTA_EXCEEDED, Road
from tests.support.authority import Authority, Pair
from tests.support.consumer import Consumer, eventually
from tests.support.events import crossing
from tests.support.mosquitto import Mosquitto


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db")
    yield outbox
    outbox.close()


# ---- certificates ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Secure:
    broker: Mosquitto
    city: Authority
    box: Pair
    stranger: Pair
    stranger_ca: Path


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """A broker that demands a client certificate of the city's authority; its own is for 127.0.0.1 alone."""
    folder = tmp_path_factory.mktemp("tls")
    city, elsewhere = Authority(folder, "city"), Authority(folder, "elsewhere")
    server = city.issue("broker", x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    listener = [
        f"cafile {city.file}",
        f"certfile {server.certificate}",
        f"keyfile {server.key}",
        "require_certificate true",
        "use_identity_as_username true",
    ]
    with Mosquitto(folder / "broker", listener=listener) as broker:
        yield Secure(broker, city, city.issue("gw-box"), elsewhere.issue("stranger"), elsewhere.file)


def test_a_box_with_its_certificate_delivers(secure: Secure, outbox: Outbox) -> None:
    tls = Tls(secure.city.file, secure.box.certificate, secure.box.key)
    at = Broker("127.0.0.1", secure.broker.port, tls)
    with Consumer(at) as ioc:
        uplink = Uplink(UplinkSettings("site", "box", (at,)), outbox)
        uplink.start()
        outbox.put(*[crossing(track) for track in range(1, 501)])
        assert uplink.drain(20)
        assert eventually(lambda: ioc.tracks() == [*range(1, 501)])
        assert uplink.stop(5.0)
    assert "gw-site-box" in secure.broker.log()


# Python's ssl leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("host", "ca", "pair", "words"),
    [
        pytest.param("127.0.0.1", "elsewhere", "box", "certificate was not accepted", id="broker of another authority"),
        pytest.param("localhost", "city", "box", "certificate was not accepted: Hostname mismatch", id="another name"),
        pytest.param("127.0.0.1", "city", "stranger", "", id="our certificate is of another authority"),
        pytest.param("127.0.0.1", "city", None, "", id="no certificate of ours"),
    ],
)
def test_nobody_talks_to_whom_they_do_not_trust(
    secure: Secure, host: str, ca: str, pair: str | None, words: str
) -> None:
    ours = {"box": secure.box, "stranger": secure.stranger, None: None}[pair]
    tls = Tls(
        secure.city.file if ca == "city" else secure.stranger_ca,
        ours.certificate if ours else None,
        ours.key if ours else None,
    )
    link = Link(Broker(host, secure.broker.port, tls), client_id="gw-site-box", timeout_s=5.0)
    with pytest.raises(UplinkDown) as caught:
        link.open()
    said = str(caught.value)
    del caught
    gc.collect()
    assert words in said
    assert f"{host}:{secure.broker.port}" in said


def test_files_that_cannot_be_used_are_named_before_anything_starts(
    secure: Secure, outbox: Outbox, tmp_path: Path
) -> None:
    not_pem = tmp_path / "ca.pem"
    not_pem.write_text("hello")
    box = secure.box
    for tls, words in [
        (Tls(tmp_path / "absent.pem"), "absent.pem: no such file"),
        (Tls(not_pem), "ca.pem: not a PEM file of certificates"),
        (Tls(secure.city.file, box.certificate), "wanted both or none"),
        (Tls(secure.city.file, box.certificate, secure.stranger.key), "do they belong together?"),
    ]:
        with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
            Uplink(UplinkSettings("site", "box", (Broker("127.0.0.1", 1, tls),)), outbox)


# ---- passwords ------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Mosquitto]:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gw", "trà đá"], check=True)
    with Mosquitto(tmp_path / "guarded", listener=["allow_anonymous false", f"password_file {passwords}"]) as broker:
        yield broker


def test_a_password_from_a_file_is_taken(guarded: Mosquitto, outbox: Outbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("trà đá\n", encoding="utf-8")
    settings = UplinkSettings("site", "box", (Broker("127.0.0.1", guarded.port),), login=Login("gw", secret))
    uplink = Uplink(settings, outbox)
    uplink.start()
    outbox.put(crossing(1))
    assert uplink.drain(10)
    assert uplink.stop(5.0)


def test_a_wrong_password_is_reported_and_not_shown(guarded: Mosquitto, outbox: Outbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("cà phê\n", encoding="utf-8")
    settings = UplinkSettings("site", "box", (Broker("127.0.0.1", guarded.port),), login=Login("gw", secret))
    uplink = Uplink(settings, outbox, wait=wait_fixed(0.05))
    uplink.start()
    outbox.put(crossing(1, Stream.ALERT))
    assert eventually(lambda: "refused us: Not authorized" in str(uplink.status().last_error))
    assert "cà phê" not in str(uplink.status())
    assert outbox.depth().rows == 1
    assert uplink.stop(5.0)


# ---- topic aliases --------------------------------------------------------------------------------------------------


def test_topics_travel_by_number_where_the_broker_takes_that_and_arrive_whole(tmp_path: Path) -> None:
    topics = [f"gw/v1/site/box/count/camera-{number}" for number in range(15)]  # mosquitto offers ten numbers
    with (
        Mosquitto(tmp_path / "broker") as mosquitto,
        Consumer(Broker("127.0.0.1", mosquitto.port)) as consumer,
        Link(Broker("127.0.0.1", mosquitto.port), client_id="box") as link,
    ):
        sizes: list[int] = []
        for _ in range(4):
            for topic in topics:
                before_bytes = link.sent_bytes
                link.publish_often(topic, b'{"epoch":1,"seq":%d,"kind":"crossing"}' % (len(sizes) + 100))
                sizes.append(link.sent_bytes - before_bytes)
            while len(link.acks) < len(sizes):
                link.drive(1.0)
        assert sizes[-15:] == [size - len(topics[0]) for size in sizes[:10]] + sizes[10:15]
        assert eventually(lambda: len(consumer.messages) == 60)
        assert not consumer.disorder
        assert {message["topic"] for message in consumer.messages} == set(topics)


def test_a_topic_gets_its_number_with_the_first_message_that_is_taken(tmp_path: Path) -> None:
    topic = "gw/v1/site/box/count/north"
    with Mosquitto(tmp_path / "broker") as mosquitto, Road(mosquitto.port) as road:
        link = Link(Broker("127.0.0.1", road.port), client_id="box")
        sizes = []
        with link:
            for refusing in (QUOTA_EXCEEDED, QUOTA_EXCEEDED, None, None):
                road.refusing = refusing
                before_bytes, answered = link.sent_bytes, len(link.acks)
                link.publish_often(topic, b"{}")
                sizes.append(link.sent_bytes - before_bytes)
                while len(link.acks) == answered:
                    link.drive(1.0)
        assert [code for _, code in link.acks] == [QUOTA_EXCEEDED, QUOTA_EXCEEDED, 0x10, 0x10]
        assert sizes == [sizes[0], sizes[0], sizes[0], sizes[0] - len(topic)]
