"""The stages of one camera in a row: motion, detect, track, rules. Frame in, what happened out.

The same object serves the live camera and the replay of a recording; it reads no clock and knows no queue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.contract.event import CameraFault, StateAlert, cleared
from agent.vision.budget import InferenceBudget
from agent.vision.camera_health import CameraHealth
from agent.vision.detect import one_box_an_object
from agent.vision.masks import Polygon, blackened, outside
from agent.vision.motion import Motion, MotionMap
from agent.vision.propose import add_moving_areas
from agent.vision.readers.base import Reader, Readers
from agent.vision.regions import Regions, look_closer
from agent.vision.rulebook import Rulebook, Rules
from agent.vision.rules.base import Happening
from agent.vision.track import MIN_SCORE, Tracker, Tracks
from drivers.base import Detections, Detector, Frame

_LOOK_EVERY_S = 5.0  # with the gate shut, look all the same this often: what was missed while it moved is still there
_LOOK_AROUND_S = 5.0  # after a start with something raised, though nothing moves: a queue that stands quite still
_REGIONS = 1  # second looks per look: each is as much work as the look itself


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
        readers: Sequence[Reader] = (),
        health: CameraHealth | None = None,
        still_polygons: tuple[Polygon, ...] = (),
        first_track: int = 1,
        regions: bool = False,
        budget: InferenceBudget | None = None,
        camera_id: str = "",
    ) -> None:
        """health: what judges the picture itself; None: nobody. still_polygons: where nothing is found and motion does
        not count. regions: look again at parts of the picture. budget: None: as many inferences as are wanted;
        camera_id: whose they are.
        """
        self._regions = Regions() if regions else None
        self._budget = budget
        self._camera_id = camera_id
        self.health = health
        self._still_polygons = still_polygons
        self._detector = detector
        self._make_rules = make_rules
        self._motion_gate = motion_gate
        self._count_interval_s = count_interval_s
        self._readers = Readers(readers) if readers else None
        self.frames = 0
        self.inferred = 0  # frames
        self.second_looks = 0
        self._tracker = Tracker(first_id=first_track)
        self._looked_s: float | None = None  # when the detector ran last
        self._resumed: list[tuple[StateAlert | CameraFault, float]] = []
        self._look_around_until_s = -math.inf
        self.reset()

    def reset(self) -> None:
        """Forget everything learned and followed, as before the first frame; only numbers are not given out again."""
        self._size_wh_px: tuple[int, int] | None = None
        self._begin(None)
        if self.health is not None:
            self.health.restart()

    @property
    def next_track(self) -> int:
        return self._tracker.next_id

    def resume(self, body: StateAlert | CameraFault, since_s: float) -> None:
        """Before the first frame: this was raised when the agent ended, since_s by the frames' clock. It goes on, or is
        cleared where nothing watches for it as it was any more."""
        self._resumed.append((body, since_s))

    def process(self, frame: Frame) -> Seen:
        """Frames of one camera, in the order of their mono_s."""
        happened: list[Happening] = []
        if frame.size_wh_px != self._size_wh_px:
            happened += self.finish()
            self._begin(frame.size_wh_px)
            self._size_wh_px = frame.size_wh_px
        if self._resumed:
            happened += self._go_on(frame)
        self.frames += 1
        if self.health is not None:
            happened += self.health.update(frame)
        motion = self._motion.update(blackened(frame, self._still_polygons) if self._still_polygons else frame)
        overdue = self._looked_s is None or frame.mono_s - self._looked_s >= _LOOK_EVERY_S
        overdue |= frame.mono_s < self._look_around_until_s
        look = not self._motion_gate or motion.is_open or overdue
        granted = self._granted(frame) if look else 0
        if granted:
            self._looked_s = frame.mono_s
            self.inferred += 1
            expected = self._tracker.expected(frame.mono_s)
            found, moving = one_box_an_object(self._look(frame, motion, expected, granted), motion, MIN_SCORE)
            found, moving = add_moving_areas(found, moving, motion, expected, frame.size_wh_px)
            tracks = self._tracker.update(found, moving, frame.size_wh_px, frame.index, frame.mono_s, motion)
        elif look:
            tracks = self._tracker.pass_over(frame.index, frame.mono_s)
        else:
            tracks = self._tracker.hold(frame.index, frame.mono_s)
        if self._readers is not None:
            self._readers.update(frame, tracks)
        happened += self._book.update(frame, tracks)
        if self._readers is not None:
            self._readers.forget(tracks.ended)
        return Seen(happened, tracks, motion, granted > 0)

    def _go_on(self, frame: Frame) -> list[Happening]:
        """With what was raised when the agent ended; what clears the rest of it."""
        resumed, self._resumed = self._resumed, []
        self._look_around_until_s = frame.mono_s + _LOOK_AROUND_S
        return [
            Happening(cleared(body, frame.mono_s - since_s), 0, frame.index, frame.mono_s)
            for body, since_s in resumed
            if not self._goes_on(body, since_s, frame.mono_s)
        ]

    def _goes_on(self, body: StateAlert | CameraFault, since_s: float, mono_s: float) -> bool:
        if isinstance(body, CameraFault):
            return self.health is not None and self.health.resume(body.fault, body.alert, since_s)
        return any(alert.resume(body, since_s, mono_s) for alert in self._book.rules.alerts)

    def _granted(self, frame: Frame) -> int:
        """How many inferences this frame may have: the whole picture first, then parts of it."""
        wanted = 1 + (_REGIONS if self._regions is not None else 0)
        if self._budget is None:
            return wanted
        return self._budget.take(self._camera_id, wanted, frame.mono_s, live=self._tracker.is_following)

    def _look(self, frame: Frame, motion: MotionMap, expected: npt.NDArray[np.float32], granted: int) -> Detections:
        found = self._detector.detect(frame.image_bgr, MIN_SCORE)
        if self._regions is not None and granted > 1:
            objects = np.concatenate([expected, motion.blobs_xyxy_px])
            windows = self._regions.choose(objects, frame.size_wh_px, granted - 1)
            self.second_looks += len(windows)
            found = look_closer(self._detector, frame.image_bgr, windows, found, MIN_SCORE)
        return outside(found, self._still_polygons, frame.size_wh_px) if self._still_polygons else found

    def finish(self) -> list[Happening]:
        """Nothing more comes of this picture: whoever is in a zone leaves it, what is raised is cleared, and the
        interval that runs ends."""
        if self._size_wh_px is None:
            return []
        return self._book.finish()

    def _begin(self, size_wh_px: tuple[int, int] | None) -> None:
        self._motion = Motion()
        if self._regions is not None:
            self._regions = Regions()
        self._tracker = Tracker(first_id=self._tracker.next_id)
        self._book = Rulebook(
            self._make_rules(size_wh_px) if size_wh_px else Rules((), ()),
            count_interval_s=self._count_interval_s,
            attributes=self._readers.attributes if self._readers is not None else None,
        )
        self._looked_s = None
        if self._readers is not None:
            self._readers.reset()
