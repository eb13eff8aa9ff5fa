"""A camera with the agent's capture on it, and waiting for what a test is about."""

from __future__ import annotations

from agent.clock import SystemClock
from agent.vision.capture import Capture
from drivers.base import Frame
from drivers.cameras.decoded import DecodedCamera

PATIENCE_S = 40.0
"""So that a broken build fails; not a measurement."""


class WatchedCamera:
    def __init__(self, camera: DecodedCamera, *, stall_timeout_s: float) -> None:
        self.camera = camera
        self.silences: list[str] = []
        self.capture = Capture(
            "cam",
            camera,
            clock=SystemClock(),
            stall_timeout_s=stall_timeout_s,
            on_silent=self.silences.append,
        )
        self.capture.start()

    def frame(self) -> Frame:
        self.capture.take(0)  # what lay there may be from before
        frame = self.capture.take(PATIENCE_S)
        assert frame is not None, self.capture.state()
        return frame

    def wait_for_failure(self, after: int = 0) -> str:
        with self.capture._changed:
            assert self.capture._changed.wait_for(
                lambda: self.capture._failures > after and self.capture._error, PATIENCE_S
            ), self.capture.state()
            return self.capture._error or ""
