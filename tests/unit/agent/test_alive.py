"""Which threads are taken for stuck, by a clock that moves only when told."""

from __future__ import annotations

import threading

from agent.alive import Signs, excused, give_again
from agent.clock import FakeClock


def test_a_thread_is_overdue_once_its_step_took_longer_than_it_said() -> None:
    clock = FakeClock()
    signs = Signs("vision-north", clock)
    signs.give(within_s=10.0)
    clock.sleep(10.0)
    assert signs.overdue_s() == 0.0
    clock.sleep(2.5)
    assert signs.overdue_s() == 2.5
    signs.give(within_s=10.0)
    assert signs.overdue_s() == 0.0


def test_nothing_is_expected_before_the_first_sign_and_after_the_end() -> None:
    clock = FakeClock()
    signs = Signs("uplink", clock)
    clock.sleep(1e6)
    assert signs.overdue_s() == 0.0
    signs.give(1.0)
    signs.end()
    clock.sleep(1e6)
    assert signs.overdue_s() == 0.0


def test_who_waits_for_another_thread_is_excused_and_has_its_whole_step_again_afterwards() -> None:
    clock = FakeClock()
    signs = Signs("vision-north", clock)
    signs.give(10.0)
    clock.sleep(9.0)
    with excused():
        clock.sleep(1000.0)
        assert signs.overdue_s() == 0.0
    clock.sleep(9.0)
    assert signs.overdue_s() == 0.0
    clock.sleep(2.0)
    assert signs.overdue_s() == 1.0


def test_a_step_that_is_done_once_more_may_take_as_long_again() -> None:
    clock = FakeClock()
    signs = Signs("sensors", clock)
    signs.give(10.0)
    clock.sleep(8.0)
    give_again()
    clock.sleep(8.0)
    assert signs.overdue_s() == 0.0


def test_excuses_are_each_threads_own() -> None:
    clock = FakeClock()
    mine, theirs = Signs("mine", clock), Signs("theirs", clock)
    mine.give(10.0)

    def other() -> None:
        theirs.give(10.0)
        with excused():
            clock.sleep(20.0)
            seen.append((mine.overdue_s(), theirs.overdue_s()))

    seen: list[tuple[float, float]] = []
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [(10.0, 0.0)]


def test_a_thread_without_signs_may_wait_and_try_again() -> None:
    def other() -> None:
        with excused():
            give_again()
        went.set()

    went = threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert went.is_set()
