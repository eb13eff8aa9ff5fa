"""Requests to a box and its answers, off the ledger: one answer for each request that can be read.

The answer goes to the MQTT 5 response topic with the request's correlation data, or to `…/reply` with the request's
id for clients that speak 3.1.1.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from agent.contract.box import Part
from agent.contract.wire import decode


class Command(Part):
    """Something the box is asked to do or to tell."""

    command: str = Field(min_length=1, max_length=64)
    id: str | None = Field(default=None, max_length=64, description="comes back in the answer; needed without MQTT 5")
    evidence: str | None = Field(default=None, max_length=64, description="with `evidence`: the picture's id")


class Reply(Part):
    """The box's answer to a request."""

    result: Literal["done", "refused"]
    command: str | None = None
    id: str | None = None
    why: str | None = Field(default=None, description="with refused: what was wrong, and what was wanted")
    data: dict[str, Any] | None = Field(default=None, description="with done: what the command returns")


def read_command(payload: bytes) -> Command:
    """Raises PayloadError saying what is wrong with a payload that is no command."""
    return Command.read(decode(payload))
