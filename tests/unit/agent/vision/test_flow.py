"""Which way things usually go, place by place."""

from __future__ import annotations

import numpy as np
import pytest

from agent.vision.flow import Flow

WH_PX = (1280, 720)


def taught(*passages: tuple[float, float, float, float], times: int = 10) -> Flow:
    """x, y, speed x, speed y of what passed, so many times."""
    flow = Flow()
    for n in range(times):
        for x, y, vx, vy in passages:
            flow.learn(np.array([[x, y]], np.float32), np.array([[vx, vy]], np.float32), WH_PX, n / 10)
    return flow


def guess(flow: Flow, x: float, y: float) -> list[float]:
    return [float(v) for v in flow.guess(np.array([[x, y]], np.float32), WH_PX)[0]]


def test_where_all_go_one_way_the_next_is_guessed_to_go_it_too() -> None:
    assert guess(taught((300, 400, 90, -40)), 305, 395) == pytest.approx([90, -40], abs=1)


def test_where_traffic_goes_both_ways_there_is_no_guess() -> None:
    assert guess(taught((300, 400, 90, 0), (300, 400, -90, 0)), 300, 400) == [0, 0]


def test_one_sighting_is_no_custom_and_elsewhere_nothing_is_known() -> None:
    assert guess(taught((300, 400, 90, 0), times=2), 300, 400) == [0, 0]
    assert guess(taught((300, 400, 90, 0)), 900, 100) == [0, 0]


def test_a_lane_that_was_turned_round_is_learned_anew() -> None:
    flow = taught((300, 400, 90, 0))
    for n in range(40):
        flow.learn(np.array([[300, 400]], np.float32), np.array([[-90, 0]], np.float32), WH_PX, 3600.0 + n)
    assert guess(flow, 300, 400)[0] == pytest.approx(-90, abs=5)


def test_places_at_and_beyond_the_pictures_edge_are_places() -> None:
    for x, y in ((-50, -50), (0, 0), (1280, 720), (2000, 2000)):
        assert guess(taught((x, y, 50, 0)), x, y)[0] == pytest.approx(50, abs=1)


def test_nothing_seen_is_nothing_learned() -> None:
    flow, none = Flow(), np.empty((0, 2), np.float32)
    flow.learn(none, none, WH_PX, 0.0)
    assert flow.guess(none, WH_PX).shape == (0, 2)
