"""Messages from RabbitMQ by AMQP 0.9.1: one durable quorum queue for the group, bound to what the MQTT plugin makes.

The plugin puts each MQTT message into the exchange amq.topic, with dots for the slashes of its topic. The queue lives
on a majority of the nodes, so a message that a box saw acknowledged outlives any one of them; what an ingester was
handed and did not acknowledge goes back into the queue, to whoever comes next.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pika
import pika.exceptions

from agent.consumer.source import STREAM_FILTERS, Delivery, SourceSettings
from agent.contract.topics import ROOT
from agent.errors import UplinkDown

logging.getLogger("pika").setLevel(logging.WARNING)  # it tells ten lines of each connection

_EXCHANGE = "amq.topic"
_HEARTBEAT_S = 20
_TIMEOUT_S = 10.0
# Without it RabbitMQ 4 throws a message away that 20 ingesters in turn were handed when they died.
_QUEUE = {"x-queue-type": "quorum", "x-delivery-limit": -1}
_NOT_FOUND = 404
# What pika raises for a connection that is gone; some of it is not of its own tree.
_LOST = (pika.exceptions.AMQPError, OSError, EOFError)


class AmqpSource:
    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._connection: Any = None  # pika has no types
        self._channel: Any = None
        self._deliveries: deque[Delivery] = deque()
        self._next_node = 0

    def connect(self) -> None:
        self.close()
        nodes = self._settings.nodes
        last: UplinkDown | None = None
        for _ in nodes:
            node = nodes[self._next_node]
            try:
                self._open(node)
                return
            except _LOST as exc:
                self.close()
                last = UplinkDown(f"{node}: {_words(exc)}")
                last.__cause__ = exc
                self._next_node = (self._next_node + 1) % len(nodes)
        raise last or UplinkDown("no node to connect to")

    def take(self, most: int, wait_s: float) -> list[Delivery]:
        deadline_s = time.monotonic() + wait_s
        while not self._deliveries:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return []
            self._drive(left_s)
        there = 0
        while there < len(self._deliveries) < most:  # more that has come already
            there = len(self._deliveries)
            self._drive(0)
        return [self._deliveries.popleft() for _ in range(min(most, len(self._deliveries)))]

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        tags = [tag for channel, tag in (d.receipt for d in deliveries) if channel is self._channel]
        if tags:
            try:
                self._channel.basic_ack(max(tags), multiple=True)  # take() gave them in this order, and none between
            except _LOST as exc:
                raise self._gone(exc) from exc

    def rest(self, seconds: float) -> None:
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._drive(left_s)

    def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        self._deliveries.clear()
        if connection is not None and connection.is_open:
            with suppress(*_LOST):  # gone before the goodbye
                connection.close()

    def _open(self, node: Any) -> None:
        settings = self._settings
        login = settings.login
        options: dict[str, Any] = {}
        if login is not None:
            options["credentials"] = pika.PlainCredentials(login.username, login.password() or "")
        elif node.tls is not None and node.tls.certificate is not None:
            options["credentials"] = pika.credentials.ExternalCredentials()  # who our certificate says
        if node.tls is not None:
            options["ssl_options"] = pika.SSLOptions(node.tls.context(), node.host)
        self._connection = pika.BlockingConnection(
            pika.ConnectionParameters(
                node.host,
                node.port,
                virtual_host=settings.path or "/",
                heartbeat=_HEARTBEAT_S,
                blocked_connection_timeout=_TIMEOUT_S,
                socket_timeout=_TIMEOUT_S,
                stack_timeout=2 * _TIMEOUT_S,
                client_properties={"connection_name": f"{settings.group}-{settings.name}"},
                **options,
            )
        )
        self._declare()
        channel = self._connection.channel()
        channel.basic_qos(prefetch_count=settings.window)
        channel.basic_consume(settings.group, self._on_message)
        self._channel = channel

    def _declare(self) -> None:
        """The queue and its bindings. One that is there stays as whoever made it wants it."""
        queue = self._settings.group
        channel = self._connection.channel()
        try:
            channel.queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker as exc:
            if exc.reply_code != _NOT_FOUND:
                raise
            channel = self._connection.channel()
            channel.queue_declare(queue, durable=True, arguments=_QUEUE)
        for key in self._keys():
            channel.queue_bind(queue, _EXCHANGE, key)
        channel.close()

    def _keys(self) -> list[str]:
        tails = [f"{stream}.#" for stream in STREAM_FILTERS] + ["state", "health"]
        tails += ["evidence.#"] if self._settings.pictures else []
        return [f"{ROOT.replace('/', '.')}.*.*.{tail}" for tail in tails]

    def _on_message(self, channel: Any, method: Any, properties: Any, payload: bytes) -> None:
        now_ms = time.time_ns() // 1_000_000
        self._deliveries.append(Delivery(topic_of(method.routing_key), payload, now_ms, (channel, method.delivery_tag)))

    def _drive(self, seconds: float) -> None:
        if self._connection is None:
            raise UplinkDown(f"{self._settings.nodes[self._next_node]}: not connected")
        try:
            self._connection.process_data_events(time_limit=seconds)
        except _LOST as exc:
            raise self._gone(exc) from exc
        if self._channel is None or not self._channel.is_open or not self._channel.consumer_tags:
            raise self._gone(None)

    def _gone(self, exc: BaseException | None) -> UplinkDown:
        """The next attempt begins with the next node: this one may be going down."""
        node = self._settings.nodes[self._next_node]
        self._next_node = (self._next_node + 1) % len(self._settings.nodes)
        words = _words(exc) if exc is not None else "the broker took our consumer away; was the queue deleted?"
        return UplinkDown(f"{node}: {words}")


def topic_of(routing_key: str) -> str:
    """The MQTT topic of a routing key: gw.v1.<site>.<box>.<channel>, or with .<source> behind it.

    RabbitMQ makes a dot of each slash. A source may have dots of its own; a site or a box on such a broker may not.
    """
    return "/".join(routing_key.split(".", 5))


def _words(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
