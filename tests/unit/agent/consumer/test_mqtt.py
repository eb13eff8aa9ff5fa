"""Which of the copies of a message an ingester at an MQTT broker takes: its share's, or the net's below it."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

import pytest

from agent.consumer import mqtt
from agent.consumer.mqtt import _NET, _STATES, MqttSource
from agent.consumer.source import SourceSettings
from agent.uplink.link import Incoming, Link
from agent.uplink.settings import Broker

SHARE, EARLIER_SHARE = 1000, 999


class ScriptedLink:
    """Grants everything, and has brought all that it will bring."""

    broker = Broker("broker")
    has_shared_subscriptions = has_subscription_identifiers = True

    def __init__(self) -> None:
        self.messages: deque[Incoming] = deque()
        self.acknowledged: list[str] = []
        self.asked: list[tuple[int, list[str]]] = []

    def open(self) -> None:
        pass

    def subscribe_together(self, topics: list[str], *, identifier: int) -> int:
        self.asked.append((identifier, topics))
        return 1

    def granted(self, request: int) -> int:
        return 1

    def drive(self, timeout_s: float) -> None:
        pass

    def acknowledge(self, message: Incoming) -> None:
        self.acknowledged.append(message.topic)

    def close(self, *, polite: bool = False) -> None:
        pass


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> ScriptedLink:
    scripted = ScriptedLink()
    monkeypatch.setattr(mqtt, "Link", lambda *args, **options: scripted)
    monkeypatch.setattr(mqtt.random, "randint", lambda first, last: SHARE)
    return scripted


@pytest.fixture
def source(link: ScriptedLink) -> MqttSource:
    opened = MqttSource(SourceSettings("mqtt", (Broker("broker"),), "", None, "ioc", "a", 100, False))
    opened.connect()
    return opened


def taken(source: MqttSource, link: ScriptedLink, *came: tuple[str, int]) -> list[str]:
    """came: (topic, identifier of the subscription that brought it), in the broker's order."""
    options: dict[str, Any] = {"retained": False, "response_topic": None, "correlation": None, "qos": 1}
    cast(Link, link).messages.extend(
        Incoming(topic=topic, payload=b"", subscriptions=(by,), **options) for topic, by in came
    )
    found: list[str] = []
    while deliveries := source.take(2, 0.0):
        found += [delivery.topic for delivery in deliveries]
    return found


def test_the_net_counts_until_the_share_has_brought_something(source: MqttSource, link: ScriptedLink) -> None:
    assert taken(source, link, ("1", _NET), ("2", _NET), ("3", SHARE), ("3", _NET), ("4", _NET)) == ["1", "2", "3"]
    assert link.acknowledged == ["3", "4"], "the broker is not to keep what we drop"


def test_what_was_kept_of_an_earlier_share_does_not_end_the_net(source: MqttSource, link: ScriptedLink) -> None:
    assert taken(source, link, ("1", EARLIER_SHARE), ("2", _NET), ("3", SHARE)) == ["1", "2", "3"]
    assert taken(source, link, ("4", _NET), ("5", EARLIER_SHARE)) == ["5"]


def test_the_net_counts_again_after_each_connection(source: MqttSource, link: ScriptedLink) -> None:
    assert taken(source, link, ("1", SHARE), ("2", _NET)) == ["1"]
    source.connect()
    assert taken(source, link, ("3", _NET)) == ["3"]


def test_states_are_everybodys(source: MqttSource, link: ScriptedLink) -> None:
    assert taken(source, link, ("1", SHARE), ("state", _STATES)) == ["1", "state"]


def test_the_share_comes_into_force_after_the_net_below_it(source: MqttSource, link: ScriptedLink) -> None:
    assert [identifier for identifier, _ in link.asked] == [_STATES, _NET, SHARE]
    (_, net), (_, share) = link.asked[1:]
    assert share == [f"$share/ioc/{topic}" for topic in net]
