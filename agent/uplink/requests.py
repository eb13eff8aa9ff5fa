"""Requests from the link to whoever does them, and the answers back. No thread, no socket of its own.

A request is acknowledged to the broker when it was done or written down, and an answer is forgotten when the broker has
acknowledged it: a connection, or an agent, that ends in between has both again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agent.commands import Answer, Asked, Return
from agent.contract.command import Reply
from agent.contract.topics import ROOT, BoxTopics
from agent.contract.wire import Form, pack
from agent.uplink.delivery import reason_words
from agent.uplink.link import Incoming, Link

_log = logging.getLogger(__name__)

_PACKET_OVERHEAD_BYTES = 128


class Desk(Protocol):
    """What is needed of whoever does them; see agent.commands."""

    settled: deque[object]

    def ask(self, asked: Asked) -> bool: ...
    def answers(self) -> list[Answer]: ...
    def sent(self, n: int) -> None: ...
    def on_ready(self, wake: Callable[[], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class _Ticket:
    """A message is acknowledged where it came from, or not at all."""

    link: Link
    message: Incoming


class Requests:
    """A connection's life: restart, then take, fill and acked in turn."""

    def __init__(self, desk: Desk, topics: BoxTopics, form: Form) -> None:
        self._desk = desk
        self._topics = topics
        self._form: Form = form
        self._held: deque[Incoming] = deque()
        self._flights: dict[int, tuple[int, float]] = {}  # message id: the answer's number, when it was sent

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    def restart(self) -> None:
        """A new connection: what the broker has no acknowledgement of, it sends again."""
        self._held.clear()
        self._flights.clear()

    def take(self, link: Link, message: Incoming) -> None:
        if message.retained:
            # Kept by the broker, it would come again at every connection.
            _acknowledge(link, message)
            return
        self._held.append(message)

    def oldest_sent_s(self) -> float | None:
        """When the oldest answer that the broker has not acknowledged was sent."""
        return min((sent_s for _, sent_s in self._flights.values()), default=None)

    def fill(self, link: Link, now_s: float) -> None:
        """Hand on what came, acknowledge what is settled, send what is to be answered. Raises UplinkDown."""
        while self._held:
            message = self._held[0]
            to = Return(self._topic(message.response_topic), message.correlation)
            if not self._desk.ask(Asked(message.payload, to, _Ticket(link, message))):
                break
            self._held.popleft()
        while self._desk.settled:
            ticket = self._desk.settled.popleft()
            if isinstance(ticket, _Ticket) and ticket.link is link:
                _acknowledge(link, ticket.message)
        on_their_way = {n for n, _ in self._flights.values()}
        for answer in self._desk.answers():
            if answer.n not in on_their_way:
                topic = answer.to.topic or self._topics.reply
                payload = self._payload(answer.reply, len(topic), link.max_packet_bytes)
                mid = link.publish(topic, payload, correlation=answer.to.correlation)
                self._flights[mid] = (answer.n, now_s)

    def acked(self, mid: int, code: int) -> None:
        flight = self._flights.pop(mid, None)
        if flight is None:
            return
        if code >= 128:
            _log.warning("the broker does not take an answer to a command: %s", reason_words(code))
        self._desk.sent(flight[0])

    def _payload(self, reply: Reply, topic_bytes: int, max_packet_bytes: int | None) -> bytes:
        payload = pack(reply.fields(), self._form)
        size = len(payload) + topic_bytes + _PACKET_OVERHEAD_BYTES
        if max_packet_bytes is None or size <= max_packet_bytes:
            return payload
        why = f"the answer has {size} bytes, more than the broker takes at once ({max_packet_bytes})"
        return pack(reply.model_copy(update={"data": None, "why": why}).fields(), self._form)

    def _topic(self, wanted: str | None) -> str | None:
        """Where the requester wants it, unless that would make us speak in the name of a box."""
        if not wanted or any(sign in wanted for sign in "+#\0") or wanted.startswith("$"):
            return None
        if wanted.startswith(f"{ROOT}/") and not wanted.startswith(f"{self._topics.reply}/"):
            return None
        return wanted


def _acknowledge(link: Link, message: Incoming) -> None:
    if message.qos > 0:
        link.acknowledge(message)
