"""Whether, when and how often an alert is said: the same for every rule.

A rule finds that something is so; its policy says it

    once        while it lasts, and not again within the hold-off after it was last so
    on time     during the hours of the schedule; what began before them and lasts is said when they begin
    in state    raised when it begins and cleared when it is over, for what the contract has as a state
    when sure   of an object that is confirmed, and of a class the rule is about

and gives it its id, its severity, and the wish for a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from agent.contract.event import Severity, StateAlert
from agent.vision.rules.base import AlertRule, Finding, Happening, StateRule, class_name
from agent.vision.rules.schedule import Schedule
from agent.vision.track import Tracks

LocalTime = Callable[[float], datetime | None]
"""From the frames' clock to the time of day; None as long as nobody knows it."""

_SCENE = 0  # the subject of what is about no single thing
_FLICKER_S = 2.0  # not found for less than this: it was so all the time


def time_unknown(mono_s: float) -> datetime | None:
    return None


@dataclass(slots=True)
class _Spoken:
    """What was said of one subject."""

    quiet_until_s: float
    found_s: float  # last
    goes_on: bool = True  # found ever since


@dataclass(slots=True)
class _Raised:
    alert: str
    since_s: float
    latest: Finding  # with the figures that it is cleared with


class Policy:
    """One rule of one camera and how it speaks. Remembers what it has said until the hold-off is over."""

    def __init__(
        self,
        rule_id: str,
        rule: AlertRule,
        *,
        severity: Severity,
        hold_off_s: float,
        evidence: bool,
        class_ids: frozenset[int] = frozenset(),
        schedule: Schedule | None = None,
        local_time: LocalTime = time_unknown,
        new_id: Callable[[], str],
    ) -> None:
        """new_id: makes an id for a state that is raised; no two alike on one box.
        schedule: always on without one, and always on while the time of day is not known: a missed alert is worse
        than one at the wrong hour."""
        self._rule_id = rule_id
        self._rule = rule
        self._severity: Severity = severity
        self._hold_off_s = max(hold_off_s, _FLICKER_S)
        self._evidence = evidence
        self._class_ids = class_ids
        self._schedule = schedule
        self._local_time = local_time
        self._new_id = new_id
        self._spoken: dict[int, _Spoken] = {}  # by subject; forgotten when the hold-off is over
        self._raised: dict[int, _Raised] = {}  # by subject, as below
        self._quiet_until_s: dict[int, float] = {}  # of states that have just been cleared
        self._frame_index, self._mono_s = 0, 0.0

    def resume(self, body: StateAlert, since_s: float, mono_s: float) -> bool:
        """Before the first frame, of mono_s: go on with what was raised when the agent ended. False: it is not of this
        rule, or this rule cannot go on with it."""
        if body.rule != self._rule_id or not isinstance(self._rule, StateRule) or not self._rule.resume(body):
            return False
        figures = body.model_dump(exclude={*StateAlert.model_fields, "kind"}, exclude_none=True)
        latest = Finding(type(body), figures, _SCENE, 0, mono_s)
        self._raised[_SCENE] = _Raised(body.alert, since_s, latest)
        return True

    def update(self, tracks: Tracks) -> list[Happening]:
        now_s = self._mono_s = tracks.mono_s
        self._frame_index = tracks.frame_index
        self._spoken = {s: spoken for s, spoken in self._spoken.items() if now_s <= spoken.quiet_until_s}
        self._quiet_until_s = {s: until_s for s, until_s in self._quiet_until_s.items() if now_s < until_s}
        found = self._rule.update(tracks)
        if not self._applies(now_s):
            found = []
        states = {finding.subject: finding for finding in found if issubclass(finding.kind, StateAlert)}
        said = [self._say(f, tracks) for f in found if not issubclass(f.kind, StateAlert) and self._is_news(f, tracks)]
        for finding in states.values():
            said += self._raise(finding)
        return said + [self._clear(subject) for subject in list(self._raised) if subject not in states]

    def end(self) -> list[Happening]:
        """Nobody will look any more: what is raised is cleared."""
        return [self._clear(subject) for subject in list(self._raised)]

    def _clear(self, subject: int) -> Happening:
        raised = self._raised.pop(subject)
        self._quiet_until_s[subject] = self._mono_s + self._hold_off_s
        lasted_s = round(max(self._mono_s - raised.since_s, 0.0), 1)
        return self._state(raised.latest, state="cleared", alert=raised.alert, lasted_s=lasted_s)

    def _applies(self, mono_s: float) -> bool:
        if self._schedule is None:
            return True
        local = self._local_time(mono_s)
        return local is None or self._schedule.includes(local)

    def _is_news(self, finding: Finding, tracks: Tracks) -> bool:
        # What lasts can wait until it is sure. What happened once is held back by the pipeline instead.
        if finding.lasts and finding.track and not self._is_sure(finding.track, tracks):
            return False
        now_s, spoken = tracks.mono_s, self._spoken.get(finding.subject)
        if spoken is None:
            self._spoken[finding.subject] = _Spoken(now_s + self._hold_off_s, now_s)
            return True
        spoken.goes_on = spoken.goes_on and now_s - spoken.found_s <= _FLICKER_S
        spoken.found_s = now_s
        if spoken.goes_on:
            spoken.quiet_until_s = now_s + self._hold_off_s
        return False

    def _is_sure(self, track: int, tracks: Tracks) -> bool:
        rows = np.flatnonzero(tracks.ids == track)
        return bool(len(rows) and tracks.confirmed[rows[0]] and int(tracks.class_ids[rows[0]]) in self._class_ids)

    def _say(self, finding: Finding, tracks: Tracks) -> Happening:
        fields = {"rule": self._rule_id, "severity": self._severity, **finding.fields}
        if finding.track:
            (row,) = np.flatnonzero(tracks.ids == finding.track)
            fields |= {"track": finding.track, "class": class_name(int(tracks.class_ids[row]))}
        body = finding.kind.model_validate(fields)
        when = (finding.frame_index, finding.mono_s)
        return Happening(body, finding.track, *when, self._class_ids, evidence=self._evidence)

    def _raise(self, finding: Finding) -> list[Happening]:
        raised = self._raised.get(finding.subject)
        if raised is not None:
            raised.latest = finding
            return []
        if finding.mono_s < self._quiet_until_s.get(finding.subject, -math.inf):
            return []
        raised = self._raised[finding.subject] = _Raised(self._new_id(), finding.mono_s, finding)
        return [self._state(finding, state="raised", alert=raised.alert)]

    def _state(self, finding: Finding, **state: str | float) -> Happening:
        fields = {"rule": self._rule_id, "severity": self._severity, **finding.fields, **state}
        wanted = self._evidence and state["state"] == "raised"
        return Happening(
            finding.kind.model_validate(fields), 0, self._frame_index, self._mono_s, frozenset(), evidence=wanted
        )
