"""Feeds targets and keeps the account."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

_SHOWN = 5


class Outcome(Enum):
    REFUSED = auto()  # in the parser's own words
    NOTHING = auto()  # read, with no value in it
    TAKEN = auto()


@dataclass(frozen=True)
class Target:
    """once: makes one input by chance, and gives it to the parser. An AssertionError is something taken that must not
    be; any other exception is a parser that fell over."""

    name: str
    once: Callable[[random.Random], Outcome]


@dataclass
class Account:
    """What became of the inputs of one target. found: the first few that were wrong or made it fall over."""

    name: str
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    wrong: int = 0
    crashes: int = 0
    found: list[str] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        return sum(self.outcomes.values()) + self.wrong + self.crashes

    @property
    def clean(self) -> bool:
        return self.wrong == self.crashes == 0

    def row(self) -> str:
        counts = (self.inputs, *(self.outcomes[outcome] for outcome in Outcome), self.wrong, self.crashes)
        return f"{self.name:18}" + "".join(f"{count:11,}" for count in counts)


HEAD = f"{'parser':18}" + "".join(
    f"{title:>11}" for title in ("inputs", "refused", "nothing", "taken", "wrong", "crashes")
)


def feed(target: Target, inputs: int, chance: random.Random) -> Account:
    account = Account(target.name)
    for _ in range(inputs):
        number = chance.randrange(1 << 48)
        try:
            outcome = target.once(random.Random(number))
        except AssertionError as exc:
            account.wrong += 1
            account.found = [*account.found, f"wrong, --again {number}: {str(exc) or _promise(exc)}"][:_SHOWN]
        except Exception as exc:  # what this whole command is for
            account.crashes += 1
            account.found = [*account.found, f"crash, --again {number}: {exc!r}"][:_SHOWN]
        else:
            account.outcomes[outcome] += 1
    return account


def _promise(exc: AssertionError) -> str | None:
    """The line of the promise that was not kept."""
    return traceback.extract_tb(exc.__traceback__)[-1].line
