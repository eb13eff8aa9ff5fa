"""What arrived and what that proves: a consumer with the ledger, and the accounts of accepted against received."""

from __future__ import annotations

import bisect
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from agent.contract.event import Stream
from agent.contract.wire import decode
from agent.errors import UplinkDown
from agent.uplink.settings import Broker
from tests.support.consumer import Consumer


@dataclass(frozen=True)
class Place:
    epoch: int
    seq: int


class Witness(Consumer):
    """Keeps, beside the ledger, which event came where, how often, and the longest time in which none came."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.places: dict[int, Place] = {}
        self.duplicates: list[int] = []
        self.out_of_order: list[int] = []
        self.reused: list[str] = []  # numbers that stood for two different events: the ledger drops the second
        self.silence_s = 0.0
        self.connected = threading.Event()
        self._last_s = time.monotonic()
        self._sorted: dict[str, list[int]] = {stream.value: [] for stream in Stream}
        self._holders: dict[tuple[str, int, int], int] = {}
        self._gaps: list[tuple[str, int, int, int]] = []  # stream, epoch, first, last
        self._ledgers: list[int] = []  # epochs that a "new-ledger" notice began
        self._away = threading.Event()

    # ---- being there, or not ---------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Go away without losing what the broker has handed over: it queues for our session from then on."""
        self._away.set()

    def come_back(self) -> None:
        self._away.clear()

    def start_silence(self) -> None:
        self.silence_s, self._last_s = 0.0, time.monotonic()

    def _run(self) -> None:
        while not self._ended.is_set():
            if self._away.is_set():
                self._hang_up()
                while self._away.is_set() and not self._ended.is_set():
                    time.sleep(0.02)
                continue
            try:
                self.connected.set()
                message = self._subscriber.next(0.1)
            except UplinkDown:
                self.connected.clear()
                self._drain()
                self._return()
                continue
            if message is not None:
                self._enter(message.topic, message.payload)

    def _hang_up(self) -> None:
        """Close our direction, and read until the broker has closed its own."""
        link = self._subscriber._link
        sock = link._client.socket() if link else None
        if sock is not None:
            sock.shutdown(socket.SHUT_WR)
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            try:
                message = self._subscriber.next(0.1)
            except UplinkDown:
                break
            if message is not None:
                self._enter(message.topic, message.payload)
        self.connected.clear()
        self._drain()

    def _drain(self) -> None:
        """What had been read when the connection was found to be gone."""
        link = self._subscriber._link
        while link is not None and link.messages:
            message = link.messages.popleft()
            self._enter(message.topic, message.payload)

    # ---- what came -------------------------------------------------------------------------------------------------

    def _enter(self, name: str, payload: bytes) -> None:
        known = len(self.messages)
        super()._enter(name, payload)
        self._look_for_reuse(name, decode(payload))
        for fields in self.messages[known:]:
            stream = fields["topic"].split("/")[-2]
            if fields["kind"] == "gap":
                of = fields.get("of", fields["epoch"])
                self._gaps.append((fields["stream"], of, fields["first"], fields["last"]))
            elif fields["kind"] == "new-ledger":
                self._ledgers.append(fields["epoch"])
            elif "track" in fields:
                self._note(stream, fields["track"], Place(fields["epoch"], fields["seq"]))

    def _look_for_reuse(self, name: str, fields: dict[str, Any]) -> None:
        if "track" in fields:
            stream, track = name.split("/")[-2], fields["track"]
            holder = self._holders.setdefault((stream, fields["epoch"], fields["seq"]), track)
            if holder != track:
                self.reused.append(f"{stream} {fields['seq']} stood for event {holder}, then for {track}")

    def _note(self, stream: str, track: int, place: Place) -> None:
        now_s = time.monotonic()
        self.silence_s, self._last_s = max(self.silence_s, now_s - self._last_s), now_s
        if track in self.places:
            self.duplicates.append(track)
            return
        tracks = self._sorted[stream]
        if tracks and track < tracks[-1]:
            self.out_of_order.append(track)
        self.places[track] = place
        bisect.insort(tracks, track)

    # ---- what that proves ------------------------------------------------------------------------------------------

    def unaccounted(self, accepted: dict[str, list[int]], wanted: set[int]) -> set[int]:
        """Of wanted, what has neither come nor been named by the box as lost.

        accepted: every event accepted so far, by stream. A notice gives numbers, not events: a run of events that did
        not come is named if the numbers between its neighbours that came are, or if a new ledger began between them.
        """
        missing = wanted - self.places.keys()
        if not missing or not (self._gaps or self._ledgers):
            return missing
        left: set[int] = set()
        for stream, tracks in accepted.items():
            runs: dict[tuple[int, int], list[int]] = {}
            came = self._sorted[stream]
            for track in tracks:
                if track not in self.places:
                    at = bisect.bisect(came, track)
                    if 0 < at < len(came):
                        runs.setdefault((came[at - 1], came[at]), []).append(track)
                    elif track in missing:
                        left.add(track)
            for (before, after), run in runs.items():
                if not self._named(stream, self.places[before], self.places[after], len(run)):
                    left |= missing & set(run)
        return left

    def _named(self, stream: str, before: Place, after: Place, events: int) -> bool:
        if before.epoch != after.epoch:
            return after.epoch in self._ledgers
        numbers: set[int] = set()
        for gap_stream, epoch, first, last in self._gaps:
            if gap_stream == stream and epoch == before.epoch:
                numbers.update(range(max(first, before.seq + 1), min(last, after.seq - 1) + 1))
        return len(numbers) >= events

    def kinds_seen(self) -> Counter[str]:
        return Counter(message["kind"] for message in self.messages)
