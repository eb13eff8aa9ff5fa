"""XML from strangers: no document types (so no entities, no bombs, no files of ours), and bounds on everything.

Names come without their namespace: of the few that ONVIF's answers hold, none means two things.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

MAX_BYTES = 1_048_576
_MAX_DEPTH = 40
_MAX_ELEMENTS = 20_000
_SEPARATOR = "\x1f"  # between namespace and name; cannot stand in either


class BadXml(Exception):
    """Not XML, or not the harmless kind. The text is for people."""


def parse(data: bytes) -> Element:
    """The root element. Raises BadXml."""
    if len(data) > MAX_BYTES:
        raise BadXml(f"{len(data)} bytes of XML, more than the {MAX_BYTES} accepted")
    builder = TreeBuilder()
    depth = count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth += 1
        count += 1
        if depth > _MAX_DEPTH or count > _MAX_ELEMENTS:
            raise BadXml("more elements than any camera needs")
        builder.start(_local(name), {_local(key): value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_local(name))

    def refuse(*_: object) -> None:
        raise BadXml("it declares a document type; refused")

    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, LookupError, ValueError) as exc:  # the latter two: encodings that nobody knows
        raise BadXml(f"not XML: {exc}") from exc


def text(element: Element | None, path: str) -> str:
    """What stands in the first element at this path below; "" if there is none."""
    found = element.find(path) if element is not None else None
    return (found.text or "").strip() if found is not None else ""


def _local(name: str) -> str:
    return name.rpartition(_SEPARATOR)[2]
