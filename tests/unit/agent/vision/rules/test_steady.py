import pytest

from agent.vision.rules.steady import Average, Switch


def test_an_average_begins_with_its_first_value_and_follows_the_later_ones() -> None:
    average = Average(2.0)
    assert average.update(5.0, 100.0) == 5.0
    assert average.update(0.0, 102.0) == pytest.approx(5.0 / 2.718, rel=0.01)
    for n in range(100):
        average.update(0.0, 102.1 + n / 10)
    assert average.value < 0.05


@pytest.mark.parametrize("fps", [2, 10, 25])
def test_an_average_follows_alike_at_every_frame_rate(fps: int) -> None:
    average = Average(2.0)
    average.update(0.0, 0.0)
    for n in range(1, 3 * fps + 1):
        average.update(1.0, n / fps)
    assert average.value == pytest.approx(1 - 2.718**-1.5, rel=0.01)


def test_a_switch_goes_on_after_its_patience_and_off_after_its_patience() -> None:
    switch = Switch(5.0)
    states = [switch.update(float(s), on=2 <= s < 20, off=s >= 20) for s in range(40)]
    assert states == [7 <= s < 25 for s in range(40)]


def test_a_break_begins_the_waiting_anew() -> None:
    switch = Switch(5.0)
    assert not any(switch.update(float(s), on=s % 5 != 0, off=False) for s in range(60))


def test_between_on_and_off_it_stays_what_it_is() -> None:
    switch = Switch(1.0)
    for s in range(3):
        switch.update(float(s), on=True, off=False)
    assert all(switch.update(float(s), on=False, off=False) for s in range(3, 100))


def test_a_switch_that_was_on_when_the_agent_ended_stays_on_for_ten_seconds_whatever_is_seen() -> None:
    switch = Switch(0.0)
    switch.resume()
    assert [switch.update(500.0 + s, on=False, off=True) for s in range(12)] == [True] * 10 + [False] * 2
    assert not switch.update(520.0, on=False, off=False)
    assert switch.update(521.0, on=True, off=False)


def test_a_switch_that_goes_on_is_patient_as_ever_after_that() -> None:
    switch = Switch(5.0)
    switch.resume()
    assert [switch.update(float(s), on=False, off=s != 12) for s in range(20)] == [True] * 18 + [False] * 2
