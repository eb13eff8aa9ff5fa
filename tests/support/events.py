"""Events as the stages make them, and an outbox's rows as the link gets them."""

from __future__ import annotations

from agent.clock import Stamp
from agent.contract.event import Crossing, Event, Stream

STAMP = Stamp(wall_ms=1_763_966_823_123, mono_ms=123_456, trusted=True)


def crossing(track: int, stream: Stream = Stream.COUNT, source: str = "north", stamp: Stamp = STAMP) -> Event:
    """track is what tests tell events apart by."""
    return Event(stream, source, Crossing(line="gate", direction="in", object_class="car", track=track), stamp)
