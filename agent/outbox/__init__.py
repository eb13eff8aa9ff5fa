"""The durable queue: see `agent.outbox.outbox`."""

from agent.outbox.outbox import Depth, Outbox, StreamDepth, Waiting
from agent.outbox.store import Position

__all__ = ["Depth", "Outbox", "Position", "StreamDepth", "Waiting"]
