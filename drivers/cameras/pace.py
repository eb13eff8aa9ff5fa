"""Which of a source's frames are wanted when fewer are asked for than it gives. Pure arithmetic on timestamps."""

from __future__ import annotations

# A frame may come this share of a period early, else a 10 fps camera with jitter, asked for 10 fps, would lose frames.
_EARLY = 0.25


class Pace:
    """Lets through at most fps frames a second, in step with a fixed beat, so that the average holds.

    Example: at 10 fps, frames of a 25 fps source at 0, 40, 80, 120, 160, 200 ms: 0, 80 and 200 ms pass.
    """

    def __init__(self, fps: float | None) -> None:
        """fps: None lets every frame through."""
        self._period_s = 1.0 / fps if fps else 0.0
        self._due_s: float | None = None

    def wants(self, frame_s: float) -> bool:
        """frame_s: the frame's time in seconds, never smaller than that of the call before."""
        if not self._period_s:
            return True
        if self._due_s is None:
            self._due_s = frame_s + self._period_s
            return True
        if frame_s < self._due_s - _EARLY * self._period_s:
            return False
        self._due_s += self._period_s
        if self._due_s <= frame_s:  # a pause longer than a period: start the beat anew rather than catch up
            self._due_s = frame_s + self._period_s
        return True
