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
    assert 5.0 < cleared_s - ended_s < 10.0  # what vanishes leaves a moving area behind for a moment


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


def killed_in_a_crowd(more: str = "") -> ScriptedCamera:
    """The next run of an agent that was killed while eight people were there; it began 300 s before."""
    before = ScriptedCamera(ZONE + RULE)
    before.show(seconds=1)
    stand(before, 8, 15)
    (raised,) = before.said(Crowd)
    after = ScriptedCamera(ZONE + (more or RULE))
    after.pipeline.resume(raised.model_copy(update={"alert": "from-before"}), -300.0)
    return after


def test_a_crowd_that_is_still_there_after_a_kill_goes_on_and_is_cleared_under_its_id() -> None:
    watched = killed_in_a_crowd()
    stand(watched, 8, 30)
    assert watched.said(Crowd) == []
    stand(watched, 2, 20)
    (cleared,) = watched.said(Crowd)
    assert (cleared.state, cleared.alert) == ("cleared", "from-before")
    assert cleared.lasted_s == pytest.approx(300 + 30 + 6, abs=5)


def test_a_crowd_that_has_gone_while_the_agent_was_off_is_cleared_under_its_id() -> None:
    watched = killed_in_a_crowd()
    watched.show(seconds=30)
    (cleared,) = watched.said(Crowd)
    assert (cleared.state, cleared.alert) == ("cleared", "from-before")
    assert 10.0 < watched.when(Crowd)[0] < 16.0, "looked around for ten seconds, then after_s"


def test_a_crowd_between_the_two_limits_goes_on_as_it_would_have_without_the_kill() -> None:
    wide = RULE.replace("more_than = 4", "more_than = 6")
    watched = killed_in_a_crowd(wide)
    stand(watched, 6, 30)  # not more than six, and not below nine tenths of it
    assert watched.said(Crowd) == []


@pytest.mark.parametrize(
    "tables",
    [
        pytest.param("", id="no rule at all"),
        pytest.param(RULE.replace('"throng"', '"square"'), id="another name"),
        pytest.param(RULE.replace("more_than = 4", "more_than = 4\nenabled = false"), id="switched off"),
    ],
)
def test_a_crowd_that_no_rule_watches_for_any_more_is_cleared_with_the_first_picture(tables: str) -> None:
    watched = killed_in_a_crowd(tables or " ")
    watched.show()
    (cleared,) = watched.said(Crowd)
    assert (cleared.state, cleared.alert, cleared.evidence) == ("cleared", "from-before", None)


def test_an_alert_is_not_given_up_before_there_was_a_picture() -> None:
    watched = killed_in_a_crowd()
    watched.finish()
    assert watched.happened == []
