from __future__ import annotations

import pytest

from drivers.base import SensorInvalid, SensorRefused, SensorUnavailable
from drivers.sensors.fakes import Battery, FakeConnection, FakeUps
from drivers.sensors.nut import NutSensor, answer, flags, number


class World:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.battery = Battery(capacity_wh=100, load_w=50, charger_w=20, mono_s=lambda: self.now_s)
        self.ups = FakeUps("ups", self.battery)
        self.asked: list[str] = []
        self.sensor = NutSensor("ups", "127.0.0.1", "ups", connect=lambda *_: FakeConnection(self.answer))
        self.sensor.open()

    def answer(self, line: str) -> str:
        self.asked.append(line)
        return self.ups.answer(line)

    def values(self) -> dict[str, float]:
        return {reading.quantity: reading.value for reading in self.sensor.read(1.0)}


def test_a_power_cut_is_mains_lost_and_a_battery_that_runs_down() -> None:
    world = World()
    assert world.values()["mains_lost"] == 0
    world.battery.mains = False
    world.now_s = 3600.0
    values = world.values()
    assert (values["mains_lost"], values["battery_low"], values["battery_charge"]) == (1, 0, 50)
    assert values["battery_runtime"] == 3600
    world.now_s = 6600.0
    assert world.values()["battery_low"] == 1
    world.battery.mains = True
    assert world.values()["mains_lost"] == 0


def test_what_a_ups_does_not_tell_is_asked_once() -> None:
    world = World()
    world.values()
    world.asked.clear()
    world.values()
    assert [line.split()[-1] for line in world.asked] == [
        "ups.status",
        "battery.charge",
        "battery.runtime",
        "input.voltage",
    ]


def test_a_server_that_lost_its_ups_gives_no_readings() -> None:
    world = World()
    world.ups.stale = True
    with pytest.raises(SensorUnavailable, match="the UPS server has lost the UPS"):
        world.values()


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        (b"ERR UNKNOWN-UPS", SensorRefused, "knows no UPS 'ups'"),
        (b"ERR ACCESS-DENIED", SensorRefused, "ACCESS-DENIED"),
        (b"ERR DRIVER-NOT-CONNECTED", SensorUnavailable, "look at its cable"),
        (b'VAR ups battery.voltage "13"', SensorInvalid, "asked for battery.charge"),
        (b'VAR other battery.charge "13"', SensorInvalid, "asked for battery.charge"),
        (b'VAR ups battery.charge "13', SensorInvalid, "asked for battery.charge"),
        (b"VAR ups battery.charge 13", SensorInvalid, "asked for battery.charge"),
        (b"", SensorInvalid, "asked for battery.charge"),
        (b"\xff\xfe", SensorInvalid, "asked for battery.charge"),
    ],
)
def test_only_the_answer_to_the_question_is_taken(line: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        answer("ups", "ups", "battery.charge", line)


def test_quotes_inside_a_value_are_undone() -> None:
    assert answer("ups", "ups", "ups.status", rb'VAR ups ups.status "a\"b\\c"') == 'a"b\\c'


@pytest.mark.parametrize("status", ["", "OL OB", "CHRG", "ol", "OL <script>", "OL\tLB", "OL \x1fLB"])
def test_a_status_that_is_neither_mains_nor_battery_is_refused(status: str) -> None:
    with pytest.raises(SensorInvalid, match="wanted one of OL"):
        flags("ups", status, 0.0)


@pytest.mark.parametrize("text", ["", "a lot", "1e3", "nan", "101", "-1", "99999999"])
def test_a_charge_that_is_none_is_invalid(text: str) -> None:
    assert number("battery.charge", text, 0.0).invalid is not None


def test_a_server_that_never_ends_its_line_is_given_up() -> None:
    class Endless(FakeConnection):
        def recv(self, size: int) -> bytes:
            return b"x" * 500

    sensor = NutSensor("ups", "127.0.0.1", "ups", connect=lambda *_: Endless(str))
    sensor.open()
    with pytest.raises(SensorInvalid, match="is this NUT"):
        sensor.read(1.0)
