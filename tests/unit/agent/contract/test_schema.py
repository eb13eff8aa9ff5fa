"""The schema in the tree is the one that the models give, and it accepts what we send."""

from __future__ import annotations

from agent.contract import schema
from agent.contract.wire import KINDS


def test_schema_in_the_tree_is_fresh() -> None:
    assert schema.PATH.read_text(encoding="utf-8") == schema.text(), "run: python -m agent.contract.schema"


def test_every_kind_is_described_with_its_ledger_fields() -> None:
    document = schema.build()
    mapping = document["discriminator"]["mapping"]
    assert set(mapping) == KINDS
    for reference in mapping.values():
        definition = document["$defs"][reference.rsplit("/", 1)[1]]
        assert {"epoch", "seq", "time", "up", "kind"} <= set(definition["required"])
        assert definition["description"], f"{reference} says nothing about itself"
