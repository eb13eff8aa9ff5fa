"""Every payload that a release of ours ever sent, kept with what it meant, and whether the present code reads it so.

released/<version>.json is what `agent/contract/vectors.json` and `schema.json` were when that version was released:

messages, others   topic, JSON, CBOR, and the fields that both mean
refused, ledger    what a consumer drops, and what the reference ledger answers
keys, schema       CBOR's integers and the JSON Schema, which somebody has built on

Within v1 the contract only grows. So whatever is in an archive must still be read, and still be in the schema; what is
new beside it is no matter. `complaints` says what does not hold, in words, one for each thing that is broken.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.contract import command, schema, wire
from agent.contract.box import Health, Part, State
from agent.contract.command import Reply
from agent.contract.ledger import Ledger
from agent.contract.topics import parse_topic

FOLDER = Path(__file__).with_name("released")
PARTS: dict[str, type[Part]] = {"state": State, "health": Health, "reply": Reply}
"""What is not on the ledger, by its channel. Commands are read by `read_command`."""

Released = dict[str, Any]


def releases() -> dict[str, Released]:
    """Version to archive, oldest file name first."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def complaints(released: Released) -> list[str]:
    """What of an archive the present code does not take as it was meant. Empty: nobody who built on it notices."""
    return [
        *_keys(released["keys"]),
        *(words for message in released["messages"] for words in _message(message)),
        *(words for other in released["others"] for words in _other(other)),
        *_refused(released["refused"]),
        *_ledger(released["ledger"]),
        *_schema(released["schema"], schema.build()),
    ]


def _keys(keys: dict[str, int]) -> Iterator[str]:
    for name, number in keys.items():
        if wire.KEYS.get(name) != number:
            yield f"CBOR key of {name!r} was {number} and is {wire.KEYS.get(name)}: keys are never changed"
    names = {number: name for name, number in keys.items()}
    for name, number in wire.KEYS.items():
        if names.get(number, name) != name:
            yield f"CBOR key {number} was {names[number]!r} and is {name!r}: keys are never used again"


def _payloads(archived: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    yield "JSON", archived["json"].encode()
    yield "CBOR", bytes.fromhex(archived["cbor"])


def _message(archived: dict[str, Any]) -> Iterator[str]:
    """One ledger message, in both forms: its topic, its fields, its envelope, and its body by the model of its kind."""
    where, fields = f"message {archived['name']!r}", archived["fields"]
    topic = parse_topic(archived["topic"])
    _, _, site, box, stream, source = archived["topic"].split("/")
    if topic is None or (topic.site, topic.box, topic.stream, topic.source) != (site, box, stream, source):
        yield f"{where}: topic {archived['topic']} is no longer one of the ledger"
    for form, payload in _payloads(archived):
        try:
            message = wire.parse(payload)
        except wire.PayloadError as exc:
            yield f"{where} in {form}: cannot be read any more: {exc}"
            continue
        if message.fields != fields:
            yield f"{where} in {form}: was {fields} and is read as {message.fields}"
        envelope = message.envelope
        head = wire.decode(wire.encode(envelope, '{"kind":""}', "json"))
        if head != {**{name: fields[name] for name in fields if name in wire.LEDGER_FIELDS}, "kind": ""}:
            yield f"{where} in {form}: its ledger fields are read as {envelope}"
        if message.body is None:
            yield f"{where} in {form}: kind {fields['kind']!r} is not known any more"
            continue
        said = json.loads(wire.body_json(message.body))
        for words in lost({name: value for name, value in fields.items() if name not in wire.LEDGER_FIELDS}, said):
            yield f"{where} in {form}: {words}"


def _other(archived: dict[str, Any]) -> Iterator[str]:
    where, channel = f"{archived['topic']} {archived['name']!r}", archived["topic"].split("/")[4]
    topic = parse_topic(archived["topic"])
    if topic is None or topic.channel != channel:
        yield f"{where}: is no longer a topic of the contract"
    for form, payload in _payloads(archived):
        try:
            fields = wire.decode(payload)
            part = command.read_command(payload) if channel == "command" else PARTS[channel].read(fields)
        except wire.PayloadError as exc:
            yield f"{where} in {form}: cannot be read any more: {exc}"
            continue
        if fields != archived["fields"]:
            yield f"{where} in {form}: was {archived['fields']} and is read as {fields}"
        for words in lost(archived["fields"], declared(part)):
            yield f"{where} in {form}: {words}"


def declared(part: Any) -> Any:
    """What the models know of a part, as on the wire: extra fields, which they let through, left out at every depth."""
    if isinstance(part, Part):
        return {
            type(part).model_fields[name].alias or name: declared(getattr(part, name))
            for name in type(part).model_fields
        }
    if isinstance(part, dict):
        return {name: declared(value) for name, value in part.items()}
    return [declared(value) for value in part] if isinstance(part, list | tuple) else part


def lost(was: Any, now: Any, path: str = "") -> Iterator[str]:
    """What of a value is not in another any more, or is something else there. More in the other is no matter."""
    if isinstance(was, dict) and isinstance(now, dict):
        for name, value in was.items():
            if name not in now:
                yield f"field {path + name} is not known any more"
            else:
                yield from lost(value, now[name], f"{path}{name}.")
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, (old, new) in enumerate(zip(was, now, strict=True)):
            yield from lost(old, new, f"{path}{number}.")
    elif was != now:
        yield f"field {path.rstrip('.')} was {was!r} and is read as {now!r}"


def _refused(refused: list[dict[str, str]]) -> Iterator[str]:
    for archived in refused:
        try:
            wire.parse(bytes.fromhex(archived["hex"]))
        except wire.PayloadError:
            continue
        yield f"{archived['name']!r} was refused and is taken"


def _ledger(runs: list[dict[str, Any]]) -> Iterator[str]:
    for run in runs:
        ledger, key = Ledger(from_start=run["from_start"]), "key"
        for number, step in enumerate(run["steps"], 1):
            (what,) = step.keys() - {"gives"}
            given: Any = getattr(ledger, what)(key, *step[what])
            if what == "take":
                given = {name: getattr(given, name) for name in step["gives"]}
            if json.loads(json.dumps(given)) != step.get("gives"):
                yield f"ledger {run['name']!r}, step {number}: was {step.get('gives')} and is {given}"


def _schema(was: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What a consumer that was generated from a released schema could not live with. Values of an enum may be added."""
    for kind in was["discriminator"]["mapping"].keys() - now["discriminator"]["mapping"].keys():
        yield f"schema: kind {kind!r} is gone"
    for name, old in was["$defs"].items():
        new = now["$defs"].get(name)
        if new is None:
            yield f"schema: {name} is gone"
            continue
        for field in sorted(set(old.get("required", ())) - set(new.get("required", ()))):
            yield f"schema: {name}.{field} was always there and is optional now"
        for field, before in old.get("properties", {}).items():
            after = new.get("properties", {}).get(field)
            if after is None:
                yield f"schema: {name}.{field} is gone"
            elif _shape(before, was) != _shape(after, now):
                yield f"schema: {name}.{field} was {_shape(before, was)} and is {_shape(after, now)}"


def _shape(field: dict[str, Any], document: dict[str, Any]) -> Any:
    """The type of a property without its words and bounds: names of definitions do not matter, what is in them is
    compared where they are."""
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        target = document["$defs"].get(name, {})
        return name if "properties" in target else _shape(target, document)
    if "const" in field:
        return field["const"]
    for of in ("anyOf", "prefixItems"):
        if of in field:
            return [_shape(choice, document) for choice in field[of]]
    kind = field.get("type", "anything")
    inner = field.get("items") or field.get("additionalProperties")
    return [kind, _shape(inner, document)] if isinstance(inner, dict) else kind
