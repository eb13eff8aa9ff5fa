"""The soak, for some hours; and that it would notice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.base import Frame
from tests.soak.scene import SPELLS
from tests.soak.sizes import grown, sizes
from tests.soak.soak import Soak


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory) -> Soak:
    """A round of everything with a start in it, and one without a break."""
    soak = Soak(tmp_path_factory.mktemp("soak"))
    for hour in range(2 * len(SPELLS)):
        if hour == 2:
            soak.start()
        soak.hour(shrinks=hour < len(SPELLS))
        if hour % len(SPELLS) == len(SPELLS) - 1:
            soak.measure()
    return soak


def test_a_camera_holds_no_more_after_another_round_of_everything(soak: Soak) -> None:
    first, second = soak.held
    # Pictures of alerts, bounded by bytes and days, and not full after some hours; the outline of a thing that is in
    # view just now, bounded by the number of things.
    bounded = ("_kept", "all[].mask")
    more = grown(first.entries, second.entries, by=0.25, at_least=50)
    assert [way for way in more if not any(name in way for name in bounded)] == []


def test_things_are_told_only_where_one_was_left_or_removed(soak: Soak) -> None:
    assert {spell for spell, told in soak.things_in.items() if told} == {"bag"}


def test_no_number_was_used_again_and_no_alert_was_raised_or_cleared_twice(soak: Soak) -> None:
    assert soak.books.wrong == []
    assert soak.books.tracks > 500


def test_every_kind_of_rule_had_something_to_say(soak: Soak) -> None:
    """Or it was not tried."""
    kinds = {kind.split()[0] for kind in soak.books.kinds}
    wanted = {"wrong-way", "restricted", "loitering", "stopped", "speeding", "congestion", "crowd"}
    wanted |= {"left-behind", "removed", "crossing", "enter", "exit", "dwell", "counts", "camera-fault"}
    assert wanted <= kinds


def test_a_rule_that_never_forgets_a_track_is_noticed(tmp_path: Path) -> None:
    class Hoarder:
        def __init__(self) -> None:
            self.met: dict[int, float] = {}

    hoarder = Hoarder()

    def spoil(pipeline: Any) -> None:
        pipeline._hoarder = hoarder
        process = pipeline.process

        def remember(frame: Frame) -> Any:
            seen = process(frame)
            hoarder.met.update(dict.fromkeys(seen.tracks.ids.tolist(), frame.mono_s))
            return seen

        pipeline.process = remember

    leaking = Soak(tmp_path, spoil=spoil)
    for _ in range(2):
        leaking.hours = 4  # ghosts: the most tracks
        leaking.hour()
        leaking.measure()
    first, second = leaking.held
    (line,) = [way for way in grown(first.entries, second.entries, by=0.25, at_least=50) if "_hoarder" in way]
    assert line.startswith("worker.pipeline._hoarder.met: ")


def test_a_number_that_is_used_again_within_a_day_is_noticed_and_after_a_day_it_is_not(tmp_path: Path) -> None:
    books = Soak(tmp_path).books
    books.numbers(100, 103, 0.0)
    books.numbers(102, 104, 3600.0)
    assert books.wrong == ["track 102 of 0 s was used again at 3600 s"]
    books.numbers(100, 102, 86_400.0 * 2)
    assert len(books.wrong) == 1


def test_sizes_are_those_of_all_that_can_be_reached_each_thing_once() -> None:
    class Part:
        __slots__ = ("rows",)

        def __init__(self) -> None:
            self.rows = np.zeros((3, 4))

    class Whole:
        def __init__(self) -> None:
            part = Part()
            self.parts = {1: part, 2: part, 3: Part()}
            self.whole = self

    assert sizes(Whole(), "w") == Counter({"w.parts": 3, "w.parts[].rows": 24})
