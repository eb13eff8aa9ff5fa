"""What doctor can find: in both languages, each used, and in the order of importance."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from agent.contract.box import SensorHealth
from agent.ops.finding_kinds import KINDS, NOUNS
from agent.ops.findings import finding, in_order
from agent.ops.link_trouble import Unreached

TOP = Path(__file__).resolve().parents[4]


def gaps(sentence: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(sentence) if name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_the_same_in_both_languages_with_the_same_gaps(kind: str) -> None:
    assert kind.partition("-")[0] in NOUNS
    for english, vietnamese in (KINDS[kind].found, KINDS[kind].wanted, KINDS[kind].todo):
        assert english
        assert vietnamese
        assert gaps(english) == gaps(vietnamese)


def kinds_in_the_source() -> Iterator[tuple[str, set[str]]]:
    """(kind, names of the values given) for each call of finding() in the agent; kind may hold a *."""
    for path in (TOP / "agent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "finding":
                names = {keyword.arg or "**" for keyword in node.keywords}
                yield from ((text, names) for text in _texts(node.args[0]))
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "kind":
                yield from ((text, {"**"}) for text in _texts(node.value))


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)


def test_every_kind_can_be_found_and_every_one_that_is_found_exists() -> None:
    states = set(get_args(SensorHealth.model_fields["state"].annotation)) - {"ok", "opening"}
    named = {
        "broker-*": {f"broker-{why}" for why in get_args(Unreached)},
        "camera-*": {f"camera-{why}" for why in get_args(Unreached)},
        "sensor-*": {f"sensor-{state}" for state in states},
    }
    used = set()
    for kind, _ in kinds_in_the_source():
        used |= named.get(kind, {kind} if "-" in kind else set())
    assert used == set(KINDS)


def test_a_finding_fills_the_gaps_of_its_kind() -> None:
    for kind, names in kinds_in_the_source():
        if kind in KINDS and "**" not in names:
            both = KINDS[kind]
            wanted = {gap for sentences in (both.found, both.wanted, both.todo) for gap in gaps(sentences[0])}
            assert wanted <= names, kind


def test_problems_come_first_and_what_explains_the_rest_before_it() -> None:
    told = in_order(
        [
            finding("broker-plain", "ioc:1883"),
            finding("camera-silent", "south", host="b"),
            finding("camera-silent", "north", host="a"),
            finding("clock-absurd", date="1970"),
            finding("broker-name", "ioc:8883", host="ioc"),
        ]
    )
    assert [(one.kind, one.name) for one in told] == [
        ("clock-absurd", ""),
        ("broker-name", "ioc:8883"),
        ("camera-silent", "north"),
        ("camera-silent", "south"),
        ("broker-plain", "ioc:1883"),
    ]


def test_words_follow_the_terminal_and_kinds_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    one = finding("camera-silent", "north", host="10.0.0.21")
    monkeypatch.setenv("LC_ALL", "vi_VN.UTF-8")
    vietnamese = one.as_json()
    monkeypatch.setenv("LC_ALL", "C")
    english = one.as_json()
    assert english["found"] == "10.0.0.21 does not answer"
    assert vietnamese["found"] == "10.0.0.21 không trả lời"
    assert (english["about"], vietnamese["about"]) == ("camera north", "máy quay north")
    assert (
        (english["kind"], english["level"]) == (vietnamese["kind"], vietnamese["level"]) == ("camera-silent", "problem")
    )
