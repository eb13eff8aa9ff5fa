"""A sensor's life on a clock that moves only when told."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import pytest

from agent.clock import FakeClock
from agent.contract.event import Reading as ReadingBody
from agent.contract.event import SensorInvalid as InvalidBody
from agent.contract.event import SensorSilent as SilentBody
from agent.sensing.quantity import Rules, Said
from agent.sensing.sensor import Manner, SensorWatch
from drivers.base import Reading, SensorInvalid, SensorRefused, SensorUnavailable, TimeOffer
from drivers.sensors.fakes import FakeSensor, Step

OFF = SensorUnavailable("sensor probe: no answer")
NONSENSE = SensorInvalid("sensor probe: wrong checksum")


class Life:
    """Polls a sensor when it is due until `until_s` after the start."""

    def __init__(
        self,
        script: Iterable[Step],
        *,
        rules: dict[str, Rules] | None = None,
        named: bool = False,
        open_errors: Iterable[Exception | None] = (),
    ) -> None:
        self.clock = FakeClock(mono_s=0.0)
        self.sensor = FakeSensor(
            "probe", script, mono_s=self.clock.mono_s, wait=self.clock.sleep, open_errors=open_errors
        )
        manner = Manner(
            interval_s=10.0,
            timeout_s=2.0,
            stale_s=30.0,
            name="Trạm",
            rules={"temperature": Rules()} if rules is None else rules,
            named=named,
        )
        self.watch = SensorWatch(self.sensor, manner, clock=self.clock, jitter=lambda: 0.5)
        self.polled_s: list[float] = []
        self.said: list[Said] = []

    def run(self, until_s: float) -> Life:
        while self.watch.due_mono_s <= until_s:
            self.clock.sleep(max(self.watch.due_mono_s - self.clock.mono_s(), 0.0))
            self.polled_s.append(self.clock.mono_s())
            self.said += self.watch.poll()
        return self

    def alerts(self) -> list[tuple[type, str, float, float | None]]:
        found: list[Any] = [said for said in self.said if not isinstance(said.body, ReadingBody)]
        return [(type(said.body), said.body.state, said.mono_s, said.body.lasted_s) for said in found]

    def values(self) -> list[float]:
        return [said.body.value for said in self.said if isinstance(said.body, ReadingBody)]


def test_it_is_asked_at_its_interval() -> None:
    life = Life([20.0, 21.0, 22.0]).run(45.0)
    assert life.polled_s == [0, 10, 20, 30, 40]
    assert (life.values(), life.alerts(), life.sensor.opens) == ([20.0, 21.0, 22.0], [], 1)


def test_it_is_closed_and_opened_with_growing_waits_until_it_answers() -> None:
    life = Life([20.0, *[OFF] * 8, 21.0]).run(200.0)
    waits_s = [round(b - a, 3) for a, b in zip(life.polled_s[1:], life.polled_s[2:], strict=False)]
    assert waits_s[:9] == [1, 2, 4, 8, 16, 30, 30, 30, 10]
    assert life.sensor.opens == 9
    assert life.alerts() == [(SilentBody, "raised", 41.0, None), (SilentBody, "cleared", 131.0, 131.0)]


def test_the_wait_counts_from_the_beginning_of_an_attempt_that_hung_until_its_timeout() -> None:
    life = Life([20.0, None, None, None]).run(20.0)
    assert life.polled_s[:4] == [0, 10, 13, 16]  # 2 s of timeout each, then at least 1 s of rest for the line


def test_a_short_outage_is_mended_without_an_alert() -> None:
    life = Life([20.0, OFF, OFF, 21.0]).run(30.0)
    assert (life.alerts(), life.values()) == ([], [20.0, 21.0])


def test_raised_and_cleared_have_one_id_a_name_and_a_reason() -> None:
    life = Life([20.0, *[OFF] * 6, 21.0]).run(120.0)
    raised, cleared = (said.body for said in life.said if not isinstance(said.body, ReadingBody))
    assert isinstance(raised, SilentBody)
    assert isinstance(cleared, SilentBody)
    assert (raised.reason, raised.name, raised.quantity) == ("no answer", "Trạm", None)
    assert raised.alert == cleared.alert


def test_one_that_never_answered_since_the_start_is_silent_too() -> None:
    life = Life([20.0], open_errors=[OFF] * 20).run(60.0)
    assert life.alerts()[0][:2] == (SilentBody, "raised")
    assert life.watch.state().state == "silent"


def test_a_refusal_is_told_at_once_and_tried_again_once_a_minute() -> None:
    life = Life([20.0], open_errors=[SensorRefused("sensor probe: no such register")] * 2).run(130.0)
    assert life.polled_s[:3] == [0, 60, 120]
    assert life.alerts() == [(SilentBody, "raised", 0.0, None), (SilentBody, "cleared", 120.0, 120.0)]


def test_nonsense_for_long_is_invalid_and_does_not_open_it_anew() -> None:
    life = Life([20.0, *[NONSENSE] * 4, 21.0]).run(55.0)
    assert life.polled_s == [0, 10, 20, 30, 40, 50]
    assert life.alerts() == [(InvalidBody, "raised", 30.0, None), (InvalidBody, "cleared", 50.0, 50.0)]
    assert (life.sensor.opens, life.values()) == (1, [20.0, 21.0])


def test_an_outage_that_changes_its_face_stays_one_alert() -> None:
    life = Life([20.0, *[OFF] * 6, NONSENSE, 21.0]).run(200.0)
    assert [alert[:2] for alert in life.alerts()] == [(SilentBody, "raised"), (SilentBody, "cleared")]


def test_a_drivers_bug_is_logged_as_one_and_the_sensor_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    life = Life([20.0, ZeroDivisionError("in the driver"), 21.0]).run(20.0)
    assert (life.sensor.opens, life.values()) == (2, [20.0, 21.0])
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.levelno == logging.ERROR
    assert "bug in its driver" in record.getMessage()
    assert record.exc_info is not None


def test_an_outage_of_days_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    Life([20.0, *[OFF] * 5000]).run(100_000.0)
    assert [record.getMessage() for record in caplog.records].count(str(OFF)) == 1


def test_a_reading_of_several_quantities_is_one_message() -> None:
    both = [Reading("temperature", 31.4, "°C", 0.0), Reading("humidity", 78.0, "%", 0.0)]
    life = Life([both, both], named=True).run(10.0)
    (said,) = life.said
    assert isinstance(said.body, ReadingBody)
    assert (said.body.quantity, said.body.value, said.body.unit) == ("temperature", 31.4, "°C")
    assert [(q.quantity, q.value, q.unit) for q in said.body.more or ()] == [("humidity", 78.0, "%")]


def test_a_bad_quantity_does_not_hide_the_others() -> None:
    both = [Reading("temperature", 31.4, "°C", 0.0), Reading("humidity", 178.0, "%", 0.0)]
    life = Life([both], named=True).run(5.0)
    (said,) = life.said
    assert isinstance(said.body, ReadingBody)
    assert (said.body.quantity, said.body.more) == ("temperature", None)
    assert life.watch.state().error == "178 % cannot be; wanted 0 to 100"


def test_a_quantity_that_stays_away_is_silent_by_its_name() -> None:
    rules = {"temperature": Rules(), "humidity": Rules(name="Độ ẩm")}
    life = Life([20.0], rules=rules, named=True).run(60.0)
    (body,) = [said.body for said in life.said if isinstance(said.body, SilentBody)]
    assert (body.quantity, body.name) == ("humidity", "Độ ẩm")
    assert life.watch.state().state == "silent"


def test_after_an_outage_the_quantities_are_not_also_told_to_have_been_silent() -> None:
    life = Life([20.0, *[OFF] * 8, 21.0], rules={"temperature": Rules(stuck_s=60.0)}).run(150.0)
    assert [alert[0] for alert in life.alerts()] == [SilentBody, SilentBody]


def test_a_driver_that_makes_up_names_does_not_fill_the_memory() -> None:
    many = [[Reading(f"q{n}-{i}", 1.0, "m", 0.0) for i in range(20)] for n in range(100)]
    life = Life(many, named=True).run(990.0)
    assert len(life.watch._quantities) == 64


def test_the_time_that_a_receiver_knows_is_offered_to_the_clock() -> None:
    class Receiver(FakeSensor):
        def time_offer(self) -> TimeOffer | None:
            return TimeOffer(1_795_500_000_000, 3.5)

    clock = FakeClock()
    sensor = Receiver("gnss", [1.0], mono_s=clock.mono_s)
    SensorWatch(sensor, Manner(interval_s=0, timeout_s=1, stale_s=10), clock=clock).poll()
    assert clock.offers == [(1_795_500_000_000, 3.5, "gnss")]


def test_a_driver_that_hangs_is_silent_until_its_call_comes_back() -> None:
    life = Life([20.0, 21.0])
    life.run(5.0)
    life.clock.sleep(20.0)
    (said,) = life.watch.hangs(20.0)
    assert isinstance(said.body, SilentBody)
    assert said.body.reason == "its driver has not come back for 20 s"
    assert life.watch.hangs(21.0) == []
    assert life.watch.state().state == "silent"
    cleared = life.watch.poll()[0].body
    assert isinstance(cleared, SilentBody)
    assert (cleared.state, cleared.alert) == ("cleared", said.body.alert)


def test_the_state_names_values_age_and_error() -> None:
    life = Life([20.0, OFF]).run(10.0)
    state = life.watch.state()
    assert (state.state, state.values, state.good_mono_s, state.error) == ("ok", {"temperature": 20.0}, 0.0, str(OFF))
