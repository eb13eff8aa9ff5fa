from typing import Any

import pytest

from agent.clock import Stamp
from agent.contract.event import Congestion, Crossing, Event, Restricted, Stream, ZoneEnter
from agent.web.diary import Diary

NINE = 1_767_232_800_000  # 2026-01-01 09:00 in Vietnam
HOUR_MS = 3_600_000


def diary(*events: Event) -> Diary:
    kept = Diary("Asia/Ho_Chi_Minh")
    put = kept.noting(lambda *stored: None)
    for event in events:
        put(event)
    return kept


def event(body: Any, wall_ms: int = NINE, source: str = "north", trusted: bool = True) -> Event:
    return Event(Stream.ALERT, source, body, Stamp(wall_ms, 0, trusted))


def crossing(direction: str = "in", line: str = "gate") -> Crossing:
    return Crossing.model_validate({"line": line, "direction": direction, "class": "car", "track": 1})


def congestion(state: str, **more: Any) -> Congestion:
    fields = {"rule": "queue", "severity": "info", "state": state, "alert": "a1", "zone": "yard", "vehicles": 9}
    return Congestion.model_validate({**fields, **more})


def test_what_is_not_stored_is_not_noted() -> None:
    kept = Diary("Asia/Ho_Chi_Minh")

    def full(*events: Event) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        kept.noting(full)(event(crossing()))
    assert kept.crossed() == {}


def test_crossings_are_counted_by_line_and_direction() -> None:
    kept = diary(event(crossing()), event(crossing("out")), event(crossing()), event(crossing(line="back")))
    assert kept.counts("north") == {"gate": {"in": 2, "out": 1}, "back": {"in": 1, "out": 0}}
    assert kept.counts("south") == {}


def test_crossings_are_counted_by_the_hour_of_the_place() -> None:
    kept = diary(event(crossing(), NINE - 1), event(crossing(), NINE), event(crossing("out"), NINE + HOUR_MS - 1))
    hours = kept.hours("north", NINE + 60_000, 3)
    assert [f"{hour.began:%H:%M}" for hour in hours] == ["07:00", "08:00", "09:00"]
    assert [hour.by_direction for hour in hours] == [{}, {"in": 1}, {"in": 1, "out": 1}]


def test_hours_of_a_clock_that_was_wrong_are_forgotten() -> None:
    kept = diary(event(crossing(), 60_000, trusted=False), event(crossing(), NINE))
    assert len(kept._hours) == 1


def test_no_more_than_a_day_is_kept() -> None:
    kept = diary(*(event(crossing(), NINE + n * HOUR_MS) for n in range(100)))
    assert len(kept._hours) <= 49


def test_alerts_are_told_newest_first_and_what_is_no_alert_is_not() -> None:
    restricted = Restricted.model_validate(
        {"zone": "yard", "class": "car", "track": 2, "rule": "r", "severity": "critical"}
    )
    enter = ZoneEnter.model_validate({"zone": "yard", "class": "car", "track": 2})
    kept = diary(event(restricted), event(enter), event(crossing()), event(congestion("raised"), NINE + 1000))
    assert [noted.body.kind for noted in kept.alerts()] == ["congestion", "restricted"]  # type: ignore[union-attr]
    assert kept.told() == {("north", "restricted"): 1, ("north", "congestion"): 1}
    assert f"{kept.alerts()[0].at:%H:%M:%S}" == "09:00:01"


def test_an_alert_that_is_over_says_how_long_it_lasted() -> None:
    kept = diary(event(congestion("raised")))
    assert kept.alerts()[0].is_open
    kept.noting(lambda *stored: None)(event(congestion("cleared", lasted_s=42.0)))
    (noted,) = kept.alerts()
    assert (noted.is_open, noted.over_s) == (False, 42.0)


def test_what_is_kept_is_bounded() -> None:
    kept = diary(*(event(congestion("raised", alert=f"a{n}")) for n in range(200)))
    assert len(kept.alerts()) == 30
    assert kept.told() == {("north", "congestion"): 200}


def test_a_system_without_time_zones_has_a_diary_all_the_same() -> None:
    assert Diary("Nowhere/City").hours("north", NINE, 1)[0].by_direction == {}
