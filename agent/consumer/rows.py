"""What becomes of each message in the database: a row, a box's state, a picture, or set aside with the reason.

Pure. What the database would refuse is found here, so that one bad message does not cost the batch it came with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agent.consumer.message import (
    BundleMessage,
    HealthMessage,
    LedgerMessage,
    OtherMessage,
    PictureMessage,
    StateMessage,
    UnreadableMessage,
    read,
)
from agent.consumer.source import Delivery
from agent.contract.event import Stream
from agent.contract.wire import LEDGER_FIELDS, PayloadError, brief

MAX_SEQ = (1 << 63) - 2  # a range of PostgreSQL's bigint ends one above
_MAX_BIGINT = (1 << 63) - 1
_MAX_TIME_MS = 253_402_300_799_999  # the end of the year 9999
_MAX_LATE_S = 1 << 31
_KEPT_BYTES = 64 * 1024

Record = dict[str, Any]
"""One row, by column; JSON types. Times are Unix milliseconds. `body` is JSON text."""


@dataclass(slots=True)
class Rows:
    """One batch."""

    messages: list[Record] = field(default_factory=list)
    states: list[Record] = field(default_factory=list)
    healths: list[Record] = field(default_factory=list)
    pictures: list[Record] = field(default_factory=list)
    set_aside: list[Record] = field(default_factory=list)


class _Unfit(ValueError):
    """It can be read, and not be stored."""


def rows_of(deliveries: Iterable[Delivery], *, pictures: bool = False) -> Rows:
    """pictures: keep them; else they are passed by, as are commands and their answers."""
    rows = Rows()
    for delivery in deliveries:
        message = read(delivery.topic, delivery.payload)
        try:
            if isinstance(message, LedgerMessage):
                rows.messages.append(_message(message, delivery.received_ms))
            elif isinstance(message, StateMessage):
                rows.states.append(_state(message, delivery.received_ms))
            elif isinstance(message, HealthMessage):
                rows.healths.append(_health(message, delivery.received_ms))
            elif isinstance(message, BundleMessage):
                pass  # for whoever asked, not for the database
            elif isinstance(message, PictureMessage):
                if pictures:
                    rows.pictures.append(_picture(message, delivery.received_ms))
            elif isinstance(message, UnreadableMessage):
                raise _Unfit(message.why)
            elif isinstance(message, OtherMessage):
                raise _Unfit(_why_other(message))
        except (_Unfit, PayloadError) as exc:
            rows.set_aside.append(set_aside(delivery, str(exc)))
    return rows


def set_aside(delivery: Delivery, reason: str) -> Record:
    topic = delivery.topic.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return {
        "digest": hashlib.sha256(topic.encode() + b"\0" + delivery.payload).digest(),
        "topic": topic,
        "payload": delivery.payload[:_KEPT_BYTES],
        "reason": reason.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")[:1000],
        "received_ms": delivery.received_ms,
    }


def _message(message: LedgerMessage, received_ms: int) -> Record:
    envelope = message.envelope()
    kind = message.fields.get("kind")
    if not isinstance(kind, str):
        raise _Unfit(f"field 'kind' is {brief(kind)}; wanted text")
    seq = _within("seq", envelope.seq, MAX_SEQ)
    late_s = _within("late", envelope.late_s, _MAX_LATE_S) if envelope.late_s is not None else None
    time_ms = _within("time", envelope.time_ms, _MAX_TIME_MS)
    body = {name: value for name, value in message.fields.items() if name not in LEDGER_FIELDS}
    return {
        "site": message.site,
        "box": message.box,
        "stream": message.stream.value,
        "epoch": envelope.epoch,
        "seq": seq,
        "source": message.source,
        "kind": kind,
        "happened_ms": received_ms - (late_s or 0) * 1000 if envelope.clock_unset else time_ms,
        "clock_unset": envelope.clock_unset,
        "time_ms": time_ms,
        "up_ms": _within("up", envelope.up_ms, _MAX_BIGINT),
        "boot": _within("boot", envelope.boot, _MAX_BIGINT) if envelope.boot is not None else None,
        "late_s": late_s,
        "received_ms": received_ms,
        "body": _json(body),
        **(_gap(message) if kind == "gap" and message.stream is Stream.ALERT else {}),
    }


def _gap(message: LedgerMessage) -> Record:
    """What a gap notice excuses; nothing, where it names no stretch: the message is kept all the same."""
    fields = message.fields
    stream, of = fields.get("stream"), fields.get("of", message.epoch)
    first, last = fields.get("first"), fields.get("last")
    if stream not in set(Stream) or type(of) is not int or type(first) is not int or type(last) is not int:
        return {}
    if not 1 <= first <= last <= MAX_SEQ or not 0 <= of <= 0xFFFFFFFF:
        return {}
    return {
        "gap_stream": stream,
        "gap_epoch": of,
        "gap_first": first,
        "gap_last": last,
        "gap_reason": reason if isinstance(reason := fields.get("reason"), str) else brief(reason),
    }


def _state(message: StateMessage, received_ms: int) -> Record:
    epoch = message.fields.get("epoch")
    return {
        "site": message.site,
        "box": message.box,
        "said": _json(message.fields),
        "received_ms": received_ms,
        "epoch": epoch if isinstance(epoch, int) and 0 <= epoch <= 0xFFFFFFFF else None,
        "last": _last(message.fields),
    }


def _health(message: HealthMessage, received_ms: int) -> Record:
    outbox = message.fields.get("outbox")
    return {
        "site": message.site,
        "box": message.box,
        "said": _json(message.fields),
        "received_ms": received_ms,
        "last": _last(outbox if isinstance(outbox, dict) else {}),
    }


def _last(fields: dict[str, Any]) -> str:
    """Last numbers given out, as JSON: only what is a number of a stream."""
    last = fields.get("last")
    numbers = last.items() if isinstance(last, dict) else ()
    return json.dumps(
        {
            stream: number
            for stream, number in numbers
            if stream in set(Stream) and type(number) is int and 0 <= number <= MAX_SEQ
        }
    )


def _picture(message: PictureMessage, received_ms: int) -> Record:
    return {
        "site": message.site,
        "box": message.box,
        "id": message.id,
        "sha256": message.sha256,
        "jpeg": message.payload,
        "received_ms": received_ms,
    }


def _why_other(message: OtherMessage) -> str:
    if message.where is None:
        return "the topic is none of this contract; wanted gw/v1/<site>/<box>/…"
    return "ledger fields 'epoch' and 'seq' are missing or no whole numbers"


def _within(name: str, value: int, most: int) -> int:
    if value > most:
        raise _Unfit(f"ledger field {name!r} is {brief(value)}; wanted at most {most}")
    return value


def _json(value: dict[str, Any]) -> str:
    """As text that PostgreSQL's jsonb takes. Raises _Unfit for what it does not: zero characters, lone surrogates,
    and numbers that are none."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError as exc:
        raise _Unfit("a text in it has half a character (a lone surrogate); no database takes that") from exc
    except ValueError as exc:
        raise _Unfit(f"a number in it is infinite or none at all: {exc}") from exc
    # In JSON a zero character is \u0000, and so are the last letters of a text with a backslash before "u0000".
    if "\\u0000" in text and _has_nul(value):
        raise _Unfit("a text in it has a zero character; PostgreSQL's jsonb refuses those")
    return text


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in name or _has_nul(inner) for name, inner in value.items())
    return isinstance(value, list) and any(_has_nul(inner) for inner in value)
