"""The stages of one camera in a row: motion, detect, track, rules. Frame in, what happened out.

The same object serves the live camera and the replay of a recording; it reads no clock and knows no queue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from agent.vision import regions
from agent.vision.detect import one_box_an_object
from agent.vision.motion import Motion, MotionMap
from agent.vision.propose import add_moving_areas
from agent.vision.rules.base import Happening, Rule, class_name
from agent.vision.rules.counts import IntervalCounts
from agent.vision.rules.crossing import LineCrossing
from agent.vision.rules.zone import ZonePresence
from agent.vision.track import MIN_SCORE, Tracker, Tracks
from drivers.base import Detector, Frame

REG = 0
_LOOK_EVERY_S = 5.0  # with the gate shut, look all the same this often: what was missed while it moved is still there
_HELD_BACK_S = 2.0  # a track that is not confirmed by then had its say


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one camera for one frame size."""

    lines: tuple[LineCrossing, ...]
    zones: tuple[ZonePresence, ...]

    @property
    def all(self) -> tuple[Rule, ...]:
        return (*self.lines, *self.zones)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one frame gave: for pictures and pages; what matters to the IOC is in happened."""

    happened: list[Happening]
    tracks: Tracks
    motion: MotionMap
    inferred: bool


class Pipeline:
    """make_rules(frame_wh_px): called at the first frame, and again when the camera changes its picture's size."""

    def __init__(
        self,
        detector: Detector,
        make_rules: Callable[[tuple[int, int]], Rules],
        *,
        motion_gate: bool = True,
        count_interval_s: float = 60.0,
    ) -> None:
        self._detector = detector
        self._make_rules = make_rules
        self._motion_gate = motion_gate
        self._count_interval_s = count_interval_s
        self.frames = 0
        self.inferred = 0
        self._tracker = Tracker()
        self._looked_s: float | None = None  # when the detector ran last
        self.reset()

    def reset(self) -> None:
        """Forget everything learned and followed, as before the first frame; only numbers are not given out again."""
        self._size_wh_px: tuple[int, int] | None = None
        self._begin((0, 0))

    def process(self, frame: Frame) -> Seen:
        """Frames of one camera, in the order of their mono_s."""
        happened: list[Happening] = []
        if frame.size_wh_px != self._size_wh_px:
            happened += self.finish()
            self._begin(frame.size_wh_px)
            self._size_wh_px = frame.size_wh_px
        self.frames += 1
        motion = self._motion.update(frame)
        overdue = self._looked_s is None or frame.mono_s - self._looked_s >= _LOOK_EVERY_S
        look = not self._motion_gate or motion.is_open or overdue
        if look:
            self._looked_s = frame.mono_s
            self.inferred += 1
            expected = self._tracker.expected(frame.mono_s)
            found = self._detector.detect(frame.image_bgr, MIN_SCORE)
            if REG:
                windows = self._regions.choose(
                    np.concatenate([expected, motion.blobs_xyxy_px]), frame.size_wh_px, REG)
                found = regions.look(self._detector, frame.image_bgr, windows, found, MIN_SCORE)
            found, moving = one_box_an_object(found, motion, MIN_SCORE)
            found, moving = add_moving_areas(found, moving, motion, expected, frame.size_wh_px)
            tracks = self._tracker.update(
                found, moving, motion, frame.size_wh_px, frame.index, frame.mono_s
            )
        else:
            tracks = self._tracker.hold(frame.index, frame.mono_s)
        said = [h for rule in self._rules.all for h in rule.update(tracks)]
        happened += self._let_through(said, tracks)
        self._counts.add(happened)
        happened += self._counts.update(frame.index, frame.mono_s)
        return Seen(happened, tracks, motion, look)

    def finish(self) -> list[Happening]:
        """Nothing more comes of this picture: whoever is in a zone leaves it, and the interval that runs ends."""
        if self._size_wh_px is None:
            return []
        left = [h for zone in self._rules.zones for h in zone.end()]
        said = [_classed(h, self._class_ids[h.track]) for h in left if self._is_believed(h)]
        return said + self._counts.flush(self._last_index)

    def _begin(self, size_wh_px: tuple[int, int]) -> None:
        self._motion = Motion()
        self._regions = regions.Regions()
        self._tracker = Tracker(first_id=self._tracker.next_id)
        self._rules = self._make_rules(size_wh_px)
        self._counts = IntervalCounts(self._count_interval_s, self._rules.zones)
        self._held: dict[int, list[Happening]] = {}
        self._confirmed: set[int] = set()
        self._class_ids: dict[int, int] = {}
        self._looked_s = None
        self._last_index = 0

    def _let_through(self, said: list[Happening], tracks: Tracks) -> list[Happening]:
        """What confirmed tracks did, now or while they were not confirmed yet; forget what came to nothing."""
        self._last_index = tracks.frame_index
        for happening in said:
            self._held.setdefault(happening.track, []).append(happening)
        self._confirmed.update(int(i) for i in tracks.ids[tracks.confirmed])
        self._class_ids.update(zip(tracks.ids.tolist(), tracks.class_ids.tolist(), strict=True))
        passed: list[Happening] = []
        for track in list(self._held):
            if track in self._confirmed:
                class_id = self._class_ids[track]
                passed += [_classed(h, class_id) for h in self._held.pop(track) if self._is_believed(h)]
            elif track in tracks.ended or tracks.mono_s - self._held[track][0].mono_s > _HELD_BACK_S:
                del self._held[track]
        self._confirmed.difference_update(tracks.ended)
        for track in tracks.ended:
            self._class_ids.pop(track, None)
        return sorted(passed, key=lambda h: (h.mono_s, h.track))

    def _is_believed(self, happening: Happening) -> bool:
        return happening.track in self._confirmed and self._class_ids[happening.track] in happening.class_ids


def _classed(happening: Happening, class_id: int) -> Happening:
    return replace(happening, body=happening.body.model_copy(update={"object_class": class_name(class_id)}))
