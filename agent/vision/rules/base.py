"""What a rule is: tracks in, what happened out.

A rule keeps its own state by track id and forgets it when the track has ended. It reads no clock: time is the
frames'. It may speak of tracks that are not confirmed yet; the pipeline holds such words back until they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from agent.contract.event import Body, ObjectClass
from agent.vision.track import Tracks

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


def anchors(boxes_xyxy_px: npt.NDArray[np.float32], anchor: Anchor) -> npt.NDArray[np.float32]:
    """The point that counts of each box (n, 4): (n, 2), its bottom edge's middle (where it stands) or its centre."""
    x = (boxes_xyxy_px[:, 0] + boxes_xyxy_px[:, 2]) / 2
    y = boxes_xyxy_px[:, 3] if anchor == "bottom" else (boxes_xyxy_px[:, 1] + boxes_xyxy_px[:, 3]) / 2
    return np.stack([x, y], axis=1)


def class_name(class_id: int) -> ObjectClass:
    return _NAMES[class_id]
