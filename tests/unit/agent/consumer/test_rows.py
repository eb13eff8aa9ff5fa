"""What becomes of each message in the database, and what is set aside before the database would refuse it."""

from __future__ import annotations

import json
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.consumer.rows import MAX_SEQ, Rows, rows_of
from agent.consumer.source import Delivery
from agent.contract.wire import pack

BASE = "gw/v1/site/box"
NOW_MS = 1_800_000_000_000


def made(tail: str, payload: bytes, *, pictures: bool = False) -> Rows:
    return rows_of([Delivery(f"{BASE}/{tail}", payload, NOW_MS)], pictures=pictures)


def message(**fields: Any) -> Rows:
    head = {"epoch": 7, "seq": 1, "time": 1_700_000_000_000, "up": 5, "kind": "novel"}
    return made("alert/north", json.dumps(head | fields).encode())


def test_a_message_is_a_row_with_its_body_beside_its_ledger_fields() -> None:
    (row,) = message(late=90, boot=3, more={"a": [1, None]}).messages
    assert json.loads(row.pop("body")) == {"kind": "novel", "more": {"a": [1, None]}}
    assert row == {
        "site": "site",
        "box": "box",
        "stream": "alert",
        "epoch": 7,
        "seq": 1,
        "source": "north",
        "kind": "novel",
        "happened_ms": 1_700_000_000_000,
        "clock_unset": False,
        "time_ms": 1_700_000_000_000,
        "up_ms": 5,
        "boot": 3,
        "late_s": 90,
        "received_ms": NOW_MS,
    }


@pytest.mark.parametrize(("late", "happened_ms"), [({"late": 90}, NOW_MS - 90_000), ({}, NOW_MS)])
def test_a_clock_that_was_not_set_is_corrected_by_ours(late: dict[str, int], happened_ms: int) -> None:
    (row,) = message(clock="unset", time=5, **late).messages
    assert (row["happened_ms"], row["clock_unset"], row["time_ms"]) == (happened_ms, True, 5)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"seq": 0}, "'seq' is 0", id="number zero"),
        pytest.param({"seq": MAX_SEQ + 1}, "at most", id="number beyond bigint"),
        pytest.param({"seq": 10**400}, "ledger field 'seq'", id="number beyond a float"),
        pytest.param({"seq": True}, "'seq' is True", id="a truth for a number"),
        pytest.param({"epoch": 1 << 32}, "'epoch'", id="epoch beyond uint32"),
        pytest.param({"epoch": -1}, "'epoch'", id="epoch below zero"),
        pytest.param({"time": 1 << 60}, "'time'", id="a year nobody will see"),
        pytest.param({"up": 1 << 63}, "'up'", id="up beyond bigint"),
        pytest.param({"late": 1 << 40}, "'late'", id="late by ages"),
        pytest.param({"kind": 5}, "'kind' is 5", id="no kind"),
        pytest.param({"kind": "a\0b"}, "zero character", id="NUL in the kind"),
        pytest.param({"a": ["x", {"b": "\0"}]}, "zero character", id="NUL in a text"),
        pytest.param({"a\0": 1}, "zero character", id="NUL in a name"),
        pytest.param({"a": "\ud800"}, "surrogate", id="half a character"),
        pytest.param({"a": float("inf")}, "infinite", id="infinite"),
        pytest.param({"a": float("nan")}, "infinite or none", id="not a number"),
        pytest.param({"seq": "1"}, "'epoch' and 'seq'", id="text for a number"),
    ],
)
def test_what_the_database_would_refuse_is_set_aside_with_the_reason(fields: dict[str, Any], reason: str) -> None:
    rows = message(**fields)
    assert rows.messages == []
    (aside,) = rows.set_aside
    assert reason in aside["reason"]
    assert aside["topic"] == f"{BASE}/alert/north"


@pytest.mark.parametrize("name", ["epoch", "seq", "time", "up", "late", "kind", "novel"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_too_long_to_be_written_is_set_aside(name: str, sign: int) -> None:
    fields = {"epoch": 7, "seq": 1, "time": 5, "up": 5, "kind": "novel"}
    rows = made("alert/north", cbor2.dumps(fields | {name: sign << 40_000}))
    assert rows.messages == []
    assert len(rows.set_aside) == 1


def test_a_text_that_only_looks_like_a_zero_character_is_stored() -> None:
    (row,) = message(path="C:\\u0000").messages
    assert json.loads(row["body"])["path"] == "C:\\u0000"


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("gw/v1/site/box/alert/north", b"junk", "starts with byte"),
        ("gw/v2/site/box/alert/north", b"{}", "topic"),
        ("other", b'{"a":1}', "topic"),
        ("gw/v1/s/b/alert/north", b"{" * 5000, "cannot be read"),
    ],
)
def test_what_is_not_our_contract_is_set_aside(topic: str, payload: bytes, reason: str) -> None:
    (aside,) = rows_of([Delivery(topic, payload, NOW_MS)]).set_aside
    assert reason in aside["reason"]


def test_the_same_bytes_have_the_same_digest_and_others_another() -> None:
    deliveries = [Delivery("a", b"x", 1), Delivery("a", b"x", 2), Delivery("a", b"y", 1), Delivery("ax", b"", 1)]
    digests = [row["digest"] for row in rows_of(deliveries).set_aside]
    assert len(set(digests)) == 3
    assert digests[0] == digests[1]


def test_a_payload_that_is_set_aside_is_kept_up_to_a_bound() -> None:
    (aside,) = made("alert/north", b"x" * 1_000_000).set_aside
    assert len(aside["payload"]) == 64 * 1024


GAP = {"kind": "gap", "stream": "count", "first": 4, "last": 6, "reason": "disk-full"}


def test_a_gap_notice_names_what_it_excuses() -> None:
    (row,) = message(**GAP).messages
    said = (row["gap_stream"], row["gap_epoch"], row["gap_first"], row["gap_last"], row["gap_reason"])
    assert said == ("count", 7, 4, 6, "disk-full")
    (row,) = message(**GAP, of=9).messages
    assert row["gap_epoch"] == 9


@pytest.mark.parametrize(
    "wrong",
    [{"first": 7}, {"first": 0}, {"last": 1 << 63}, {"first": "4"}, {"stream": "novel"}, {"of": -1}, {"last": True}],
)
def test_a_gap_notice_of_nonsense_is_kept_and_excuses_nothing(wrong: dict[str, Any]) -> None:
    (row,) = message(**GAP | wrong).messages
    assert "gap_first" not in row


def test_a_gap_notice_counts_only_among_the_alerts() -> None:
    (row,) = made("count/north", json.dumps({"epoch": 7, "seq": 1, "time": 1, "up": 1} | GAP).encode()).messages
    assert "gap_first" not in row


def test_of_the_last_numbers_only_what_is_one_is_taken() -> None:
    last = {"count": 5, "alert": -1, "reading": "9", "novel": 3}
    (state,) = made("state", pack({"online": True, "epoch": 7, "last": last}, "cbor")).states
    assert (state["epoch"], json.loads(state["last"])) == (7, {"count": 5})
    (health,) = made("health", pack({"time": 1, "outbox": {"last": last}}, "json")).healths
    assert json.loads(health["last"]) == {"count": 5}
    for nonsense in ({"outbox": 5}, {}, {"outbox": {"last": [1]}}):
        (health,) = made("health", pack(nonsense, "json")).healths
        assert json.loads(health["last"]) == {}


def test_pictures_are_stored_where_that_is_wanted() -> None:
    assert made("evidence/7-ab", b"\xff\xd8jpeg") == Rows()
    (picture,) = made("evidence/7-ab", b"\xff\xd8jpeg", pictures=True).pictures
    assert (picture["id"], picture["jpeg"]) == ("7-ab", b"\xff\xd8jpeg")


def test_commands_and_answers_are_passed_by() -> None:
    assert made("command", b"eyJ0eXAi.x.y") == Rows()
    assert made("reply", b'{"result":"done"}') == Rows()


@given(
    st.sampled_from([f"{BASE}/alert/n", f"{BASE}/state", f"{BASE}/health", f"{BASE}/evidence/i", "x\0y", "\ud800"]),
    st.binary(max_size=60),
)
def test_no_bytes_raise(topic: str, payload: bytes) -> None:
    rows = rows_of([Delivery(topic, payload, NOW_MS)], pictures=True)
    assert sum(map(len, (rows.messages, rows.states, rows.healths, rows.pictures, rows.set_aside))) == 1
