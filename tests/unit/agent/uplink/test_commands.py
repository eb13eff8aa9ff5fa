"""Requests: each is answered once, in its own form, and none makes the agent fall over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.command import Command
from agent.contract.wire import decode, pack
from agent.uplink.commands import CommandRefused, answer


def echo(command: Command) -> dict[str, Any]:
    return {"n": 1}


def refuse(command: Command) -> dict[str, Any]:
    raise CommandRefused("not on a Sunday")


HANDLERS = {"echo": echo, "refuse": refuse}


@pytest.mark.parametrize("form", ["json", "cbor"])
def test_the_answer_has_the_form_and_the_id_of_the_request(form: Any) -> None:
    reply = answer(pack({"command": "echo", "id": "a1"}, form), HANDLERS)
    assert (reply[:1] == b"{") == (form == "json")
    assert decode(reply) == {"result": "done", "command": "echo", "id": "a1", "data": {"n": 1}}


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (b'{"command":"fly","id":"a1"}', "unknown command 'fly'; this agent knows: echo, refuse"),
        (b'{"command":"refuse"}', "not on a Sunday"),
        (b'{"id":"a1"}', "command: Field required"),
        (b'{"command":7}', "command: Input should be a valid string"),
        (b"ping", "payload starts with byte 0x70"),
        (b"", "empty payload"),
        (b'{"command":"echo","x":"' + b"x" * 70_000 + b'"}', "wanted at most 65536"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(request_: bytes, why: str) -> None:
    reply = decode(answer(request_, HANDLERS))
    assert reply["result"] == "refused"
    assert why in reply["why"]


@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda tail: b'{"command":' + tail))
def test_no_request_goes_without_an_answer(request_: bytes) -> None:
    assert decode(answer(request_, HANDLERS))["result"] in ("done", "refused")
