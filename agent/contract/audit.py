"""The hash that chains the entries of a box's audit log: for the box that makes them, and for whoever checks them."""

from __future__ import annotations

import hashlib
import json

from agent.contract.event import Audit
from agent.contract.wire import body_json

FIRST = "0" * 64
"""What the first entry has for the hash of the one before it."""


def canonical(entry: Audit) -> bytes:
    """What is hashed: the entry's fields but `kind` and `hash`, as JSON with sorted keys, no spaces, in UTF-8; what has
    no value is left out."""
    fields = {name: value for name, value in json.loads(body_json(entry)).items() if name not in ("hash", "kind")}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def hash_of(entry: Audit) -> str:
    """SHA-256 of it, hexadecimal."""
    return hashlib.sha256(canonical(entry)).hexdigest()


def sealed(entry: Audit) -> Audit:
    """With its hash."""
    return entry.model_copy(update={"hash": hash_of(entry)})
