"""Hours of the week, in local time: "Mo-Fr 22:00-05:00", "Sa,Su 00:00-24:00", "22:00-05:00".

A range that ends before it begins goes on after midnight; its days are those on which it begins.

    Fr 22:00-05:00     Fr ········██│█████······· Sa
                                  22 0    5
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

_DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
_DAY_MIN = 24 * 60
_RANGE = re.compile(r"(?:(?P<days>[A-Za-z,-]+) )?(?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)")


class Schedule:
    """When something applies. Raises ValueError for a text that names no hours."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._spans_min = [span for text in texts for span in _spans(text)]  # minutes since Monday 00:00

    def includes(self, local: datetime) -> bool:
        minute = local.weekday() * _DAY_MIN + local.hour * 60 + local.minute
        # A span that begins on Sunday night ends on the next Monday.
        return any(begin <= at < end for begin, end in self._spans_min for at in (minute, minute + 7 * _DAY_MIN))


def _spans(text: str) -> list[tuple[int, int]]:
    found = _RANGE.fullmatch(text)
    days = _days(found["days"]) if found else None
    if found is None or days is None:
        raise ValueError(
            f'found {text!r}; wanted hours such as "22:00-05:00", "Mo-Fr 22:00-05:00", "Sa,Su 00:00-24:00"'
        )
    begin, end = _minute(found["from"], text), _minute(found["to"], text)
    if begin == end:
        raise ValueError(f"found {text!r}, which lasts no time; wanted two different times, or 00:00-24:00 for all day")
    if end < begin:
        end += _DAY_MIN
    return [(day * _DAY_MIN + begin, day * _DAY_MIN + end) for day in days]


def _days(text: str | None) -> list[int] | None:
    if text is None:
        return list(range(7))
    days: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS or part.endswith("-"):
            return None
        begin, count = _DAYS.index(first), (_DAYS.index(last or first) - _DAYS.index(first)) % 7 + 1
        days += [(begin + n) % 7 for n in range(count)]
    return sorted(set(days))


def _minute(clock: str, text: str) -> int:
    hours, minutes = (int(part) for part in clock.split(":"))
    if minutes > 59 or hours * 60 + minutes > _DAY_MIN:
        raise ValueError(f"found {text!r}: there is no {clock} on a clock; wanted 00:00 to 24:00")
    return hours * 60 + minutes
