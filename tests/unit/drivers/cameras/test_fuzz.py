"""The short form of `python -m tests.fuzz.cameras`: the same, by one seed."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.cameras import TARGETS, run


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_strangers_say_trips_a_parser_or_breaks_its_promise(name: str) -> None:
    assert run(name, 500, random.Random(7)) == []


def test_a_parser_that_believes_strangers_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.cameras.onvif.discovery._is_on", lambda url, host: True)
    assert len(run("ws-discovery", 500, random.Random(7))) == 5
