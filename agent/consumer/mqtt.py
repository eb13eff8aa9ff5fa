"""Messages from an MQTT 5 broker with shared subscriptions, such as mosquitto: $share/<group>/gw/v1/+/+/alert/+ …

QoS 1, acknowledged by hand, in a session that outlives the connection: what was handed to us and not acknowledged, and
what comes while we are away, is kept for our name and comes when we are back. mosquitto gives none of it to the others
of the group: each ingester needs a name that stays its own, and one that leaves for good says so (`leave`).

mosquitto writes plain subscriptions to its disk and shared ones not. Started again, it
acknowledges what boxes send and throws it away until an ingester is back and subscribes. So each session has a plain
subscription to the same topics beside the shared one, a net under it. What comes by the net is taken from the beginning
of a connection until the first message comes by the share that this connection asked for: whatever the broker takes
from then on somebody of the group gets by his share, and the net's copy is dropped. Messages of a session come in the
order in which the broker took them, so nothing falls between the two; what another stored as well is a repeat. It costs
that each ingester hears everything, and stores its share.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from agent.consumer.source import STREAM_FILTERS, Delivery, SourceSettings
from agent.contract.topics import ROOT
from agent.errors import ConfigError, UplinkDown
from agent.uplink.link import Incoming, Link, Refused

_SESSION_EXPIRY_S = 7 * 24 * 3600  # as long as the broker keeps commands for boxes
_SUBSCRIBE_TIMEOUT_S = 10.0
_STATE = f"{ROOT}/+/+/state"  # everybody's: brokers hand retained messages to plain subscriptions only
# Subscription identifiers. A share has one of its own at each connection: what was kept for us from an earlier share
# may be older than what fell into the net.
_NET, _STATES, _FIRST_SHARE, _LAST_SHARE = 1, 2, 3, 268_435_455


class MqttSource:
    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._link: Link | None = None
        self._share = 0
        self._in_force = False  # the share that we asked for has brought something
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
        taken: list[Incoming] = []
        while not taken:
            while not link.messages:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    return []
                link.drive(min(left_s, 1.0))
            there = 0
            while there < len(link.messages) < most:  # more that has come already
                there = len(link.messages)
                link.drive(0.0)
            came = [link.messages.popleft() for _ in range(min(most, len(link.messages)))]
            taken = [message for message in came if self._is_ours(link, message)]
        now_ms = time.time_ns() // 1_000_000
        return [Delivery(message.topic, message.payload, now_ms, (link, message)) for message in taken]

    def _is_ours(self, link: Link, message: Incoming) -> bool:
        """False for the net's copy of what somebody gets by a share; it is acknowledged."""
        if self._share in message.subscriptions:
            self._in_force = True
            return True
        if not self._in_force or _NET not in message.subscriptions:
            return True
        if message.qos:
            link.acknowledge(message)
        return False

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
        for topic in (*self._shared(), *self._plain(), _STATE):
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
            if not (link.has_shared_subscriptions and link.has_subscription_identifiers):
                raise ConfigError(
                    f"{link.broker}: this broker has no shared subscriptions with identifiers, by which ingesters "
                    f"share the work; wanted: RabbitMQ by amqp://, NATS by nats://"
                )
            self._subscribe(link)
        except (UplinkDown, ConfigError):
            link.close()
            raise
        return link

    def _subscribe(self, link: Link) -> None:
        """States first, which are retained, and the share last: when it is in force, the net is too."""
        self._share, self._in_force = random.randint(_FIRST_SHARE, _LAST_SHARE), False
        for topics, identifier in (([_STATE], _STATES), (self._plain(), _NET), (self._shared(), self._share)):
            request = link.subscribe_together(topics, identifier=identifier)
            deadline_s = time.monotonic() + _SUBSCRIBE_TIMEOUT_S
            while (code := link.granted(request)) is None:
                if time.monotonic() > deadline_s:
                    raise UplinkDown(f"{link.broker}: no answer to SUBSCRIBE in {_SUBSCRIBE_TIMEOUT_S:g} s")
                link.drive(0.1)
            if code >= 128:
                raise Refused(
                    f"{link.broker}: refused a subscription of {', '.join(topics)}; does this user have the right?",
                    code,
                )

    def _plain(self) -> list[str]:
        tails = [f"{stream}/+" for stream in STREAM_FILTERS] + ["health"]
        tails += ["evidence/+"] if self._settings.pictures else []
        return [f"{ROOT}/+/+/{tail}" for tail in tails]

    def _shared(self) -> list[str]:
        return [f"$share/{self._settings.group}/{topic}" for topic in self._plain()]
