"""Addresses of brokers, and how each broker's names become topics again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.consumer import amqp, jetstream
from agent.consumer.database import DatabaseSettings, read_database
from agent.consumer.source import SourceSettings, read_source
from agent.uplink.settings import Broker, Login, Tls


def parsed(text: str, **options: Any) -> SourceSettings:
    return read_source(text, group="ioc", name="one", window=10, **options)


@pytest.mark.parametrize(
    ("text", "scheme", "nodes", "path"),
    [
        ("mqtt://broker", "mqtt", [Broker("broker", 1883)], ""),
        ("amqp://a,b:5673,[::1]:9/city", "amqp", [Broker("a", 5672), Broker("b", 5673), Broker("::1", 9)], "city"),
        ("amqp://a/%2Fcity", "amqp", [Broker("a", 5672)], "/city"),
        ("nats://n1,n2,n3", "nats", [Broker(f"n{n}", 4222) for n in (1, 2, 3)], ""),
        ("mqtts://broker", "mqtt", [Broker("broker", 8883, Tls())], ""),
        ("tls://broker", "nats", [Broker("broker", 4222, Tls())], ""),
    ],
)
def test_an_address_names_its_broker_and_its_nodes(text: str, scheme: str, nodes: list[Broker], path: str) -> None:
    settings = parsed(text)
    assert (settings.scheme, list(settings.nodes), settings.path) == (scheme, nodes, path)
    assert settings.login is None


def test_a_user_has_a_password_from_a_file() -> None:
    assert parsed("amqp://ioc@a", password_file=Path("p")).login == Login("ioc", Path("p"))


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("http://a", {}, "wanted one of mqtt"),
        ("broker:1883", {}, "wanted one of mqtt"),
        ("mqtt://", {}, "wanted one of mqtt"),
        ("mqtt://a,,b", {}, "wanted HOST"),
        ("mqtt://a:port", {}, "wanted HOST or HOST:PORT"),
        ("amqp://ioc:secret@a", {}, "--password-file"),
        ("amqp://a", {"password_file": Path("p")}, "without a user"),
        ("mqtt://a", {"tls": Tls(Path("ca.pem"))}, "wanted mqtts"),
    ],
)
def test_what_is_no_address_says_what_is_wanted(text: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parsed(text, **options)
    assert "secret" not in str(caught.value)


def test_a_database_has_an_address_without_its_password() -> None:
    wanted = DatabaseSettings("db", 5433, "city", "ioc", tls=True)
    assert read_database("postgresql://ioc@db:5433/city?tls") == wanted
    assert str(wanted) == "postgresql://ioc@db:5433/city"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresql://ioc:secret@db/city", "password"),
        ("postgresql://db/city", "wanted postgresql"),
        ("postgresql://ioc@db", "wanted postgresql"),
        ("mysql://ioc@db/city", "wanted postgresql"),
        ("postgresql://ioc@db:x/city", "wanted postgresql"),
        ("postgresql://ioc@db/city?sslmode=require", "wanted tls"),
    ],
)
def test_what_is_no_database_says_what_is_wanted(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        read_database(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "topic"),
    [
        ("gw.v1.site.box.alert.north", "gw/v1/site/box/alert/north"),
        ("gw.v1.site.box.alert.nor.th.1", "gw/v1/site/box/alert/nor.th.1"),
        ("gw.v1.site.box.state", "gw/v1/site/box/state"),
    ],
)
def test_a_routing_key_of_rabbitmq_becomes_its_topic(key: str, topic: str) -> None:
    assert amqp.topic_of(key) == topic


@pytest.mark.parametrize(
    ("subject", "topic"),
    [
        ("$MQTT.msgs.gw.v1.site.box.alert.north", "gw/v1/site/box/alert/north"),
        ("$MQTT.msgs.gw.v1.si//te.box.alert.nor//th", "gw/v1/si.te/box/alert/nor.th"),
    ],
)
def test_a_subject_of_nats_becomes_its_topic(subject: str, topic: str) -> None:
    assert jetstream.topic_of(subject) == topic
