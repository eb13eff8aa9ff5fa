"""Configurations that somebody sends: whole files and patches, damaged and drawn at random."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Iterator
from typing import Any

from agent import config
from agent.config_change import new_config
from agent.errors import ConfigError
from tests.fuzz.damage import damaged
from tests.fuzz.run import Outcome, Target

_TEXT = """\
# the north gate
[box]
site = "s"   # of the city
id = "b"
[[broker]]
host = "one"
[[broker]]
host = "two"
[[camera]] # above the road
id = "n"
source = "rtsp://h/s"
fps = 5
  [[camera.line]]
  id = "gate.1"
  a = [0.1, 0.6]   # the kerb
  b = [0.9, 0.6]
  [[camera.zone]]
  id = "z"
  polygon = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]
  [[camera.rule]]
  id = "r"
  kind = "crowd"
  zone = "z"
  more_than = 20
[uplink]
payload = "json"
"""
_NOW = _TEXT.encode()
_NAMES = (
    *("camera", "n", "line", '"gate.1"', "zone", "z", "rule", "r", "broker", "1", "2", "3", "uplink", "box", "health"),
    *("fps", "a", "b", "polygon", "enabled", "more_than", "host", "payload", "interval_s", "site", "id", "mask", "new"),
    *(
        "sensor",
        "classes",
        "schedule",
        "detector",
        "delegate_options",
        "x",
        "",
        '"',
        '"\n"',
        "#",
        "=",
        "id = 1\nx",
        "é",
    ),
)
_KEYS = (
    *("camera.n.fps", 'camera.n.line."gate.1".a', "camera.n.rule.r.enabled", "camera.n.zone.z.polygon", "broker.2"),
    *("uplink.payload", "health.interval_s", "camera.n.line.new", "camera.m", "camera.n.mask.p", "broker.1.host"),
    *("camera.n.rule.r.schedule", "detector.delegate_options", "box.timezone", "camera.n.rule.r", "health"),
)
_LINE = {"a": [0.2, 0.2], "b": [0.8, 0.2]}
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 8, 8.5, 1e300, 10**30, "", "x", "cbor", "UTC", 'a"b\\c\n\x00', "\ud800", "[[camera]]"),
    *([], [0.2, 0.5], [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], ["Mo-Fr 22:00-05:00"], [None], [[], {}], {}, _LINE),
    *({"id": "n"}, {"source": "rtsp://h/t", "line": [{"id": "l", **_LINE}]}, {"interval_s": 9}, {"x": {"y": [{}]}}),
    *({"kind": "crowd", "zone": "z", "more_than": 3}, {"polygon": [[0, 0], [1, 0], [1, 1]], "kind": "privacy"}),
)
_GOOD: tuple[tuple[str, Any], ...] = (
    *(("camera.n.fps", 8), ("camera.n.fps", None), ('camera.n.line."gate.1".a', [0.2, 0.3]), ("broker.2", None)),
    *(("camera.n.rule.r.enabled", False), ("camera.n.rule.r", None), ("uplink.payload", "cbor"), ("uplink", None)),
    *(("camera.n.line.new", _LINE), ("camera.m", {"source": "rtsp://h/t"}), ("broker.3", {"host": "three"})),
    *(("health.interval_s", 9.5), ("box.timezone", "UTC"), ("camera.n.line", [{"id": "l", **_LINE}])),
    *(("detector.delegate_options", {"a b": "c"}), ("camera.n.mask.p", {"polygon": [[0, 0], [1, 0], [1, 1]]})),
    *(("camera.n.rule.q", {"kind": "loitering", "zone": "z"}), ("camera.n.rule.r.schedule", ["Mo 08:00-09:00"])),
)
_FILLINGS = (
    *(b"{", b"}", b"[" * 3000, b'"', b"'''", b'"""', b".", b"=", b"#", b"\n", b"\r", b"null", b"9" * 5000, b"1e999"),
    *(b"nan", b"\\ud800", b"\x00", b"[[camera]]\n", b"[box]\n", b"1979-05-27", b'id = "n"\n', b"\xff", b"_"),
)


def patches(chance: random.Random) -> Outcome:
    """Whatever is taken is a whole configuration of this box, in which nothing but the named keys has changed."""
    patch: dict[str, Any] = {}
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        how = chance.random()
        key, value = chance.choice(_GOOD)
        if how < 0.15:
            key = ".".join(chance.choices(_NAMES, k=chance.randrange(1, 7)))
        elif how < 0.3:
            key = chance.choice(_KEYS)
        patch[key] = value if how > 0.5 else chance.choice(_VALUES)
    if chance.random() < 0.1:
        try:
            patch = json.loads(damaged(json.dumps(patch).encode(), chance, _FILLINGS))
        except (ValueError, RecursionError):
            return Outcome.NOTHING
        if not isinstance(patch, dict):
            return Outcome.NOTHING
    try:
        new = new_config(_NOW, patch=patch)
    except ConfigError:
        return Outcome.REFUSED
    _is_ours(new)
    before, after = _leaves(_TEXT), _leaves(new)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    named = [tuple(part for part in _parts(key)) for key in patch]
    strangers = [path for path in changed if not any(path[: len(one)] == one for one in named)]
    # A broker that is taken away gives its number to the next.
    strangers = [path for path in strangers if path[0] != "broker" or not any(one[0] == "broker" for one in named)]
    assert not strangers, f"{patch} changed {strangers}"
    comments = [line.partition("#")[2] for line in _TEXT.splitlines() if "#" in line and "kerb" not in line]
    kept = [comment for comment in comments if comment in new]
    whole = {("camera", "n"), ("box",), ("camera",)}
    assert kept == comments or whole & set(named), f"{patch} lost a comment"
    return Outcome.TAKEN


def files(chance: random.Random) -> Outcome:
    """A whole file: taken if it is a configuration of this box, and as it came."""
    text = damaged(_NOW, chance, _FILLINGS).decode("utf-8", "surrogateescape")
    try:
        new = new_config(_NOW, toml=text)
    except ConfigError:
        return Outcome.REFUSED
    assert new == text
    _is_ours(new)
    return Outcome.TAKEN


def _is_ours(new: str) -> None:
    box = config.parse(new, "new").box
    assert (box.site, box.id) == ("s", "b")


def _leaves(text: str) -> dict[tuple[str, ...], Any]:
    """Every value by the names of what it is in; entries by their id, brokers by their number."""
    found: dict[tuple[str, ...], Any] = {}

    def walk(value: Any, path: tuple[str, ...]) -> Iterator[None]:
        if isinstance(value, dict):
            for name, part in value.items():
                yield from walk(part, (*path, name))
        elif isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
            for number, part in enumerate(value, 1):
                yield from walk(part, (*path, str(part.get("id", number))))
        else:
            found[path] = value
            yield

    for _ in walk(tomllib.loads(text), ()):
        pass
    return found


def _parts(key: str) -> Iterator[str]:
    value: Any = tomllib.loads(f"{key} = 0")
    while isinstance(value, dict):
        (name,) = value
        yield name
        value = value[name]


def targets() -> list[Target]:
    return [Target("config-patches", patches), Target("config-files", files)]
