"""The books of the power cuts find what they are for."""

from __future__ import annotations

import pytest

from tests.fault.books import Books, Findings


def looked(*rows: str) -> str:
    return "".join(f"row {row}\n" for row in rows) + "looked ok\n"


FIRST = "opening\n" + looked() + "put count 1\nsent count 7 1 1\nput count 2\nput alert 9\n"


def found_after(second: str, first: str = FIRST) -> Findings:
    books = Books()
    books.read(first)
    (findings,) = books.read(second)
    return findings


@pytest.mark.parametrize(
    ("second", "faults"),
    [
        pytest.param(looked("alert 7 1 9", "count 7 1 1", "count 7 2 2"), [], id="all there"),
        pytest.param(looked("alert 7 1 9", "count 7 1 1", "count 7 2 2", "count 7 3 3"), [], id="one was on its way"),
        pytest.param(looked("alert 7 1 9", "count 7 1 1"), ["1 lost: count 2"], id="acknowledged and gone"),
        pytest.param(looked("alert 7 1 9", "count 7 1 2"), None, id="sent and gone"),
        pytest.param(looked("alert 7 1 9", "count 7 1 2", "count 7 2 1"), None, id="renumbered"),
        pytest.param(looked("alert 7 1 9", "count 7 1 1", "count 7 3 2"), ["holes: 1"], id="a number left out"),
        pytest.param(
            looked("alert 7 1 9", "count 7 1 1", "count 7 2 2", "count 7 3 2"), ["out of order: 1"], id="there twice"
        ),
        pytest.param("damaged outbox.db.damaged-1\n" + looked("alert 7 1 9"), None, id="set aside"),
        pytest.param(
            "row alert 7 1 9\nrow count 7 1 1\nrow count 7 2 2\nlooked page 3 is odd\n",
            ["1 other: integrity: page 3 is odd"],
            id="damaged",
        ),
    ],
)
def test_a_look_finds_what_is_wrong(second: str, faults: list[str] | None) -> None:
    found = found_after(second).faults
    assert found == faults if faults is not None else found


def test_what_was_cut_short_counts_neither_as_acknowledged_nor_as_a_look() -> None:
    books = Books()
    assert books.read("opening\nlooked ok\nput count 1\nput count 2") != []
    assert books.read("opening\nrow count 7 1 1\nlook") == []
    (findings,) = books.read("opening\n" + looked("count 7 1 1"))
    assert (findings.accepted, findings.rows, findings.faults) == (1, 1, [])


def test_a_loss_counts_once() -> None:
    books = Books()
    books.read(FIRST)
    (first,) = books.read(looked())
    (second,) = books.read(looked())
    assert (len(first.lost), len(first.vanished)) == (3, 1)
    assert (second.faults, second.accepted) == ([], 0)


def test_what_nobody_had_acknowledged_counts_once() -> None:
    books = Books()
    rows = ("alert 7 1 9", "count 7 1 1", "count 7 2 2", "count 7 3 3")
    books.read(FIRST)
    assert [found.unacknowledged for found in books.read(looked(*rows)) + books.read(looked(*rows))] == [1, 0]
