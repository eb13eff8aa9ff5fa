"""Which message is sent next, and what an acknowledgement means for it. No thread, no socket of its own.

Within a stream messages leave in order. Between streams alerts go first, but the others always get a share, so that a
backlog of one never starves another. A row leaves the outbox on an acknowledgement below 128 and on nothing else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from agent.contract.event import GapReason, Stream
from agent.contract.topics import BoxTopics
from agent.contract.wire import Envelope, Form, encode
from agent.errors import EventStoreError
from agent.outbox import Position, Waiting
from agent.uplink.rate import Rate

_log = logging.getLogger(__name__)

MAX_WINDOW = 100  # more in flight is slower: at 1000 the rate halves
_READ_AHEAD = 200
# Six of eight places are the alerts', when all three streams have something to send.
_TURNS = (
    Stream.ALERT,
    Stream.ALERT,
    Stream.ALERT,
    Stream.COUNT,
    Stream.ALERT,
    Stream.ALERT,
    Stream.ALERT,
    Stream.READING,
)
_NO_MATCHING_SUBSCRIBERS = 0x10
_PACKET_OVERHEAD_BYTES = 16  # fixed header, lengths, message id, empty properties: at most this many for our topics

_HOPELESS = {0x90: "topic name invalid", 0x95: "packet too large", 0x99: "payload format invalid"}
_REASONS = {0x80: "unspecified", 0x83: "refused by the broker's rules", 0x87: "not authorised", 0x97: "quota exceeded"}


def reason_words(code: int) -> str:
    """What a reason code of 128 and more in a PUBACK means."""
    return f"{_HOPELESS.get(code) or _REASONS.get(code) or 'refused'} (0x{code:02x})"


class Sender(Protocol):
    """What delivery needs of a link."""

    in_flight: int
    sent_bytes: int

    def publish_often(self, topic: str, payload: bytes) -> int: ...


class Source(Protocol):
    """What delivery needs of the outbox."""

    def peek(self, stream: Stream, after: Position = ..., limit: int = ...) -> list[Waiting]: ...
    def remove(self, stream: Stream, positions: list[Position]) -> None: ...
    def set_aside(self, waiting: Waiting, reason: GapReason) -> None: ...


@dataclass(slots=True)
class Counts:
    """Since start. refused counts each refusal, no_subscribers those acknowledged with 'nobody listens'."""

    sent: int = 0
    acked: int = 0
    no_subscribers: int = 0
    refused: int = 0
    set_aside: int = 0
    error: str | None = None


@dataclass(slots=True)
class _Lane:
    """One stream on its way. position: the last row read ahead."""

    stream: Stream
    position: Position = (0, 0)
    ready: deque[Waiting] = field(default_factory=deque)
    dry: bool = False  # the outbox had no more when last asked; stored() clears it
    in_flight: int = 0
    limit: int = MAX_WINDOW  # in flight at once; small after trouble, grows with each message taken
    held_until_s: float = 0.0
    tries: dict[Position, int] = field(default_factory=dict)  # of messages that were refused and are still here


class Delivery:
    """rate: what may leave in how much time; alerts are not exempt, but go first.

    tries: refusals after which a message is set aside (about 15 minutes of growing waits); hopeless ones after 3.

    A connection's life: restart, then fill and acked in turn, and hung_up if the broker ended it.
    """

    def __init__(
        self,
        outbox: Source,
        topics: BoxTopics,
        form: Form,
        *,
        rate: Rate | None = None,
        tries: int = 20,
        max_hold_s: float = 60.0,
    ) -> None:
        self.counts = Counts()
        self.idle = False  # at the last fill nothing was left that could be sent now
        self._outbox = outbox
        self._topics = topics
        self._form = form
        self._rate = rate or Rate()
        self._tries = tries
        self._max_hold_s = max_hold_s
        self._turn = 0
        self._window = 1
        self._max_packet_bytes: int | None = None
        self._lanes: dict[Stream, _Lane] = {}
        self._flight: dict[int, tuple[_Lane, Waiting, float]] = {}
        self.restart(1, None)

    def restart(self, receive_maximum: int, max_packet_bytes: int | None) -> None:
        """A new connection: nothing is in flight, everything not acknowledged is sent again from the oldest on."""
        self._window = max(1, min(receive_maximum, MAX_WINDOW))
        self._max_packet_bytes = max_packet_bytes
        self._flight.clear()
        # Waits and tries survive: some brokers refuse and disconnect, and a held stream must not stop the others then.
        was = self._lanes
        self._lanes = {stream: _Lane(stream) for stream in Stream}
        for stream, old in was.items():
            lane = self._lanes[stream]
            lane.limit, lane.held_until_s, lane.tries = old.limit, old.held_until_s, old.tries

    def hung_up(self, now_s: float) -> None:
        """The broker closed a connection that it had accepted us on. Before MQTT 5 that is how it refuses a message.

        Which one, it does not say. So each stream sends half as many at once, and when a single one was in flight, that
        is held for a while and tried again, like a refused one. What is innocent is taken then, and forgotten.
        """
        for lane in self._lanes.values():
            flying = [waiting for owner, waiting, _ in self._flight.values() if owner is lane]
            if len(flying) == 1:
                self._try_later(lane, flying[0], self._tries, now_s)
            elif flying:
                lane.limit = len(flying) // 2

    def stored(self) -> None:
        """The outbox has new rows."""
        for lane in self._lanes.values():
            lane.dry = False

    @property
    def in_flight(self) -> int:
        return len(self._flight)

    def oldest_sent_s(self) -> float | None:
        """When the oldest message in flight was sent."""
        return next((sent_s for _, _, sent_s in self._flight.values()), None)  # dicts keep order of arrival

    def fill(self, link: Sender, now_s: float) -> None:
        """Send until the window is full, the rate is used up or nothing waits. Raises UplinkDown from the link."""
        self.idle = False
        while link.in_flight < self._window and self._rate.allows(now_s):
            lane = self._next_lane(now_s)
            if lane is None:
                self.idle = True
                return
            waiting = lane.ready.popleft()
            topic, payload = self._message(waiting)
            packet_bytes = len(topic) + len(payload) + _PACKET_OVERHEAD_BYTES
            if self._max_packet_bytes and packet_bytes > self._max_packet_bytes:
                self._set_aside(lane, waiting, "too-big", now_s)
                continue
            before_bytes = link.sent_bytes
            mid = link.publish_often(topic, payload)
            self._rate.spend(link.sent_bytes - before_bytes)
            self._flight[mid] = (lane, waiting, now_s)
            lane.in_flight += 1
            self.counts.sent += 1

    def acked(self, acks: Iterable[tuple[int, int]], now_s: float) -> None:
        """Enter what the broker said. Ids that are not the ledger's (birth, replies) are passed over."""
        taken: dict[Stream, list[Position]] = {}
        for mid, code in acks:
            lane, waiting, _ = self._flight.pop(mid, (None, None, 0.0))
            if lane is None or waiting is None:
                continue
            lane.in_flight -= 1
            if code < 128:
                taken.setdefault(lane.stream, []).append(waiting.position)
                lane.limit = min(lane.limit + 1, MAX_WINDOW)
                lane.tries.pop(waiting.position, None)
                self.counts.acked += 1
                self.counts.no_subscribers += code == _NO_MATCHING_SUBSCRIBERS
            else:
                self._refused(lane, waiting, code, now_s)
        for stream, positions in taken.items():
            self._outbox.remove(stream, positions)

    def next_try_s(self) -> float | None:
        """When fill may send again if nothing happens before: the rate allows it, or a held stream may be tried."""
        held_until = min((lane.held_until_s for lane in self._lanes.values() if lane.held_until_s), default=None)
        return self._rate.allows_again_s() or held_until

    def _next_lane(self, now_s: float) -> _Lane | None:
        turn = _TURNS[self._turn]
        for stream in (turn, *(other for other in Stream if other is not turn)):
            lane = self._lanes[stream]
            if self._has_next(lane, now_s):
                self._turn = (self._turn + 1) % len(_TURNS)
                return lane
        return None

    def _has_next(self, lane: _Lane, now_s: float) -> bool:
        if lane.held_until_s > now_s or lane.in_flight >= lane.limit:
            return False
        if lane.tries and any(other.tries and other.in_flight for other in self._lanes.values()):
            return False  # one suspect at a time, or two would be blamed for what one does
        lane.held_until_s = 0.0
        if not lane.ready and not lane.dry:
            try:
                rows = self._outbox.peek(lane.stream, lane.position, _READ_AHEAD)
            except EventStoreError as exc:
                self.counts.error = str(exc)
                lane.held_until_s = now_s + 1.0
                return False
            lane.dry = len(rows) < _READ_AHEAD
            if rows:
                lane.position = rows[-1].position
                lane.ready.extend(rows)
        if lane.tries and lane.ready and not lane.in_flight:
            # What lies before the next one is gone: evicted meanwhile.
            lane.tries = {place: number for place, number in lane.tries.items() if place >= lane.ready[0].position}
        return bool(lane.ready)

    def _message(self, waiting: Waiting) -> tuple[str, bytes]:
        row = waiting.row
        envelope = Envelope(
            epoch=row.epoch,
            seq=row.seq,
            time_ms=waiting.time_ms,
            up_ms=row.mono_ms,
            boot=waiting.boot,
            clock_unset=waiting.clock_unset,
            late_s=waiting.late_s,
        )
        return self._topics.ledger(row.stream, row.source), encode(envelope, row.body, self._form)

    def _refused(self, lane: _Lane, waiting: Waiting, code: int, now_s: float) -> None:
        self.counts.refused += 1
        self.counts.error = (
            f"broker refused {self._topics.ledger(lane.stream, waiting.row.source)}: {reason_words(code)}"
        )
        self._try_later(lane, waiting, 3 if code in _HOPELESS else self._tries, now_s)

    def _try_later(self, lane: _Lane, waiting: Waiting, most: int, now_s: float) -> None:
        """Hold the stream, longer each time, and set the message aside when it had its tries."""
        tries = lane.tries[waiting.position] = lane.tries.get(waiting.position, 0) + 1
        if tries >= most:
            self._set_aside(lane, waiting, "rejected", now_s)
            return
        self._put_back(lane, waiting)
        lane.limit = 1
        lane.held_until_s = now_s + min(2.0 ** (tries - 1), self._max_hold_s)

    def _set_aside(self, lane: _Lane, waiting: Waiting, reason: GapReason, now_s: float) -> None:
        try:
            self._outbox.set_aside(waiting, reason)
        except EventStoreError as exc:  # stays in the outbox, and is tried again
            self.counts.error = str(exc)
            self._put_back(lane, waiting)
            lane.held_until_s = now_s + 1.0
            return
        _log.error("message %s %s set aside: %s", lane.stream.value, waiting.position, reason)
        lane.tries.pop(waiting.position, None)
        self.counts.set_aside += 1
        self._lanes[Stream.ALERT].dry = False  # its gap notice waits there

    def _put_back(self, lane: _Lane, waiting: Waiting) -> None:
        """In front of what has not been sent yet, by number: several may come back, in any order."""
        after = [other for other in lane.ready if other.position > waiting.position]
        before = [other for other in lane.ready if other.position < waiting.position]
        lane.ready = deque([*before, waiting, *after])
