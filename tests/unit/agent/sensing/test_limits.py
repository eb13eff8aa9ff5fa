"""Limits as tables of values over time."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from agent.sensing.limits import Bound, Latch, Limit, LimitWatch, Slope


def turns(limit: Limit, values: Iterable[float], *, every_s: float = 10.0) -> list[tuple[float, str]]:
    watch = LimitWatch(limit)
    found = []
    for n, value in enumerate(values):
        turned = watch.update(value, n * every_s)
        if turned is not None:
            found.append((n * every_s, turned[0]))
    return found


@pytest.mark.parametrize(
    ("bound", "at", "clear", "values", "expected"),
    [
        pytest.param(
            "above", 75, 65, [70, 76, 70, 66, 65, 70], [(10, "raised"), (40, "cleared")], id="high, hysteresis"
        ),
        pytest.param(
            "above", 75, 75, [75, 75.1, 75], [(10, "raised"), (20, "cleared")], id="at the limit is not beyond"
        ),
        pytest.param("below", 10, 12, [11, 9, 11, 12, 11], [(10, "raised"), (30, "cleared")], id="low, hysteresis"),
        pytest.param("above", 75, 65, [80], [(0, "raised")], id="beyond at the first value"),
        pytest.param("above", 75, 65, [70] * 50, [], id="never beyond"),
    ],
)
def test_a_level_is_raised_beyond_and_cleared_behind(
    bound: Bound, at: float, clear: float, values: list[float], expected: list[tuple[float, str]]
) -> None:
    assert turns(Limit("x", bound, at, clear), values) == expected


def test_a_value_that_hovers_at_its_limit_raises_one_alert() -> None:
    noise = random.Random(1)
    values = [75 + noise.uniform(-4, 4) for _ in range(1000)]
    assert len(turns(Limit("x", "above", 75, 70), values)) == 1
    assert len(turns(Limit("x", "above", 75, 75), values)) > 100  # what it would be without


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([80] * 6, [30.0], id="held"),
        pytest.param([80, 80, 80, 60, 80, 80], [], id="broken before it was long enough"),
    ],
)
def test_hold_s_wants_it_without_a_break(values: list[float], expected: list[float]) -> None:
    assert [at_s for at_s, _ in turns(Limit("x", "above", 75, 70, hold_s=30), values)] == expected


def test_hold_s_also_holds_an_alert_through_a_short_improvement() -> None:
    values = [80, 80, 60, 80, 60, 60, 60]
    limit = Limit("x", "above", 75, 70, hold_s=20)
    assert turns(limit, [80, *values]) == [(20, "raised"), (70, "cleared")]


def test_a_latch_tells_how_long_it_was_on() -> None:
    latch = Latch(0.0)
    assert latch.update(True, 5.0) == "raised"
    assert latch.update(False, 65.0) == "cleared"
    assert latch.lasted_s(65.0) == 60.0


def water(levels_m: Iterable[float], **limits: float) -> list[tuple[float, str]]:
    return turns(Limit("flood", "rising", 0.05, 0.02, over_s=60, **limits), levels_m, every_s=5.0)


def test_water_that_rises_too_fast_is_told_within_its_window_and_cleared_when_it_stands() -> None:
    levels = [1.0] * 20 + [1.0 + 0.1 / 12 * n for n in range(24)] + [1.2] * 40  # 10 cm a minute for two minutes
    (raised_s, _), (cleared_s, _) = water(levels)
    assert 100 < raised_s <= 100 + 60
    assert 220 < cleared_s <= 220 + 60


def test_one_wrong_value_does_not_pass_for_a_flood() -> None:
    levels = [1.0] * 40
    levels[20] = 1.03  # 3 cm within 5 s would be 36 cm a minute
    assert water(levels) == []


def test_falling_is_told_as_a_positive_rate() -> None:
    watch = LimitWatch(Limit("leak", "falling", 0.05, 0.02, over_s=60))
    turned = [watch.update(2.0 - 0.1 * n / 12, n * 5.0) for n in range(20)]
    (found,) = [turn for turn in turned if turn]
    assert found == ("raised", pytest.approx(0.1))


def test_a_slope_is_not_known_before_half_its_window_nor_right_after_a_pause() -> None:
    slope = Slope(60.0)
    assert [slope.per_min(n, n * 10.0) is None for n in range(5)] == [True, True, True, False, False]
    assert slope.per_min(100.0, 500.0) is None


def test_a_slope_of_fast_values_takes_bounded_memory() -> None:
    slope = Slope(60.0)
    for n in range(10_000):
        slope.per_min(n * 0.01, n * 0.01)
    assert len(slope._values) <= 101
    assert slope.per_min(100.0, 100.0) == pytest.approx(60.0, rel=0.01)
