"""The page is fresh, stands alone, is well-formed and escaped, and says of every message what the models say."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from agent.contract import asyncapi, page, schema, vectors
from agent.contract.topics import ROOT
from agent.contract.wire import KEYS, KINDS

PAGE = page.PATH.read_text(encoding="utf-8")
_VOID = {"meta", "br"}


class Reader(HTMLParser):
    """What is in a page: ids, links and whatever would fetch something. Fails on tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetches: list[tuple[str, str]] = []
        self.handlers: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag not in _VOID:
            self.open.append(tag)
        self.handlers += [name for name in said if name.startswith("on")]
        if "id" in said:
            self.ids.append(said["id"])
        if tag == "a":
            self.links.append(said["href"])
        elif tag in {"script", "link", "img", "iframe", "object", "embed", "form"} or {"src", "href"} & said.keys():
            self.fetches.append((tag, str(said)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"line {self.getpos()[0]}: </{tag}> closes another"

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def read() -> Reader:
    reader = Reader()
    reader.feed(PAGE)
    reader.close()
    return reader


def test_the_page_in_the_tree_is_fresh() -> None:
    assert page.text() == PAGE, "run: python -m agent.contract.schema"


def test_it_is_well_formed_and_fetches_nothing(read: Reader) -> None:
    assert read.open == []
    assert read.fetches == []
    assert not re.search(r"@import|url\(|@font-face", PAGE)


def test_every_link_leads_to_one_place_in_the_page_or_out_of_it(read: Reader) -> None:
    assert len(read.ids) == len(set(read.ids))
    assert len(read.links) > 100
    inside = {link[1:] for link in read.links if link.startswith("#")}
    assert inside <= set(read.ids)
    assert {link for link in read.links if not link.startswith(("#", "https://"))} == set()


def section(anchor: str) -> str:
    start = PAGE.index(f'id="{anchor}"')
    return PAGE[start : PAGE.index("<h", start)]


@pytest.mark.parametrize("name", asyncapi.build()["components"]["messages"])
def test_every_message_is_in_the_reference_with_each_field_its_meaning_and_its_key(name: str) -> None:
    message = asyncapi.build()["components"]["messages"][name]
    here = section(f"message-{name}")
    if "$ref" not in message["payload"]:
        return  # a picture has no fields
    definition = schema.build()["$defs"][message["payload"]["$ref"].rsplit("/", 1)[1]]
    rows = re.findall(
        r"<tr><td><code>(.+?)</code>(.*?)</td>.*?<td data-what=\"CBOR\">(.+?)</td><td>(.*?)</td></tr>", here
    )
    own = definition["properties"].keys() - (schema.ENVELOPE.keys() if name in KINDS else set())
    assert {row[0] for row in rows} == own
    for field, optional, key, meaning in rows:
        assert key == str(KEYS.get(field, "as text"))
        assert re.sub("<.*?>", "", meaning) != ""
        assert ("optional" in optional) == (field not in definition.get("required", ()) and field != "kind")


@pytest.mark.parametrize("vector", vectors.build()["messages"] + vectors.build()["others"], ids=lambda one: one["name"])
def test_every_vector_is_an_example_in_both_forms_with_its_sizes(vector: dict[str, Any]) -> None:
    kind = vector["fields"].get("kind") or vector["topic"].rsplit("/", 1)[1]
    here = html.unescape(section(f"message-{kind}"))
    assert f"<code>{vector['json']}</code>" in here
    assert f"<code>{vector['cbor']}</code>" in here
    sizes = f"JSON, {len(vector['json'].encode())} bytes; CBOR, {len(vector['cbor']) // 2} bytes"
    assert f'{vector["name"]} <span class="quiet">· {sizes}</span>' in here


def test_every_topic_is_there_with_how_it_is_sent() -> None:
    for channel in asyncapi.CHANNELS:
        assert channel.topic.startswith(f"{ROOT}/")
        assert f"<code>{channel.topic}</code>" in PAGE


def test_every_part_of_a_message_has_its_place(read: Reader) -> None:
    used = set(re.findall(r"#/\$defs/(\w+)", json.dumps(schema.build()["$defs"])))
    assert used
    assert {f"part-{name}" for name in used} <= set(read.ids)


def test_every_field_of_the_schema_says_what_it_means() -> None:
    silent = [
        f"{name}.{field}"
        for name, definition in schema.build()["$defs"].items()
        for field, said in definition.get("properties", {}).items()
        if not said.get("description")
    ]
    assert silent == [], "give these a Field(description=…), or their name a meaning in agent/contract/schema.py"
    assert [name for name, said in schema.build()["$defs"].items() if not said.get("description")] == []


@pytest.mark.parametrize("words", ["<script>alert(1)</script>", '" onclick="x', "a < b & c > d"])
def test_what_the_models_say_is_escaped(words: str) -> None:
    fields = {words: {"type": "string", "description": words}, "kind": {"const": words}, "n": {"enum": [words]}}
    definition = {"description": words, "properties": fields}
    message = {
        "examples": [{"name": words, "payload": {"kind": words}}],
        "x-cbor-examples": [{"name": words, "hex": "a0"}],
    }
    made = page._message(words, message, definition)
    reader = Reader()
    reader.feed(made)
    assert reader.open == []
    assert reader.fetches == []
    assert "<script" not in made
    assert reader.handlers == []
    assert "".join(reader.words).count(words) >= 5


def test_html_in_the_document_is_words_in_the_page() -> None:
    made, _ = page._prose("a <b onclick=x>c</b> [d](javascript:e)\n", ())
    assert "<b" not in made
    assert "<a" not in made
