"""When the watchdog is fed, by a clock that moves only when told."""

from __future__ import annotations

import logging

import pytest

from agent.alive import Signs
from agent.clock import FakeClock
from agent.ops.watchdog import Watchdog


class Systemd:
    watchdog_s: float | None = 60.0

    def __init__(self) -> None:
        self.meals = 0

    def fed(self) -> None:
        self.meals += 1


def test_it_is_fed_while_all_move_and_starves_while_one_does_not(caplog: pytest.LogCaptureFixture) -> None:
    clock, systemd = FakeClock(), Systemd()
    camera, uplink = Signs("capture-north", clock), Signs("uplink", clock)
    watchdog = Watchdog([camera, uplink], systemd)
    camera.give(35.0)
    uplink.give(60.0)
    assert watchdog.look()
    clock.sleep(40.0)
    with caplog.at_level(logging.WARNING):
        assert not watchdog.look()
        clock.sleep(15.0)
        assert not watchdog.look()
        assert systemd.meals == 1
        camera.give(35.0)
        assert watchdog.look()
    assert systemd.meals == 2
    assert [record.getMessage() for record in caplog.records] == [
        "capture-north is stuck: no sign of it for 5 s longer than it may take",
        "capture-north moves again",
    ]


def test_a_thread_that_ended_by_a_bug_starves_it() -> None:
    clock, systemd = FakeClock(), Systemd()
    signs = Signs("vision-north", clock)
    signs.give(60.0)  # and never again
    clock.sleep(61.0)
    assert not Watchdog([signs], systemd).look()
    assert systemd.meals == 0


def test_a_box_whose_recording_is_over_is_fed() -> None:
    clock, systemd = FakeClock(), Systemd()
    signs = Signs("vision-north", clock)
    signs.give(60.0)
    signs.end()
    clock.sleep(3600.0)
    assert Watchdog([signs], systemd).look()
    assert systemd.meals == 1


def test_its_thread_feeds_at_once_and_can_be_stopped() -> None:
    systemd = Systemd()
    watchdog = Watchdog([], systemd)
    watchdog.start()
    watchdog.stop()
    watchdog.stop()
    assert systemd.meals == 1
