"""The short form of `python -m tests.fuzz`: the same, by one seed."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.parsers import Parser, parsers
from tests.fuzz.run import feed


@pytest.mark.parametrize("parser", parsers(), ids=lambda parser: parser.name)
def test_a_parser_takes_no_damaged_answer_and_falls_over_none(parser: Parser) -> None:
    account = feed(parser, 2000, random.Random(7))
    assert account.crashes == []
    assert account.wrong == []
    assert account.accepted < 2000 or parser.name == "i2c chips"  # where any bytes are an answer
    assert account.inputs == 2000


def test_the_judge_catches_a_parser_that_takes_wrong_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymodbus.framer.FramerRTU.check_CRC", classmethod(lambda cls, data, check: True))
    account = feed(parsers()[0], 2000, random.Random(7))
    assert account.n_wrong > 100
