import pytest

from agent.contract.event import Congestion
from tests.support.scripted import ScriptedCamera
from tests.support.vision import standing_at

ZONE = '[[camera.zone]]\nid = "lanes"\npolygon = [[0.0, 0.2], [1.0, 0.2], [1.0, 1.0], [0.0, 1.0]]\n'
RULE = '[[camera.rule]]\nid = "jam"\nkind = "congestion"\nzone = "lanes"\nvehicles = 6\nafter_s = 10\nhold_off_s = 0\n'
CALIBRATION = """
[camera.calibration]
points = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
metres = [[0, 0], [64, 0], [64, 36], [0, 36]]
"""  # seen from straight above: 10 px a metre


def drive(watched: ScriptedCamera, px_per_s: float, seconds: float, count: int = 8, name: str = "car") -> None:
    """An endless row of vehicles 80 px apart: as many leave on the right as come on the left."""
    begin_s, moved = watched.mono_s, getattr(watched, "moved", 0.0)
    while watched.mono_s - begin_s < seconds:
        moved += px_per_s / watched.fps
        watched.show([(name, standing_at((40 + 80 * k + moved) % 640, 200, 50, 40)) for k in range(count)])
    watched.moved = moved  # type: ignore[attr-defined]


@pytest.mark.parametrize(("calibration", "key"), [("", "below_lengths_per_s = 0.5"), (CALIBRATION, "below_kmh = 10.0")])
def test_a_jam_is_raised_and_cleared_with_figures_in_the_unit_that_is_known(calibration: str, key: str) -> None:
    watched = ScriptedCamera(ZONE + calibration + RULE + key + "\n")
    watched.show(seconds=1)
    drive(watched, 150, 20)  # 15 m/s, 3 own lengths
    assert watched.said(Congestion) == [], "a full road that flows"
    jammed_s = watched.mono_s
    drive(watched, 5, 40)
    (raised,) = watched.said(Congestion)
    assert (raised.rule, raised.severity, raised.state, raised.alert) == ("jam", "info", "raised", "alert-1")
    assert raised.vehicles == pytest.approx(8, abs=1)
    assert 10 < watched.when(Congestion)[0] - jammed_s < 25
    speed, other = raised.mean_speed_kmh, raised.mean_speed_lengths_per_s
    assert (speed is None, other is None) == (not calibration, bool(calibration))
    drive(watched, 150, 40)
    _, cleared = watched.said(Congestion)
    assert (cleared.state, cleared.alert) == ("cleared", "alert-1")
    assert cleared.lasted_s is not None
    assert cleared.lasted_s > 20


def test_a_few_that_stand_are_no_jam() -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show(seconds=1)
    drive(watched, 0, 40, count=4)
    assert watched.said(Congestion) == []


def test_a_jam_that_stands_quite_still_is_one_though_the_gate_is_shut() -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show(seconds=1)
    drive(watched, 40, 4)
    drive(watched, 0, 60)
    assert [body.state for body in watched.said(Congestion)] == ["raised"]


def test_people_are_no_traffic() -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show(seconds=1)
    drive(watched, 5, 40, name="person")
    assert watched.said(Congestion) == []


def test_a_jam_that_stands_still_through_a_kill_of_the_agent_is_one_alert() -> None:
    before = ScriptedCamera(ZONE + RULE)
    before.show(seconds=1)
    drive(before, 40, 4)
    drive(before, 0, 40)
    (raised,) = before.said(Congestion)
    after = ScriptedCamera(ZONE + RULE)
    after.pipeline.resume(raised.model_copy(update={"alert": "from-before"}), -60.0)
    drive(after, 0, 40)
    assert after.said(Congestion) == []
    drive(after, 150, 30)
    (cleared,) = after.said(Congestion)
    assert (cleared.state, cleared.alert) == ("cleared", "from-before")
    assert cleared.lasted_s is not None
    assert cleared.lasted_s > 100
