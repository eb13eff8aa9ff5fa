"""For programs of the operations centre: what the boxes say, typed, with the ledger kept; and the reference ingester.

`Consumer` listens to a broker, `Reader` takes messages from anywhere, `read` takes one apart without a ledger. The
ingester (`ingester.py`, the verb `ingest`) stores what comes in PostgreSQL. Nothing of it runs on a box.
"""

from agent.consumer.consumer import Consumer
from agent.consumer.message import (
    Arrival,
    CommandMessage,
    HealthMessage,
    LedgerMessage,
    OtherMessage,
    PictureMessage,
    ReplyMessage,
    StateMessage,
    UnreadableMessage,
    read,
)
from agent.consumer.reader import Reader

__all__ = [
    "Arrival",
    "CommandMessage",
    "Consumer",
    "HealthMessage",
    "LedgerMessage",
    "OtherMessage",
    "PictureMessage",
    "Reader",
    "ReplyMessage",
    "StateMessage",
    "UnreadableMessage",
    "read",
]
