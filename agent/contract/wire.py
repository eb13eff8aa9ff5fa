"""Bytes on the wire: ledger fields and body as one flat object, in JSON or in CBOR, both ways.

What we send is strict (the models say what exists); what we read tolerates keys we do not know, because within v1
the contract only ever grows. Knows nothing of topics, of the store or of MQTT.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import cbor2
from pydantic import TypeAdapter, ValidationError

from agent.contract.event import AnyBody, Body

Form = Literal["json", "cbor"]

KEYS: dict[str, int] = {
    # One byte each in CBOR (0 to 23): what a crossing and a reading are made of.
    "epoch": 0,
    "seq": 1,
    "time": 2,
    "up": 3,
    "kind": 4,
    "line": 5,
    "direction": 6,
    "class": 7,
    "track": 8,
    "zone": 9,
    "clock": 10,
    "late": 11,
    "boot": 12,
    "alert": 13,
    "state": 14,
    "reason": 15,
    "n": 16,
    "lasted_s": 17,
    "dwell_s": 18,
    "interval_s": 19,
    "lines": 20,
    "zones": 21,
    "value": 22,
    "unit": 23,
    # Two bytes each from here on.
    "mean": 24,
    "peak": 25,
    "seen_s": 26,
    "stream": 27,
    "first": 28,
    "last": 29,
    "of": 30,
    "salvaged": 31,
    "file": 32,
    "online": 33,
    "agent": 34,
    "boot_id": 35,
    "since": 36,
    "command": 37,
    "id": 38,
    "result": 39,
    "why": 40,
    "data": 41,
    "uptime_s": 42,
    "clock_trusted": 43,
    "runtime": 44,
    "model": 45,
    "cameras": 46,
    "fps": 47,
    "dropped": 48,
    "inferred": 49,
    "error": 50,
    "outbox": 51,
    "rows": 52,
    "bytes": 53,
    "max_bytes": 54,
    "oldest_s": 55,
    "link": 56,
    "broker": 57,
    "in_flight": 58,
    "acked": 59,
    "no_subscribers": 60,
    "refused": 61,
    "cpu_c": 62,
    "rss_bytes": 63,
    "disk_free_bytes": 64,
    "rule": 65,
    "severity": 66,
    "evidence": 67,
    "sha256": 68,
    "attributes": 69,
    "speed_kmh": 70,
    "speed_error_kmh": 71,
    "limit_kmh": 72,
    "mean_speed_kmh": 73,
    "mean_speed_lengths_per_s": 74,
    "headway_s": 75,
    "flows": 76,
    "vehicles": 77,
    "people": 78,
    "place": 79,
    "fault": 100,
    "faults": 101,
    "bugs": 102,
    "pictures": 110,
    "waiting": 111,
    "not_stored": 112,
    "given_up": 113,
    "colour": 114,
    # Sensors: 130 to 144.
    "quantity": 130,
    "more": 131,
    "bound": 132,
    "limit": 133,
    "name": 134,
    "sensors": 135,
    "age_s": 136,
    "values": 137,
    "outputs": 138,
    "on": 139,
    # Updates of the box.
    "update": 145,
    "artifact": 146,
    "version": 147,
    "previous": 148,
    # The box under strain.
    "causes": 150,
    "budget": 151,
    "max_per_s": 152,
    "limit_per_s": 153,
    "granted": 154,
    # The commissioning report.
    "checks": 155,
    "problems": 156,
    "fine": 157,
    "words": 158,
    "versions": 159,
    # Commands and the audit log.
    "by": 160,
    "role": 161,
    "via": 162,
    "did": 163,
    "outcome": 164,
    "what": 165,
    "hash": 166,
    "before": 167,
    "at": 168,
    "earlier": 169,
    "doubt": 170,
}
"""CBOR's integer key for each name, at every depth. Published: numbers are added, never changed, never used again.
A name without a number travels as text, so that a table that lags behind loses bytes and not data."""

_NAMES = {number: name for name, number in KEYS.items()}
LEDGER_FIELDS = frozenset({"epoch", "seq", "time", "up", "boot", "clock", "late"})
_MAX_DEPTH = 16  # nothing of ours is deeper than 4; a hostile payload must not reach Python's recursion limit


class PayloadError(ValueError):
    """Bytes that are not a payload of this contract."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The ledger fields of one message.

    epoch: uint32, drawn with the box's database; a new one starts every stream at 1 again.
    seq: from 1, per stream.
    time_ms: when it happened, UTC, Unix milliseconds; see clock_unset.
    up_ms: when it happened, milliseconds since the box booted.
    boot: the box's boot that up_ms counts from; None = the one that `state` names.
    clock_unset: the box's wall clock had not been set then, and time_ms could not be corrected afterwards.
    late_s: seconds between happening and sending, where that was long enough to say.
    """

    epoch: int
    seq: int
    time_ms: int
    up_ms: int
    boot: int | None = None
    clock_unset: bool = False
    late_s: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One ledger message as read. body is None for a kind this version does not know; fields has everything."""

    envelope: Envelope
    body: Body | None
    fields: dict[str, Any]


def body_json(body: Body) -> str:
    """A body as the outbox keeps it: the JSON object that `encode` puts the ledger fields in front of."""
    return body.model_dump_json(by_alias=True, exclude_none=True)


def read_body(text: str) -> Body:
    """What `body_json` made. Raises PayloadError."""
    try:
        return _any_body().validate_json(text, extra="ignore")
    except ValidationError as exc:
        raise PayloadError(
            f"{text[:60]!r} is no body of this contract: {exc.errors(include_url=False)[0]['msg']}"
        ) from exc


def encode(envelope: Envelope, body: str, form: Form) -> bytes:
    """The payload of one ledger message. body: a JSON object as `body_json` makes it."""
    if form == "cbor":
        return pack({**_head(envelope), **json.loads(body)}, "cbor")
    boot = f',"boot":{envelope.boot}' if envelope.boot is not None else ""
    clock = ',"clock":"unset"' if envelope.clock_unset else ""
    late = f',"late":{envelope.late_s}' if envelope.late_s is not None else ""
    ledger = f'{{"epoch":{envelope.epoch},"seq":{envelope.seq},"time":{envelope.time_ms},"up":{envelope.up_ms}'
    return f"{ledger}{boot}{clock}{late},{body[1:]}".encode()


def pack(fields: dict[str, Any], form: Form) -> bytes:
    """A payload off the ledger: state, health, replies. fields: JSON types only, names as on the wire."""
    if form == "cbor":
        return cbor2.dumps(_numbered(fields), canonical=True)  # canonical: shortest floats, one encoding per value
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def decode(payload: bytes) -> dict[str, Any]:
    """A payload's fields under their names. JSON and CBOR are told apart by the first byte ('{' or a CBOR map).

    Raises PayloadError for anything that is not one object of JSON types.
    """
    if not payload:
        raise PayloadError("empty payload; wanted a JSON object or a CBOR map")
    try:
        if payload[0] == ord("{"):
            return _checked(json.loads(payload))
        if 0xA0 <= payload[0] <= 0xBF:
            return _checked(cbor2.loads(payload))
    except PayloadError:
        raise
    except (ValueError, RecursionError, OverflowError, MemoryError, cbor2.CBORError) as exc:
        raise PayloadError(f"payload of {len(payload)} bytes cannot be read: {type(exc).__name__}: {exc}") from exc
    raise PayloadError(f"payload starts with byte 0x{payload[0]:02x}; wanted '{{' (JSON) or a CBOR map (0xa0 to 0xbf)")


def parse(payload: bytes) -> Message:
    """A ledger message from its bytes. Raises PayloadError if it is none, or breaks the model of its kind."""
    fields = decode(payload)
    try:
        envelope = read_envelope(fields)
        body = {name: value for name, value in fields.items() if name not in LEDGER_FIELDS}
        kind = body.get("kind")
        if not isinstance(kind, str):
            raise PayloadError(f"field 'kind' is {brief(kind)}; wanted text")
        if kind not in KINDS:
            return Message(envelope, None, fields)
        return Message(envelope, _any_body().validate_python(body, extra="ignore"), fields)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PayloadError(f"message of kind {fields.get('kind')!r}: {where}: {first['msg']}") from exc


def read_envelope(fields: dict[str, Any]) -> Envelope:
    """The ledger fields among a message's fields. Raises PayloadError naming one that is missing or out of range."""
    return Envelope(
        epoch=_whole(fields, "epoch", 0, 0xFFFFFFFF),
        seq=_whole(fields, "seq", 1, None),
        time_ms=_whole(fields, "time", 0, None),
        up_ms=_whole(fields, "up", 0, None),
        boot=_whole(fields, "boot", 0, None) if "boot" in fields else None,
        clock_unset=fields.get("clock") == "unset",
        late_s=_whole(fields, "late", 0, None) if "late" in fields else None,
    )


@cache
def _any_body() -> TypeAdapter[AnyBody]:
    """Made when something is read: a box mostly writes, and it takes 2 MB."""
    return TypeAdapter(AnyBody)


KINDS = frozenset(str(body.model_fields["kind"].default) for body in get_args(get_args(AnyBody)[0]))
"""Every kind of body this version can send."""


def _head(envelope: Envelope) -> dict[str, Any]:
    head: dict[str, Any] = {
        "epoch": envelope.epoch,
        "seq": envelope.seq,
        "time": envelope.time_ms,
        "up": envelope.up_ms,
    }
    if envelope.boot is not None:
        head["boot"] = envelope.boot
    if envelope.clock_unset:
        head["clock"] = "unset"
    if envelope.late_s is not None:
        head["late"] = envelope.late_s
    return head


def _numbered(value: Any) -> Any:
    if isinstance(value, dict):
        return {KEYS.get(name, name): _numbered(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_numbered(inner) for inner in value]
    return value


def _checked(value: Any) -> dict[str, Any]:
    named = _named(value, 0)
    if not isinstance(named, dict):
        raise PayloadError(f"payload is a {type(value).__name__}; wanted an object")
    return named


def _named(value: Any, depth: int) -> Any:
    """Names for numbers, and nothing but JSON's types: CBOR can also carry dates, big numbers, references."""
    if depth > _MAX_DEPTH:
        raise PayloadError(f"payload is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, dict):
        return {_name(key): _named(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_named(inner, depth + 1) for inner in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise PayloadError(
        f"payload holds a {type(value).__name__}; wanted text, numbers, true, false, null, lists, objects"
    )


def _name(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, int) and not isinstance(key, bool):
        return _NAMES.get(key, f"#{key}")  # a number from a newer table: kept, under a name nothing of ours has
    raise PayloadError(f"payload has a key of type {type(key).__name__}; wanted text or a number of the key table")


def _whole(fields: dict[str, Any], name: str, low: int, high: int | None) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        wanted = f"a whole number from {low}" + (f" to {high}" if high is not None else "")
        raise PayloadError(f"ledger field {name!r} is {brief(value)}; wanted {wanted}")
    return value


def brief(value: Any) -> str:
    """A value of a payload, for a sentence. CBOR carries numbers so long that Python does not write them."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    return f"{value!r:.60}"
