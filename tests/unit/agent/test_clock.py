"""The time that a receiver offers: believed when it agrees with itself, and never for long on its word alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import clock as module
from agent.clock import OfferedTime, SystemClock

T0_MS = int(datetime(2026, 11, 25, tzinfo=UTC).timestamp() * 1000)


def offered(*offers: tuple[float, float], source: str = "gnss") -> OfferedTime:
    """offers: seconds after T0 as the receiver says them, and the monotonic clock then."""
    time = OfferedTime()
    for utc_s, mono_s in offers:
        time.offer(T0_MS + round(utc_s * 1000), mono_s, source)
    return time


def steady(n: int, *, start_s: float = 0.0, offset_s: float = 0.0) -> list[tuple[float, float]]:
    return [(start_s + offset_s + i, 100.0 + start_s + i) for i in range(n)]


def test_five_that_agree_are_believed_and_four_are_not() -> None:
    assert offered(*steady(4)).wall_ms(104.0) is None
    assert offered(*steady(5)).wall_ms(104.0) == T0_MS + 4000


def test_between_offers_the_monotonic_clock_goes_on() -> None:
    assert offered(*steady(5)).wall_ms(160.5) == T0_MS + 60_500


def test_the_sentence_that_came_with_the_least_delay_counts() -> None:
    late_s = [0.9, 0.2, 0.6, 0.4, 0.7]
    time = offered(*((float(i), 100.0 + i + late) for i, late in enumerate(late_s)))
    assert time.wall_ms(110.2) == T0_MS + 10_000


def test_a_receiver_that_jumps_is_not_believed_until_it_stands_still() -> None:
    jumping = [(i * 1.0 + (500.0 if i % 2 else 0.0), 100.0 + i) for i in range(20)]
    assert offered(*jumping).wall_ms(120.0) is None
    jumped = offered(*steady(5), *steady(2, start_s=5, offset_s=3600))
    assert jumped.wall_ms(107.0) == T0_MS + 7000
    settled = offered(*steady(5), *steady(5, start_s=5, offset_s=3600))
    assert settled.wall_ms(110.0) == T0_MS + 3_610_000


@pytest.mark.parametrize("year", [1980, 2007, 2025, 2100])
def test_a_year_that_cannot_be_is_refused(year: int) -> None:
    time = OfferedTime()
    for n in range(10):
        time.offer(int(datetime(year, 4, 7, tzinfo=UTC).timestamp() * 1000) + n * 1000, 100.0 + n, "gnss")
    assert time.wall_ms(110.0) is None


def test_a_second_receiver_is_heard_when_the_first_has_fallen_silent() -> None:
    time = offered(*steady(5))
    for n in range(5):
        time.offer(T0_MS + 7_200_000 + n * 1000, 105.0 + n, "other")
    assert time.wall_ms(110.0) == T0_MS + 10_000
    for n in range(5):
        time.offer(T0_MS + 7_200_000 + n * 1000, 205.0 + n, "other")
    assert time.wall_ms(210.0) == T0_MS + 7_205_000


def test_an_offer_holds_for_six_hours() -> None:
    time = offered(*steady(5))
    assert time.wall_ms(104.0 + 6 * 3600) is not None
    assert time.wall_ms(105.0 + 6 * 3600) is None


def test_without_a_time_server_the_offer_labels_and_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "machine_clock_is_set", lambda: False)
    clock = SystemClock()
    assert not clock.stamp().trusted
    for n in range(5):
        clock.offer(T0_MS + n * 1000, clock.mono_s() - 5 + n, "gnss")
    stamp = clock.stamp()
    assert stamp.trusted
    assert clock.trusted()
    assert abs(stamp.wall_ms - (T0_MS + 5000)) < 1000


def test_a_time_server_is_believed_before_any_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "machine_clock_is_set", lambda: True)
    clock = SystemClock()
    before_ms = clock.stamp().wall_ms
    for n in range(5):
        clock.offer(T0_MS + 10_000_000_000 + n * 1000, clock.mono_s() - 5 + n, "gnss")
    assert abs(clock.stamp().wall_ms - before_ms) < 5000


@pytest.mark.parametrize("made_by", [0, 1])
def test_the_clock_is_set_once_either_service_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_by: int
) -> None:
    """In the sandbox the kernel cannot be asked."""
    files = (tmp_path / "timesyncd", tmp_path / "clock service")
    monkeypatch.setattr(module, "_SYNCHRONISED", files)
    monkeypatch.setattr(module, "_kernel_says_synchronised", lambda: False)
    clock = SystemClock()
    assert not clock.trusted()
    files[made_by].touch()
    assert clock.trusted()
