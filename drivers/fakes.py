"""Devices that play a script: for tests, for trying the agent without hardware, for trying out a driver of your own.

They keep the contracts of `drivers.base` to the letter, so that what runs against them runs against the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from drivers.base import CLASSES, CameraEnded, CameraFormat, CameraStalled, CameraUnavailable, Detections, Frame

Step = npt.NDArray[np.uint8] | Exception | None


class FakeCamera:
    """Plays a script: an array is a frame, an exception is raised, None is silence for timeout_s.

    open_errors: raised by the first open(), the second, ...; after them (or for a None among them) open() succeeds.
    fps: frames are this far apart in mono_s. Silence moves the time by the timeout of the read that met it.
    wait: called with the seconds a real camera would have taken; give a fake clock's sleep, or nothing to run at once.
    At the end of the script: CameraEnded. Reopening goes on with the script where it was.
    """

    def __init__(
        self,
        camera_id: str,
        script: Iterable[Step],
        *,
        fps: float = 10.0,
        open_errors: Iterable[Exception | None] = (),
        wait: Callable[[float], None] = lambda seconds: None,
        first_mono_s: float = 0.0,
    ) -> None:
        self.camera_id = camera_id
        self.opens = 0
        self.closes = 0
        steps = list(script)
        first = next((step for step in steps if isinstance(step, np.ndarray)), None)
        self._format = CameraFormat(
            width_px=first.shape[1] if first is not None else 0,
            height_px=first.shape[0] if first is not None else 0,
            fps=fps,
            codec="fake",
        )
        self._script: Iterator[Step] = iter(steps)
        self._fps = fps
        self._open_errors = iter(open_errors)
        self._wait = wait
        self._is_open = False
        self._index = -1
        self._mono_s = first_mono_s - 1.0 / fps

    def open(self) -> CameraFormat:
        self.opens += 1
        error = next(self._open_errors, None)
        if error is not None:
            raise error
        self._is_open = True
        return self._format

    def read(self, timeout_s: float) -> Frame:
        if not self._is_open:
            raise CameraUnavailable(f"camera {self.camera_id} is not open; call open() first")
        for step in self._script:
            if step is None:
                self._wait(timeout_s)
                self._mono_s += timeout_s
                raise CameraStalled(f"camera {self.camera_id}: no picture for {timeout_s:g} s")
            if isinstance(step, Exception):
                raise step
            self._wait(1.0 / self._fps)
            self._index += 1
            self._mono_s += 1.0 / self._fps
            return Frame(step, self._index, self._mono_s)
        raise CameraEnded(f"camera {self.camera_id}: the script is at its end")

    def close(self) -> None:
        self._is_open = False
        self.closes += 1


class FakeDetector:
    """Sees what it is told to: script[i] is what the i-th call of detect() gives; nothing beyond the script.

    Each object is (class name, score, (left, top, right, bottom)), pixels in the picture that was given.
    Example: FakeDetector([[("car", 0.9, (10, 20, 110, 80))], []]) sees a car once, then nothing.
    """

    def __init__(
        self,
        script: Sequence[Sequence[tuple[str, float, tuple[float, float, float, float]]]]
        | Mapping[int, Sequence[tuple[str, float, tuple[float, float, float, float]]]],
    ) -> None:
        self._script = dict(script) if isinstance(script, Mapping) else dict(enumerate(script))
        self.calls = 0
        self.closed = False

    def detect(self, image_bgr: npt.NDArray[np.uint8], min_score: float) -> Detections:
        seen = sorted((o for o in self._script.get(self.calls, ()) if o[1] >= min_score), key=lambda o: -o[1])
        self.calls += 1
        if not seen:
            return Detections.none()
        return Detections(
            boxes_xyxy_px=np.array([box for _, _, box in seen], np.float32),
            scores=np.array([score for _, score, _ in seen], np.float32),
            class_ids=np.array([CLASSES.index(name) for name, _, _ in seen], np.int32),
        )

    def close(self) -> None:
        self.closed = True
