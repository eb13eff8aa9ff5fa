"""Arrivals taken apart, and what they mean to the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.consumer import (
    Arrival,
    CommandMessage,
    HealthMessage,
    LedgerMessage,
    OtherMessage,
    PictureMessage,
    Reader,
    ReplyMessage,
    StateMessage,
    UnreadableMessage,
    read,
)
from agent.contract.event import Crossing, Stream
from agent.contract.wire import Envelope, PayloadError, body_json, encode, pack
from tests.support.events import crossing

BASE = "gw/v1/site/box"
VECTORS = Path(__file__).parents[4] / "agent" / "contract" / "vectors.json"


def payload(seq: int, **fields: Any) -> bytes:
    return json.dumps({"epoch": 7, "seq": seq, "time": 1, "up": 1, "kind": "novel", **fields}).encode()


def taken(reader: Reader, seq: int, on: str = "count", /, **fields: Any) -> LedgerMessage:
    message = reader.take(f"{BASE}/{on}/north", payload(seq, **fields))
    assert isinstance(message, LedgerMessage)
    return message


@pytest.mark.parametrize(
    ("tail", "kind"),
    [
        ("alert/north", LedgerMessage),
        ("state", StateMessage),
        ("health", HealthMessage),
        ("reply", ReplyMessage),
        ("command", CommandMessage),
        ("evidence/7-ab", PictureMessage),
        ("novelty", OtherMessage),
        ("novelty/north", OtherMessage),
    ],
)
def test_every_topic_has_its_type(tail: str, kind: type[Arrival]) -> None:
    message = read(f"{BASE}/{tail}", payload(1))
    assert type(message) is kind
    assert message.topic == f"{BASE}/{tail}"
    assert message.payload == payload(1)


@pytest.mark.parametrize("form", ["json", "cbor"])
def test_a_crossing_is_read_from_both_forms(form: Any) -> None:
    sent = crossing(3).body
    message = read(f"{BASE}/count/north", encode(Envelope(7, 12, 5, 6, late_s=30), body_json(sent), form))
    assert isinstance(message, LedgerMessage)
    assert (message.key, message.source, message.epoch, message.seq) == (("site", "box", "count"), "north", 7, 12)
    assert message.kind == "crossing"
    assert message.envelope() == Envelope(7, 12, 5, 6, late_s=30)
    assert isinstance(message.body(), Crossing)
    assert message.body() == sent


def test_every_vector_that_is_a_message_is_a_ledger_message() -> None:
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))["messages"]
    assert len(vectors) > 20
    for vector in vectors:
        for sent in (vector["json"].encode(), bytes.fromhex(vector["cbor"])):
            message = read(f"{BASE}/alert/x", sent)
            assert isinstance(message, LedgerMessage)
            assert message.body() is not None


def test_a_kind_that_is_not_known_is_passed_on_untouched() -> None:
    message = read(f"{BASE}/alert/north", payload(1, surprise=[1, {"a": None}]))
    assert isinstance(message, LedgerMessage)
    assert message.body() is None
    assert message.fields["surprise"] == [1, {"a": None}]


def test_a_message_that_breaks_its_model_says_where_and_keeps_its_fields() -> None:
    message = read(f"{BASE}/count/north", payload(1, kind="crossing", line="gate"))
    assert isinstance(message, LedgerMessage)
    with pytest.raises(PayloadError, match="direction"):
        message.body()
    assert message.fields["line"] == "gate"


@pytest.mark.parametrize("sent", [b"", b"junk", b'{"a":', b"\xa1", b'{"a":1e999999999999}x'])
def test_what_cannot_be_read_says_why_and_never_raises(sent: bytes) -> None:
    message = read(f"{BASE}/alert/north", sent)
    assert isinstance(message, UnreadableMessage)
    assert message.why


def test_a_ledger_topic_without_ledger_fields_is_no_ledger_message() -> None:
    message = read(f"{BASE}/alert/north", b'{"epoch":"7","seq":1}')
    assert isinstance(message, OtherMessage)
    assert message.where is not None
    assert message.where.stream is Stream.ALERT


def test_state_health_and_reply_are_models_of_the_contract() -> None:
    state = read(f"{BASE}/state", pack({"online": True, "reason": "started", "agent": "1", "epoch": 7}, "cbor"))
    assert isinstance(state, StateMessage)
    with pytest.raises(PayloadError, match="boot"):
        state.state()
    reply = read(f"{BASE}/reply", b'{"result":"done","command":"ping","data":{"rows":0}}')
    assert isinstance(reply, ReplyMessage)
    assert reply.reply().data == {"rows": 0}


def test_a_repeat_is_not_new_and_a_late_one_is() -> None:
    reader = Reader()
    assert [taken(reader, seq).is_new for seq in (1, 1, 4, 3, 3)] == [True, False, True, True, False]
    assert reader.ledger.missing(("site", "box", "count")) == [(7, 2, 2)]


def test_what_a_message_shows_to_be_missing_comes_with_it() -> None:
    reader = Reader()
    taken(reader, 1)
    jumped = taken(reader, 5).taken
    assert jumped is not None
    assert jumped.missing == ((2, 4),)


def test_a_gap_notice_excuses_its_stretch_once() -> None:
    reader = Reader()
    taken(reader, 1)
    taken(reader, 9)
    gap = {"kind": "gap", "stream": "count", "first": 2, "last": 6, "reason": "disk-full"}
    taken(reader, 1, "alert", **gap)
    assert reader.ledger.missing(("site", "box", "count")) == [(7, 7, 8)]


@pytest.mark.parametrize("of", ["7", None, 7.0])
def test_a_gap_notice_of_nonsense_excuses_nothing(of: Any) -> None:
    reader = Reader()
    taken(reader, 1)
    taken(reader, 9)
    taken(reader, 1, "alert", kind="gap", stream="count", first=2, last="6", of=of)
    assert reader.ledger.missing(("site", "box", "count")) == [(7, 2, 8)]


def test_from_start_expects_every_stream_from_its_first_number() -> None:
    reader = Reader(from_start=True)
    taken(reader, 3)
    assert reader.ledger.missing(("site", "box", "count")) == [(7, 1, 2)]
