"""The AsyncAPI document is fresh, is one by the official schema, and says what the code does."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from agent.contract import asyncapi
from agent.contract.event import Stream
from agent.contract.topics import BoxTopics
from agent.contract.wire import KINDS

# npm @asyncapi/specs 6.11.1 (Apache-2.0), schemas/3.0.0-without-$id.json as it is:
# sha256 abe96881dbfaad495ccbb6bd8d3fb43ca18a13b9d7564849ccb66f39d5e5b20f
OFFICIAL = Path(__file__).parents[3] / "contract" / "asyncapi-3.0.0.schema.json.gz"
DOCUMENT: dict[str, Any] = json.loads(asyncapi.PATH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    return Draft7Validator(json.loads(gzip.decompress(OFFICIAL.read_bytes())))


def test_the_document_in_the_tree_is_fresh() -> None:
    assert asyncapi.PATH.read_text(encoding="utf-8") == asyncapi.text(), "run: python -m agent.contract.schema"


def test_the_official_schema_takes_it(official: Draft7Validator) -> None:
    assert [f"{list(error.path)}: {error.message:.200}" for error in official.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    "path",
    [
        ("channels", "alert", "address"),
        ("operations", "state", "bindings", "mqtt", "qos"),
        ("operations", "command", "reply"),
        ("components", "messages", "crossing", "examples"),
        ("components", "securitySchemes", "certificate"),
        ("components", "schemas", "Crossing", "properties", "track"),
        ("servers", "mqtt5", "bindings", "mqtt", "keepAlive"),
    ],
    ids=".".join,
)
def test_the_official_schema_would_refuse_a_mistake(official: Draft7Validator, path: tuple[str, ...]) -> None:
    broken = copy.deepcopy(DOCUMENT)
    part = broken
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = 17 if path[-1] != "qos" else 3
    if path[-1] == "keepAlive":
        part[path[-1]] = "often"
    assert list(official.iter_errors(broken))


def resolved(reference: dict[str, str]) -> Any:
    part: Any = DOCUMENT
    for name in reference["$ref"].removeprefix("#/").split("/"):
        part = part[name]
    return part


def references(part: Any) -> list[dict[str, str]]:
    if isinstance(part, list):
        return [found for inner in part for found in references(inner)]
    if isinstance(part, dict):
        own = [part] if isinstance(part.get("$ref"), str) else []
        return own + [found for inner in part.values() for found in references(inner)]
    return []


def test_every_reference_leads_somewhere() -> None:
    found = references(DOCUMENT)
    assert len(found) > 100
    for reference in found:
        assert resolved(reference) is not None


def test_every_example_fits_the_schema_of_its_message() -> None:
    checked = 0
    for message in DOCUMENT["components"]["messages"].values():
        validator = Draft7Validator({**message["payload"], "components": DOCUMENT["components"]})
        for example in message.get("examples", []):
            assert [error.message for error in validator.iter_errors(example["payload"])] == [], example["name"]
            checked += 1
    assert checked > 45


def test_every_kind_is_on_the_channel_where_it_is_sent() -> None:
    on_ledger = {stream: set(DOCUMENT["channels"][stream.value]["messages"]) for stream in Stream}
    assert set().union(*on_ledger.values()) == KINDS
    assert on_ledger[Stream.READING] == {"reading"}
    assert on_ledger[Stream.COUNT] == {"counts"}


def test_addresses_are_the_topics_that_the_code_builds() -> None:
    box = BoxTopics("cua-bac", "gw-01")
    built = {
        "state": box.state,
        "health": box.health,
        "command": box.command,
        "reply": box.reply,
        "evidence": box.evidence("7-ab"),
        "diagnostics": box.diagnostics("7-ab"),
        **{stream.value: box.ledger(stream, "north") for stream in Stream},
    }
    values = {"site": "cua-bac", "box": "gw-01", "id": "7-ab", "source": "north", "camera": "north", "sensor": "north"}
    described = {
        name: channel["address"].format(**values)
        for name, channel in DOCUMENT["channels"].items()
        if channel["address"]
    }
    assert described == built
    for channel in DOCUMENT["channels"].values():
        named = {part[1:-1] for part in (channel["address"] or "").split("/") if part.startswith("{")}
        assert set(channel.get("parameters", {})) == named


def test_only_state_is_retained_and_only_health_may_get_lost() -> None:
    bindings = {name: operation["bindings"]["mqtt"] for name, operation in DOCUMENT["operations"].items()}
    assert [name for name, binding in bindings.items() if binding["retain"]] == ["state"]
    assert [name for name, binding in bindings.items() if binding["qos"] != 1] == ["health"]
    assert {operation["action"] for name, operation in DOCUMENT["operations"].items() if name != "command"} == {"send"}
    assert DOCUMENT["operations"]["command"]["action"] == "receive"
