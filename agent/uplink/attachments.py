"""Pictures, and what the doctor wrote, on their way: off the ledger, after everything on it, one at a time. No thread,
no socket of its own.

What is to be sent is marked on the disk, and the mark goes on an acknowledgement below 128 and on nothing else, unless
the broker will not have the picture. On a metered link a picture uses what the events leave over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.uplink.rate import Rate

_log = logging.getLogger(__name__)

_PACKET_OVERHEAD_BYTES = 64
_FIRST_HOLD_S = 5.0
_SLOWEST_LINK_BYTES_PER_S = 1000  # slower ones get no picture through before the keep-alive ends the connection


class Pictures(Protocol):
    """What is needed of a store of pictures, or of bundles."""

    def on_waiting(self, wake: Callable[[], None]) -> None: ...
    def waiting(self) -> list[str]: ...
    def read(self, evidence_id: str) -> bytes | None: ...
    def settle(self, evidence_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """What is sent from one store. topic: of an id."""

    store: Pictures
    topic: Callable[[str], str]
    content_type: str


class Sender(Protocol):
    """What is needed of a link."""

    in_flight: int

    def publish(self, topic: str, payload: bytes, *, content_type: str | None = ...) -> int: ...


@dataclass(frozen=True, slots=True)
class _Flight:
    mid: int
    kind: Kind
    evidence_id: str
    sent_s: float
    bytes: int


class Attachments:
    """tries: refusals and lost connections after which a picture is not sent any more (about an hour of growing waits).

    A connection's life: restart, then fill, when nothing on the ledger can be sent, and acked in turn.
    """

    def __init__(
        self,
        kinds: Sequence[Kind],
        *,
        rate: Rate | None = None,
        tries: int = 10,
        first_hold_s: float = _FIRST_HOLD_S,
    ) -> None:
        self.sent = 0  # acknowledged, since start
        self.given_up = 0
        self.error: str | None = None
        self._kinds = kinds
        self._rate = rate or Rate()
        self._most_tries = tries
        self._first_hold_s = first_hold_s
        self._max_packet_bytes: int | None = None
        self._flight: _Flight | None = None
        self._tries: dict[str, int] = {}  # of those still to be sent
        self._failures = 0  # in a row, whichever pictures they were
        self._held_until_s = 0.0
        self._acked_s = 0.0

    @property
    def in_flight(self) -> int:
        return 1 if self._flight else 0

    @property
    def waiting(self) -> int:
        return sum(len(kind.store.waiting()) for kind in self._kinds)

    def restart(self, max_packet_bytes: int | None, now_s: float) -> None:
        """A new connection. A picture that was on its way when the last one ended may be why it ended."""
        self._max_packet_bytes = max_packet_bytes
        if self._flight is not None:
            lost, self._flight = self._flight, None
            self._try_later(lost.kind, lost.evidence_id, "the connection was lost each time it was sent", now_s)

    def fill(self, link: Sender, now_s: float) -> None:
        """Send the oldest picture, if none is on its way and its time has come. Raises UplinkDown from the link."""
        while self._flight is None and now_s >= self._held_until_s:
            waiting = {one: kind for kind in self._kinds for one in kind.store.waiting()}
            if self._tries:
                self._tries = {one: n for one, n in self._tries.items() if one in waiting}
            if not waiting:
                return
            # One the broker did not like waits behind those it has not seen.
            evidence_id = min(waiting, key=lambda one: self._tries.get(one, 0))
            kind = waiting[evidence_id]
            content = kind.store.read(evidence_id)
            if content is None:
                continue
            topic = kind.topic(evidence_id)
            packet_bytes = len(topic) + len(content) + _PACKET_OVERHEAD_BYTES
            if self._max_packet_bytes and packet_bytes > self._max_packet_bytes:
                self._give_up(kind, evidence_id, f"{packet_bytes} bytes are more than the broker takes at once")
                continue
            if not self._rate.take_spare(packet_bytes, now_s):
                return
            mid = link.publish(topic, content, content_type=kind.content_type)
            self._flight = _Flight(mid, kind, evidence_id, now_s, packet_bytes)

    def acked(self, mid: int, code: int, now_s: float) -> None:
        """What the broker said to one message; ids that are no picture's are passed over."""
        flight = self._flight
        if flight is None or flight.mid != mid:
            return
        self._flight, self._acked_s = None, now_s
        if code < 128:
            flight.kind.store.settle(flight.evidence_id)
            self._tries.pop(flight.evidence_id, None)
            self._failures, self._held_until_s = 0, 0.0
            self.sent += 1
        else:
            self._try_later(flight.kind, flight.evidence_id, f"the broker refuses it (0x{code:02x})", now_s)

    def silence_counts_from_s(self) -> float:
        """When the broker's silence begins to count: on a slow link a picture takes its time, and so does what was sent
        behind it."""
        if self._flight is None:
            return self._acked_s
        return self._flight.sent_s + self._flight.bytes / _SLOWEST_LINK_BYTES_PER_S

    def _try_later(self, kind: Kind, evidence_id: str, why: str, now_s: float) -> None:
        """Hold all pictures, longer each time: some brokers answer one that they refuse by ending the connection."""
        tries = self._tries[evidence_id] = self._tries.get(evidence_id, 0) + 1
        self._held_until_s = now_s + self._first_hold_s * 2.0 ** min(self._failures, 7)
        self._failures += 1
        if tries >= self._most_tries:
            self._give_up(kind, evidence_id, why)

    def _give_up(self, kind: Kind, evidence_id: str, why: str) -> None:
        """Not sent any more; it stays on the box, and may be asked for again."""
        kind.store.settle(evidence_id)
        self._tries.pop(evidence_id, None)
        self.given_up += 1
        self.error = f"picture {evidence_id} is not sent: {why}"
        _log.error("%s", self.error)
