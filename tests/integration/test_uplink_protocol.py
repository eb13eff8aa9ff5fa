"""Brokers that know only MQTT 3.1.1, that say odd things, or that throw us out; and an embedded one (rumqttd)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tenacity import wait_fixed

from agent.contract.event import Event
from agent.errors import UplinkDown
from agent.outbox import Outbox
from agent.uplink import Broker, Uplink, UplinkSettings
from agent.uplink.delivery import Delivery
from agent.uplink.link import Link, NoAliases, NoAnswer, TakenOver, WrongProtocol
from tests.support.consumer import Consumer, eventually
from tests.support.events import crossing
from tests.support.mosquitto import free_port
from tests.support.scripted_broker import ScriptedBroker

CONNACK_5 = b"\x20\x03\x00\x00\x00"
CONNACK_5_ALIASES = b"\x20\x06\x00\x00\x03\x22\x00\x05"
ALIAS_INVALID = b"\xe0\x02\x94\x00"
AN_ALIAS = b"\x03\x23\x00"
CONNACK_311 = b"\x20\x02\x00\x00"
REFUSED_VERSION_311 = b"\x20\x02\x00\x01"
REFUSED_VERSION_5 = b"\x20\x03\x00\x84\x00"
TAKEN_OVER = b"\xe0\x02\x8e\x00"


def level(connect: bytes) -> int:
    """The protocol level in a CONNECT: 5 or 4 (3.1.1)."""
    return connect[connect.index(b"MQTT") + 4]


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db")
    yield outbox
    outbox.close()


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        pytest.param(b"", NoAnswer, "closed the connection without an answer", id="closes"),
        pytest.param(REFUSED_VERSION_5, WrongProtocol, "refused us", id="refuses MQTT 5 in MQTT 5's words"),
        pytest.param(REFUSED_VERSION_311, WrongProtocol, "refused us", id="refuses MQTT 5 in 3.1.1's words"),
        pytest.param(b"\x20\x03\x00\x87\x00", UplinkDown, "Not authorized", id="refuses the user"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", NoAnswer, "without an answer", id="is a web server"),
        pytest.param(b"\x20\xff\xff\xff\xff\xff", NoAnswer, "without an answer", id="sends an endless length"),
    ],
)
def test_what_a_broker_says_to_connect_is_understood(script: bytes, error: type[UplinkDown], words: str) -> None:
    with ScriptedBroker([script]) as broker:
        link = Link(Broker("127.0.0.1", broker.port), client_id="x", timeout_s=5.0)
        with pytest.raises(error, match=words):
            link.open()


def test_another_client_with_our_id_is_named() -> None:
    with ScriptedBroker([CONNACK_5 + TAKEN_OVER]) as broker:
        link = Link(Broker("127.0.0.1", broker.port), client_id="x", timeout_s=5.0)
        with pytest.raises(TakenOver, match="another client uses our id"):  # noqa: PT012 - either call may notice
            link.open()
            link.drive(5.0)
            link.drive(5.0)
        link.close()


def test_a_broker_that_forgets_its_aliases_gets_whole_topics_from_then_on(outbox: Outbox) -> None:
    scripts = [CONNACK_5_ALIASES + ALIAS_INVALID, CONNACK_5_ALIASES]
    with ScriptedBroker(scripts, hold=True) as broker:
        link = Link(Broker("127.0.0.1", broker.port), client_id="x", timeout_s=5.0)
        with pytest.raises(NoAliases, match="Topic alias invalid"):  # noqa: PT012 - either call may notice
            link.open()
            link.drive(5.0)
            link.drive(5.0)
        link.close()
    with ScriptedBroker([CONNACK_5_ALIASES, CONNACK_5_ALIASES + ALIAS_INVALID, CONNACK_5_ALIASES], hold=True) as broker:
        with Link(Broker("127.0.0.1", broker.port), client_id="x", timeout_s=5.0) as link:
            link.publish_often("gw/v1/site/box/count/north", b"{}")
            assert eventually(lambda: AN_ALIAS in broker.received[0]), "it would use them"
        outbox.put(crossing(1))
        settings = UplinkSettings("site", "box", (Broker("127.0.0.1", broker.port),))
        uplink = Uplink(settings, outbox, wait=wait_fixed(0.05))
        uplink.start()
        try:
            assert eventually(lambda: len(broker.received) > 2 and b"/count/north" in broker.received[2])
            assert AN_ALIAS not in broker.received[2]
        finally:
            uplink.stop()


@pytest.mark.parametrize("junk", [b"\x40\x01\x00", b"\x30\x05\xff\xff\xff\xff\xff", b"\xf0\x00", b"\x00\x00"])
def test_junk_from_a_broker_ends_the_connection_and_nothing_else(junk: bytes) -> None:
    with ScriptedBroker([CONNACK_5 + junk]) as broker:
        link = Link(Broker("127.0.0.1", broker.port), client_id="x", timeout_s=5.0)
        with pytest.raises(UplinkDown):  # noqa: PT012 - either call may notice
            link.open()
            for _ in range(10):
                link.drive(0.5)
        link.close()


@pytest.mark.parametrize("refusal", [REFUSED_VERSION_5, REFUSED_VERSION_311, b""], ids=["says so", "says so", "closes"])
def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(outbox: Outbox, refusal: bytes) -> None:
    with ScriptedBroker([refusal, CONNACK_311], hold=True) as broker:
        broker._hold = bool(refusal)  # the silent one closes; the others wait for us to
        uplink = Uplink(
            UplinkSettings("site", "box", (Broker("127.0.0.1", broker.port),)), outbox, wait=wait_fixed(0.05)
        )
        uplink.start()
        assert eventually(lambda: len(broker.connects) >= 2)
        assert eventually(lambda: uplink.status().connects >= 1)
        assert [level(connect) for connect in broker.connects[:2]] == [5, 4]
        assert uplink.stop(5.0)


# ---- rumqttd, the broker that the demo brings along -----------------------------------------------------------------


@contextlib.contextmanager
def rumqttd(folder: Path, version: str, max_payload_bytes: int = 262_144) -> Iterator[Broker]:
    iotcore = pytest.importorskip("iotcore")
    port = free_port()
    config = folder / "rumqttd.toml"
    config.write_text(
        f"""
        id = 0
        [router]
        id = 0
        max_connections = 100
        max_outgoing_packet_count = 200
        max_segment_size = 10485760
        max_segment_count = 10

        [{version}.1]
        name = "boxes"
        listen = "127.0.0.1:{port}"
        next_connection_delay_ms = 1
        [{version}.1.connections]
        connection_timeout_ms = 10000
        max_payload_size = {max_payload_bytes}
        max_inflight_count = 100
        dynamic_filters = true
        """
    )
    with iotcore.Broker(config_path=str(config)):
        yield Broker("127.0.0.1", port)


@pytest.mark.parametrize(("version", "protocol"), [("v5", "5"), ("v4", "3.1.1")])
def test_rumqttd_takes_everything_in_the_version_it_speaks(
    outbox: Outbox, tmp_path: Path, version: str, protocol: str
) -> None:
    with rumqttd(tmp_path, version) as broker, Consumer(broker) as ioc:
        uplink = Uplink(UplinkSettings("site", "box", (broker,)), outbox)
        uplink.start()
        outbox.put(*[crossing(track) for track in range(1, 2001)])
        assert uplink.drain(20)
        assert eventually(lambda: ioc.tracks() == [*range(1, 2001)])
        assert (ioc.missing(), uplink.status().protocol) == ({}, protocol)
        assert uplink.stop(5.0)
        assert eventually(lambda: ioc.other[-1][1]["reason"] == "stopped")


def test_a_message_that_makes_the_broker_hang_up_does_not_block_what_is_behind_it(
    outbox: Outbox, tmp_path: Path
) -> None:
    """3.1.1 has no word for "too large": the broker just closes, at every attempt."""
    small = crossing(1)
    large = Event(small.stream, small.source, small.body.model_copy(update={"line": "x" * 20_000}), small.stamp)
    with rumqttd(tmp_path, "v4", max_payload_bytes=4096) as broker, Consumer(broker) as ioc:
        settings = UplinkSettings("site", "box", (broker,), connect_timeout_s=2.0)
        delivery = Delivery(outbox, settings.topics, "json", tries=3, max_hold_s=0.1)
        uplink = Uplink(settings, outbox, wait=wait_fixed(0.05), delivery=delivery)
        outbox.put(*[crossing(track) for track in range(1, 51)], large, *[crossing(track) for track in range(51, 101)])
        uplink.start()
        assert uplink.drain(20)
        assert eventually(lambda: ioc.tracks() == [*range(1, 101)])
        assert eventually(lambda: [gap["first"] for gap in ioc.kinds("gap")] == [51])
        assert ioc.missing() == {}
        assert uplink.stop(5.0)
