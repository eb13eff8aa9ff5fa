"""The short form of `python -m tests.fuzz`: the same targets, by one seed."""

from __future__ import annotations

import random

import pytest

from tests.fuzz import agent, cameras, certificates, configs, sensors
from tests.fuzz.run import Outcome, Target, feed

TARGETS = [target for part in (sensors, cameras, agent, certificates, configs) for target in part.targets()]


def target(name: str) -> Target:
    return next(one for one in TARGETS if one.name == name)


@pytest.mark.parametrize("one", TARGETS, ids=lambda one: one.name)
def test_nothing_that_is_said_trips_a_parser_or_is_taken_against_its_promise(one: Target) -> None:
    account = feed(one, 1000, random.Random(7))
    assert account.found == []
    assert account.clean
    assert account.inputs == 1000
    assert account.outcomes[Outcome.TAKEN] > 0


def test_a_parser_that_takes_wrong_checksums_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymodbus.framer.FramerRTU.check_CRC", classmethod(lambda cls, data, check: True))
    account = feed(target("modbus-rtu"), 1000, random.Random(7))
    assert account.wrong > 50
    assert len(account.found) == 5


def test_a_parser_that_believes_strangers_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.cameras.onvif.discovery._is_on", lambda url, host: True)
    account = feed(target("ws-discovery"), 1000, random.Random(7))
    assert account.wrong > 5


def test_a_parser_that_falls_over_is_caught_and_the_input_can_be_made_again() -> None:
    def once(chance: random.Random) -> Outcome:
        if chance.random() < 0.5:
            raise KeyError("x")
        return Outcome.NOTHING

    account = feed(Target("shaky", once), 100, random.Random(7))
    assert 20 < account.crashes < 80
    number = int(account.found[0].split("--again ")[1].split(":")[0])
    with pytest.raises(KeyError):
        once(random.Random(number))
