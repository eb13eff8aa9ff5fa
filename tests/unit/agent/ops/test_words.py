"""What technicians read: in both languages, with the same gaps."""

from __future__ import annotations

import ast
import string
from pathlib import Path
from typing import get_args

import pytest

from agent.identity.certificate import Reason
from agent.ops import words

TOP = Path(__file__).resolve().parents[4]


def gaps(sentence: str) -> list[tuple[str, str]]:
    return sorted((name, form or "") for _, name, form, _ in string.Formatter().parse(sentence) if name)


@pytest.mark.parametrize("key", words._SENTENCES)
def test_a_sentence_has_the_same_gaps_in_both_languages(key: str) -> None:
    english, vietnamese = words._SENTENCES[key]
    assert gaps(english) == gaps(vietnamese)
    assert english != vietnamese


def test_every_sentence_that_is_said_exists_and_every_one_that_exists_is_said() -> None:
    said = set()
    for path in (TOP / "agent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                said |= {part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)}
    if "identity-" in said:  # the beginning of a sentence for each reason
        said = said - {"identity-"} | {f"identity-{reason}" for reason in get_args(Reason)}
    assert said == set(words._SENTENCES)


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, "en"),
        ({"LANG": "vi_VN.UTF-8"}, "vi"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "vi_VN"}, "vi"),
        ({"LANG": "vi_VN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "vi_VN.UTF-8", "LC_ALL": ""}, "vi"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
    ],
)
def test_the_language_is_that_of_the_terminal(environment: dict[str, str], wanted: str) -> None:
    assert words.language(environment) == wanted


def test_gaps_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "vi_VN.UTF-8")
    assert words.say("problems", n=2) == "có 2 lỗi"
    monkeypatch.setenv("LC_ALL", "C")
    assert words.say("problems", n=2) == "2 problem(s) found"
