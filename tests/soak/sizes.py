"""How much an object holds, and where: every container and array that can be reached from it, by the way that leads
there.

    sizes(worker)["worker.pipeline._tracker._state.ids"] → 12
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_OURS = ("agent.", "tests.")
_ITEMS = (list, tuple, set, frozenset, deque)


def sizes(root: object, name: str) -> Counter[str]:
    """Way → number of entries; of arrays, of their elements. What lies in a container is counted together: `all[]`."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[tuple[str, object]] = [(name, root)]
    while waiting:
        way, thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            found[way] += thing.size
        elif isinstance(thing, Mapping):
            found[way] += len(thing)
            waiting += [(f"{way}[]", value) for value in thing.values()]
        elif isinstance(thing, _ITEMS):
            found[way] += len(thing)
            waiting += [(f"{way}[]", value) for value in thing]
        elif isinstance(thing, bytes | str):
            found[way] += len(thing)
        else:
            waiting += [(f"{way}.{attribute}", value) for attribute, value in _attributes(thing)]
    return found


def _attributes(thing: object) -> Iterator[tuple[str, Any]]:
    if not type(thing).__module__.startswith(_OURS):
        return  # threads, locks, functions: not ours, and no place to keep a track in
    yield from getattr(thing, "__dict__", {}).items()
    for part in type(thing).__mro__:
        for slot in getattr(part, "__slots__", ()):
            if isinstance(slot, str) and hasattr(thing, slot):
                yield slot, getattr(thing, slot)


def grown(before: Counter[str], after: Counter[str], *, by: float, at_least: int) -> list[str]:
    """What has become larger by more than this share, and by at least so many entries, in words."""
    return [
        f"{way}: {before[way]} entries, then {count}"
        for way, count in sorted(after.items())
        if count - before[way] >= at_least and count > (1.0 + by) * before[way]
    ]
