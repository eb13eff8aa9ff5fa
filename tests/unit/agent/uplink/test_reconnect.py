"""A fleet after an outage: when each box tries again, by the waits that the uplink draws."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from tenacity import RetryCallState, Retrying

from agent.uplink.uplink import FIRST_WAIT_S, RECONNECT_WAIT

BOXES = 1000


def came_back_s(outage_s: float, chance: random.Random) -> float:
    """When a box whose link broke at 0 reaches a broker that is there again after outage_s."""
    state = RetryCallState(Retrying(), None, (), {})
    now_s = chance.uniform(0, FIRST_WAIT_S)
    while now_s < outage_s:
        now_s += RECONNECT_WAIT(state)
        state.attempt_number += 1
    return now_s


@pytest.mark.parametrize("outage_s", [0.0, 8.0, 600.0])
def test_a_thousand_boxes_do_not_come_back_in_one_second(outage_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)
    monkeypatch.setattr("tenacity.wait.random", chance)
    at_s = [came_back_s(outage_s, chance) for _ in range(BOXES)]
    busiest = max(Counter(int(second) for second in at_s).values())
    assert busiest < BOXES / 4
    assert max(at_s) < outage_s + 31
