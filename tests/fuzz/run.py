"""Feeds parsers and keeps the account."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from tests.fuzz.damage import damaged
from tests.fuzz.parsers import REFUSALS, Parser


@dataclass
class Account:
    """What became of the inputs of one parser. crashes, wrong: the first few of each, to be looked at."""

    name: str
    inputs: int = 0
    refused: int = 0
    nothing: int = 0  # taken, but with no value in it
    accepted: int = 0
    changed: int = (
        0  # accepted, and not what the undamaged answer said: the checksum happens to be right, or there is none
    )
    wrong: list[bytes] = field(default_factory=list)
    crashes: list[tuple[bytes, str]] = field(default_factory=list)
    n_wrong: int = 0
    n_crashes: int = 0
    why: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        return self.n_wrong == 0 and self.n_crashes == 0

    def row(self) -> str:
        return (
            f"{self.name:12} {self.inputs:9,} {self.refused:9,} {self.nothing:8,} {self.accepted:9,} {self.changed:8,} "
            f"{self.n_wrong:6,} {self.n_crashes:8,}"
        )


HEAD = (
    f"{'parser':12} {'inputs':>9} {'refused':>9} {'nothing':>8} {'accepted':>9} {'changed':>8} "
    f"{'wrong':>6} {'crashes':>8}"
)


def feed(parser: Parser, inputs: int, chance: random.Random) -> Account:
    """Undamaged answers first, which must all be read; then damaged ones and noise."""
    account = Account(parser.name)
    examples = parser.examples(chance)
    truths = []
    for example in examples:
        try:
            truths.append(parser.read(example))
        except REFUSALS:
            truths.append({})
    assert any(truths), f"{parser.name}: no example is read at all"
    for _ in range(inputs):
        which = chance.randrange(len(examples))
        noise = chance.random() < 0.05
        data = chance.randbytes(chance.randrange(80)) if noise else damaged(examples[which], chance, examples)
        account.inputs += 1
        try:
            values = parser.read(data)
        except REFUSALS as exc:
            account.refused += 1
            account.why[type(exc).__name__] += 1
            continue
        except Exception as exc:  # what this whole command is for
            account.n_crashes += 1
            account.crashes = [*account.crashes, (data, repr(exc))][:5]
            continue
        if not values:
            account.nothing += 1
            continue
        account.accepted += 1
        account.changed += values != truths[which]
        if parser.bears_checksum(data, values) is False:
            account.n_wrong += 1
            account.wrong = [*account.wrong, data][:5]
    return account
