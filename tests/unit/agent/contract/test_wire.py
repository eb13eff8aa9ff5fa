"""Bytes on the wire: what we send, what we accept, and that the published key table never changes."""

from __future__ import annotations

import contextlib
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from agent.contract.box import Health, State
from agent.contract.command import Reply
from agent.contract.event import (
    AnyBody,
    Body,
    CameraSilent,
    Counts,
    Crossing,
    Gap,
    LineCount,
    Reading,
    Stream,
    ZoneOccupancy,
)
from agent.contract.wire import KEYS, KINDS, Envelope, PayloadError, body_json, decode, encode, pack, parse

ENVELOPE = Envelope(epoch=2671403458, seq=1234, time_ms=1763966823123, up_ms=123456)
CROSSING = Crossing(line="gate", direction="in", object_class="car", track=57)
BODIES = [
    pytest.param(CROSSING, id="crossing"),
    pytest.param(CROSSING.model_copy(update={"attributes": {"colour": "red"}}), id="crossing with attributes"),
    pytest.param(CameraSilent(state="raised", alert="a1", reason="im lặng"), id="camera-silent"),
    pytest.param(Gap(stream=Stream.COUNT, first=3, last=9, reason="disk-full"), id="gap"),
    pytest.param(
        Counts(
            interval_s=60,
            seen_s=59.5,
            lines=(LineCount(line="gate", direction="out", object_class="bus", n=2),),
            zones=(ZoneOccupancy(zone="stop", mean=0.25, peak=3),),
        ),
        id="counts with lists inside",
    ),
]


def test_json_is_the_published_example() -> None:
    assert encode(ENVELOPE, body_json(CROSSING), "json") == (
        b'{"epoch":2671403458,"seq":1234,"time":1763966823123,"up":123456,'
        b'"kind":"crossing","line":"gate","direction":"in","class":"car","track":57}'
    )


def test_cbor_is_the_published_example() -> None:
    assert encode(ENVELOPE, body_json(CROSSING), "cbor").hex() == (
        "a9001a9f3a61c2011904d2021b0000019ab49daad3031a0001e240046863726f7373696e670564676174650662696e0763636172081839"
    )


def test_a_crossing_fits_into_160_bytes_of_json_and_80_of_cbor() -> None:
    late_in_a_big_ledger = Envelope(epoch=0xFFFFFFFF, seq=123_456, time_ms=1763966823123, up_ms=864_000_000)
    motorcycle = Crossing(line="gate", direction="out", object_class="motorcycle", track=12_345)
    assert len(encode(late_in_a_big_ledger, body_json(motorcycle), "json")) <= 160
    assert len(encode(late_in_a_big_ledger, body_json(motorcycle), "cbor")) <= 80
    red = motorcycle.model_copy(update={"attributes": {"colour": "red"}})
    assert len(encode(late_in_a_big_ledger, body_json(red), "cbor")) <= 80


@pytest.mark.parametrize(
    ("value", "unit"), [(1.325, "m"), (31.25, "°C"), (1004.25, "hPa"), (123.4, "µg/m³"), (-0.5, "°C")]
)
def test_a_reading_fits_into_120_bytes_of_json_and_60_of_cbor(value: float, unit: str) -> None:
    late_in_a_big_ledger = Envelope(epoch=0xFFFFFFFF, seq=1_234_567, time_ms=1763966823123, up_ms=864_000_000)
    reading = Reading(value=value, unit=unit)
    assert len(encode(late_in_a_big_ledger, body_json(reading), "json")) <= 120
    assert len(encode(late_in_a_big_ledger, body_json(reading), "cbor")) <= 60


@pytest.mark.parametrize("form", ["json", "cbor"])
@pytest.mark.parametrize("body", BODIES)
def test_every_message_comes_back_as_it_was(body: Body, form: Any) -> None:
    envelope = Envelope(1, 2, 3, 4, boot=5, clock_unset=True, late_s=6)
    message = parse(encode(envelope, body_json(body), form))
    assert (message.envelope, message.body) == (envelope, body)


def test_both_forms_say_the_same() -> None:
    text = body_json(CROSSING)
    assert decode(encode(ENVELOPE, text, "json")) == decode(encode(ENVELOPE, text, "cbor"))


@pytest.mark.parametrize("form", ["json", "cbor"])
def test_fields_and_kinds_of_a_newer_agent_are_tolerated(form: Any) -> None:
    fields = {**decode(encode(ENVELOPE, body_json(CROSSING), "json")), "colour": "red"}
    message = parse(pack(fields, form))
    assert message.body == CROSSING
    assert message.fields["colour"] == "red"
    newer = parse(pack({**fields, "kind": "levitation"}, form))
    assert newer.body is None
    assert newer.envelope == ENVELOPE


def test_a_cbor_number_of_a_newer_table_does_not_hide_the_rest() -> None:
    assert decode(cbor2.dumps({1: 7, 9999: "new"})) == {"seq": 7, "#9999": "new"}


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        pytest.param(b"", "empty payload", id="empty"),
        pytest.param(b"hello", "starts with byte 0x68", id="text"),
        pytest.param(b'{"epoch":1', "cannot be read", id="JSON cut short"),
        pytest.param(b"\xa9\x00\x1a", "cannot be read", id="CBOR cut short"),
        pytest.param(b'{"seq":1}', "ledger field 'epoch' is None", id="no ledger"),
        pytest.param(b'{"epoch":1,"seq":0,"time":1,"up":1}', "'seq' is 0; wanted a whole number from 1", id="seq 0"),
        pytest.param(
            b'{"epoch":1,"seq":1,"time":1,"up":1,"kind":{"of":1}}', "'kind' is .*wanted text", id="kind: no text"
        ),
        pytest.param(b'{"epoch":true,"seq":1,"time":1,"up":1}', "'epoch' is True", id="a truth value as a number"),
        pytest.param(
            b'{"epoch":1,"seq":1,"time":1,"up":1,"kind":"gap","stream":"count","first":1,"last":1,"reason":"whim"}',
            "reason",
            id="a reason that does not exist",
        ),
        pytest.param(b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested|cannot be read", id="nested deeply"),
        pytest.param(cbor2.dumps({1: cbor2.CBORTag(4711, 1)}), "CBORTag", id="a CBOR tag"),
    ],
)
def test_bad_payloads_are_refused_with_a_reason(payload: bytes, words: str) -> None:
    with pytest.raises(PayloadError, match=words):
        parse(payload)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"{" + tail))
def test_no_bytes_make_the_reader_raise_anything_else(payload: bytes) -> None:
    with contextlib.suppress(PayloadError):
        parse(payload)


@given(st.binary(max_size=60), st.integers(0xA0, 0xBF))
def test_no_cbor_map_makes_the_reader_raise_anything_else(tail: bytes, head: int) -> None:
    with contextlib.suppress(PayloadError):
        parse(bytes([head]) + tail)


def test_the_key_table_never_renumbers() -> None:
    # Published numbers. New names go to the end; a line here only ever gets company.
    assert list(KEYS)[:33] == [
        *("epoch", "seq", "time", "up", "kind", "line", "direction", "class", "track", "zone", "clock", "late"),
        *("boot", "alert", "state", "reason", "n", "lasted_s", "dwell_s", "interval_s", "lines", "zones", "value"),
        *("unit", "mean", "peak", "seen_s", "stream", "first", "last", "of", "salvaged", "file"),
    ]
    numbers = list(KEYS.values())
    assert numbers[:70] == list(range(70))
    assert numbers == sorted(set(numbers))
    assert [name for name, number in KEYS.items() if 130 <= number <= 149] == [
        *("quantity", "more", "bound", "limit", "name", "sensors", "age_s", "values", "outputs", "on"),
        *("update", "artifact", "version", "previous"),
    ]


def test_every_name_on_the_ledger_has_a_number() -> None:
    schema = TypeAdapter(AnyBody).json_schema(by_alias=True)
    names = {name for model in schema["$defs"].values() for name in model.get("properties", {})}
    assert names <= set(KEYS)


@pytest.mark.parametrize("model", [State, Health, Reply])
def test_every_name_off_the_ledger_has_a_number(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()
    names = {name for part in [schema, *schema.get("$defs", {}).values()] for name in part.get("properties", {})}
    assert names <= set(KEYS)


def test_kinds_are_all_that_exist() -> None:
    assert {"crossing", "enter", "exit", "dwell", "camera-silent", "gap", "new-ledger", "counts"} <= KINDS
