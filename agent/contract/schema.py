"""JSON Schema of everything a box sends, generated from the models: `python -m agent.contract.schema` rewrites it,
and the CBOR table in the contract's page with it.

A test fails when either is older than the models.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from agent.contract.box import Health, Part, State
from agent.contract.command import COMMANDS, Command, Reply
from agent.contract.event import AnyBody
from agent.contract.wire import KEYS

PATH = Path(__file__).with_name("schema.json")
PAGE = Path(__file__).parents[1] / "README.md"
_COMMANDS = ("<!-- commands: written by python -m agent.contract.schema -->\n", "<!-- end of commands -->")
_TABLE = ("<!-- cbor-table: written by python -m agent.contract.schema -->\n", "<!-- end -->")

ENVELOPE = {
    "epoch": {"type": "integer", "minimum": 0, "maximum": 0xFFFFFFFF, "description": "numbering the seq belongs to"},
    "seq": {"type": "integer", "minimum": 1, "description": "number within stream and epoch, without a break"},
    "time": {"type": "integer", "description": "when it happened, UTC, Unix ms"},
    "up": {"type": "integer", "minimum": 0, "description": "when it happened, ms since the box booted"},
    "boot": {"type": "integer", "description": "the boot `up` counts from; absent: the one `state` names"},
    "clock": {"const": "unset", "description": "`time` is not to be trusted: the box's clock had not been set"},
    "late": {"type": "integer", "minimum": 0, "description": "seconds from happening to sending, if 10 or more"},
}

LEDGER_NEEDS = ("epoch", "seq", "time", "up")

# What fields mean whose model does not say: names that mean the same wherever they stand.
_MEANINGS = {
    "class": "what the object was taken for; `vehicle`: something drove there, and what it was could not be told",
    "command": "the request's name",
    "direction": "from the line's left hand to its right hand is `in`, the other way `out`",
    "error": "what is wrong with it now, in words",
    "evidence": "the picture that belongs to it, where there is one",
    "id": "the request's id",
    "kind": "which kind of message this is",
    "line": "the line's id in the configuration",
    "quantity": "what was measured",
    "result": "done, or refused and nothing was changed",
    "severity": "how much it matters",
    "state": "raised: it begins; cleared: it is over",
    "stream": "the stream whose numbers are meant",
    "track": "the object's number on this camera; not used again within a day",
    "unit": "one of a closed list, such as °C, µg/m³, m",
    "value": "in `unit`",
    "zone": "the zone's id in the configuration",
}


def build() -> dict[str, Any]:
    """The schema document: ledger messages per kind, state, health, what is asked and answered, and the CBOR keys."""
    bodies = TypeAdapter(AnyBody).json_schema(by_alias=True, ref_template="#/$defs/{model}")
    definitions: dict[str, Any] = bodies.pop("$defs")
    kinds = {reference.rsplit("/", 1)[1] for reference in bodies["discriminator"]["mapping"].values()}
    for name in kinds:
        definition = definitions[name]
        definition["properties"] = {**ENVELOPE, **definition["properties"]}
        definition["required"] = [*LEDGER_NEEDS, "kind", *definition.get("required", [])]
        # A consumer must accept what a later v1 adds; that we send nothing else is our own tests' business.
    for definition in definitions.values():
        definition.pop("additionalProperties", None)
    arguments = dict.fromkeys(known.args for known in COMMANDS.values())
    models: list[type[Part]] = [State, Health, Command, Reply, *arguments]
    for model in models:
        schema = model.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        definitions[model.__name__] = schema
    for definition in definitions.values():
        if "properties" in definition:
            definition["properties"] = {name: _said(name, field) for name, field in definition["properties"].items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gateway-agent contract v1",
        "description": "The object itself is a ledger message; State, Health, Command and Reply are under $defs.",
        "x-cbor-keys": KEYS,
        **bodies,
        "$defs": dict(sorted(definitions.items())),
    }


def _said(name: str, field: dict[str, Any]) -> dict[str, Any]:
    """A property as it is on the wire, where a field with nothing to say is left out and never null.

    Its title is dropped: pydantic makes it of the name, and generators of code would name types by it.
    """
    said = {key: value for key, value in field.items() if key != "title" and (key, value) != ("default", None)}
    some = [choice for choice in said.get("anyOf", []) if choice != {"type": "null"}]
    if "anyOf" in said and len(some) == 1:
        said.pop("anyOf")
        said = {**some[0], **said}
    if "description" not in said and name in _MEANINGS:
        said["description"] = _MEANINGS[name]
    return said


def text() -> str:
    return json.dumps(build(), indent=1, ensure_ascii=False) + "\n"


def page() -> str:
    """The contract's page with fresh tables of CBOR keys and commands."""
    names = list(KEYS)
    lines = [
        "| " + " | ".join(f"{KEYS[name]} `{name}`" for name in names[i : i + 6]) + " |" for i in range(0, len(names), 6)
    ]
    lines = ["|" + " |" * 6, "|" + "---|" * 6, *lines]
    page = _with_table(PAGE.read_text(encoding="utf-8"), _TABLE, lines)
    rows = ["| command | role | arguments | does |", "|---|---|---|---|"]
    rows += [
        f"| `{name}` | {known.role} | {_arguments(known.args)} | {known.words} |" for name, known in COMMANDS.items()
    ]
    return _with_table(page, _COMMANDS, rows)


def _with_table(page: str, marks: tuple[str, str], lines: list[str]) -> str:
    before, _, rest = page.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    return f"{before}{marks[0]}{chr(10).join(lines)}\n{end}{after}"


def _arguments(args: type[Part]) -> str:
    return "<br>".join(
        f"`{name}`{'' if field.is_required() else '?'}{': ' + field.description if field.description else ''}"
        for name, field in args.model_fields.items()
    )


def main() -> None:
    """Write this document and those that are made of it."""
    from agent.contract import asyncapi  # which need this module
    from agent.contract import page as readable

    PATH.write_text(text(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    asyncapi.PATH.write_text(asyncapi.text(), encoding="utf-8")
    readable.PATH.write_text(readable.text(), encoding="utf-8")


if __name__ == "__main__":
    main()
