import pytest

from agent.clock import FakeClock
from agent.web import lockout
from agent.web.lockout import Lockout


def wrong(lock: Lockout, address: str, times: int) -> list[bool]:
    return [lock.wrong(address) for _ in range(times)]


def test_five_wrong_within_half_a_minute_lock_the_address_for_five_minutes() -> None:
    clock = FakeClock()
    lock = Lockout(clock)
    assert wrong(lock, "10.0.0.9", 5) == [False, False, False, False, True]
    assert lock.locked_s("10.0.0.9") == 300.0
    clock.sleep(299.5)
    assert lock.locked_s("10.0.0.9") == pytest.approx(0.5)
    clock.sleep(0.5)
    assert lock.locked_s("10.0.0.9") == 0.0


def test_another_address_may_go_on() -> None:
    lock = Lockout(FakeClock())
    wrong(lock, "10.0.0.9", 5)
    assert lock.locked_s("10.0.0.10") == 0.0


def test_five_wrong_over_a_longer_time_do_not_lock() -> None:
    clock = FakeClock()
    lock = Lockout(clock)
    for _ in range(20):
        assert not lock.wrong("10.0.0.9")
        clock.sleep(7.6)
    assert lock.locked_s("10.0.0.9") == 0.0


def test_a_clock_that_is_set_changes_nothing() -> None:
    clock = FakeClock()
    lock = Lockout(clock)
    wrong(lock, "10.0.0.9", 5)
    clock.wall_ms += 3_600_000
    assert lock.locked_s("10.0.0.9") == 300.0


def test_all_addresses_of_an_ipv6_network_are_one_guesser() -> None:
    lock = Lockout(FakeClock())
    for n in range(5):
        lock.wrong(f"2001:db8:0:1::{n}")
    assert lock.locked_s("2001:db8:0:1::99") == 300.0
    assert lock.locked_s("2001:db8:0:2::99") == 0.0


def test_an_ipv4_address_written_as_ipv6_is_the_same_address() -> None:
    lock = Lockout(FakeClock())
    wrong(lock, "::ffff:10.0.0.9", 5)
    assert lock.locked_s("10.0.0.9") == 300.0
    assert lock.locked_s("::ffff:10.0.0.10") == 0.0


def test_many_addresses_together_are_stopped_too_for_a_shorter_time() -> None:
    clock = FakeClock()
    lock = Lockout(clock)
    for n in range(40):
        lock.wrong(f"10.0.1.{n}")
    assert lock.locked_s("10.9.9.9") == 30.0
    clock.sleep(30.0)
    assert lock.locked_s("10.9.9.9") == 0.0


def test_what_is_remembered_is_bounded_and_a_lock_is_not_pushed_out() -> None:
    clock = FakeClock()
    lock = Lockout(clock)
    wrong(lock, "10.0.0.9", 5)
    for n in range(5000):
        lock.wrong(f"10.{n // 65536}.{n // 256 % 256}.{n % 256 or 1}")
    assert len(lock._by_source) <= lockout._MOST_SOURCES + 1
    assert lock.locked_s("10.0.0.9") == 300.0
