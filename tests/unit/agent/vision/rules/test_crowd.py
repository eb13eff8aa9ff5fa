import numpy as np
import pytest

from agent.contract.event import Crowd
from tests.support.scripted import ZONE, Objects, ScriptedCamera
from tests.support.vision import standing_at

RULE = '[[camera.rule]]\nid = "throng"\nkind = "crowd"\nzone = "plaza"\nmore_than = 4\nafter_s = 5\n'


def people(count: int, sway: float = 0.0, name: str = "person") -> Objects:
    return [(name, standing_at(190 + 35 * k + sway, 150 + 40 * (k % 4), 24, 60)) for k in range(count)]


def stand(watched: ScriptedCamera, count: int, seconds: float, name: str = "person") -> None:
    """They sway, as people do, so that they are seen to be alive."""
    rng = np.random.default_rng(6)
    for _ in range(round(seconds * watched.fps)):
        watched.show(people(count, float(rng.normal(0, 3)), name))


def test_a_crowd_is_raised_when_it_has_lasted_and_cleared_when_it_has_gone() -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show(seconds=1)
    stand(watched, 3, 10)
    assert watched.said(Crowd) == []
    began_s = watched.mono_s
    stand(watched, 8, 20)
    raised, (raised_s,) = watched.said(Crowd)[0], watched.when(Crowd)
    assert (raised.rule, raised.severity, raised.state, raised.alert) == ("throng", "warning", "raised", "alert-1")
    assert 5.0 < raised_s - began_s < 8.0
    assert 5 < raised.people <= 8
    ended_s = watched.mono_s
    stand(watched, 3, 20)
    _, cleared = watched.said(Crowd)
    cleared_s = watched.when(Crowd)[1]
    assert (cleared.state, cleared.alert) == ("cleared", "alert-1")
    assert cleared.lasted_s == pytest.approx(cleared_s - raised_s, abs=0.06)
    assert 5.0 < cleared_s - ended_s < 9.0


@pytest.mark.parametrize(
    ("count", "seconds", "name"),
    [
        pytest.param(4, 30, "person", id="as many as are allowed"),
        pytest.param(8, 3, "person", id="only for a moment"),
        pytest.param(8, 30, "motorcycle", id="not people"),
    ],
)
def test_what_is_no_crowd(count: int, seconds: float, name: str) -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show(seconds=1)
    stand(watched, count, seconds, name)
    watched.show(seconds=10)
    assert watched.said(Crowd) == []


def test_a_crowd_that_is_there_when_the_agent_stops_is_cleared() -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show(seconds=1)
    stand(watched, 8, 15)
    watched.finish()
    assert [body.state for body in watched.said(Crowd)] == ["raised", "cleared"]
