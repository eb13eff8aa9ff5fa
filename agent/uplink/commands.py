"""Requests from the IOC: read, done or refused, answered. One small function for each command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.contract.command import Command, Reply, read_command
from agent.contract.wire import Form, PayloadError, pack

Handler = Callable[[Command], dict[str, Any]]
"""Does what was asked and returns the answer's data. Raises CommandRefused."""

_MAX_BYTES = 64 * 1024


class CommandRefused(Exception):
    """The words go back to whoever asked."""


def answer(payload: bytes, handlers: dict[str, Handler]) -> bytes:
    """The reply to one request, in the form (JSON or CBOR) that the request had. Raises for no payload whatever."""
    form: Form = "cbor" if payload and 0xA0 <= payload[0] <= 0xBF else "json"
    return pack(_reply(payload, handlers).fields(), form)


def _reply(payload: bytes, handlers: dict[str, Handler]) -> Reply:
    if len(payload) > _MAX_BYTES:
        return Reply(result="refused", why=f"request of {len(payload)} bytes; wanted at most {_MAX_BYTES}")
    try:
        command = read_command(payload)
    except PayloadError as exc:
        return Reply(result="refused", why=str(exc))
    handler = handlers.get(command.command)
    if handler is None:
        known = ", ".join(sorted(handlers))
        why = f"unknown command {command.command!r}; this agent knows: {known}"
        return Reply(result="refused", command=command.command, id=command.id, why=why)
    try:
        return Reply(result="done", command=command.command, id=command.id, data=handler(command))
    except CommandRefused as exc:
        return Reply(result="refused", command=command.command, id=command.id, why=str(exc))
