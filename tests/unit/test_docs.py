"""The documents say what the program does: every verb, option, key, default and message; every link leads somewhere."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from agent import config
from agent.__main__ import VERBS, parser
from agent.config import (
    _RULES,
    ALL_CLASSES,
    ALL_FAULTS,
    VEHICLES,
    CameraConfig,
    Config,
    RuleConfig,
    _model_in,
)
from agent.config_sensors import (
    DRIVERS,
    ContactConfig,
    LimitConfig,
    PluginConfig,
    QuantityConfig,
    RegisterConfig,
    SensorBase,
)
from agent.contract.wire import KINDS
from agent.ops import words
from agent.ops.finding_kinds import KINDS as FINDINGS

TOP = Path(__file__).resolve().parents[2]
README = (TOP / "README.md").read_text(encoding="utf-8")
HANDBOOK = (TOP / "provisioning" / "README.md").read_text(encoding="utf-8")


def verbs() -> dict[str, argparse.ArgumentParser]:
    action = next(a for a in parser(*VERBS)._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


# ---- verbs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", verbs())
def test_a_verb_is_in_the_readme_with_exactly_its_options(verb: str) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `{verb}` |"))
    options = {o for a in verbs()[verb]._actions for o in a.option_strings if o.startswith("--")} - {"--help"}
    assert set(re.findall(r"--[a-z-]+", row)) == options


@pytest.mark.parametrize("verb", verbs())
def test_a_verb_and_each_of_its_options_has_help(verb: str) -> None:
    assert verbs()[verb].description
    assert [a.option_strings for a in verbs()[verb]._actions if not a.help] == []


def test_the_readme_names_no_verb_that_does_not_exist() -> None:
    table = README[README.index("| verb |") : README.index("## Read on")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(verbs())


# ---- configuration ---------------------------------------------------------------------------------------------------


def tables() -> dict[str, type[BaseModel]]:
    """Heading in the handbook → model."""
    found: dict[str, type[BaseModel]] = {}
    for prefix, model in (("", Config), ("camera.", CameraConfig)):
        for name, field in model.model_fields.items():
            inner = RuleConfig if name == "rule" else _model_in(field.annotation)
            if inner is not None:
                is_list = "tuple" in str(field.annotation)
                found[f"[[{prefix}{name}]]" if is_list else f"[{prefix}{name}]"] = inner
    # What all sensors have in common; what a driver has of its own is tested below.
    return {
        **found,
        "[[sensor]]": SensorBase,
        "[[sensor.quantity]]": QuantityConfig,
        "[[sensor.limit]]": LimitConfig,
    }


def documented(heading: str, level: str = "###") -> dict[str, str]:
    """key → default, as the handbook's table under a heading says."""
    start = HANDBOOK.index(f"\n{level} `{heading}` ") + 1
    section = HANDBOOK[start + 1 :].split("\n##")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE))


def in_words(default: Any) -> str:
    if default is PydanticUndefined:
        return "needed"
    if default is None or default == ():
        return "none"
    if default in (ALL_CLASSES, ALL_FAULTS, VEHICLES):
        return "vehicles" if default == VEHICLES else "all"
    return f"`{json.dumps(str(default) if isinstance(default, Path) else default)}`"


@pytest.mark.parametrize("heading", tables())
def test_every_key_is_in_the_handbook_with_its_default(heading: str) -> None:
    fields = tables()[heading].model_fields
    wanted = {name: in_words(field.default) for name, field in fields.items()}
    if heading == "[[camera.rule]]":
        wanted |= dict.fromkeys(BY_KIND, "by kind")
    assert documented(heading) == wanted


OWN_KEYS: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    **{driver: (model, SensorBase) for driver, model in DRIVERS.items()},
    "plugin": (PluginConfig, SensorBase),
    "register": (RegisterConfig, QuantityConfig),
    "contact": (ContactConfig, QuantityConfig),
}


@pytest.mark.parametrize("heading", OWN_KEYS)
def test_every_key_that_a_driver_has_of_its_own_is_in_the_handbook_with_its_default(heading: str) -> None:
    model, base = OWN_KEYS[heading]
    own = {
        field.alias or name: in_words(field.default)
        for name, field in model.model_fields.items()
        if name != "driver" and (name not in base.model_fields or field.default != base.model_fields[name].default)
    }
    assert documented(heading, "####") == own


def test_the_handbook_says_what_to_do_about_each_alert_that_a_sensor_can_raise() -> None:
    section = HANDBOOK[HANDBOOK.index("## Alerts about sensors") : HANDBOOK.index("## Who did what")]
    assert set(re.findall(r"^\| `([a-z-]+)` \| ", section, re.MULTILINE)) - {"kind"} == {
        kind for kind in KINDS if kind.startswith("sensor-") or kind == "input"
    }


def test_the_handbook_has_no_table_for_what_does_not_exist() -> None:
    headings = re.findall(r"^### `(\[.+?\])` ", HANDBOOK, re.MULTILINE)
    assert sorted(headings) == sorted(tables())


# ---- rules -----------------------------------------------------------------------------------------------------------

BY_KIND = ("severity", "hold_off_s", "evidence")


def section_of(kind: str) -> str:
    return HANDBOOK[HANDBOOK.index(f"#### `{kind}` ") + 1 :].split("\n##")[0]


@pytest.mark.parametrize("kind", _RULES)
def test_every_key_of_a_kind_of_rule_is_in_the_handbook_with_its_default(kind: str) -> None:
    fields = _RULES[kind].model_fields
    own = {name: in_words(field.default) for name, field in fields.items() if name not in RuleConfig.model_fields}
    assert dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section_of(kind), re.MULTILINE)) == own
    row = re.search(rf"^\| \[{kind}\]\(.*?\) \| (.+?) \| (.+?) \| (.+?) \|$", HANDBOOK, re.MULTILINE)
    assert row is not None
    assert list(row.groups()) == [in_words(fields[name].default) for name in BY_KIND]


@pytest.mark.parametrize("kind", _RULES)
def test_the_example_of_a_kind_of_rule_is_a_configuration(kind: str) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", section_of(kind), re.DOTALL)
    text = '[box]\nsite = "s"\nid = "b"\n[[camera]]\nid = "c"\nsource = "file:x"\n'
    text += '[[camera.line]]\nid = "gate"\na = [0, 0]\nb = [1, 1]\n'
    for zone in re.findall(r'zone = "(.+?)"', example):
        text += f'[[camera.zone]]\nid = "{zone}"\npolygon = [[0, 0], [1, 0], [1, 1]]\n'
    calibration = HANDBOOK[HANDBOOK.index("  [camera.calibration]\n") :].split("```")[0]
    (rule,) = config.parse(text + calibration + example, "handbook").camera[0].rule
    assert rule.kind == kind


@pytest.mark.parametrize("name", [*_RULES, "crossing", "counts", "calibration"])
def test_a_picture_shows_it_and_is_small(name: str) -> None:
    path = TOP / "provisioning" / "pictures" / f"{name}.jpg"
    assert f"](pictures/{name}.jpg)" in HANDBOOK
    assert 1000 < path.stat().st_size < 30_000


# ---- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", words._SENTENCES)
def test_what_a_technician_reads_is_in_the_handbook_by_its_exact_words(key: str) -> None:
    for sentence in words._SENTENCES[key]:
        without_forms = re.sub(r"(?<=\w):[^{}]*(?=})", "", sentence)
        assert f"`{without_forms}`" in HANDBOOK


@pytest.mark.parametrize("kind", FINDINGS)
def test_what_doctor_can_find_is_in_the_handbook_by_its_exact_words(kind: str) -> None:
    known = FINDINGS[kind]
    name = f"`{kind}`" + ("<br>a note" if known.level == "note" else "")
    found, todo = (f"{english}<br>*{vietnamese}*" for english, vietnamese in (known.found, known.todo))
    assert f"\n| {name} | {found} | {todo} |\n" in HANDBOOK


def test_the_handbook_lists_what_doctor_finds_in_the_order_of_importance() -> None:
    section = HANDBOOK[HANDBOOK.index("### What it can find") :].split("\n##")[0]
    assert re.findall(r"^\| `([a-z0-9-]+)`", section, re.MULTILINE) == list(FINDINGS)


def test_words_of_devices_and_brokers_in_the_handbook_are_words_of_the_program() -> None:
    table = HANDBOOK[HANDBOOK.index("| words | what to do |") : HANDBOOK.index("## Doctor")]
    source = "".join(
        path.read_text(encoding="utf-8") for part in ("agent", "drivers") for path in (TOP / part).rglob("*.py")
    )
    joined = re.sub(r'"\s*\n\s*f?"', "", source)  # sentences that go on in the next line
    theirs = {"Connection refused", "Name or service not known"}  # the kernel's and the resolver's
    said = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    assert len(said) > 10
    assert [text for text in said if text not in joined and text not in theirs] == []


def test_the_reasons_why_an_update_is_refused_are_words_of_the_program() -> None:
    table = HANDBOOK[HANDBOOK.index("Why a file is refused:") : HANDBOOK.index("## Who did what")]
    source = "".join(path.read_text(encoding="utf-8") for path in (TOP / "agent" / "update").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", source)
    said = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    assert len(said) > 10
    assert [text for text in said if text not in joined] == []


# ---- security ------------------------------------------------------------------------------------------------------

SECURITY = (TOP / "provisioning" / "SECURITY.md").read_text(encoding="utf-8")
# Of ETSI EN 303 645 V2.1.1: how many provisions each of its clauses has.
PROVISIONS = {1: 5, 2: 3, 3: 16, 4: 4, 5: 8, 6: 9, 7: 2, 8: 3, 9: 3, 10: 1, 11: 4, 12: 3, 13: 1}
WITHOUT_A_TEST = ("not met: ", "not yet: ", "does not apply: ")


def security_rows(heading: str) -> list[list[str]]:
    """The cells of each row of the table below a heading."""
    section = SECURITY[SECURITY.index(f"\n## {heading}\n") + 1 :].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in rows[2:]]


ROWS = security_rows("ETSI EN 303 645") + security_rows("QCVN 135:2024/BTTTT")


def test_every_provision_and_every_group_has_its_row() -> None:
    etsi = [row[0].split(" ")[0] for row in security_rows("ETSI EN 303 645")]
    wanted = [f"5.{clause}-{number}" for clause, most in PROVISIONS.items() for number in range(1, most + 1)]
    assert etsi == wanted + [f"6-{number}" for number in range(1, 6)]
    assert [row[0].split(" ")[0] for row in security_rows("QCVN 135:2024/BTTTT")] == [str(n) for n in range(1, 12)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row_names_tests_that_exist_or_says_what_is_missing(row: list[str]) -> None:
    _, what, shown_by = row
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", shown_by)
    assert (named == []) == what.startswith(WITHOUT_A_TEST)
    assert (named == []) == (shown_by == "")
    for path, name in named:
        assert f"\ndef {name}(" in (TOP / path).read_text(encoding="utf-8"), f"{path} has no {name}"


# ---- links -----------------------------------------------------------------------------------------------------------


def documents() -> list[Path]:
    hidden = {".venv", ".venv-test", ".cache", ".git", ".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache"}
    paths = (p for p in TOP.rglob("*.md") if not hidden & set(p.relative_to(TOP).parts))
    return sorted(p for p in paths if not p.relative_to(TOP).parts[0].startswith("hil-"))  # reports of tests.hil


def anchors(text: str) -> set[str]:
    """As the forge makes them: lower case, punctuation gone, spaces to hyphens."""
    plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(TOP)))
def test_every_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file.read_text("utf-8"))):
            dead.append(target)
    assert dead == []
