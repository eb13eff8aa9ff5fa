"""What a rule is: tracks in, what happened out.

A rule keeps its own state by track id and forgets it when the track has ended. It reads no clock: time is the
frames'. It may speak of tracks that are not confirmed yet; the pipeline holds such words back until they are.

Lines and zones say what happened, all of it, as data. What is worth an alert is found by alert rules, one file each,
which look at the line, the zone or the instrument they were given, all updated before them; whether, when and how
often an alert is said is decided in one place for all of them, `agent.vision.rules.policy`.

    frame, tracks ──▶ instruments (speed, ground)
           tracks ──▶ lines, zones ──happenings──────────────────────────┐
                         └─asked by──▶ alert rules ──findings──▶ policy ─┴──▶ pipeline
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

from agent.contract.event import Alert, Body, ObjectClass, StateAlert
from agent.vision.track import Tracks
from drivers.base import Frame

Anchor = Literal["bottom", "center"]
_NAMES: tuple[ObjectClass, ...] = get_args(ObjectClass)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something a rule saw. frame_index, mono_s: when it happened, which may be between two frames looked at.

    track: the id of the object it speaks of, or 0 where it speaks of none.
    class_ids: the classes the rule is about. A track's class is voted over its life, so it is judged, and filled into
    the body, when the word is let through.
    evidence: the rule wants a picture of it.
    """

    body: Body
    track: int
    frame_index: int
    mono_s: float
    class_ids: frozenset[int] = frozenset()
    evidence: bool = False


class Rule(Protocol):
    def update(self, tracks: Tracks) -> list[Happening]:
        """Everything that has happened since the last call, in order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What an alert rule sees, before it is decided whether to say so.

    kind, fields: the alert's body, but for what the policy fills in: rule, severity, class and track, state.
    subject: what it is about, so that the same is said once: a track, a thing's number, or 0 for the scene.
    track: the object whose class the alert tells, or 0 where it speaks of none.
    lasts: found anew in every frame in which it is so. Otherwise it happened once, at frame_index and mono_s.
    """

    kind: type[Alert]
    fields: Mapping[str, Any]
    subject: int
    frame_index: int
    mono_s: float
    track: int = 0
    lasts: bool = True


class AlertRule(Protocol):
    def update(self, tracks: Tracks) -> list[Finding]:
        """What is so in this frame, and what has happened since the last call."""


@runtime_checkable
class StateRule(AlertRule, Protocol):
    """One whose state outlives the agent."""

    def resume(self, body: StateAlert) -> bool:
        """Before the first frame: this was raised when the agent ended. True: it is this rule's, and it goes on from
        there, as if it had been so all the time."""


class Instrument(Protocol):
    """Measures something that rules ask for; updated with every frame, before they are."""

    def update(self, frame: Frame, tracks: Tracks) -> None: ...


_MOVING = 0.3  # of its box
_SURE_SCORE = 0.3  # 0.6 of a still object's


def plain(tracks: Tracks) -> npt.NDArray[np.bool_]:
    """Which tracks, bool (n,), are in this frame more than a false box on a still thing: they move, or are plain to
    see. An alert about being somewhere waits until its object has once been."""
    plain: npt.NDArray[np.bool_] = tracks.seen & ((tracks.moving >= _MOVING) | (tracks.scores >= _SURE_SCORE))
    return plain


def anchors(boxes_xyxy_px: npt.NDArray[np.float32], anchor: Anchor) -> npt.NDArray[np.float32]:
    """The point that counts of each box (n, 4): (n, 2), its bottom edge's middle (where it stands) or its centre."""
    x = (boxes_xyxy_px[:, 0] + boxes_xyxy_px[:, 2]) / 2
    y = boxes_xyxy_px[:, 3] if anchor == "bottom" else (boxes_xyxy_px[:, 1] + boxes_xyxy_px[:, 3]) / 2
    return np.stack([x, y], axis=1)


def class_name(class_id: int) -> ObjectClass:
    return _NAMES[class_id]
