"""What of a quantity's readings is said, and what is withheld."""

from __future__ import annotations

import math
from typing import Any

import pytest

from agent.contract.event import Body, Input, SensorInvalid, SensorLimit, SensorSilent, SensorStuck
from agent.sensing.limits import Limit
from agent.sensing.quantity import QuantityWatch, Rules, Said
from drivers.base import Reading


class Probe:
    """One quantity, fed one value every 10 s. said: what came of it; sent: the values told as readings."""

    def __init__(self, rules: Rules = Rules(), *, unit: str = "m", named: bool = False) -> None:  # noqa: B008
        self.watch = QuantityWatch("level", rules, named=named, stale_s=30.0, since_s=0.0)
        self.unit = unit
        self.now_s = 0.0
        self.said: list[Said] = []
        self.sent: list[tuple[float, float]] = []

    def feed(self, *values: float, invalid: str | None = None, every_s: float = 10.0) -> Probe:
        for value in values:
            said, due = self.watch.take(Reading("level", value, self.unit, self.now_s, invalid))
            self.said += said
            if due is not None:
                self.sent.append((self.now_s, due.value))
            self.now_s += every_s
        return self

    def bodies(self) -> list[Body]:
        return [said.body for said in self.said]

    def states(self) -> list[tuple[type[Body], str, float | None]]:
        found: list[Any] = self.bodies()
        return [(type(body), body.state, body.lasted_s) for body in found]


def test_without_rules_every_change_is_told_and_what_stands_still_at_the_heartbeat() -> None:
    assert Probe().feed(1.0, 1.0, 1.1, 1.1).sent == [(0, 1.0), (20, 1.1)]
    probe = Probe(Rules(heartbeat_s=30.0)).feed(*[1.0] * 8)
    assert [at_s for at_s, _ in probe.sent] == [0, 30, 60]


def test_within_the_deadband_of_what_was_told_last_nothing_is_told() -> None:
    probe = Probe(Rules(deadband=0.5)).feed(1.0, 1.4, 0.6, 1.5, 1.9, 2.0)
    assert probe.sent == [(0, 1.0), (30, 1.5), (50, 2.0)]


def test_a_slow_drift_does_not_hide_in_the_deadband() -> None:
    probe = Probe(Rules(deadband=0.5)).feed(*[0.1 * n for n in range(21)])
    assert [value for _, value in probe.sent] == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])


@pytest.mark.parametrize(
    ("value", "invalid"),
    [(math.nan, None), (1e9, None), (6.0, None), (-1.0, None), (2.0, "the device says it has none")],
)
def test_an_absurd_value_is_never_a_reading(value: float, invalid: str | None) -> None:
    probe = Probe(Rules(valid=(0.0, 5.0))).feed(value, invalid=invalid).feed(2.0)
    assert probe.sent == [(10, 2.0)]
    assert probe.said == []  # once is not worth an alert


def test_only_absurd_values_for_long_are_an_alert_that_is_cleared_by_a_good_one() -> None:
    probe = Probe().feed(1.0).feed(*[math.nan] * 5).feed(1.0)
    assert probe.states() == [(SensorInvalid, "raised", None), (SensorInvalid, "cleared", 60.0)]
    raised, cleared = probe.bodies()
    assert isinstance(raised, SensorInvalid)
    assert isinstance(cleared, SensorInvalid)
    assert raised.alert == cleared.alert
    assert raised.reason == "nan m cannot be; wanted -12000 to 20000"
    assert [said.mono_s for said in probe.said] == [30.0, 60.0]


def test_a_quantity_that_never_comes_though_the_sensor_answers_is_silent() -> None:
    probe = Probe()
    assert probe.watch.look(29.0) == []
    (said,) = probe.watch.look(31.0)
    assert isinstance(said.body, SensorSilent)
    assert probe.watch.look(100.0) == []
    assert probe.watch.state == "silent"


def test_a_stuck_value_is_an_alert_and_no_reading_until_it_moves() -> None:
    probe = Probe(Rules(stuck_s=50.0, heartbeat_s=10.0)).feed(*[1.0] * 10).feed(1.2)
    assert probe.states() == [(SensorStuck, "raised", None), (SensorStuck, "cleared", 100.0)]
    assert [at_s for at_s, _ in probe.sent] == [0, 10, 20, 30, 40, 100]
    assert probe.watch.state == "ok"


def test_a_stuck_value_neither_raises_nor_clears_a_limit() -> None:
    rules = Rules(stuck_s=20.0, limits=(Limit("high", "above", 5.0, 4.0, hold_s=40.0),))
    kinds = [type(body) for body in Probe(rules).feed(*[6.0] * 20).bodies()]
    assert kinds == [SensorStuck]


def test_a_contact_is_raised_and_cleared_under_one_id_with_how_long_it_lasted() -> None:
    probe = Probe(Rules(name="Cửa tủ", severity="critical"), unit="bool", named=True).feed(0, 1, 1, 1, 0)
    assert probe.states() == [(Input, "raised", None), (Input, "cleared", 30.0)]
    raised, cleared = probe.bodies()
    assert isinstance(raised, Input)
    assert isinstance(cleared, Input)
    assert (raised.rule, raised.quantity, raised.name, raised.severity) == ("level", "level", "Cửa tủ", "critical")
    assert raised.alert == cleared.alert
    assert probe.sent == []


def test_a_contact_that_flickers_for_less_than_its_hold_is_not_told() -> None:
    assert Probe(Rules(hold_s=15.0), unit="bool").feed(0, 1, 0, 1, 0).said == []


def test_a_limit_says_what_it_is_and_what_was_measured() -> None:
    rules = Rules(name="Mực nước", limits=(Limit("high", "above", 5.0, 4.0, severity="critical"),))
    raised, cleared = Probe(rules).feed(4.5, 5.25, 4.5, 3.5).bodies()
    assert isinstance(raised, SensorLimit)
    assert isinstance(cleared, SensorLimit)
    assert (raised.rule, raised.bound, raised.limit, raised.value, raised.unit) == ("high", "above", 5.0, 5.25, "m")
    assert (raised.severity, raised.name, raised.quantity) == ("critical", "Mực nước", None)
    assert (cleared.alert, cleared.value, cleared.lasted_s) == (raised.alert, 3.5, 20.0)


def test_a_rate_is_told_per_minute() -> None:
    rules = Rules(limits=(Limit("flood", "rising", 0.05, 0.02, over_s=60),))
    (raised,) = Probe(rules).feed(*[n * 0.02 for n in range(8)]).bodies()
    assert isinstance(raised, SensorLimit)
    assert (raised.bound, raised.value, raised.unit) == ("rising", pytest.approx(0.12), "m/min")


def test_two_limits_on_one_quantity_are_two_alerts() -> None:
    limits = (Limit("high", "above", 5.0, 5.0), Limit("very-high", "above", 8.0, 8.0))
    bodies: list[Any] = Probe(Rules(limits=limits)).feed(6, 9, 6, 4).bodies()
    assert [(body.rule, body.state) for body in bodies] == [
        ("high", "raised"),
        ("very-high", "raised"),
        ("very-high", "cleared"),
        ("high", "cleared"),
    ]
    assert len({body.alert for body in bodies}) == 2
