"""Messages as `read` takes them apart, and what each means to the ledger. No broker, no clock: fed from anywhere."""

from __future__ import annotations

from dataclasses import replace

from agent.consumer.message import Arrival, LedgerMessage, read
from agent.contract.ledger import Ledger


class Reader:
    """ledger: what has come of every (site, box, stream), to ask what is missing. Not safe to share between threads.

    from_start: expect every stream from number 1; else from its first message that comes.
    """

    def __init__(self, *, from_start: bool = False) -> None:
        self.ledger = Ledger(from_start=from_start)

    def take(self, topic: str, payload: bytes) -> Arrival:
        """Never raises. A LedgerMessage has `taken`; a gap notice that is new has been excused in the ledger."""
        message = read(topic, payload)
        if not isinstance(message, LedgerMessage):
            return message
        message = replace(message, taken=self.ledger.take(message.key, message.epoch, message.seq))
        if message.is_new and message.kind == "gap":
            self._excuse(message)
        return message

    def _excuse(self, gap: LedgerMessage) -> None:
        stream, first, last = (gap.fields.get(name) for name in ("stream", "first", "last"))
        of = gap.fields.get("of", gap.epoch)
        if isinstance(stream, str) and isinstance(of, int) and isinstance(first, int) and isinstance(last, int):
            self.ledger.excuse((gap.site, gap.box, stream), of, first, last)
