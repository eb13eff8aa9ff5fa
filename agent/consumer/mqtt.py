"""Messages from an MQTT 5 broker with shared subscriptions, such as mosquitto: $share/<group>/gw/v1/+/+/alert/+ …

QoS 1, acknowledged by hand, in a session that outlives the connection: what was handed to us and not acknowledged, and
what comes while we are away, is kept for our name and comes when we are back. mosquitto gives none of it to the others
of the group: each ingester needs a name that stays its own, and one that leaves for good says so (`leave`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from agent.consumer.source import STREAM_FILTERS, Delivery, SourceSettings
from agent.contract.topics import ROOT
from agent.errors import ConfigError, UplinkDown
from agent.uplink.link import Link, Refused

_SESSION_EXPIRY_S = 7 * 24 * 3600  # as long as the broker keeps commands for boxes
_SUBSCRIBE_TIMEOUT_S = 10.0


class MqttSource:
    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._link: Link | None = None
        self._next_node = 0

    def connect(self) -> None:
        self.close()
        nodes = self._settings.nodes
        for tried in range(len(nodes)):
            node = nodes[(self._next_node + tried) % len(nodes)]
            try:
                self._link = self._open(Link(node, **self._options()))  # type: ignore[arg-type]
            except Refused:
                raise
            except UplinkDown:
                if tried == len(nodes) - 1:
                    raise
                continue
            self._next_node = (self._next_node + tried) % len(nodes)
            return

    def take(self, most: int, wait_s: float) -> list[Delivery]:
        link = self._connected()
        deadline_s = time.monotonic() + wait_s
        while not link.messages:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return []
            link.drive(min(left_s, 1.0))
        there = 0
        while there < len(link.messages) < most:  # more that has come already
            there = len(link.messages)
            link.drive(0.0)
        now_ms = time.time_ns() // 1_000_000
        taken = [link.messages.popleft() for _ in range(min(most, len(link.messages)))]
        return [Delivery(message.topic, message.payload, now_ms, (link, message)) for message in taken]

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        link = self._connected()
        with link.together():
            for delivery in deliveries:
                of, message = delivery.receipt
                if of is link and message.qos:
                    link.acknowledge(message)
        link.drive(0.0)

    def rest(self, seconds: float) -> None:
        link = self._connected()
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            link.drive(min(left_s, 1.0))

    def leave(self) -> None:
        """Take no more part in the group. What waits for us still comes; take() and acknowledge() it, then close()."""
        link = self._connected()
        for topic in self._topics():
            link.unsubscribe(topic)
        self.rest(1.0)

    def close(self) -> None:
        if self._link is not None:
            self._link.close(polite=True)
            self._link = None

    def _connected(self) -> Link:
        if self._link is None:
            raise UplinkDown(f"{self._settings.nodes[0]}: not connected")
        return self._link

    def _options(self) -> dict[str, object]:
        return {
            "client_id": f"{self._settings.group}-{self._settings.name}",
            "login": self._settings.login,
            "session_expiry_s": _SESSION_EXPIRY_S,
            "receive_maximum": self._settings.window,
            "manual_acks": True,
            "aliases": False,
        }

    def _open(self, link: Link) -> Link:
        link.open()
        try:
            if not link.has_shared_subscriptions:
                raise ConfigError(
                    f"{link.broker}: this broker has no shared subscriptions, by which ingesters share the work; "
                    f"wanted: RabbitMQ by amqp://, NATS by nats://"
                )
            self._subscribe(link)
        except (UplinkDown, ConfigError):
            link.close()
            raise
        return link

    def _subscribe(self, link: Link) -> None:
        pending = {link.subscribe(topic, qos=1): topic for topic in self._topics()}
        deadline_s = time.monotonic() + _SUBSCRIBE_TIMEOUT_S
        while any(link.granted(mid) is None for mid in pending):
            if time.monotonic() > deadline_s:
                raise UplinkDown(f"{link.broker}: no answer to SUBSCRIBE in {_SUBSCRIBE_TIMEOUT_S:g} s")
            link.drive(0.1)
        for mid, topic in pending.items():
            code = link.granted(mid) or 0
            if code >= 128:
                raise Refused(
                    f"{link.broker}: refused the subscription to {topic!r}; does this user have the right?", code
                )

    def _topics(self) -> list[str]:
        """State is everybody's: brokers hand retained messages to plain subscriptions only."""
        shared = [f"{stream}/+" for stream in STREAM_FILTERS] + ["health"]
        shared += ["evidence/+"] if self._settings.pictures else []
        return [f"{ROOT}/+/+/state"] + [f"$share/{self._settings.group}/{ROOT}/+/+/{tail}" for tail in shared]
