from datetime import datetime, timedelta

import pytest

from agent.contract.event import Restricted, ZoneEnter
from tests.support.scripted import ZONE, ScriptedCamera
from tests.support.vision import sighting, standing_at

RULE = '[[camera.rule]]\nid = "keep-out"\nkind = "restricted"\nzone = "plaza"\n'
OUTSIDE, INSIDE = standing_at(60, 250, 40, 100), standing_at(320, 250, 40, 100)


@pytest.mark.parametrize("name", ["person", "car"])
def test_only_classes_the_rule_is_about_are_told(name: str) -> None:
    watched = ScriptedCamera(ZONE + RULE + 'classes = ["person"]\n')
    watched.show(seconds=1)
    watched.move(name, OUTSIDE, INSIDE, seconds=3)
    assert len(watched.said(ZoneEnter)) == 1
    if name == "car":
        assert watched.said(Restricted) == []
    else:
        (alert,) = watched.said(Restricted)
        assert (alert.rule, alert.severity, alert.zone, alert.object_class) == (
            "keep-out",
            "critical",
            "plaza",
            "person",
        )
        assert watched.when(Restricted)[0] == pytest.approx(watched.when(ZoneEnter)[0], abs=0.3)


def test_who_is_inside_when_the_hours_begin_is_told_then() -> None:
    begin = datetime(2025, 11, 28, 21, 59, 50)  # a Friday
    watched = ScriptedCamera(
        ZONE + RULE + 'schedule = ["Mo-Fr 22:00-05:00"]\n', local_time=lambda s: begin + timedelta(seconds=s)
    )
    watched.show(seconds=1)
    watched.move("person", OUTSIDE, INSIDE, seconds=3)
    for _ in range(10):
        watched.move("person", INSIDE, standing_at(340, 250, 40, 100), seconds=0.5)
        watched.move("person", standing_at(340, 250, 40, 100), INSIDE, seconds=0.5)
    assert watched.when(Restricted) == [10.0]


def test_who_walks_past_the_zone_is_not_told() -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show(seconds=1)
    watched.move("person", standing_at(60, 85, 40, 80), standing_at(600, 85, 40, 80), seconds=5)
    assert watched.said(Restricted) == []


def test_a_false_box_on_a_still_thing_is_nobody() -> None:
    """A network that takes a statue for a person gives it a low score, halved because nothing moves there."""
    watched = ScriptedCamera(ZONE + RULE)
    watched.detector.score = 0.55
    watched.show([("person", INSIDE)], seconds=0.1)
    watched.scene = watched.scene.copy()
    watched.show([("person", INSIDE)], seconds=30)
    assert watched.said(Restricted) == []


def test_what_has_ended_is_forgotten() -> None:
    watched = ScriptedCamera(ZONE + RULE)
    watched.show()
    (alert,) = watched.pipeline._book.rules.alerts
    rule = alert._rule
    for n in range(1, 200):
        watched.pipeline._book.rules.zones[0].update(sighting({n: INSIDE}, n, n / 10, ended=(n - 1,)))
        rule.update(sighting({n: INSIDE}, n, n / 10, ended=(n - 1,)))
    assert rule._plain == {199}  # type: ignore[attr-defined]
