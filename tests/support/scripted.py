"""A camera as it is configured, whose scene is a script: drawn, told to a perfect detector, played through the real
pipeline."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TypeVar

from agent import config
from agent.camera import make_pipeline
from agent.contract.event import Body
from agent.vision.rules.base import Happening
from agent.vision.rules.policy import LocalTime, time_unknown
from drivers.base import Frame
from tests.support.vision import Box, PerfectDetector, Picture, inside_picture, noisy, road, with_boxes

WIDE_PX, HIGH_PX = 640, 360
HEAD = '[box]\nsite = "test"\nid = "gw"\n[[camera]]\nid = "north"\nsource = "file:clip.mp4"\n'
ZONE = '[[camera.zone]]\nid = "plaza"\npolygon = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.95], [0.25, 0.95]]\n'
LINE = '[[camera.line]]\nid = "gate"\na = [0.0, 0.6]\nb = [1.0, 0.6]\n'

BodyT = TypeVar("BodyT", bound=Body)
Objects = Sequence[tuple[str, Box]]


class ScriptedCamera:
    """tables: TOML for the camera's lines, zones and rules. things: boxes that are drawn and that nobody detects."""

    def __init__(self, tables: str, *, fps: float = 10.0, local_time: LocalTime = time_unknown) -> None:
        (camera,) = config.parse(HEAD + tables, "gateway.toml").camera
        numbers = itertools.count(1)
        self.detector = PerfectDetector()
        self.pipeline = make_pipeline(
            camera, self.detector, local_time=local_time, new_id=lambda: f"alert-{next(numbers)}"
        )
        self.fps = fps
        self.index = 0
        self.things: list[Box] = []
        self.scene: Picture = road(WIDE_PX, HIGH_PX)
        self.happened: list[Happening] = []

    @property
    def mono_s(self) -> float:
        return self.index / self.fps

    def show(self, objects: Objects = (), *, seconds: float = 0.0) -> None:
        """One frame, or the same objects for some seconds, through a sensor's noise."""
        clipped = [(name, inside_picture(box, WIDE_PX, HIGH_PX)) for name, box in objects]
        visible = [(name, box) for name, box in clipped if box is not None]
        still = with_boxes(self.scene, self.things, (200, 220, 240))
        picture = with_boxes(still, [box for _, box in visible])
        self.detector.sees = visible
        for _ in range(max(round(seconds * self.fps), 1)):
            frame = Frame(noisy(picture, self.index), self.index, self.mono_s)
            self.happened += self.pipeline.process(frame).happened
            self.index += 1

    def move(self, name: str, begin: Box, end: Box, *, seconds: float, beside: Objects = ()) -> None:
        """One object on a straight way from box to box, with others that stand beside it."""
        frames = max(round(seconds * self.fps), 1)
        for n in range(frames + 1):
            box = tuple(a + (b - a) * n / frames for a, b in zip(begin, end, strict=True))
            self.show([(name, (box[0], box[1], box[2], box[3])), *beside])

    def finish(self) -> None:
        self.happened += self.pipeline.finish()

    def said(self, kind: type[BodyT]) -> list[BodyT]:
        return [h.body for h in self.happened if isinstance(h.body, kind)]

    def when(self, kind: type[Body]) -> list[float]:
        return [h.mono_s for h in self.happened if isinstance(h.body, kind)]


def alerts_of(happened: Iterable[Happening], kind: type[BodyT]) -> list[BodyT]:
    return [h.body for h in happened if isinstance(h.body, kind)]
