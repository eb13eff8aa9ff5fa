"""One thing that `gateway-agent doctor` found, in words and as JSON. `agent.ops.finding_kinds` has all there can be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agent.ops.finding_kinds import KINDS, NOUNS, Both, Level
from agent.ops.words import language


@dataclass(frozen=True, slots=True)
class Finding:
    """kind: a key of KINDS. name: which camera, file, … it is about, "" where there is but one. values: what fills the
    gaps of its sentences."""

    kind: str
    name: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        return KINDS[self.kind].level

    @property
    def about(self) -> str:
        return f"{_in_language(NOUNS[self.kind.partition('-')[0]])} {self.name}".strip()

    @property
    def found(self) -> str:
        return self._filled(KINDS[self.kind].found)

    @property
    def wanted(self) -> str:
        return self._filled(KINDS[self.kind].wanted)

    @property
    def todo(self) -> str:
        return self._filled(KINDS[self.kind].todo)

    def as_json(self) -> dict[str, str]:
        """kind and level stay what they are in every language."""
        return {
            "kind": self.kind,
            "level": self.level,
            "name": self.name,
            "about": self.about,
            "found": self.found,
            "wanted": self.wanted,
            "todo": self.todo,
        }

    def _filled(self, both: Both) -> str:
        return _in_language(both).format(**self.values)


def finding(kind: str, name: str = "", **values: object) -> Finding:
    return Finding(kind, name, values)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Problems first, and of each level the most important first."""
    rank = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(findings, key=lambda one: (one.level != "problem", rank[one.kind], one.name))


def _in_language(both: Both) -> str:
    return both[1 if language() == "vi" else 0]
