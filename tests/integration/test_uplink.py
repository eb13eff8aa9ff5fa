"""The link against a real mosquitto: outages, refusals, limits. The verdict is the consumer's ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from agent.commands import Desk
from agent.contract.event import Stream
from agent.contract.wire import decode, pack
from agent.outbox import Outbox
from agent.uplink import Broker, Uplink, UplinkSettings
from agent.uplink.delivery import Delivery
from agent.uplink.link import Link
from tests.support.commands import ask, ping_desk
from tests.support.consumer import Consumer, eventually
from tests.support.events import crossing
from tests.support.mosquitto import Mosquitto, free_port

Starter = Callable[..., Uplink]


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db")
    yield outbox
    outbox.close()


@pytest.fixture
def uplink(outbox: Outbox) -> Iterator[Starter]:
    """Starts a link to a port on loopback, with short waits; stopped at the end."""
    started: list[Uplink] = []

    def start(*ports: int, delivery: Delivery | None = None, desk: Desk | None = None, **settings: Any) -> Uplink:
        brokers = tuple(Broker("127.0.0.1", port) for port in ports)
        link = Uplink(
            UplinkSettings("site", "box", brokers, **settings),
            outbox,
            wait=wait_fixed(0.05),
            delivery=delivery,
            desk=desk,
        )
        link.start()
        started.append(link)
        return link

    yield start
    for link in started:
        assert link.stop(15.0)


def at(broker: Mosquitto) -> Broker:
    return Broker("127.0.0.1", broker.port)


def put(outbox: Outbox, first: int, last: int) -> None:
    streams = list(Stream)
    for track in range(first, last + 1):
        outbox.put(crossing(track, streams[track % 3]))


def test_events_made_while_the_broker_is_away_arrive_complete_and_in_order(
    broker: Mosquitto, outbox: Outbox, uplink: Starter
) -> None:
    with Consumer(at(broker)) as ioc:
        broker.save()
        broker.stop()
        link = uplink(broker.port)
        put(outbox, 1, 600)
        assert link.status().broker is None
        assert "Connection refused" in str(link.status().last_error)
        broker.start()
        assert link.drain(20)
        assert eventually(lambda: len(ioc.messages) == 600)
        for number, stream in enumerate(Stream):
            assert ioc.tracks(stream.value) == [track for track in range(1, 601) if track % 3 == number]
        assert (ioc.missing(), ioc.disorder) == ({}, [])


def test_a_broker_killed_while_draining_costs_nothing(broker: Mosquitto, outbox: Outbox, uplink: Starter) -> None:
    with Consumer(at(broker)) as ioc:
        broker.save()
        put(outbox, 1, 300)
        outbox.put(*[crossing(track) for track in range(301, 6001)])
        link = uplink(broker.port)
        for kill in range(3):
            assert eventually(lambda kill=kill: len(ioc.messages) > 1000 * (kill + 1))
            broker.kill()
            broker.start()
        assert link.drain(30)
        assert eventually(lambda: len(ioc.messages) == 6000)
        assert sorted(ioc.tracks()) == [*range(1, 6001)]
        assert (ioc.missing(), ioc.disorder) == ({}, [])
        assert link.status().connects >= 4


def test_a_broker_that_freezes_is_noticed_and_left(broker: Mosquitto, outbox: Outbox, uplink: Starter) -> None:
    with Consumer(at(broker)) as ioc:
        link = uplink(broker.port, ack_timeout_s=1.0, connect_timeout_s=1.0)
        outbox.put(crossing(1))
        assert link.drain(10)
        broker.freeze()
        put(outbox, 2, 50)
        assert eventually(lambda: link.status().broker is None)
        assert "no acknowledgement for 1 s" in str(link.status().last_error)
        assert eventually(lambda: "no answer" in str(link.status().last_error))
        broker.thaw()
        assert link.drain(20)
        assert eventually(lambda: len(ioc.messages) == 50)
        assert (ioc.missing(), ioc.disorder) == ({}, [])


def test_the_second_broker_is_used_when_the_first_is_dead(broker: Mosquitto, outbox: Outbox, uplink: Starter) -> None:
    link = uplink(free_port(), broker.port)
    outbox.put(crossing(1))
    assert link.drain(10)
    assert link.status().broker == f"127.0.0.1:{broker.port}"


def test_the_first_broker_is_returned_to_when_it_is_back(
    tmp_path: Path, broker: Mosquitto, outbox: Outbox, uplink: Starter
) -> None:
    first = Mosquitto(tmp_path / "first")
    link = uplink(first.port, broker.port, return_after_s=0.2)
    outbox.put(crossing(1))
    assert link.drain(10)
    assert link.status().broker == f"127.0.0.1:{broker.port}"
    with first:
        assert eventually(lambda: link.status().broker == f"127.0.0.1:{first.port}")
        outbox.put(crossing(2))
        assert link.drain(10)


def test_two_boxes_with_one_name_find_out(
    broker: Mosquitto, outbox: Outbox, uplink: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.uplink.uplink._TAKEN_OVER_WAIT_S", 0.2)
    link = uplink(broker.port)
    assert eventually(lambda: link.status().broker is not None)
    twin_outbox = Outbox(tmp_path / "twin.db")
    twin = Uplink(UplinkSettings("site", "box", (at(broker),)), twin_outbox, wait=wait_fixed(0.05))
    twin.start()
    try:
        for one in (link, twin):
            assert eventually(lambda one=one: "another box says it is site/box" in str(one.status().last_error))
    finally:
        assert twin.stop(10.0)
        twin_outbox.close()


def test_a_box_with_a_new_store_is_not_taken_for_another(
    broker: Mosquitto, outbox: Outbox, uplink: Starter, tmp_path: Path
) -> None:
    old = Outbox(tmp_path / "old.db")
    before = Link(at(broker), client_id="before")
    before.open()
    state = {"online": True, "reason": "started", "agent": "0", "epoch": old.epoch, "boot": 1, "boot_id": "x"}
    before.publish("gw/v1/site/box/state", pack(state, "json"), retain=True)  # and no last will: the broker fell too
    before.close(polite=True)
    old.close()
    link = uplink(broker.port)
    outbox.put(crossing(1))
    assert link.drain(10)
    assert link.status().connects == 1


def test_nonsense_in_its_own_name_does_not_stop_a_box(broker: Mosquitto, outbox: Outbox, uplink: Starter) -> None:
    link = uplink(broker.port)
    assert eventually(lambda: link.status().broker is not None)
    stranger = Link(at(broker), client_id="stranger")
    stranger.open()
    for state in ({"online": True, "epoch": {"of": 1}}, {"online": True, "epoch": [1]}, {"online": True}):
        stranger.publish("gw/v1/site/box/state", pack(state, "json"), retain=True)
    stranger.close(polite=True)
    outbox.put(crossing(1))
    assert link.drain(10)
    assert link.status().broker is not None
    assert link.status().last_error is None


def test_a_box_says_hello_goodbye_and_the_broker_speaks_for_it_when_it_vanishes(
    broker: Mosquitto, outbox: Outbox, uplink: Starter
) -> None:
    def states(ioc: Consumer) -> list[tuple[bool, str]]:
        return [(fields["online"], fields["reason"]) for topic, fields in ioc.other if topic.endswith("/state")]

    with Consumer(at(broker)) as ioc:
        link = uplink(broker.port, agent_version="1.2.3")
        assert eventually(lambda: states(ioc) == [(True, "started")])
        assert ioc.other[0][1]["agent"] == "1.2.3"
        assert ioc.other[0][1]["epoch"] == outbox.epoch
        first = link.status().connects
        thief = Link(at(broker), client_id="gw-site-box")  # the broker throws the box out, as when its power fails
        thief.open()
        assert eventually(lambda: (False, "lost") in states(ioc))
        thief.close(polite=True)
        assert eventually(lambda: link.status().connects > first)
        assert eventually(lambda: states(ioc)[-1] == (True, "started"))


def test_stopping_says_goodbye(broker: Mosquitto, outbox: Outbox, uplink: Starter) -> None:
    outbox.put(crossing(1), crossing(2))
    link = uplink(broker.port)
    assert eventually(lambda: link.status().acked == 2)
    assert link.stop(5.0)
    with Consumer(at(broker)) as ioc:
        assert eventually(lambda: bool(ioc.other))
        topic, fields = ioc.other[0]
        assert (topic, fields["online"], fields["reason"]) == ("gw/v1/site/box/state", False, "stopped")
        assert fields["last"] == {"count": 2}


def test_the_pulse_is_no_acknowledgement_of_anything_else(broker: Mosquitto) -> None:
    """Else more is on its way than the broker allows, and the goodbye is not waited for: the broker would send the will
    after a stop."""
    with Link(at(broker), client_id="box") as link:
        for _ in range(3):
            link.publish("health", b"{}", qos=0)
        link.publish("state", b"{}")
        assert link.in_flight == 4

        def told() -> int:
            link.drive(0.1)
            return len(link.acks)

        assert eventually(lambda: told() == 4)  # who empties acks takes as many off in_flight


def test_stopping_while_the_broker_is_away_is_quick_and_loses_nothing(outbox: Outbox, uplink: Starter) -> None:
    link = uplink(free_port())
    outbox.put(crossing(1))
    assert link.stop(5.0)
    assert outbox.depth().rows == 1


def test_messages_on_metered_links_are_cbor(broker: Mosquitto, outbox: Outbox, uplink: Starter) -> None:
    with Consumer(at(broker)) as ioc:
        link = uplink(broker.port, payload="cbor")
        put(outbox, 1, 30)
        assert link.drain(10)
        assert eventually(lambda: sorted(ioc.tracks()) == [*range(1, 31)])
        assert ioc.missing() == {}


def test_the_window_is_no_larger_than_the_broker_allows(tmp_path: Path, outbox: Outbox, uplink: Starter) -> None:
    with Mosquitto(tmp_path / "narrow", extra=["max_inflight_messages 5"]) as broker:
        link = uplink(broker.port, ack_timeout_s=60.0)
        assert eventually(lambda: link.status().broker is not None)
        broker.freeze()
        outbox.put(*[crossing(track) for track in range(1, 101)])
        assert eventually(lambda: link.status().sent > 0)
        assert 0 < link.status().in_flight <= 5
        broker.thaw()
        assert link.drain(10)


def test_a_message_larger_than_the_broker_takes_is_set_aside_and_named(
    tmp_path: Path, outbox: Outbox, uplink: Starter
) -> None:
    with (
        Mosquitto(tmp_path / "small", extra=["max_packet_size 1000"]) as broker,
        Consumer(at(broker)) as ioc,
    ):
        link = uplink(broker.port)
        large = crossing(2)
        large = large.__class__(
            large.stream, large.source, large.body.model_copy(update={"line": "x" * 2000}), large.stamp
        )
        outbox.put(crossing(1), large, crossing(3))
        assert link.drain(10)
        assert eventually(lambda: bool(ioc.kinds("gap")) and len(ioc.tracks()) == 2)
        (gap,) = ioc.kinds("gap")
        assert (gap["stream"], gap["first"], gap["last"], gap["reason"]) == ("count", 2, 2, "too-big")
        assert ioc.tracks() == [1, 3]
        assert ioc.missing() == {}
        assert link.status().connects == 1


def test_a_message_the_broker_refuses_is_retried_then_set_aside_and_named(
    tmp_path: Path, outbox: Outbox, uplink: Starter
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite gw/v1/#\ntopic deny gw/v1/site/box/count/forbidden\n")
    with (
        Mosquitto(tmp_path / "strict", extra=[f"acl_file {acl}"]) as broker,
        Consumer(at(broker)) as ioc,
    ):
        settings = UplinkSettings("site", "box", (at(broker),))
        delivery = Delivery(outbox, settings.topics, "json", tries=3, max_hold_s=0.05)
        link = uplink(broker.port, delivery=delivery)
        outbox.put(crossing(1), crossing(2, source="forbidden"), crossing(3), crossing(4, Stream.ALERT))
        # mosquitto 2.0 says no and hangs up in one breath: what it said last must be heard.
        assert link.drain(10)
        assert eventually(lambda: bool(ioc.kinds("gap")) and len(ioc.tracks()) == 3)
        (gap,) = ioc.kinds("gap")
        assert (gap["stream"], gap["first"], gap["last"], gap["reason"]) == ("count", 2, 2, "rejected")
        assert ioc.tracks("count") == [1, 3]
        assert ioc.missing() == {}
        status = link.status()
        assert (status.refused, status.set_aside) == (3, 1)


def test_nobody_listening_is_delivered_and_counted(broker: Mosquitto, outbox: Outbox, uplink: Starter) -> None:
    link = uplink(broker.port)
    put(outbox, 1, 9)
    assert link.drain(10)
    assert (link.status().acked, link.status().no_subscribers) == (9, 9)


# ---- commands -------------------------------------------------------------------------------------------------------


class Operator:
    """Sends requests with MQTT 5's response topic, by paho's own means."""

    def __init__(self, broker: Mosquitto) -> None:
        import paho.mqtt.client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion

        self.replies: list[tuple[str, dict[str, Any], bytes | None]] = []
        self.box_is_online = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", broker.port)
        self._client.subscribe([("ioc/answers", 1), ("gw/v1/site/box/reply", 1), ("gw/v1/site/box/state", 1)])
        self._client.loop_start()

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        if message.topic == "gw/v1/site/box/state":
            if decode(message.payload)["online"]:
                self.box_is_online.set()
            return
        correlation = getattr(message.properties, "CorrelationData", None)
        self.replies.append((message.topic, decode(message.payload), correlation))

    def ask(self, payload: bytes, *, respond_to: str | None, correlation: bytes = b"", retain: bool = False) -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.PUBLISH)
        if respond_to is not None:
            properties.ResponseTopic = respond_to
            properties.CorrelationData = correlation
        self._client.publish("gw/v1/site/box/command", payload, qos=1, retain=retain, properties=properties)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def operator(broker: Mosquitto) -> Iterator[Operator]:
    operator = Operator(broker)
    yield operator
    operator.close()


@pytest.fixture
def desk(tmp_path: Path, outbox: Outbox) -> Iterator[Desk]:
    desk = ping_desk(tmp_path, outbox)
    desk.start()
    yield desk
    desk.stop()
    desk.close()


def test_ping_is_answered_where_it_was_asked_with_its_correlation(
    broker: Mosquitto, outbox: Outbox, uplink: Starter, operator: Operator, desk: Desk
) -> None:
    link = uplink(broker.port, desk=desk)
    outbox.put(crossing(1))
    assert link.drain(10)
    operator.ask(ask("vy", "ping"), respond_to="ioc/answers", correlation=b"\x01\x02")
    assert eventually(lambda: len(operator.replies) == 1)
    topic, fields, correlation = operator.replies[0]
    assert (topic, correlation, fields["result"], fields["command"]) == ("ioc/answers", b"\x01\x02", "done", "ping")
    assert fields["data"]["last"] == {"count": 1}


def test_requests_without_a_response_topic_are_answered_on_reply(
    broker: Mosquitto, uplink: Starter, operator: Operator, desk: Desk
) -> None:
    uplink(broker.port, desk=desk)
    assert operator.box_is_online.wait(20)
    operator.ask(ask("vy", "ping", id="q7"), respond_to=None)
    assert eventually(lambda: len(operator.replies) == 1)
    topic, fields, _ = operator.replies[0]
    assert (topic, fields["id"], fields["result"]) == ("gw/v1/site/box/reply", "q7", "done")


def test_bad_requests_are_refused_and_the_link_stays_up(
    broker: Mosquitto, outbox: Outbox, uplink: Starter, operator: Operator, desk: Desk
) -> None:
    link = uplink(broker.port, desk=desk)
    assert operator.box_is_online.wait(20)
    for payload in (b"", b"\xff\x00", b"{", b'{"command":"ping"}', b"[" * 10_000):
        operator.ask(payload, respond_to="ioc/answers")
    operator.ask(ask("mallory", "ping"), respond_to="ioc/answers")
    assert eventually(lambda: len(operator.replies) == 6)
    assert {fields["result"] for _, fields, _ in operator.replies} == {"refused"}
    assert "which may not command this box" in str(operator.replies)
    assert link.status().connects == 1


def test_a_reply_never_speaks_in_the_name_of_a_box(
    broker: Mosquitto, outbox: Outbox, uplink: Starter, operator: Operator, desk: Desk
) -> None:
    uplink(broker.port, desk=desk)
    assert operator.box_is_online.wait(20)
    for forged in ("gw/v1/site/box/alert/north", "gw/v1/site/other/state", "$SYS/broker"):
        operator.ask(ask("vy", "ping"), respond_to=forged)
    assert eventually(lambda: len(operator.replies) == 3)
    assert {topic for topic, _, _ in operator.replies} == {"gw/v1/site/box/reply"}


def test_a_command_sent_while_the_box_is_away_arrives_and_a_retained_one_is_ignored(
    broker: Mosquitto, outbox: Outbox, uplink: Starter, operator: Operator, desk: Desk
) -> None:
    link = uplink(broker.port, desk=desk)
    assert operator.box_is_online.wait(20)
    assert link.stop(5.0)
    operator.ask(ask("vy", "ping", id="kept"), respond_to=None, retain=True)
    operator.ask(ask("vy", "ping", id="away"), respond_to=None)
    uplink(broker.port, desk=desk)
    assert eventually(lambda: "away" in [fields.get("id") for _, fields, _ in operator.replies])
    # The retained one was also queued as a live message of the session; what must not happen is a second answer.
    ids = [fields.get("id") for _, fields, _ in operator.replies]
    assert ids.count("kept") <= 1


def test_more_requests_than_there_is_room_for_are_all_answered_once(
    broker: Mosquitto, outbox: Outbox, uplink: Starter, operator: Operator, desk: Desk
) -> None:
    uplink(broker.port, desk=desk)
    assert operator.box_is_online.wait(20)
    for number in range(200):
        operator.ask(ask("vy", "ping", id=f"q{number}"), respond_to="ioc/answers")
    assert eventually(lambda: len(operator.replies) == 200)
    assert {fields["id"] for _, fields, _ in operator.replies} == {f"q{number}" for number in range(200)}
