"""An IOC for tests: subscribes, keeps the ledger from number 1, comes back when the broker does.

It listens at QoS 0: at QoS 1 its own acknowledgements, unread by a broker that is killed, make the kernel reset the
connection, and with it goes what the broker had already handed over. Our question is whether the box delivered.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

from agent.contract.ledger import Ledger
from agent.contract.topics import parse_topic
from agent.contract.wire import decode
from agent.errors import UplinkDown
from agent.uplink.settings import Broker, Login
from agent.uplink.subscriber import Subscriber


class Consumer:
    """messages: what was new on the ledger, in order of arrival, "topic" added; other: state, health, replies.
    pictures: (id, JPEG) of every arrival.

    repeats counts what the ledger dropped; disorder lists (stream, seq) that came after a higher number.
    """

    def __init__(self, broker: Broker, *, login: Login | None = None) -> None:
        self.messages: list[dict[str, Any]] = []
        self.other: list[tuple[str, dict[str, Any]]] = []
        self.pictures: list[tuple[str, bytes]] = []
        self.repeats = 0
        self.disorder: list[tuple[str, int]] = []
        self.ledger = Ledger(from_start=True)
        self._subscriber = Subscriber(broker, ["gw/v1/#"], login=login, qos=0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Consumer:
        self._subscriber.connect()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(15)
        self._subscriber.close()

    def tracks(self, stream: str | None = None) -> list[int]:
        return [
            message["track"]
            for message in self.messages
            if "track" in message and (stream is None or f"/{stream}/" in message["topic"])
        ]

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["kind"] == kind]

    def missing(self) -> dict[Any, list[tuple[int, int, int]]]:
        found = {key: self.ledger.missing(key) for key in self.ledger.series()}
        return {key: stretches for key, stretches in found.items() if stretches}

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                message = self._subscriber.next(0.1)
            except UplinkDown:
                self._return()
                continue
            if message is not None:
                self._enter(message.topic, message.payload)

    def _return(self) -> None:
        while not self._ended.is_set():
            try:
                self._subscriber.connect()
                return
            except UplinkDown:
                time.sleep(0.02)

    def _enter(self, name: str, payload: bytes) -> None:
        topic = parse_topic(name)
        if topic is not None and topic.item is not None:
            self.pictures.append((topic.item, payload))
            return
        if topic is not None and topic.channel == "command":
            return  # the box's alone
        fields = decode(payload)
        if topic is None or topic.stream is None:
            self.other.append((name, fields))
            return
        key = (topic.site, topic.box, topic.stream.value)
        taken = self.ledger.take(key, fields["epoch"], fields["seq"])
        if taken.repeat:
            self.repeats += 1
            return
        if taken.late:
            self.disorder.append((topic.stream.value, fields["seq"]))
        if fields["kind"] == "gap":
            gap_key = (topic.site, topic.box, fields["stream"])
            self.ledger.excuse(gap_key, fields.get("of", fields["epoch"]), fields["first"], fields["last"])
        self.messages.append({"topic": name, **fields})


def eventually(condition: Any, timeout_s: float = 20.0) -> bool:
    """Wait for another process or thread: True as soon as condition() is, False when it was not in time."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())
