from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent.contract.event import Crowd, Evidence, Restricted, StateAlert, WrongWay
from agent.vision.rules.base import Finding, Happening
from agent.vision.rules.policy import LocalTime, Policy, time_unknown
from agent.vision.rules.schedule import Schedule
from agent.vision.track import Tracks
from tests.support.vision import ALL_CLASSES, sighting, standing_at

Find = Callable[[Tracks], list[Finding]]


class Rule:
    """Finds what the test says."""

    def __init__(self, find: Find) -> None:
        self._find = find

    def update(self, tracks: Tracks) -> list[Finding]:
        return self._find(tracks)


def policy(
    find: Find,
    *,
    hold_off_s: float = 60.0,
    schedule: Sequence[str] = (),
    local_time: LocalTime = time_unknown,
    class_ids: frozenset[int] = ALL_CLASSES,
) -> Policy:
    numbers = iter(range(1, 100))
    return Policy(
        "the-rule",
        Rule(find),
        severity="critical",
        hold_off_s=hold_off_s,
        evidence=True,
        class_ids=class_ids,
        schedule=Schedule(schedule) if schedule else None,
        local_time=local_time,
        new_id=lambda: f"a{next(numbers)}",
    )


def inside(when: Callable[[float], bool], track: int = 7) -> Find:
    """Track is where it may not be, whenever `when` says so."""

    def find(tracks: Tracks) -> list[Finding]:
        found = Finding(Restricted, {"zone": "yard"}, track, tracks.frame_index, tracks.mono_s, track=track)
        return [found] if when(tracks.mono_s) else []

    return find


def crowded(when: Callable[[float], bool]) -> Find:
    def find(tracks: Tracks) -> list[Finding]:
        fields = {"zone": "square", "people": tracks.mono_s}
        return [Finding(Crowd, fields, 0, tracks.frame_index, tracks.mono_s)] if when(tracks.mono_s) else []

    return find


def play(ruled: Policy, seconds: int, track: int = 7) -> list[Happening]:
    """One frame a second."""
    return [h for s in range(seconds) for h in ruled.update(sighting({track: standing_at(100, 100)}, s, float(s)))]


def test_what_is_said_carries_the_rules_name_and_severity_the_object_and_the_wish_for_a_picture() -> None:
    (said,) = play(policy(inside(lambda s: s == 3), class_ids=frozenset({3})), 10)
    assert said.body == Restricted(rule="the-rule", severity="critical", zone="yard", object_class="car", track=7)
    assert (said.track, said.frame_index, said.mono_s, said.class_ids, said.evidence) == (7, 3, 3.0, {3}, True)


def test_what_lasts_is_said_once_however_long_it_lasts() -> None:
    assert [h.mono_s for h in play(policy(inside(lambda s: s >= 3), hold_off_s=5.0), 1000)] == [3.0]


@pytest.mark.parametrize(
    ("again_s", "wanted"),
    [
        pytest.param(40, [3.0], id="within the hold-off"),
        pytest.param(69, [3.0], id="within the hold-off from when it was last so"),
        pytest.param(71, [3.0, 71.0], id="after it"),
    ],
)
def test_what_is_so_again_is_said_again_after_the_hold_off(again_s: int, wanted: list[float]) -> None:
    ruled = policy(inside(lambda s: 3 <= s <= 10 or again_s <= s <= again_s + 1), hold_off_s=60.0)
    assert [h.mono_s for h in play(ruled, 200)] == wanted


def test_what_began_again_within_the_hold_off_and_lasts_is_said_when_the_hold_off_is_over() -> None:
    ruled = policy(inside(lambda s: s <= 10 or s >= 40), hold_off_s=60.0)
    assert [h.mono_s for h in play(ruled, 200)] == [0.0, 71.0]


def test_a_flicker_is_not_an_end_even_without_a_hold_off() -> None:
    ruled = policy(inside(lambda s: s % 2 == 0), hold_off_s=0.0)
    assert len(play(ruled, 100)) == 1


def test_the_hold_off_is_each_objects_own() -> None:
    def find(tracks: Tracks) -> list[Finding]:
        return [
            Finding(Restricted, {"zone": "yard"}, track, tracks.frame_index, tracks.mono_s, track=track)
            for track in tracks.ids.tolist()
        ]

    ruled = policy(find)
    said = [
        h
        for s in range(10)
        for h in ruled.update(sighting({n: standing_at(50 * n, 100) for n in range(1, 2 + s // 4)}, s, float(s)))
    ]
    assert [(h.track, h.mono_s) for h in said] == [(1, 0.0), (2, 4.0), (3, 8.0)]


def test_what_was_said_is_forgotten_after_the_hold_off() -> None:
    ruled = policy(
        lambda t: [
            Finding(
                WrongWay, {"line": "l", "direction": "in"}, int(t.mono_s), t.frame_index, t.mono_s, track=7, lasts=False
            )
        ],
        hold_off_s=10.0,
    )
    assert len(play(ruled, 500)) == 500
    assert len(ruled._spoken) <= 12


def test_what_lasts_waits_until_its_object_is_of_a_class_the_rule_is_about() -> None:
    ruled = policy(inside(lambda s: True), class_ids=frozenset({5}))
    said = []
    for s in range(10):
        name = "car" if s < 6 else "truck"
        said += ruled.update(sighting({7: standing_at(100, 100)}, s, float(s), classes={7: name}))
    assert [h.mono_s for h in said] == [6.0]


def clock(begin: datetime) -> LocalTime:
    return lambda mono_s: begin + timedelta(seconds=mono_s)


BEFORE_TEN = datetime(2025, 11, 24, 21, 59, 30)


def test_what_began_before_the_hours_and_lasts_is_said_when_they_begin() -> None:
    ruled = policy(inside(lambda s: True), schedule=["22:00-05:00"], local_time=clock(BEFORE_TEN))
    assert [h.mono_s for h in play(ruled, 100)] == [30.0]


def test_what_happens_once_outside_the_hours_is_not_said() -> None:
    def find(tracks: Tracks) -> list[Finding]:
        fields = {"line": "gate", "direction": "in"}
        when = (tracks.frame_index, tracks.mono_s)
        return (
            [Finding(WrongWay, fields, int(tracks.mono_s), *when, track=7, lasts=False)] if when[0] in (10, 50) else []
        )

    ruled = policy(find, schedule=["22:00-05:00"], local_time=clock(BEFORE_TEN))
    assert [h.mono_s for h in play(ruled, 100)] == [50.0]


def test_while_nobody_knows_the_time_of_day_the_rule_applies() -> None:
    ruled = policy(inside(lambda s: s == 5), schedule=["22:00-05:00"], local_time=lambda mono_s: None)
    assert len(play(ruled, 10)) == 1


def test_a_state_is_raised_and_cleared_under_one_id_with_how_long_it_lasted_and_its_last_figure() -> None:
    raised, cleared = play(policy(crowded(lambda s: 3 <= s < 50)), 100)
    what = {"rule": "the-rule", "severity": "critical", "zone": "square", "alert": "a1"}
    assert raised.body == Crowd.model_validate({**what, "state": "raised", "people": 3.0})
    assert cleared.body == Crowd.model_validate({**what, "state": "cleared", "people": 49.0, "lasted_s": 47.0})
    assert [(h.track, h.mono_s, h.evidence) for h in (raised, cleared)] == [(0, 3.0, True), (0, 50.0, False)]


def test_a_state_that_comes_back_within_the_hold_off_is_raised_when_that_is_over() -> None:
    said = play(policy(crowded(lambda s: 3 <= s < 50 or s >= 60), hold_off_s=60.0), 200)
    assert [(h.body.state, h.body.alert, h.mono_s) for h in said if isinstance(h.body, Crowd)] == [
        ("raised", "a1", 3.0),
        ("cleared", "a1", 50.0),
        ("raised", "a2", 110.0),
    ]


def test_a_state_is_cleared_when_the_hours_end_and_when_nobody_will_look_any_more() -> None:
    ruled = policy(crowded(lambda s: True), schedule=["21:00-22:00"], local_time=clock(BEFORE_TEN))
    assert [h.body.state for h in play(ruled, 100) if isinstance(h.body, Crowd)] == ["raised", "cleared"]
    assert ruled.end() == []
    lasting = policy(crowded(lambda s: True))
    play(lasting, 100)
    (cleared,) = lasting.end()
    assert isinstance(cleared.body, Crowd)
    assert (cleared.body.state, cleared.body.lasted_s, cleared.mono_s) == ("cleared", 99.0, 99.0)
    assert lasting.end() == [], "cleared twice"


# ---- over a restart --------------------------------------------------------------------------------------------------

RAISED = Crowd(
    rule="the-rule",
    severity="warning",
    state="raised",
    alert="from-before",
    zone="square",
    people=31.0,
    evidence=Evidence(id="7-ab", sha256="00", bytes=1),
)


class RuleWithMemory(Rule):
    def resume(self, body: StateAlert) -> bool:
        return isinstance(body, Crowd) and body.zone == "square"


def resumed(when: Callable[[float], bool], body: StateAlert = RAISED, **options: Any) -> Policy:
    ruled = policy(crowded(when), **options)
    ruled._rule = RuleWithMemory(crowded(when))
    assert ruled.resume(body, -100.0, 0.0)
    return ruled


def test_a_state_that_is_still_so_after_a_restart_goes_on_and_is_cleared_under_its_id() -> None:
    (cleared,) = play(resumed(lambda s: s < 50), 100)
    assert isinstance(cleared.body, Crowd)
    assert (cleared.body.state, cleared.body.alert, cleared.mono_s) == ("cleared", "from-before", 50.0)
    assert (cleared.body.lasted_s, cleared.body.people) == (150.0, 49.0)
    assert cleared.body.evidence is None


def test_a_state_that_is_over_after_a_restart_is_cleared_under_its_id_with_its_last_figure() -> None:
    (cleared,) = play(resumed(lambda s: False), 100)
    assert isinstance(cleared.body, Crowd)
    assert (cleared.body.state, cleared.body.alert, cleared.mono_s) == ("cleared", "from-before", 0.0)
    assert (cleared.body.lasted_s, cleared.body.people) == (100.0, 31.0)


def test_what_comes_after_a_state_from_before_the_restart_is_another_alert() -> None:
    said = play(resumed(lambda s: s < 20 or s > 60, hold_off_s=5.0), 100)
    assert [(h.body.state, h.body.alert) for h in said if isinstance(h.body, Crowd)] == [
        ("cleared", "from-before"),
        ("raised", "a1"),
    ]


def test_a_state_is_cleared_at_once_when_the_agent_starts_outside_the_hours() -> None:
    (cleared,) = play(resumed(lambda s: True, schedule=["22:00-05:00"], local_time=clock(BEFORE_TEN)), 20)
    assert cleared.mono_s == 0.0


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(RAISED.model_copy(update={"rule": "another"}), id="another rule's"),
        pytest.param(RAISED.model_copy(update={"zone": "elsewhere"}), id="of a zone it does not watch any more"),
    ],
)
def test_a_rule_goes_on_with_its_own_alerts_alone(body: StateAlert) -> None:
    ruled = policy(crowded(lambda s: False))
    ruled._rule = RuleWithMemory(crowded(lambda s: False))
    assert not ruled.resume(body, 0.0, 0.0)
    assert play(ruled, 20) == []


def test_a_rule_without_a_memory_goes_on_with_nothing() -> None:
    assert not policy(crowded(lambda s: True)).resume(RAISED, 0.0, 0.0)
