"""The reference consumer: nothing is called new twice, nothing that is missing goes unnamed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.contract.ledger import Ledger, Taken

KEY = ("site", "box", "alert")
EPOCH = 77


def numbers(stretches: list[tuple[int, int, int]]) -> set[int]:
    return {seq for _, first, last in stretches for seq in range(first, last + 1)}


@given(st.lists(st.integers(1, 60), max_size=150))
def test_any_order_loss_and_repetition_is_accounted_for(arrivals: list[int]) -> None:
    ledger = Ledger(from_start=True)
    new = [seq for seq in arrivals if not ledger.take(KEY, EPOCH, seq).repeat]
    assert sorted(new) == sorted(set(arrivals)), "each number is new exactly once"
    expected = set(range(1, max(arrivals, default=0) + 1)) - set(arrivals)
    assert numbers(ledger.missing(KEY)) == expected


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_notices_excuse_whether_they_come_before_or_after_the_hole_shows(
    sent: set[int], excused: set[int], chance: random.Random
) -> None:
    ledger = Ledger(from_start=True)
    steps = [("take", seq) for seq in sorted(sent)] + [("excuse", seq) for seq in excused]
    chance.shuffle(steps)
    for what, seq in steps:
        if what == "take":
            assert not ledger.take(KEY, EPOCH, seq).repeat
        else:
            ledger.excuse(KEY, EPOCH, seq, seq)
    assert numbers(ledger.missing(KEY)) == set(range(1, max(sent, default=0) + 1)) - sent - excused


def test_a_hole_is_named_when_it_shows_and_forgotten_when_it_fills() -> None:
    ledger = Ledger()
    ledger.take(KEY, EPOCH, 10)
    assert ledger.take(KEY, EPOCH, 14) == Taken(missing=((11, 13),))
    assert ledger.take(KEY, EPOCH, 12) == Taken(late=True)
    assert ledger.take(KEY, EPOCH, 12) == Taken(repeat=True)
    assert ledger.missing(KEY) == [(EPOCH, 11, 11), (EPOCH, 13, 13)]


def test_a_consumer_that_joins_late_misses_nothing_it_was_not_there_for() -> None:
    ledger = Ledger()
    assert ledger.take(KEY, EPOCH, 5000) == Taken()
    assert ledger.missing(KEY) == []


def test_a_new_epoch_starts_at_one_and_the_old_one_stays_known() -> None:
    ledger = Ledger()
    ledger.take(KEY, EPOCH, 5000)
    assert ledger.take(KEY, EPOCH + 1, 3) == Taken(missing=((1, 2),), new_epoch=True)
    assert ledger.take(KEY, EPOCH, 5000).repeat
    assert ledger.take(KEY, EPOCH, 5001) == Taken()
    assert ledger.missing(KEY) == [(EPOCH + 1, 1, 2)]


def test_streams_and_boxes_do_not_mix() -> None:
    ledger = Ledger(from_start=True)
    assert not ledger.take(("a", "b", "alert"), 1, 1).repeat
    assert not ledger.take(("a", "b", "count"), 1, 1).repeat
    assert not ledger.take(("a", "c", "alert"), 1, 1).repeat


def test_memory_is_bounded_and_what_is_given_up_is_counted() -> None:
    ledger = Ledger(from_start=True, max_holes=10)
    for seq in range(2, 2001, 2):
        ledger.take(KEY, EPOCH, seq)
    assert len(ledger.missing(KEY)) == 10
    assert ledger.given_up(KEY) == 990
    assert ledger.take(KEY, EPOCH, 1).repeat, "documented: what was given up is not told from a repeat"


@pytest.mark.parametrize(("last", "behind"), [(12, None), (15, (13, 15))])
def test_the_end_of_a_stream_is_checked_against_what_the_box_says(last: int, behind: tuple[int, int] | None) -> None:
    ledger = Ledger()
    ledger.take(KEY, EPOCH, 12)
    assert ledger.behind(KEY, EPOCH, last) == behind
