"""Messages from NATS: one durable pull consumer of JetStream for the group, on the stream of NATS's own MQTT side.

NATS stores what comes at QoS 1 in the stream $MQTT_msgs before it sends PUBACK, under $MQTT.msgs.<subject>, and keeps
it there for as long as a consumer wants it: ours does, also while no ingester is here. NATS makes of a topic's slash a
dot, and of a dot two slashes, so that every topic can be told.

nats-py lives in an event loop; it runs here, in the caller's thread, while a method of ours does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from agent.consumer.source import STREAM_FILTERS, Delivery, SourceSettings
from agent.contract.topics import ROOT
from agent.errors import UplinkDown

_STREAM = "$MQTT_msgs"
_PREFIX = "$MQTT.msgs."
_ACK_WAIT_S = 60  # handed out and not acknowledged for so long: to the next one
_TIMEOUT_S = 5.0

T = TypeVar("T")


class JetStreamSource:
    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._client: Client | None = None
        self._subscription: JetStreamContext.PullSubscription | None = None

    def connect(self) -> None:
        self._disconnect()
        self._run(self._connect())

    def take(self, most: int, wait_s: float) -> list[Delivery]:
        return self._run(self._take(min(most, self._settings.window), wait_s))

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        self._run(self._acknowledge([d.receipt[1] for d in deliveries if d.receipt[0] is self._client]))

    def rest(self, seconds: float) -> None:
        self._run(self._rest(seconds))

    def close(self) -> None:
        self._disconnect()
        self._loop.close()

    async def _connect(self) -> None:
        settings = self._settings
        login, tls = settings.login, settings.nodes[0].tls
        options: dict[str, Any] = {"tls": tls.context()} if tls is not None else {}
        if login is not None:
            options |= {"user": login.username, "password": login.password()}
        scheme = "tls" if tls is not None else "nats"
        self._client = await nats.connect(
            [f"{scheme}://{node}" for node in settings.nodes],
            name=f"{settings.group}-{settings.name}",
            connect_timeout=int(_TIMEOUT_S),
            allow_reconnect=False,  # we connect again ourselves, and say so
            max_reconnect_attempts=1,
            error_cb=_said_elsewhere,
            **options,
        )
        stream = self._client.jetstream(timeout=_TIMEOUT_S)
        await self._make(stream)
        self._subscription = await stream.pull_subscribe_bind(settings.group, _STREAM)

    async def _make(self, stream: JetStreamContext) -> None:
        """The group's consumer; it stays as whoever made it wants it. NATS makes the stream itself when the first MQTT
        client comes, and drops what comes before there is a consumer: so if we are first, we make both."""
        try:
            await stream.stream_info(_STREAM)
        except NotFoundError:
            await stream.add_stream(
                StreamConfig(
                    name=_STREAM,
                    subjects=[f"{_PREFIX}>"],
                    retention=RetentionPolicy.INTEREST,
                    storage=StorageType.FILE,
                    num_replicas=min(3, len(self._settings.nodes)),
                )
            )
        try:
            await stream.consumer_info(_STREAM, self._settings.group)
        except NotFoundError:
            await stream.add_consumer(_STREAM, self._consumer())

    def _consumer(self) -> ConsumerConfig:
        tails = [f"{stream}.>" for stream in STREAM_FILTERS] + ["state", "health"]
        tails += ["evidence.>"] if self._settings.pictures else []
        root = ROOT.replace("/", ".")
        return ConsumerConfig(
            durable_name=self._settings.group,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=_ACK_WAIT_S,
            deliver_policy=DeliverPolicy.ALL,
            max_deliver=-1,
            max_ack_pending=100 * self._settings.window,  # of the whole group
            filter_subjects=[f"{_PREFIX}{root}.*.*.{tail}" for tail in tails],
        )

    async def _take(self, most: int, wait_s: float) -> list[Delivery]:
        if self._subscription is None:
            raise UplinkDown(f"{self._settings.nodes[0]}: not connected")
        try:
            messages = await self._subscription.fetch(most, timeout=max(wait_s, 0.05))
        except TimeoutError:  # nats-py's own is one too
            if self._client is None or not self._client.is_connected:
                raise UplinkDown(f"{self._settings.nodes[0]}: the connection is gone") from None
            return []
        now_ms = time.time_ns() // 1_000_000
        return [
            Delivery(topic_of(message.subject), message.data, now_ms, (self._client, message)) for message in messages
        ]

    async def _acknowledge(self, messages: list[Msg]) -> None:
        for message in messages:
            await message.ack()
        if messages and self._client is not None:
            await self._client.flush(int(_TIMEOUT_S))

    async def _rest(self, seconds: float) -> None:
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            await asyncio.sleep(min(left_s, 1.0))
            if self._client is None or not self._client.is_connected:
                raise UplinkDown(f"{self._settings.nodes[0]}: the connection is gone")

    def _disconnect(self) -> None:
        client, self._client, self._subscription = self._client, None, None
        if client is not None:
            with suppress(NatsError, OSError, TimeoutError):  # gone before the goodbye
                self._loop.run_until_complete(asyncio.wait_for(client.close(), _TIMEOUT_S))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.run_until_complete(work)
        except (NatsError, OSError, TimeoutError) as exc:
            nodes = ", ".join(map(str, self._settings.nodes))
            raise UplinkDown(f"{nodes}: {type(exc).__name__}: {exc}") from exc


def topic_of(subject: str) -> str:
    """The MQTT topic of a subject: dots were slashes, and double slashes dots."""
    return subject.removeprefix(_PREFIX).replace(".", "/").replace("//", ".")


async def _said_elsewhere(exc: Exception) -> None:
    """nats-py would write to the log what whoever calls us learns from UplinkDown."""
