"""The seam between the agent and hardware: what a camera, a sensor and a detector give and how they fail.

Everything above this line knows these types only; everything below it knows one device each. `drivers` never
imports `agent`, so a city can ship its own driver without touching the agent.

Errors, split by what the caller does about them:

    DriverError
    ├── CameraUnavailable    cannot be opened now: wait, then open again
    │   └── CameraRefused    it answered and said no (password, path): open again too, but slowly
    ├── CameraStalled        open, but no picture came in time: close, open again
    ├── CameraEnded          a recording came to its end: stop, this is not a fault
    ├── SensorUnavailable    cannot be opened, or does not answer now: close, wait, open again
    │   └── SensorRefused    it answered and said no (no such register, no permission): the same, but slowly
    ├── SensorInvalid        it answered, with what cannot be true (checksum, range): no reading, ask again next time
    └── ModelPackError       the pack on disk cannot be used: exit 78
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

CLASSES = ("person", "bicycle", "motorcycle", "car", "bus", "truck")
"""What the agent counts. A detector maps its own labels onto these and drops the rest."""


class DriverError(Exception):
    """A device failed in a way the device, not the program, is to blame for."""


class CameraUnavailable(DriverError):
    """The camera cannot be opened now."""


class CameraRefused(CameraUnavailable):
    """The camera answered and refused: wrong password, no such stream.

    status: with which HTTP or RTSP status, None where there was none.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class CameraStalled(DriverError):
    """The camera is open but gave no picture in time, or the picture could not be decoded any more."""


class CameraEnded(DriverError):
    """A recording was played to its end."""


class SensorUnavailable(DriverError):
    """The sensor, or what it hangs on, cannot be opened or gives no answer now."""


class SensorRefused(SensorUnavailable):
    """The sensor answered and refused: no such register, no such line, no permission."""


class SensorInvalid(DriverError):
    """The sensor answered with what cannot be true: a wrong checksum, a cut-off answer, a value outside its range."""


class ModelPackError(DriverError):
    """A model pack is missing, damaged, or not what its manifest says."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture. Stages read it and never write into it.

    image_bgr: uint8 (height, width, 3), x right, y DOWN.
    index: counts the source's frames from 0, the dropped ones too.
    mono_s: when it was taken on the monotonic clock, in seconds; for a recording, the recording's own time from 0.
    """

    image_bgr: npt.NDArray[np.uint8]
    index: int
    mono_s: float

    @property
    def size_wh_px(self) -> tuple[int, int]:
        return self.image_bgr.shape[1], self.image_bgr.shape[0]


@dataclass(frozen=True, slots=True)
class CameraFormat:
    """What the camera granted, which need not be what it was asked for."""

    width_px: int
    height_px: int
    fps: float  # 0.0 where the source does not say
    codec: str  # "h264", "hevc", "MJPG", "YUYV", "jpeg" ...


class Camera(Protocol):
    """A source of pictures. One thread uses it; open and close may be repeated."""

    def open(self) -> CameraFormat:
        """Connect. Raises CameraUnavailable (or CameraRefused) with what was tried and what to do."""

    def read(self, timeout_s: float) -> Frame:
        """The newest picture not yet read. Raises CameraStalled if none came in time, CameraEnded at the end."""

    def close(self) -> None:
        """Let go of the device. May be called twice, or after a failed open()."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector saw in one picture; row i of each array is one object.

    boxes_xyxy_px: float32 (n, 4), left, top, right, bottom, in the picture that was given, not in the model's input.
    scores: float32 (n,), 0..1.
    class_ids: int32 (n,), index into CLASSES.
    """

    boxes_xyxy_px: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def none() -> Detections:
        return Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))


class Detector(Protocol):
    """A trained network behind one call. Safe to share between threads: an implementation serialises itself."""

    def detect(self, image_bgr: npt.NDArray[np.uint8], min_score: float) -> Detections:
        """Objects scored at least min_score, best first, per-class duplicates already removed."""

    def close(self) -> None:
        """Free the network. May be called twice."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one quantity was at one moment.

    quantity: its id within the sensor: "temperature", "pm25", "door".
    value: in `unit`; for the unit "bool" 1.0 is on (door open, mains lost) and 0.0 off. NaN where there was no number.
    unit: one of `drivers.units.UNITS`.
    mono_s: when it was measured on the monotonic clock, in seconds.
    invalid: why the value is not to be believed; None for a good one. So one bad register does not hide the others.
    """

    quantity: str
    value: float
    unit: str
    mono_s: float
    invalid: str | None = None


class Sensor(Protocol):
    """Something that measures, or tells on from off. One thread uses it; open and close may be repeated."""

    sensor_id: str
    bus: str
    """What it shares with others: a port, an adapter, a host. One thread per bus asks its sensors in turns."""

    def open(self) -> None:
        """Connect. Raises SensorUnavailable (or SensorRefused) with what was tried and what to do."""

    def read(self, timeout_s: float) -> Sequence[Reading]:
        """What it measures now; for one that speaks by itself, the next it says, or nothing if it said nothing.

        Raises SensorUnavailable if it does not answer in time, SensorInvalid if the whole answer is not to be believed.
        """

    def close(self) -> None:
        """Let go of the device. May be called twice, or after a failed open()."""


@dataclass(frozen=True, slots=True)
class TimeOffer:
    """What a sensor believes the time to be: UTC, Unix milliseconds, at mono_s on the monotonic clock."""

    utc_ms: int
    mono_s: float


@runtime_checkable
class TimeSource(Protocol):
    """A sensor that also knows the time, such as a GNSS receiver."""

    def time_offer(self) -> TimeOffer | None:
        """The time of the last read(), None if that did not tell it."""


class Output(Protocol):
    """A siren or a light. Off when it is opened, off when it is closed, and off when the agent is gone."""

    output_id: str

    def open(self) -> None:
        """Take the line and switch it off. Raises SensorUnavailable (or SensorRefused)."""

    def set(self, on: bool) -> None:
        """Raises SensorUnavailable if it cannot."""

    def close(self) -> None:
        """Switch off and let go. May be called twice, or after a failed open()."""
