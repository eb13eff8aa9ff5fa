"""Whatever a release ever sent is read as it was meant, and whoever breaks that is told, whichever way."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter

from agent.contract import ledger, schema, topics, wire
from agent.contract.box import State
from agent.contract.event import Body, Crossing, Direction, ObjectClass, Reading, SensorLimit
from tests.contract import archive, release

TOP = Path(__file__).parents[4]
RELEASES = archive.releases()
OLDEST = RELEASES["0.1.0"]


@pytest.mark.parametrize("version", RELEASES)
def test_everything_that_a_release_sent_is_read_as_it_was_meant(version: str) -> None:
    assert archive.complaints(RELEASES[version]) == []


def test_every_version_of_the_changelog_has_its_archive() -> None:
    released = re.findall(r"^## \[(\d\S*)\]", (TOP / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(released) <= RELEASES.keys(), "run: python -m tests.contract.release"


# ---- what breaks a consumer is found -----------------------------------------------------------------------------


class Renamed(Body):
    """A crossing whose speed goes by another name."""

    kind: Literal["crossing"] = "crossing"
    line: str
    direction: Direction
    object_class: ObjectClass = Field(alias="class")
    track: int
    kmh: float | None = None
    speed_error_kmh: float | None = None
    attributes: dict[str, str] | None = None


class Needing(Renamed):
    speed_kmh: float | None = None
    lane: int


class Narrower(Crossing):
    line: Literal["gate"]
    object_class: Literal["car"] = Field(alias="class")


class Whole(Reading):
    value: int  # type: ignore[assignment]


def reading_as(*kinds: type[Body]) -> Callable[[], Any]:
    adapter: Any = TypeAdapter(Annotated[kinds[0] | SensorLimit, Field(discriminator="kind")])
    return lambda: adapter


def found_by(wanted: str) -> list[str]:
    return [words for words in archive.complaints(OLDEST) if re.search(wanted, words)]


def test_a_field_that_was_renamed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_any_body", reading_as(Renamed))
    assert found_by("speed could be told' in (JSON|CBOR): field speed_kmh is not known any more")


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (Needing, "a line crossing' in JSON: cannot be read any more: .*lane"),
        (Narrower, "cannot be read any more: .*class"),
        (Whole, "the level of the water' in CBOR: cannot be read any more: .*value"),
    ],
)
def test_a_model_that_takes_less_is_found(monkeypatch: pytest.MonkeyPatch, model: type[Body], wanted: str) -> None:
    monkeypatch.setattr(wire, "_any_body", reading_as(model))
    assert found_by(wanted)


def test_a_kind_that_was_dropped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "KINDS", wire.KINDS - {"crossing"})
    assert found_by("kind 'crossing' is not known any more")


def test_a_cbor_key_that_has_another_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {**wire.KEYS, "line": wire.KEYS["zone"], "zone": wire.KEYS["line"]}
    monkeypatch.setattr(wire, "KEYS", keys)
    monkeypatch.setattr(wire, "_NAMES", {number: name for name, number in keys.items()})
    assert found_by("CBOR key of 'line' was 5 and is 9")
    assert found_by("a line crossing' in CBOR")
    assert not found_by("a line crossing' in JSON")


def test_a_cbor_key_that_is_gone_or_used_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {name: number for name, number in wire.KEYS.items() if name != "colour"}
    monkeypatch.setattr(wire, "KEYS", {**keys, "brand": 114})
    assert found_by("CBOR key of 'colour' was 114 and is None")
    assert found_by("CBOR key 114 was 'colour' and is 'brand'")


def test_a_ledger_field_that_was_renamed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = wire.encode
    monkeypatch.setattr(wire, "encode", lambda *what: encode(*what).replace(b'"late"', b'"delay"'))
    assert found_by("an hour after it happened' in JSON: its ledger fields are read as")


def test_a_field_of_the_state_that_was_renamed_is_found_though_more_fields_are_welcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Renaming(State):
        last: None = None  # type: ignore[assignment]
        numbers: dict[str, int] | None = Field(default=None)

    fields = {name: field for name, field in State.model_fields.items() if name != "since"}
    without = type(
        "Without", (archive.Part,), {"__annotations__": {n: f.annotation for n, f in fields.items()}, **fields}
    )
    monkeypatch.setitem(archive.PARTS, "state", without)
    assert found_by("a box is there' in JSON: field since is not known any more")
    monkeypatch.setitem(archive.PARTS, "state", Renaming)
    assert found_by("a box is there' in CBOR: cannot be read any more: last")


def test_a_topic_that_is_no_more_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "_CHANNELS", topics._CHANNELS - {"health"})
    assert found_by("/health .* is no longer a topic")


def test_a_ledger_that_answers_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.Ledger, "behind", lambda *_: None)
    assert found_by("ledger 'the newest have not come', step 2")


def test_what_was_refused_and_is_taken_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "parse", lambda payload: wire.Message(wire.Envelope(0, 1, 0, 0), None, {}))
    assert found_by("'cut short' was refused and is taken")


def remove(path: str) -> Callable[[dict[str, Any]], None]:
    *parents, last = path.split("/")

    def act(document: dict[str, Any]) -> None:
        for name in parents:
            document = document[name]
        if isinstance(document, list):
            document.remove(last)
        else:
            del document[last]

    return act


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    *parents, last = path.split("/")

    def act(document: dict[str, Any]) -> None:
        for name in parents:
            document = document[name]
        document[last] = value

    return act


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (remove("$defs/Crossing/properties/line"), "schema: Crossing.line is gone"),
        (remove("$defs/Crossing"), "schema: Crossing is gone"),
        (remove("discriminator/mapping/crossing"), "schema: kind 'crossing' is gone"),
        (remove("$defs/Crossing/required/line"), "Crossing.line was always there and is optional now"),
        (put("$defs/Crossing/properties/line", {"type": "integer"}), "Crossing.line was string and is integer"),
        (put("$defs/Crossing/properties/kind", {"const": "crossed"}), "Crossing.kind was crossing and is crossed"),
        (put("$defs/Counts/properties/lines/items", {"type": "string"}), r"Counts.lines was \['array', 'LineCount'\]"),
        (put("$defs/Health/properties/link", {"type": "string"}), "Health.link was LinkHealth and is string"),
    ],
)
def test_a_schema_that_breaks_generated_code_is_found(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], None], wanted: str
) -> None:
    changed = copy.deepcopy(schema.build())
    change(changed)
    monkeypatch.setattr(schema, "build", lambda: changed)
    assert found_by(wanted)


# ---- what does not break one is not ------------------------------------------------------------------------------


def test_a_new_kind_a_new_field_and_a_new_key_are_no_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = copy.deepcopy(schema.build())
    changed["$defs"]["Crossing"]["properties"]["lane"] = {"type": "integer"}
    changed["$defs"]["Gap"]["properties"]["reason"]["enum"].append("too-old")
    changed["$defs"]["Flood"] = {"properties": {}}
    changed["discriminator"]["mapping"]["flood"] = "#/$defs/Flood"
    monkeypatch.setattr(schema, "build", lambda: changed)
    monkeypatch.setitem(wire.KEYS, "lane", 4711)
    assert archive.complaints(OLDEST) == []


# ---- making one --------------------------------------------------------------------------------------------------


def test_a_release_keeps_the_present_contract_and_what_was_kept_before(tmp_path: Path) -> None:
    path = tmp_path / f"{release.__version__}.json"
    assert release.release(tmp_path) == []
    first = path.read_text(encoding="utf-8")
    old = {**OLDEST["messages"][0], "name": "of an earlier day", "json": "{}"}
    kept = {**release.archived(), "messages": [*release.archived()["messages"], old]}
    path.write_text(release.text(kept), encoding="utf-8")
    assert release.release(tmp_path) == []
    assert len(path.read_text(encoding="utf-8").splitlines()) == len(first.splitlines()) + 1


def test_no_release_is_archived_that_breaks_an_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "KINDS", wire.KINDS - {"crossing"})
    assert any(words.startswith("0.1.0: ") for words in release.release(tmp_path))
    assert list(tmp_path.iterdir()) == []
