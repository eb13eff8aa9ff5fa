"""Stage 0: one thread per camera that keeps it open and keeps its freshest frame.

Camera in, frames out through a mailbox with one place: a slow reader gets the newest frame and the ones before it are
counted as dropped. A camera that fails is closed and opened again, for ever, with growing waits. What the camera is
doing can be seen in `state()`; the two listeners hear when it falls silent and when it is back. Knows nothing of what
is in a frame.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential, wait_random

from agent.alive import Signs
from agent.clock import Clock
from drivers.base import Camera, CameraEnded, CameraFormat, CameraRefused, DriverError, Frame

log = logging.getLogger(__name__)

Phase = Literal["opening", "connected", "waiting", "refused", "bug", "ended", "stopped"]

# From the beginning of one attempt to the beginning of the next. Back within 10 s of the source being healthy: a
# longest wait, or an attempt that hangs until its timeout and then a shortest wait, and starting a decoder on a slow
# board must fit.
_WAIT_S = wait_exponential(multiplier=0.4, max=5.0) + wait_random(0.0, 1.0)
_SHORTEST_WAIT_S = wait_random(0.3, 0.8)
# Cameras lock a user out after some wrong passwords in half a minute (five, by QCVN 135); three fit in here.
_REFUSED_WAIT_S = wait_exponential(multiplier=6.0, max=55.0) + wait_random(0.0, 5.0)
# A camera that opens and fails at once is not healthy: the waits go on growing until it has worked for this long.
_HEALTHY_AFTER_S = 10.0
# The first picture may have to wait for a key frame, which thrifty cameras send every 4 to 10 s.
_FIRST_FRAME_TIMEOUT_S = 12.0
_FPS_OVER_FRAMES = 50
# How long a step may take before its thread is stuck. Opening: GStreamer looks for its plugins (20 s), a decoder starts
# (20 s) and connects (6 s), an ONVIF camera is asked; and the one before is ended. Reading: drivers keep to the time
# they are given, on a machine that may be short of it.
_OPEN_WITHIN_S = 90.0
_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class CaptureState:
    """What a camera is doing now. Counters count from start()."""

    phase: Phase  # waiting, refused, bug: closed after a failure, will be opened again
    since_mono_s: float
    error: str | None  # the last failure; None while connected
    format: CameraFormat | None  # what the camera granted when it was last opened
    frames_read: int
    frames_dropped: int  # read, but replaced by a newer one before anybody took them
    failures: int
    last_frame_mono_s: float | None
    fps: float  # measured over the last frames; 0.0 unless connected


class Capture:
    """Owns one camera and the thread that reads it.

    stall_timeout_s: reopen after this long without a frame; also, how long a camera may give none before on_silent.
    on_silent(reason), on_back(lasted_s): called in the capture's thread, in turns; they must not block.
    pause: how to wait between attempts; stop() interrupts the default.
    """

    def __init__(
        self,
        camera_id: str,
        camera: Camera,
        *,
        clock: Clock,
        stall_timeout_s: float = 5.0,
        on_silent: Callable[[str], None] = lambda reason: None,
        on_back: Callable[[float], None] = lambda lasted_s: None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.camera_id = camera_id
        self.signs = Signs(f"capture-{camera_id}", clock)
        self._camera = camera
        self._clock = clock
        self._stall_timeout_s = stall_timeout_s
        self._on_silent = on_silent
        self._on_back = on_back
        self._stopping = threading.Event()
        self._pause = pause or self._stopping.wait
        self._thread = threading.Thread(target=self._run, name=f"capture-{camera_id}", daemon=True)
        self._changed = threading.Condition()
        # Below: guarded by _changed.
        self._mailbox: Frame | None = None
        self._phase: Phase = "opening"
        self._since_mono_s = clock.mono_s()
        self._error: str | None = None
        self._format: CameraFormat | None = None
        self._frames_read = 0
        self._frames_dropped = 0
        self._failures = 0
        self._last_frame_mono_s: float | None = None
        self._recent_mono_s: deque[float] = deque(maxlen=_FPS_OVER_FRAMES)
        # Below: used by the capture's thread only.
        self._alive_mono_s = clock.mono_s()  # the last frame, or the start
        self._attempt_mono_s = clock.mono_s()
        self._is_silent = False
        self._logged: str | None = None

    def resume(self, silent_since_s: float) -> None:
        """Before start: on_silent was called by the run before, and on_back was not."""
        self._is_silent, self._alive_mono_s = True, silent_since_s

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Ends the thread and closes the camera. False if it still hangs in the driver after timeout_s."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("camera %s: still busy %g s after being told to stop; left behind", self.camera_id, timeout_s)
        return not self._thread.is_alive()

    def take(self, timeout_s: float) -> Frame | None:
        """The newest frame not taken yet, waiting for one if need be. None: none came, or there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._mailbox is not None or self._is_over(), timeout_s)
            frame, self._mailbox = self._mailbox, None
            return frame

    def state(self) -> CaptureState:
        with self._changed:
            recent_s = self._recent_mono_s
            spread_s = recent_s[-1] - recent_s[0] if len(recent_s) > 1 else 0.0
            return CaptureState(
                phase=self._phase,
                since_mono_s=self._since_mono_s,
                error=self._error,
                format=self._format,
                frames_read=self._frames_read,
                frames_dropped=self._frames_dropped,
                failures=self._failures,
                last_frame_mono_s=self._last_frame_mono_s,
                fps=(len(recent_s) - 1) / spread_s if spread_s > 0 and self._phase == "connected" else 0.0,
            )

    def _is_over(self) -> bool:
        return self._phase in ("ended", "stopped") or self._stopping.is_set()

    def _run(self) -> None:
        while not self._stopping.is_set() and self._phase != "ended":
            # One round of growing waits per outage; a session that had become healthy returns and starts a new round.
            Retrying(
                retry=retry_if_exception_type(Exception),
                stop=lambda _: self._stopping.is_set(),
                wait=self._wait_s,
                sleep=self._wait,
                retry_error_callback=lambda _: None,
            )(self._session)
        if self._phase != "ended":
            self._enter("stopped", self._error)
        self.signs.end()

    def _wait_s(self, retry: RetryCallState) -> float:
        error = retry.outcome.exception() if retry.outcome else None
        wait_s = _REFUSED_WAIT_S(retry) if isinstance(error, CameraRefused) else _WAIT_S(retry)
        return max(_SHORTEST_WAIT_S(retry), wait_s - (self._clock.mono_s() - self._attempt_mono_s))

    def _wait(self, seconds: float) -> None:
        self.signs.give(seconds + _GRACE_S)
        self._pause(seconds)

    def _session(self) -> None:
        """Open the camera and read it until it fails. Raises what it failed with, unless it had become healthy."""
        if self._stopping.is_set():
            return
        self._enter("opening", self._error)
        self._attempt_mono_s = self._clock.mono_s()
        self.signs.give(_OPEN_WITHIN_S)
        healthy_from_mono_s: float | None = None
        try:
            granted = self._camera.open()
            frame = self._read(max(self._stall_timeout_s, _FIRST_FRAME_TIMEOUT_S))
            healthy_from_mono_s = self._clock.mono_s() + _HEALTHY_AFTER_S
            self._connected(granted)
            while not self._stopping.is_set():
                self._post(frame)
                frame = self._read(self._stall_timeout_s)
        except CameraEnded as exc:
            log.info("%s", exc)
            self._enter("ended", None)
        # Not a blanket to hide bugs under: a driver's bug must not end the watching either, and it is told as one.
        except Exception as exc:
            self._failed(exc)
            if healthy_from_mono_s is None or self._clock.mono_s() < healthy_from_mono_s:
                raise
        finally:
            self._camera.close()

    def _read(self, timeout_s: float) -> Frame:
        self.signs.give(timeout_s + _GRACE_S)
        return self._camera.read(timeout_s)

    def _connected(self, granted: CameraFormat) -> None:
        with self._changed:
            self._format = granted
        self._enter("connected", None)
        self._logged = None
        log.info(
            "camera %s: connected, %dx%d at %g fps, %s",
            self.camera_id,
            granted.width_px,
            granted.height_px,
            granted.fps,
            granted.codec,
        )
        if self._is_silent:
            self._is_silent = False
            self._on_back(self._clock.mono_s() - self._alive_mono_s)

    def _post(self, frame: Frame) -> None:
        self._alive_mono_s = self._clock.mono_s()
        with self._changed:
            self._frames_read += 1
            self._frames_dropped += self._mailbox is not None
            self._mailbox = frame
            self._last_frame_mono_s = self._alive_mono_s
            self._recent_mono_s.append(self._alive_mono_s)
            self._changed.notify_all()

    def _failed(self, exc: Exception) -> None:
        is_outage = isinstance(exc, DriverError)
        reason = str(exc) if is_outage else f"camera {self.camera_id}: bug in its driver: {exc!r}"
        with self._changed:
            self._failures += 1
            self._recent_mono_s.clear()
        self._enter("refused" if isinstance(exc, CameraRefused) else "waiting" if is_outage else "bug", reason)
        if reason != self._logged:  # an outage of days is not a line every few seconds
            if is_outage:
                log.warning("%s", reason)
            else:
                log.error("%s; opening it again", reason, exc_info=exc)
        self._logged = reason
        silent_for_s = self._clock.mono_s() - self._alive_mono_s
        # A refusal will not pass by itself; anything else may be over before it is worth an alert.
        if not self._is_silent and (isinstance(exc, CameraRefused) or silent_for_s >= self._stall_timeout_s):
            self._is_silent = True
            self._on_silent(reason)

    def _enter(self, phase: Phase, error: str | None) -> None:
        with self._changed:
            if phase != self._phase:
                self._since_mono_s = self._clock.mono_s()
            self._phase = phase
            self._error = error
            self._changed.notify_all()
