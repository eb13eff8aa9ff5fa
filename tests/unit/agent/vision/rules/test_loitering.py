import pytest

from agent.contract.event import Loitering
from tests.support.scripted import ZONE, Objects, ScriptedCamera
from tests.support.vision import standing_at

RULE = '[[camera.rule]]\nid = "hangs-about"\nkind = "loitering"\nzone = "plaza"\nafter_s = 10\n'
OUTSIDE, HERE, THERE = (standing_at(x, 250, 40, 100) for x in (60, 250, 400))


def stroll(watched: ScriptedCamera, seconds: int, name: str = "person", beside: Objects = ()) -> None:
    """To and fro inside the zone."""
    for n in range(seconds // 2):
        begin, end = (HERE, THERE) if n % 2 == 0 else (THERE, HERE)
        watched.move(name, begin, end, seconds=2, beside=beside)


def test_who_walks_about_in_the_zone_for_longer_than_allowed_is_told_once() -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show(seconds=1)
    watched.move("person", OUTSIDE, HERE, seconds=2)
    stroll(watched, 24)
    (alert,) = watched.said(Loitering)
    assert (alert.rule, alert.severity, alert.zone, alert.object_class) == ("hangs-about", "warning", "plaza", "person")
    assert alert.dwell_s == pytest.approx(10.0, abs=0.11)


@pytest.mark.parametrize(
    ("name", "seconds"), [pytest.param("person", 6, id="leaves in time"), pytest.param("car", 24, id="is no person")]
)
def test_who_may_be_there_is_not_told(name: str, seconds: int) -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show(seconds=1)
    watched.move(name, OUTSIDE, HERE, seconds=2)
    stroll(watched, seconds, name)
    watched.move(name, HERE, OUTSIDE, seconds=1)
    watched.show(seconds=10)
    assert watched.said(Loitering) == []
