"""How inferences are shared: fair among those who follow something, nothing lost to those who are idle."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from agent.vision.budget import InferenceBudget


def ask(budget: InferenceBudget, wants: dict[str, tuple[int, bool]], *, fps: float = 10.0, seconds: float = 20.0):
    """Every camera asks for every frame, as many as it wants; inferences a second that each got after the first."""
    got: Counter[str] = Counter()
    for n in range(round(seconds * fps)):
        for camera, (wanted, live) in wants.items():
            granted = budget.take(camera, wanted, n / fps, live=live)
            assert 0 <= granted <= wanted
            got[camera] += granted if n / fps >= 5.0 else 0
    return {camera: count / (seconds - 5.0) for camera, count in got.items()}


def test_who_asks_for_less_than_there_is_gets_all_of_it() -> None:
    assert ask(InferenceBudget(40.0), {"a": (2, True)}) == {"a": pytest.approx(20.0)}


def test_nobody_gets_more_than_there_is() -> None:
    got = ask(InferenceBudget(30.0), {"a": (5, True), "b": (5, True), "c": (5, True)})
    assert sum(got.values()) == pytest.approx(30.0, rel=0.05)


def test_cameras_that_follow_something_share_alike() -> None:
    got = ask(InferenceBudget(30.0), {"a": (3, True), "b": (3, True), "c": (3, True)})
    assert got["a"] == pytest.approx(10.0, rel=0.1)
    assert got["b"] == pytest.approx(10.0, rel=0.1)
    assert got["c"] == pytest.approx(10.0, rel=0.1)


def test_a_camera_that_follows_something_comes_before_one_in_which_leaves_move() -> None:
    got = ask(InferenceBudget(20.0), {"road": (2, True), "leaves": (2, False)})
    assert got["road"] > 2.5 * got["leaves"]
    assert got["leaves"] > 1.0, "what begins to move there must be seen all the same"


def test_what_an_idle_camera_does_not_ask_for_is_the_others() -> None:
    alone = ask(InferenceBudget(30.0), {"road": (3, True)})
    budget = InferenceBudget(30.0)
    for k in range(7):
        budget.take(f"idle-{k}", 1, 0.0, live=False)
    assert ask(budget, {"road": (3, True)}) == alone


def test_the_first_look_of_a_camera_that_comes_back_does_not_wait() -> None:
    budget = InferenceBudget(10.0)
    ask(budget, {"road": (5, True)}, seconds=6.0)
    assert budget.take("yard", 1, 6.0, live=False) == 1


def test_under_heat_there_is_less_and_health_shows_it() -> None:
    budget = InferenceBudget(40.0)
    budget.limit(0.25)
    assert ask(budget, {"a": (4, True)})["a"] == pytest.approx(10.0, rel=0.1)
    state = budget.state()
    assert (state.max_per_s, state.limit_per_s) == (40.0, 10.0)
    assert state.granted + state.refused == 4 * 200
    budget.limit(1.0)
    assert budget.state().limit_per_s == 40.0


@pytest.mark.parametrize("per_s", [0.2, 0.5, 1.0])
def test_a_budget_of_less_than_one_a_second_is_little_and_not_nothing(per_s: float) -> None:
    got = ask(InferenceBudget(per_s), {"a": (1, True), "b": (2, False)}, seconds=105.0)
    assert sum(got.values()) == pytest.approx(per_s, rel=0.1)
    assert got["b"] > 0


@pytest.mark.parametrize("limit", [0.0, -1.0])
def test_nothing_at_all_can_be_allowed(limit: float) -> None:
    budget = InferenceBudget(40.0)
    budget.limit(limit)
    assert ask(budget, {"a": (2, True)})["a"] == 0.0


def test_frames_that_come_out_of_order_or_after_a_long_silence_are_no_windfall() -> None:
    budget = InferenceBudget(10.0)
    for mono_s in (5.0, 4.9, 5.0, 4.0, 100_000.0):
        budget.take("a", 100, mono_s, live=True)
    assert budget.state().granted < 40


def test_the_same_frames_are_served_the_same() -> None:
    wants = {"a": (3, True), "b": (2, False)}
    assert ask(InferenceBudget(17.0), wants) == ask(InferenceBudget(17.0), wants)


def test_threads_together_get_no_more_than_there_is() -> None:
    budget = InferenceBudget(50.0)

    def camera(name: str) -> None:
        for n in range(400):
            budget.take(name, 3, n / 20, live=True)

    threads = [threading.Thread(target=camera, args=(f"camera-{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = budget.state()
    assert state.granted + state.refused == 4 * 400 * 3
    assert state.granted <= 50.0 * 20 + 4 * 4 + 50.0
