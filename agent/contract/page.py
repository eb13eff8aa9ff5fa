"""The contract as one page to read, print or send on: `python -m agent.contract.schema` writes contract.html.

What it says in words is `agent/README.md` as far as it concerns the operations centre, with the pictures drawn in; the
reference behind it, every message with its fields and examples, is made of the models, the channels and the test
vectors. A kind that is added to the models appears by itself. One file, no script, nothing from outside.

Needs markdown-it-py, which developers have and boxes do not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from agent import __version__
from agent.contract import asyncapi, schema
from agent.contract.draw import PICTURES, STYLE
from agent.contract.schema import ENVELOPE, LEDGER_NEEDS
from agent.contract.wire import KEYS, pack

PATH = Path(__file__).with_name("contract.html")
_NOT_OF_THE_CONTRACT = "\n## Inside"  # from there on the document speaks to those who change the agent

# Units that no name tells. Most names end in theirs.
_UNITS = {
    "time": "ms since 1970, UTC",
    "since": "ms since 1970, UTC",
    "up": "ms",
    "late": "s",
    "fps": "1/s",
    "place": "0 to 1",
    "value": "see `unit`",
    "limit": "see `unit`",
    "bytes": "B",
}
_ENDINGS = {
    "_lengths_per_s": "own lengths/s",
    "_per_s": "1/s",
    "_kmh": "km/h",
    "_bytes": "B",
    "_s": "s",
    "_c": "°C",
}

_CSS = """
:root{--ground:#fff;--ink:#1c2329;--soft:#55626e;--rule:#c8d0d8;--band:#f4f6f8;--link:#0a58ca}
@media (prefers-color-scheme:dark){:root{--ground:#11161c;--ink:#e8edf2;--soft:#a9b6c2;--rule:#3a4652;--band:#1d252e;
--link:#6cb0ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1rem 1.1rem 4rem;background:var(--ground);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;overflow-wrap:break-word}
h1{font-size:1.8rem;line-height:1.2}h2{margin-top:2.8rem;padding-top:.6rem;border-top:2px solid var(--rule)}
h3{margin-top:2.2rem}h4{margin-bottom:.3rem}
a{color:var(--link)}code,pre{font-family:ui-monospace,Consolas,"DejaVu Sans Mono",monospace;font-size:.875em}
code{background:var(--band);padding:.05em .25em;border-radius:3px}
pre{background:var(--band);border:1px solid var(--rule);border-radius:6px;padding:.7rem .8rem;overflow-x:auto}
pre code{background:none;padding:0}pre.wrap{white-space:pre-wrap;overflow-wrap:anywhere;margin:.2rem 0 .6rem}
.table{overflow-x:auto;margin:1rem 0}table{border-collapse:collapse;width:100%}
th,td{border:1px solid var(--rule);padding:.35rem .55rem;text-align:left;vertical-align:top}th{background:var(--band)}
td code{overflow-wrap:anywhere}.quiet{color:var(--soft)}.optional{color:var(--soft);font-style:italic}
nav ul{columns:3 14rem;padding-left:1.1rem}nav ul ul{columns:1;padding-left:1rem}
figure{margin:1.4rem 0;overflow-x:auto}figure svg{max-width:100%;height:auto}
@media (max-width:40rem){body{font-size:15px}.fields thead{display:none}.fields tr{display:block;border:1px solid
var(--rule);margin-bottom:.5rem;padding:.25rem .5rem}.fields td{display:inline;border:0;padding:0 .6rem 0 0}
.fields td:first-child,.fields td:last-child{display:block}
.fields td:empty{display:none}.fields td[data-what]::before{content:attr(data-what) " ";color:var(--soft)}
figure svg{max-width:none}}
@media print{:root{--ground:#fff;--ink:#000;--soft:#444;--rule:#999;--band:#f4f4f4;--link:#000}
body{max-width:none;font-size:10pt;padding:0}pre{white-space:pre-wrap;overflow-wrap:anywhere}
h2,h3,h4{break-after:avoid}tr,pre,figure{break-inside:avoid}.table{overflow:visible}}
"""


def text() -> str:
    document = asyncapi.build()
    words = re.sub(r"<!--.*?-->\n", "", schema.PAGE.read_text(encoding="utf-8"))
    title, prose = _split_title(words.partition(_NOT_OF_THE_CONTRACT)[0])
    # Its list of sections leads to files beside it and past its end: the page has one of its own.
    prose = re.sub(r"\n- \[Topics\]\(#topics\).*?\n\n", "\n\n", prose, flags=re.DOTALL)
    body, headings = _prose(prose, document["components"]["messages"])
    reference, messages = _reference(document)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_CSS}</style>",
            STYLE,
            "</head>\n<body>",
            f"<h1>{escape(title)}</h1>",
            f'<p class="quiet">Contract v1, as the agent {escape(__version__)} speaks it.</p>',
            _nav(headings, messages),
            f"<main>\n{body}{reference}\n</main>\n</body>\n</html>\n",
        ]
    )


def _split_title(words: str) -> tuple[str, str]:
    first, _, rest = words.partition("\n")
    return first.removeprefix("# "), rest


def _nav(headings: Sequence[str], messages: Sequence[str]) -> str:
    sections = [f'<li><a href="#{_slug(title)}">{escape(title)}</a></li>' for title in headings]
    inner = "".join(f'<li><a href="#{_anchor(name)}">{escape(name)}</a></li>' for name in messages)
    sections.append(f'<li><a href="#reference">Reference</a>\n<ul>{inner}</ul></li>')
    return "<nav>\n<ul>\n" + "\n".join(sections) + "\n</ul>\n</nav>"


# ---- words -----------------------------------------------------------------------------------------------------------


class _Renderer(RendererHTML):
    """As usual, and: headings can be linked to, pictures are drawn in, names of messages lead to the reference, and
    links to files beside the document are words, since the page travels alone."""

    messages: Iterable[str] = ()
    headings: Iterable[str] = ()

    def heading_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        tokens[idx].attrSet("id", _slug(tokens[idx + 1].content))
        return self.renderToken(tokens, idx, options, env)

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return '<div class="table"><table>\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "</table></div>\n"

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        target = str(tokens[idx].attrs.get("href", ""))
        leads = target.startswith(("https://", "http://")) or target[1:] in {_slug(title) for title in self.headings}
        env.setdefault("leads", []).append(leads)
        return self.renderToken(tokens, idx, options, env) if leads else ""

    def link_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "</a>" if env["leads"].pop() else ""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _figure(Path(str(tokens[idx].attrs["src"])).stem)

    def code_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        name = tokens[idx].content
        code = f"<code>{escape(name)}</code>"
        return f'<a href="#{_anchor(name)}">{code}</a>' if name in self.messages and not env.get("leads") else code


def _prose(words: str, messages: Iterable[str]) -> tuple[str, list[str]]:
    """HTML, and the titles of its sections. Markdown's own HTML is not let through."""
    markdown = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    titles = re.findall(r"^##+ (.+)$", words, re.MULTILINE)
    renderer = markdown.renderer
    assert isinstance(renderer, _Renderer)
    renderer.messages, renderer.headings = frozenset(messages), titles
    html: str = markdown.render(words)
    # A figure is no part of a paragraph.
    html = re.sub(r"<p>(<figure>.*?</figure>)</p>", r"\1", html, flags=re.DOTALL)
    return html, re.findall(r"^## (.+)$", words, re.MULTILINE)


def _figure(name: str) -> str:
    """The picture as part of the page, which has the style of all of them."""
    return f"<figure>{PICTURES[name]().replace(STYLE, '').strip()}</figure>"


def _slug(title: str) -> str:
    """As the forge makes anchors, so that links hold in both."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _anchor(name: str) -> str:
    return f"message-{escape(name)}"


# ---- reference -------------------------------------------------------------------------------------------------------


def _reference(document: dict[str, Any]) -> tuple[str, list[str]]:
    """HTML of every channel with its messages, then of what they are made of; and the messages' names in that order."""
    definitions = schema.build()["$defs"]
    messages = document["components"]["messages"]
    parts = [
        '<h2 id="reference">Reference</h2>',
        "<p>Every message, channel by channel. Topics and messages are the same in the AsyncAPI document, types in the "
        "JSON Schema. <em>CBOR</em> is the integer that stands for the name there. A field that is optional is left "
        "out when there is nothing to say. Hexadecimal is one payload as it is sent.</p>",
        "<p>Every message on the ledger begins with these fields, and goes on with those of its kind:</p>",
        _fields(ENVELOPE, LEDGER_NEEDS),
    ]
    named: list[str] = []
    shown: set[str] = set()
    for channel in document["channels"].values():
        if channel["address"] is None:
            continue
        parts += [_channel(channel, document)]
        for name in channel["messages"]:
            message = messages[name]
            used = message["payload"].get("$ref", "").rsplit("/", 1)[-1]
            parts.append(_message(name, message, definitions.get(used)))
            named.append(name)
            shown.add(used)
    parts.append('<h3 id="parts">What messages are made of</h3>')
    for name, definition in definitions.items():
        if name not in shown:
            parts += [f'<h4 id="part-{escape(name)}"><code>{escape(name)}</code></h4>', _words(definition)]
            if "properties" in definition:
                parts.append(_fields(definition["properties"], definition.get("required", ())))
            else:
                parts.append(f"<p>{_type(definition)}</p>")
    return "\n".join(parts), named


def _channel(channel: dict[str, Any], document: dict[str, Any]) -> str:
    (operation,) = (
        operation
        for operation in document["operations"].values()
        if operation["channel"]["$ref"].rsplit("/", 1)[1] == channel["address"].split("/")[4]
    )
    binding = operation["bindings"]["mqtt"]
    by = "the box sends" if operation["action"] == "send" else "the box receives"
    kept = ", retained" if binding["retain"] else ""
    return (
        f"<h3>{escape(channel['title'])}</h3>\n<p><code>{escape(channel['address'])}</code> "
        f'<span class="quiet">· {by}, QoS {binding["qos"]}{kept}</span></p>\n{_p(channel["description"])}'
    )


def _message(name: str, message: dict[str, Any], definition: dict[str, Any] | None) -> str:
    parts = [f'<h4 id="{_anchor(name)}"><code>{escape(name)}</code></h4>']
    if definition is None:
        return "\n".join([*parts, _p(message["summary"]), _p(f"{message['contentType']}, no JSON.")])
    own = definition["properties"]
    if ENVELOPE.keys() <= own.keys():
        own = {field: own[field] for field in own if field not in ENVELOPE}
    parts += [_words(definition), _fields(own, definition.get("required", ()))]
    hexes = {example["name"]: bytes.fromhex(example["hex"]) for example in message.get("x-cbor-examples", [])}
    for example in message.get("examples", []):
        plain, cbor = pack(example["payload"], "json"), hexes[example["name"]]
        parts += [
            f'<p>Example: {escape(example["name"])} <span class="quiet">· JSON, {len(plain)} bytes; CBOR, {len(cbor)} '
            "bytes</span></p>",
            f'<pre class="wrap"><code>{escape(plain.decode(), quote=False)}</code></pre>',
            f'<pre class="wrap"><code>{cbor.hex()}</code></pre>',
        ]
    return "\n".join(parts)


def _fields(fields: dict[str, Any], needed: Iterable[str]) -> str:
    rows = []
    for name, field in fields.items():
        # A kind has a default in the models and is always sent.
        optional = (
            "" if name in needed or ("const" in field and name == "kind") else ' <span class="optional">optional</span>'
        )
        number = str(KEYS[name]) if name in KEYS else "as text"
        meaning = _code(escape(field.get("description", ""), quote=False))
        rows.append(
            f"<tr><td><code>{escape(name)}</code>{optional}</td><td>{_type(field)}</td>"
            f'<td data-what="unit">{_code(escape(_unit(name)))}</td>'
            f'<td data-what="CBOR">{number}</td><td>{meaning}</td></tr>'.replace(
                '<td data-what="unit"></td>', "<td></td>"
            )
        )
    head = "".join(f"<th>{title}</th>" for title in ("field", "type", "unit", "CBOR", "meaning"))
    return (
        f'<div class="table"><table class="fields"><thead><tr>{head}</tr></thead>\n<tbody>'
        + "\n".join(rows)
        + "</tbody></table></div>"
    )


def _unit(name: str) -> str:
    if name in _UNITS:
        return _UNITS[name]
    return next((unit for ending, unit in _ENDINGS.items() if name.endswith(ending)), "")


def _type(field: dict[str, Any]) -> str:
    """A JSON Schema of ours in words, as HTML."""
    if "$ref" in field:
        name = escape(field["$ref"].rsplit("/", 1)[1])
        return f'<a href="#part-{name}"><code>{name}</code></a>'
    if "const" in field:
        return f"<code>{escape(json.dumps(field['const']))}</code>"
    if "enum" in field:
        return " ".join(f"<code>{escape(json.dumps(value))}</code>" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"])
    kind = field.get("type", "any value")
    if kind == "array" and "prefixItems" in field:
        return f"list of {len(field['prefixItems'])}: {_type(field['prefixItems'][0])}"
    if kind == "array":
        return f"list of {_type(field['items'])}"
    if kind == "object":
        inner = field.get("additionalProperties")
        return f"object: name to {_type(inner)}" if isinstance(inner, dict) else "object"
    return str(kind) + _bounds(field)


def _bounds(field: dict[str, Any]) -> str:
    least, most = field.get("minimum"), field.get("maximum")
    if least is not None and most is not None:
        return f", {least:g} to {most:.0f}"
    if least is not None:
        return f", from {least:g}"
    if "exclusiveMinimum" in field:
        return f", above {field['exclusiveMinimum']:g}"
    return f", at most {field['maxLength']} characters" if "maxLength" in field else ""


def _words(definition: dict[str, Any]) -> str:
    return "\n".join(_p(" ".join(part.split())) for part in definition.get("description", "").split("\n\n"))


def _p(words: str) -> str:
    return f"<p>{_code(escape(words, quote=False))}</p>"


def _code(escaped: str) -> str:
    """Words between backticks as code."""
    return re.sub(r"``?([^`]+)``?", r"<code>\1</code>", escaped)
