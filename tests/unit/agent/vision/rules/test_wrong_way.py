import pytest

from agent.contract.event import Crossing, WrongWay
from tests.support.scripted import LINE, ScriptedCamera
from tests.support.vision import standing_at

RULE = '[[camera.rule]]\nid = "no-entry"\nkind = "wrong-way"\nline = "gate"\nallowed = "in"\n'
ABOVE, BELOW = standing_at(320, 120, 60, 50), standing_at(320, 330, 60, 50)


def test_who_passes_against_the_direction_allowed_is_told_and_who_passes_with_it_is_not() -> None:
    watched = ScriptedCamera(LINE + RULE)
    watched.show(seconds=1)
    watched.move("car", ABOVE, BELOW, seconds=2)
    watched.show(seconds=2)
    assert watched.said(WrongWay) == []
    watched.move("motorcycle", BELOW, ABOVE, seconds=2)
    watched.show(seconds=2)
    crossings = watched.said(Crossing)
    (alert,) = watched.said(WrongWay)
    assert [body.direction for body in crossings] == ["in", "out"]
    assert alert == WrongWay(
        rule="no-entry",
        severity="critical",
        line="gate",
        direction="out",
        object_class="motorcycle",
        track=crossings[1].track,
    )
    assert watched.when(WrongWay) == [watched.when(Crossing)[1]], "dated when it met the line"


@pytest.mark.parametrize("name", ["person", "motorcycle"])
def test_who_walks_is_no_wrong_way_driver_unless_the_rule_is_about_people(name: str) -> None:
    watched = ScriptedCamera(LINE + RULE + 'classes = ["person"]')
    watched.show(seconds=1)
    watched.move(name, BELOW, ABOVE, seconds=3)
    watched.show(seconds=2)
    assert len(watched.said(WrongWay)) == (name == "person")


def test_a_rule_that_is_not_enabled_says_nothing() -> None:
    watched = ScriptedCamera(LINE + RULE + "enabled = false")
    watched.show(seconds=1)
    watched.move("car", BELOW, ABOVE, seconds=2)
    watched.show(seconds=2)
    assert len(watched.said(Crossing)) == 1
    assert watched.said(WrongWay) == []
