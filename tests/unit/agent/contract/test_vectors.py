"""The test vectors are fresh, cover everything, and agree with a consumer written without ours, from the page alone."""

from __future__ import annotations

import json
from typing import Any

import cbor2
import pytest

from agent.contract import schema, vectors
from agent.contract.wire import KINDS, PayloadError, parse

DOCUMENT: dict[str, Any] = json.loads(vectors.PATH.read_text(encoding="utf-8"))


def test_vectors_in_the_tree_are_fresh() -> None:
    assert vectors.PATH.read_text(encoding="utf-8") == vectors.text(), "run: python -m agent.contract.vectors"


def test_every_kind_and_every_ledger_field_has_a_vector() -> None:
    assert {message["fields"]["kind"] for message in DOCUMENT["messages"]} == KINDS
    seen = {name for message in DOCUMENT["messages"] for name in message["fields"]}
    assert {"epoch", "seq", "time", "up", "boot", "clock", "late"} <= seen


@pytest.mark.parametrize("message", DOCUMENT["messages"], ids=lambda message: message["name"])
def test_json_and_cbor_say_the_same_and_are_read_by_us(message: dict[str, Any]) -> None:
    assert json.loads(message["json"]) == message["fields"]
    names = {number: name for name, number in json.loads(schema.PATH.read_text())["x-cbor-keys"].items()}
    assert named(cbor2.loads(bytes.fromhex(message["cbor"])), names) == message["fields"]
    for payload in (message["json"].encode(), bytes.fromhex(message["cbor"])):
        assert parse(payload).fields == message["fields"]


def named(value: Any, names: dict[int, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): named(inner, names) for key, inner in value.items()}
    return [named(inner, names) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("payload", DOCUMENT["refused"], ids=lambda payload: payload["name"])
def test_what_is_no_payload_is_refused(payload: dict[str, str]) -> None:
    with pytest.raises(PayloadError):
        parse(bytes.fromhex(payload["hex"]))


class SetLedger:
    """What the page says, with a set of every number: too large for a year, and too simple to be wrong."""

    def __init__(self, from_start: bool) -> None:
        self.from_start = from_start
        self.first: dict[int, int] = {}
        self.came: dict[int, set[int]] = {}
        self.excused: dict[int, set[int]] = {}

    def _join(self, epoch: int, number: int) -> bool:
        new = epoch not in self.first
        if new:
            self.first[epoch] = 1 if self.from_start or self.first else number
            self.came[epoch] = set()
            self.excused.setdefault(epoch, set())
        return new

    def _stretches(self, numbers: set[int]) -> list[list[int]]:
        starts = sorted(number for number in numbers if number - 1 not in numbers)
        return [[start, next(n for n in range(start, max(numbers) + 1) if n + 1 not in numbers)] for start in starts]

    def take(self, epoch: int, seq: int) -> dict[str, Any]:
        known = bool(self.first)
        new_epoch = self._join(epoch, seq) and known
        came, top = self.came[epoch], max(self.came[epoch], default=self.first[epoch] - 1)
        if seq in came or seq < self.first[epoch]:
            return {"repeat": True, "late": False, "missing": [], "new_epoch": False}
        came.add(seq)
        missing = set(range(top + 1, seq)) - self.excused[epoch]
        late = seq < top
        return {"repeat": False, "late": late, "missing": self._stretches(missing), "new_epoch": new_epoch}

    def excuse(self, epoch: int, first: int, last: int) -> None:
        self._join(epoch, first)
        self.excused[epoch] |= set(range(first, last + 1))

    def missing(self) -> list[list[int]]:
        found = []
        for epoch, came in self.came.items():
            due = set(range(self.first[epoch], max(came, default=0) + 1))
            found += [[epoch, *stretch] for stretch in self._stretches(due - came - self.excused[epoch])]
        return found

    def behind(self, epoch: int, last: int) -> list[int] | None:
        top = max(self.came.get(epoch, set()), default=0)
        return [top + 1, last] if top < last else None


@pytest.mark.parametrize("run", DOCUMENT["ledger"], ids=lambda run: run["name"])
def test_another_consumer_agrees_with_the_runs(run: dict[str, Any]) -> None:
    ledger = SetLedger(run["from_start"])
    for number, step in enumerate(run["steps"], 1):
        (what,) = step.keys() - {"gives"}
        assert getattr(ledger, what)(*step[what]) == step.get("gives"), f"step {number}: {step}"
