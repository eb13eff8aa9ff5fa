"""The consumer's side of the ledger: drop repeats, name what is missing. For the IOC, and to port from.

Standard library only, no I/O, no clock. Everything it knows fits in `top` and two short lists per numbered series:

    top      the highest number seen
    holes    stretches below top that have not come
    excused  stretches that the box said will never come (kind "gap"), known before or after the hole shows

so a number is new if it is above top or in a hole, a repeat otherwise, and missing = holes − excused.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

Stretch = tuple[int, int]
"""First and last number, both inclusive."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one message meant to the ledger.

    repeat: seen before, drop it.
    late: it fills a hole that an earlier message had shown; keep it.
    missing: stretches that this message shows to be missing, not excused so far; they may still come.
    new_epoch: the first message of an epoch, of a series that was known under another.
    """

    repeat: bool = False
    late: bool = False
    missing: tuple[Stretch, ...] = ()
    new_epoch: bool = False


@dataclass(slots=True)
class _Series:
    top: int
    holes: list[Stretch] = field(default_factory=list)
    excused: list[Stretch] = field(default_factory=list)
    given_up: int = 0


class Ledger:
    """Keeps count of any number of series, each named by the caller: (site, box, stream) is the natural key.

    from_start: a series' first message should be number 1. With False, a consumer that joins a running box starts
    where it finds it; an epoch that begins while it listens is expected from 1 either way.
    max_holes: memory per series and epoch; beyond it the oldest hole is given up (counted, later taken for repeats).
    max_epochs: epochs remembered per series; the oldest is forgotten.
    """

    def __init__(self, *, from_start: bool = False, max_holes: int = 1000, max_epochs: int = 4) -> None:
        self._from_start = from_start
        self._max_holes = max_holes
        self._max_epochs = max_epochs
        self._series: dict[Hashable, dict[int, _Series]] = {}

    def take(self, key: Hashable, epoch: int, seq: int) -> Taken:
        """Enter message number seq. Not safe to share between threads."""
        epochs = self._series.setdefault(key, {})
        series = epochs.get(epoch)
        new_epoch = series is None and bool(epochs)
        if series is None:
            series = self._open(epochs, epoch, 0 if self._from_start or epochs else seq - 1)
        if seq > series.top:
            hole = (series.top + 1, seq - 1)
            series.top = seq
            if hole[0] > hole[1]:
                return Taken(new_epoch=new_epoch)
            series.holes.append(hole)
            if len(series.holes) > self._max_holes:
                first, last = series.holes.pop(0)
                series.given_up += last - first + 1
            return Taken(missing=tuple(_without([hole], series.excused)), new_epoch=new_epoch)
        for i, (first, last) in enumerate(series.holes):
            if first <= seq <= last:
                series.holes[i : i + 1] = _without([(first, last)], [(seq, seq)])
                return Taken(late=True)
        return Taken(repeat=True)

    def excuse(self, key: Hashable, epoch: int, first: int, last: int) -> None:
        """Enter a "gap" notice: first to last need not be waited for. They stay welcome if they come all the same."""
        epochs = self._series.setdefault(key, {})
        series = epochs.get(epoch)
        if series is None:
            series = self._open(epochs, epoch, 0 if self._from_start or epochs else first - 1)
        series.excused = _joined([*series.excused, (first, last)])[-self._max_holes :]

    def missing(self, key: Hashable) -> list[tuple[int, int, int]]:
        """(epoch, first, last) of every stretch that has not come and was not excused; oldest epoch first."""
        return [
            (epoch, first, last)
            for epoch, series in self._series.get(key, {}).items()
            for first, last in _without(series.holes, series.excused)
        ]

    def behind(self, key: Hashable, epoch: int, last: int) -> Stretch | None:
        """What has not come at the end, given the last number the box gave out (`last` in state and health)."""
        series = self._series.get(key, {}).get(epoch)
        top = series.top if series else 0
        return (top + 1, last) if top < last else None

    def given_up(self, key: Hashable) -> int:
        """How many numbers are no longer followed because there were more than max_holes holes."""
        return sum(series.given_up for series in self._series.get(key, {}).values())

    def series(self) -> list[Hashable]:
        """The keys seen so far."""
        return list(self._series)

    def _open(self, epochs: dict[int, _Series], epoch: int, top: int) -> _Series:
        if len(epochs) >= self._max_epochs:
            epochs.pop(next(iter(epochs)))  # dicts keep order of arrival
        return epochs.setdefault(epoch, _Series(top))


def _without(stretches: list[Stretch], cuts: list[Stretch]) -> list[Stretch]:
    """stretches minus cuts."""
    for cut_first, cut_last in cuts:
        stretches = [piece for stretch in stretches for piece in _cut(stretch, cut_first, cut_last)]
    return stretches


def _cut(stretch: Stretch, cut_first: int, cut_last: int) -> Iterator[Stretch]:
    first, last = stretch
    if cut_last < first or cut_first > last:
        yield stretch
        return
    if first < cut_first:
        yield first, cut_first - 1
    if cut_last < last:
        yield cut_last + 1, last


def _joined(stretches: list[Stretch]) -> list[Stretch]:
    joined: list[Stretch] = []
    for first, last in sorted(stretches):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined
