"""What stands on the page: in both languages, with the same gaps, and all of it used."""

import re
import string
from pathlib import Path
from typing import get_args

import pytest

from agent.contract.event import AnyBody, Cause, Fault, ObjectClass
from agent.web.diary import Told
from agent.web.words import WORDS, preferred, span, words

WEB = Path(__file__).resolve().parents[4] / "agent" / "web"
SOURCES = "".join(
    path.read_text(encoding="utf-8")
    for pattern in ("*.py", "templates/*", "static/*.js")
    for path in sorted(WEB.glob(pattern))
    if path.name != "words.py"
)
MADE = ("kind-", "class-", "fault-", "cause-", "state-", "layer-", "role-", "span-")  # of parts, in the sources


def gaps(sentence: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(sentence) if name)


@pytest.mark.parametrize("key", WORDS)
def test_a_sentence_has_the_same_gaps_in_both_languages(key: str) -> None:
    english, vietnamese = WORDS[key]
    assert gaps(english) == gaps(vietnamese)
    assert english != vietnamese or english == "{name}, {role}"


@pytest.mark.parametrize("key", [key for key in WORDS if not key.startswith(MADE)])
def test_every_sentence_is_used(key: str) -> None:
    assert f'"{key}"' in SOURCES or f"'{key}'" in SOURCES


def test_every_sentence_that_is_used_exists() -> None:
    used = set(re.findall(r"""\bt\(['"]([a-z0-9-]+)['"]""", SOURCES))
    used |= set(re.findall(r"""\bwords\("([a-z0-9-]+)\"""", SOURCES))
    used |= set(re.findall(r"""\bRefused\(\d+, "([a-z0-9-]+)\"""", SOURCES))
    assert len(used) > 40
    assert used - set(WORDS) - set(MADE) == set()


def test_what_the_box_can_say_has_words() -> None:
    bodies = get_args(get_args(AnyBody)[0])
    told = [body.model_fields["kind"].default for body in bodies if issubclass(body, Told)]
    assert len(told) > 10
    for key in (
        *(f"kind-{kind}" for kind in told),
        *(f"class-{name}" for name in get_args(ObjectClass)),
        *(f"fault-{fault}" for fault in get_args(Fault)),
        *(f"cause-{cause}" for cause in get_args(Cause)),
        *(f"state-{state}" for state in ("open", "opening", "silent", "ended", "ok", "invalid", "stuck")),
    ):
        assert key in WORDS


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("vi-VN,vi;q=0.9,en;q=0.8", "vi"),
        ("en-US,en;q=0.9,vi;q=0.1", "en"),
        ("de,fr", "en"),
        ("de, vi", "vi"),
        ("", "en"),
    ],
)
def test_the_language_is_the_first_of_the_browsers_that_the_page_speaks(accepted: str, language: str) -> None:
    assert preferred(accepted) == language


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172_799, "48 h"),
        (400_000, "5 days"),
    ],
)
def test_how_long_is_said_in_one_unit(seconds: float, said: str) -> None:
    assert span(seconds, "en") == said


def test_gaps_are_filled() -> None:
    assert words("camera", "vi", id="north") == "Máy quay north"
