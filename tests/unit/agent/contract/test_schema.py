"""The schema in the tree is the one that the models give, and it accepts what we send."""

from __future__ import annotations

import re

from agent.contract import schema
from agent.contract.wire import KINDS, body_json, encode, parse


def test_schema_in_the_tree_is_fresh() -> None:
    assert schema.PATH.read_text(encoding="utf-8") == schema.text(), "run: python -m agent.contract.schema"


def test_key_table_in_the_page_is_fresh() -> None:
    assert schema.PAGE.read_text(encoding="utf-8") == schema.page(), "run: python -m agent.contract.schema"


def test_the_page_describes_every_kind_and_shows_real_messages() -> None:
    page = schema.PAGE.read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"| `{kind}` |" in page, f"{kind} is not in the page"
    (crossing,) = re.findall(r"```json\n(\{.*?\})\n```", page, re.DOTALL)[:1]
    message = parse(crossing.encode())
    assert message.body is not None
    assert len(encode(message.envelope, body_json(message.body), "json")) == 138
    (dump,) = re.findall(r"```\n(a9 00[0-9a-f \n]+)```", page)
    assert encode(message.envelope, body_json(message.body), "cbor") == bytes.fromhex(dump)
    (reading,) = re.findall(r"```json\n(\{.*\"reading\".*\})\n```", page)
    message = parse(reading.encode())
    assert message.body is not None
    assert [len(encode(message.envelope, body_json(message.body), form)) for form in ("json", "cbor")] == [105, 49]


def test_every_kind_is_described_with_its_ledger_fields() -> None:
    document = schema.build()
    mapping = document["discriminator"]["mapping"]
    assert set(mapping) == KINDS
    for reference in mapping.values():
        definition = document["$defs"][reference.rsplit("/", 1)[1]]
        assert {"epoch", "seq", "time", "up", "kind"} <= set(definition["required"])
        assert definition["description"], f"{reference} says nothing about itself"
