import cv2
import numpy as np
import pytest

from agent.contract.event import LeftBehind, Removed
from agent.vision.rules.left_behind import Things
from drivers.base import Frame
from tests.support.scripted import ZONE, ScriptedCamera
from tests.support.vision import Box, Picture, noisy, road, sighting, standing_at, with_boxes

LEFT = '[[camera.rule]]\nid = "bags"\nkind = "left-behind"\nzone = "plaza"\nafter_s = 20\n'
REMOVED = '[[camera.rule]]\nid = "barrier"\nkind = "removed"\nzone = "plaza"\nafter_s = 20\n'
OUTSIDE, AT_THE_BAG, AWAY = (
    standing_at(-40, 260, 40, 110),
    standing_at(300, 260, 40, 110),
    standing_at(700, 260, 40, 110),
)
BAG: Box = (324, 236, 350, 260)


def camera(*, things: list[Box] | None = None) -> ScriptedCamera:
    watched = ScriptedCamera(ZONE + LEFT + REMOVED)
    watched.things = things or []
    watched.show(seconds=10)
    return watched


def visit(watched: ScriptedCamera, things: list[Box], *, name: str = "person") -> None:
    """Somebody comes, stands there for three seconds in which the things become others, and goes."""
    watched.move(name, OUTSIDE, AT_THE_BAG, seconds=3)
    for n in range(30):
        if n == 15:
            watched.things = things
        watched.show([(name, standing_at(300 + n % 3, 260, 40, 110))])
    watched.move(name, AT_THE_BAG, AWAY, seconds=3)


def test_a_bag_that_somebody_put_down_and_left_is_told_once_with_its_place() -> None:
    watched = camera()
    visit(watched, [BAG])
    watched.show(seconds=60)
    (alert,) = watched.said(LeftBehind)
    assert (alert.rule, alert.severity, alert.zone) == ("bags", "critical", "plaza")
    assert alert.dwell_s == pytest.approx(20.0, abs=1.0)
    assert np.array(alert.place) == pytest.approx(np.array(BAG) / (640, 360, 640, 360), abs=0.015)
    assert watched.said(Removed) == []
    (happening,) = [h for h in watched.happened if isinstance(h.body, LeftBehind)]
    assert (happening.track, happening.evidence) == (0, True)


def test_a_thing_that_somebody_took_away_is_told_as_removed() -> None:
    watched = camera(things=[BAG])
    visit(watched, [])
    watched.show(seconds=60)
    (alert,) = watched.said(Removed)
    assert (alert.rule, alert.severity, alert.zone) == ("barrier", "warning", "plaza")
    assert np.array(alert.place) == pytest.approx(np.array(BAG) / (640, 360, 640, 360), abs=0.015)
    assert watched.said(LeftBehind) == []


def test_a_bag_that_is_fetched_after_it_was_told_clears_its_alert() -> None:
    watched = camera()
    visit(watched, [BAG])
    watched.show(seconds=60)
    (raised_s,) = watched.when(LeftBehind)
    visit(watched, [])
    fetched_s = watched.mono_s
    watched.show(seconds=30)
    raised, cleared = watched.said(LeftBehind)
    assert (raised.state, cleared.state) == ("raised", "cleared")
    assert (cleared.alert, cleared.rule, cleared.zone, cleared.place) == (
        raised.alert,
        raised.rule,
        raised.zone,
        raised.place,
    )
    cleared_s = watched.when(LeftBehind)[1]
    assert cleared_s - fetched_s < 5.0
    assert cleared.lasted_s == pytest.approx(cleared_s - raised_s, abs=0.1)
    assert cleared.dwell_s == pytest.approx(raised.dwell_s + cleared.lasted_s, abs=1.0)
    assert watched.said(Removed) == []
    first, second = [h for h in watched.happened if isinstance(h.body, LeftBehind)]
    assert (first.evidence, second.evidence) == (True, False)


def test_two_bags_are_two_alerts_each_cleared_when_it_is_fetched() -> None:
    other: Box = (250, 236, 274, 260)
    watched = camera()
    visit(watched, [BAG])
    watched.show(seconds=30)
    visit(watched, [BAG, other])
    watched.show(seconds=30)
    visit(watched, [other])
    watched.show(seconds=20)
    visit(watched, [])
    watched.show(seconds=20)
    turns = [(body.alert, body.state) for body in watched.said(LeftBehind)]
    assert turns == [("alert-1", "raised"), ("alert-2", "raised"), ("alert-1", "cleared"), ("alert-2", "cleared")]


def test_people_who_stand_before_a_bag_do_not_clear_its_alert() -> None:
    watched = camera()
    visit(watched, [BAG])
    watched.show(seconds=40)
    for n in range(100):
        watched.show([("person", standing_at(337 + n % 3, 262, 60, 110))])
    watched.show(seconds=10)
    assert [body.state for body in watched.said(LeftBehind)] == ["raised"]


def test_a_thing_that_comes_back_clears_the_alert_that_it_is_gone() -> None:
    watched = camera(things=[BAG])
    visit(watched, [])
    watched.show(seconds=60)
    visit(watched, [BAG])
    watched.show(seconds=30)
    assert [(body.state, body.alert) for body in watched.said(Removed)] == [
        ("raised", "alert-1"),
        ("cleared", "alert-1"),
    ]
    assert watched.said(LeftBehind) == []


def test_a_bag_that_lies_there_when_the_agent_stops_or_is_killed_is_cleared() -> None:
    """What lies there at the next start belongs to the scene, as far as anybody can tell."""
    watched = camera()
    visit(watched, [BAG])
    watched.show(seconds=60)
    (raised,) = watched.said(LeftBehind)
    next_run = ScriptedCamera(ZONE + LEFT + REMOVED)
    next_run.pipeline.resume(raised, -60.0)
    next_run.things = [BAG]
    next_run.show(seconds=30)
    watched.finish()
    for cleared in (watched.said(LeftBehind)[-1], *next_run.said(LeftBehind)):
        assert (cleared.state, cleared.alert) == ("cleared", raised.alert)
    assert len(next_run.said(LeftBehind)) == 1


def test_a_bag_that_is_fetched_in_time_is_not_told() -> None:
    watched = camera()
    visit(watched, [BAG])
    watched.show(seconds=5)
    visit(watched, [])
    watched.show(seconds=60)
    assert watched.said(LeftBehind) == []
    assert watched.said(Removed) == []


def test_people_who_walk_by_in_front_of_it_do_not_hide_that_it_lies_there() -> None:
    watched = camera()
    visit(watched, [BAG])
    left_s = watched.mono_s
    for _ in range(8):
        watched.move("person", OUTSIDE, AWAY, seconds=4)
    (told_s,) = watched.when(LeftBehind)
    assert told_s - left_s < 24.0


def test_a_bag_whose_owner_stays_beside_it_is_told_when_he_has_gone() -> None:
    watched = camera()
    watched.move("person", OUTSIDE, AT_THE_BAG, seconds=3)
    watched.things = [BAG]
    for n in range(600):
        watched.show([("person", standing_at(300 + n // 3 % 3, 260, 40, 110))])
    gone_s = watched.mono_s
    watched.move("person", AT_THE_BAG, AWAY, seconds=3)
    watched.show(seconds=40)
    (told_s,) = watched.when(LeftBehind)
    assert 20.0 < told_s - gone_s < 25.0


def test_a_bag_outside_the_zone_is_not_told() -> None:
    watched = camera()
    visit(watched, [(560, 236, 586, 260)])
    watched.show(seconds=60)
    assert watched.said(LeftBehind) == []


def test_what_changed_with_nobody_near_was_left_by_nobody() -> None:
    """A patch of sun, a puddle."""
    watched = camera()
    watched.things = [BAG]
    watched.show(seconds=60)
    assert watched.said(LeftBehind) == []


def test_somebody_who_stands_there_for_long_has_left_nothing_while_he_is_there() -> None:
    watched = camera()
    watched.move("person", OUTSIDE, AT_THE_BAG, seconds=3)
    for n in range(600):
        watched.show([("person", standing_at(300 + n // 3 % 3, 260, 40, 110))])
    watched.move("person", AT_THE_BAG, AWAY, seconds=3)
    watched.show(seconds=40)
    assert watched.said(LeftBehind) == []
    assert watched.said(Removed) == []


def park(watched: ScriptedCamera, parked: Box) -> None:
    watched.move("car", standing_at(-80, 260, 120, 70), parked, seconds=4)
    watched.show([("car", parked)], seconds=20)


def test_a_car_that_parks_and_drives_off_has_neither_left_nor_removed_anything() -> None:
    watched = camera()
    park(watched, standing_at(320, 260, 120, 70))
    watched.move("car", standing_at(320, 260, 120, 70), standing_at(720, 260, 120, 70), seconds=4)
    watched.show(seconds=40)
    assert watched.said(LeftBehind) == []
    assert watched.said(Removed) == []


def test_a_parked_car_that_the_network_does_not_see_any_more_is_no_thing() -> None:
    parked = standing_at(320, 260, 120, 70)
    watched = camera()
    park(watched, parked)
    drawn = watched.things = [parked]
    watched.scene = watched.scene.copy()
    watched.show(seconds=60)
    assert watched.things is drawn
    assert watched.said(LeftBehind) == []


def test_a_car_that_stood_there_from_the_start_and_drives_off_has_removed_nothing() -> None:
    parked = standing_at(320, 260, 120, 70)
    watched = ScriptedCamera(ZONE + LEFT + REMOVED)
    watched.move("car", standing_at(318, 260, 120, 70), parked, seconds=3)
    watched.show([("car", parked)], seconds=10)
    watched.move("car", parked, standing_at(720, 260, 120, 70), seconds=4)
    watched.show(seconds=40)
    assert watched.said(Removed) == []
    assert watched.said(LeftBehind) == []


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_a_picture_that_grows_darker_or_brighter_holds_no_things(factor: float) -> None:
    watched = camera()
    visit(watched, [])
    scene = watched.scene
    for n in range(60):
        share = 1 + (factor - 1) * n / 60
        watched.scene = np.clip(scene * share, 0, 255).astype(np.uint8)
        watched.show(seconds=0.5)
    watched.show(seconds=40)
    assert watched.said(LeftBehind) == []
    assert watched.said(Removed) == []


class Watched:
    """Things alone, looked at twice a second."""

    def __init__(self) -> None:
        self.things = Things((640, 360))
        self.still = road(640, 360)
        self.with_bag = with_boxes(self.still, [BAG], (200, 220, 240))
        self.n = 0
        self.mono_s = 0.0

    def look(self, picture: Picture, people: dict[int, Box], seconds: float, *, gain: float = 1.0) -> None:
        for _ in range(round(2 * seconds)):
            self.n += 1
            self.mono_s += 0.5
            shown = noisy(np.clip(picture * gain, 0, 255).astype(np.uint8), self.n)
            self.things.update(Frame(shown, self.n, self.mono_s), sighting(people, self.n, self.mono_s))

    def leave_a_bag(self) -> None:
        self.look(self.still, {}, 10)
        self.look(self.with_bag, {1: AT_THE_BAG}, 3)
        self.look(self.with_bag, {}, 10)


NEAR_BY = standing_at(395, 262, 40, 110)


def test_what_became_part_of_the_scene_is_no_new_thing_to_the_next_who_walks_by() -> None:
    watched = Watched()
    watched.leave_a_bag()
    (thing,) = watched.things.all
    watched.look(watched.with_bag, {}, 3590 - (watched.mono_s - thing.since_s))
    assert watched.things.all == [thing]
    for _ in range(40):
        watched.look(watched.with_bag, {2: NEAR_BY}, 0.5)
    watched.look(watched.with_bag, {}, 10)
    assert watched.things.all == []


@pytest.mark.parametrize("pictures", [2, 3])
def test_pictures_seconds_apart_do_not_show_what_lay_there_between_them(pictures: int) -> None:
    """Of a stream that stutters; somebody slow, who is not found in these, or others who look alike."""
    watched = Watched()
    watched.look(watched.still, {}, 10)
    watched.look(watched.still, {1: AT_THE_BAG}, 3)
    for _ in range(pictures):
        watched.mono_s += 2.5
        watched.look(watched.with_bag, {}, 0.5)
    assert watched.things.all == []
    watched.look(watched.with_bag, {}, 3)
    assert len(watched.things.all) == 1


def test_nights_without_any_light_leave_the_background_as_it_was() -> None:
    watched = Watched()
    watched.look(watched.still, {}, 30)
    before = watched.things._background.copy()
    for _ in range(10):
        watched.look(watched.still, {1: AT_THE_BAG}, 60, gain=0.02)
        watched.look(watched.still, {1: NEAR_BY}, 3)
    watched.look(watched.still, {}, 10)
    assert watched.things.all == []
    assert np.abs(watched.things._background - before).max() < 5.0


def test_a_bag_that_lies_there_when_it_grows_dark_lies_there_when_it_is_light_again() -> None:
    watched = Watched()
    watched.leave_a_bag()
    (thing,) = watched.things.all
    watched.look(watched.with_bag, {}, 600, gain=0.02)
    assert watched.things.all == [thing]
    watched.look(watched.with_bag, {}, 30)
    assert watched.things.all == [thing]
    watched.look(watched.still, {}, 10)
    assert watched.things.all == []


def test_an_agent_that_starts_in_the_dark_begins_when_it_is_light() -> None:
    watched = Watched()
    watched.look(watched.still, {}, 60, gain=0.02)
    watched.leave_a_bag()
    assert [thing.what for thing in watched.things.all] == ["left"]


def test_many_things_are_bounded_and_an_old_one_becomes_part_of_the_scene() -> None:
    things, still = Things((640, 360)), road(640, 360)
    boxes = [
        (20.0 + 60 * (k % 10), 60.0 + 60 * (k // 10), 50.0 + 60 * (k % 10), 90.0 + 60 * (k // 10)) for k in range(40)
    ]
    crowd = {k + 1: standing_at(box[0] - 5, box[3], 12, 50) for k, box in enumerate(boxes)}
    shown: Picture = still.copy()
    for left, top, right, bottom in boxes:
        cv2.rectangle(shown, (int(left), int(top)), (int(right), int(bottom)), (230, 230, 230), -1)
    n = 0

    def look(picture: Picture, people: dict[int, Box], seconds: float, every_s: float = 0.5) -> None:
        nonlocal n
        for _ in range(round(seconds / every_s)):
            n += 1
            look_s[0] += every_s
            things.update(Frame(picture, n, look_s[0]), sighting(people, n, look_s[0]))

    look_s = [0.0]
    look(still, {}, 10)
    look(still, crowd, 2)
    look(shown, {}, 20)
    assert len(things.all) == 30
    look(shown, {}, 3700, every_s=5.0)
    assert things.all == []
