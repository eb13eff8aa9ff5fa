"""From the configuration that is there to the one that is wanted: a whole file, or a patch of single keys.

A patch says what its keys shall be, and nothing else changes, comments included:

    {"camera.north.fps": 8, "camera.north.line.gate.a": [0.1, 0.6], "camera.north.rule.crowd.enabled": false}

A key is written as in TOML, a name with a dot in quotes: camera."gate.1".fps. Tables that there are several of go by
their id, brokers by their number: broker.1.host. A table as a value replaces or adds a whole one, null takes away: an
entry, or a key, which then is what it is without one. Pure: texts in, text out. The agent asks here before it accepts a
command, and root's updater once more before it does it.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array, InlineTable

from agent import config
from agent.config import Config, version_of
from agent.errors import ConfigError

MAX_BYTES = 256 * 1024
MAX_KEYS = 100
_MAX_KEY = 300
_KEY = re.compile(r"""(?:[A-Za-z0-9_-]+|"[^"\\\x00-\x1f\x7f]+")(?:\.(?:[A-Za-z0-9_-]+|"[^"\\\x00-\x1f\x7f]+"))*""")
_NAME = re.compile(r'"([^"]+)"|([^."]+)')
_BY_NUMBER = {"broker"}  # tables without an id
_NAME_FOR_ERRORS = "the new configuration"

_Make = Callable[[Any, bool], Any]
"""(value of a patch, whether it goes into a list that is written in brackets) → the same, as the document holds it."""


def new_config(
    now: bytes,
    *,
    toml: str | None = None,
    patch: Mapping[str, Any] | None = None,
    base: str | None = None,
) -> str:
    """The text that a command asks for; one of toml and patch is given.

    now: the file as it is. base: the version of it that the caller knows, None: whichever it is. Raises ConfigError for
    what must not replace it: the message says why, and nothing has changed.
    """
    found = version_of(now)
    if base is not None and base != found:
        raise ConfigError(f"it was made for version {base} of the configuration, and this box has {found}: get it anew")
    try:
        old = now.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"the configuration as it is: not UTF-8 text (byte {exc.start}); mend it on the box") from exc
    new = toml if toml is not None else patched(old, patch or {})
    settings, before = _checked(new), config.parse(old, "the configuration as it is")
    for key, found_value, wanted_value in (
        ("box.site", settings.box.site, before.box.site),
        ("box.id", settings.box.id, before.box.id),
        # What waits to be sent would stay behind, and which commands were done with it.
        ("outbox.path", settings.outbox.path, before.outbox.path),
    ):
        if found_value != wanted_value:
            raise ConfigError(f"{key}: found {found_value}; wanted {wanted_value}: no command changes this")
    return new


def rule_patch(camera: str, rule: str, enabled: bool) -> dict[str, Any]:
    return {f'camera."{camera}".rule."{rule}".enabled': enabled}


def patched(text: str, patch: Mapping[str, Any]) -> str:
    """text with these keys changed; not checked for what they mean. Raises ConfigError.

    What is meant is worked out on plain values, what is written on the document with its comments; if the two are not
    the same, which would be a fault of the library, nothing is taken.
    """
    paths = _paths(patch)
    try:
        wanted, document = tomllib.loads(text), tomlkit.parse(text)
        for key, path in paths.items():
            _set(wanted, key, path, patch[key], lambda value, _: copy.deepcopy(value))
            _set(document, key, path, patch[key], _written)
        new = tomlkit.dumps(document)
        is_meant = tomllib.loads(new) == wanted
    except (ValueError, TypeError, RecursionError, TOMLKitError) as exc:
        raise ConfigError(f"the patch cannot be written as TOML: {exc}; send the whole file") from exc
    if not is_meant:
        raise ConfigError("the patch cannot be written without changing something else; send the whole file")
    return new


def _checked(text: str) -> Config:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise ConfigError(f"{_NAME_FOR_ERRORS}: character {exc.start + 1} has no form in UTF-8") from exc
    if size > MAX_BYTES:
        raise ConfigError(f"{_NAME_FOR_ERRORS} has {size} bytes; at most {MAX_BYTES} are taken")
    return config.parse(text, _NAME_FOR_ERRORS)


def _paths(patch: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    if not 1 <= len(patch) <= MAX_KEYS:
        raise ConfigError(f"the patch has {len(patch)} keys; wanted 1 to {MAX_KEYS}")
    paths: dict[str, tuple[str, ...]] = {}
    for key in patch:
        if len(key) > _MAX_KEY or not _KEY.fullmatch(key):
            raise ConfigError(f"{_short(key)}: no key; wanted names with dots between them, such as camera.north.fps")
        path = tuple(quoted or plain for quoted, plain in _NAME.findall(key))
        for other, beside in paths.items():
            shorter = min(len(path), len(beside))
            if path[:shorter] == beside[:shorter]:
                raise ConfigError(f"{key} and {other}: one is a part of the other; wanted one of them")
        paths[key] = path
    return paths


def _set(root: Any, key: str, path: tuple[str, ...], value: Any, make: _Make) -> None:
    """One key of a document or of plain values. Raises ConfigError."""
    place, names = root, list(path)
    above: tuple[Any, str] | None = None  # where a list hangs, by which name
    while True:
        name = names.pop(0)
        if isinstance(place, list):
            assert above is not None
            index = _index(place, above[1], name, key)
            if not names:
                _set_entry(place, above, index, name, key, value, make)
                return
            if index is None:
                raise ConfigError(f"{key}: there is no {above[1]} {name!r}; there is: {_known(place, above[1])}")
            place, above = place[index], None
            continue
        if not isinstance(place, dict):
            raise ConfigError(f"{key}: {name!r} cannot be in a value; wanted the key of the whole value")
        if not names:
            if value is not None:
                place[name] = make(value, isinstance(place, InlineTable))
            elif name in place:
                del place[name]
            else:
                raise ConfigError(f"{key}: is not there; nothing to take away")
            return
        if name not in place:
            if value is None:
                raise ConfigError(f"{key}: is not there; nothing to take away")
            inline = isinstance(place, InlineTable)
            if name in config.LISTS:
                if len(names) > 1 or _index([], name, names[0], key) is not None:
                    raise ConfigError(f"{key}: there is no {name} yet")
                place[name] = make([_entry(name, names[0], key, value)], inline)
                return
            place[name] = make({}, inline)
        above = (place, name)
        place = place[name]


def _set_entry(
    entries: Any, above: tuple[Any, str], index: int | None, name: str, key: str, value: Any, make: _Make
) -> None:
    """A whole table of those that there are several of."""
    table, what = above
    if value is None:
        if index is None:
            raise ConfigError(f"{key}: is not there; nothing to take away")
        del entries[index]
        if not entries:
            del table[what]
        return
    made = make(_entry(what, name, key, value), isinstance(entries, Array))
    if index is None:
        entries.append(made)
    else:
        entries[index] = made


def _entry(what: str, name: str, key: str, value: Any) -> dict[str, Any]:
    """The table to put into a list of them."""
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: found {_short(value)}; wanted a table, or the key of one of its values")
    if what in _BY_NUMBER:
        return value
    if value.get("id", name) != name:
        raise ConfigError(f"{key}: found id = {_short(value['id'])}; wanted {name!r}, or no id")
    return {"id": name, **value}


def _index(entries: list[Any], what: str, name: str, key: str) -> int | None:
    """Where the entry of this name is; None: where there is none yet."""
    if not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{key}: {name!r} cannot be in a value; wanted the key of the whole value")
    if what in _BY_NUMBER:
        if not re.fullmatch(r"[1-9][0-9]?", name) or int(name) > len(entries) + 1:
            raise ConfigError(f"{key}: found {name!r}; wanted the number of a {what}, from 1 to {len(entries) + 1}")
        return int(name) - 1 if int(name) <= len(entries) else None
    found = [n for n, entry in enumerate(entries) if entry.get("id") == name]
    if len(found) > 1:
        raise ConfigError(f"{key}: there are {len(found)} {what} with this id; send the whole file")
    return found[0] if found else None


def _known(entries: list[Any], what: str) -> str:
    if what in _BY_NUMBER:
        return f"1 to {len(entries)}"
    return ", ".join(_short(entry.get("id")) for entry in entries) or "none"


def _written(value: Any, inline: bool) -> Any:
    """As tomlkit writes it; inside of brackets and braces everything is in brackets and braces."""
    if inline and isinstance(value, dict):
        table = tomlkit.inline_table()
        for name, part in value.items():
            table[name] = _written(part, True)
        return table
    if inline and isinstance(value, list):
        array = tomlkit.array()
        for part in value:
            array.append(_written(part, True))
        return array
    return tomlkit.item(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
