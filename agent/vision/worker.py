"""The thread of one camera: newest frame through the stages, what happened into the outbox.

A slow detector makes it take fewer frames, never older ones. An event that cannot be stored is kept and tried again,
and until it is stored no new frame is looked at: nothing that was seen is lost, and health shows the frames dropped.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from agent.alive import Signs
from agent.clock import Clock, Stamp
from agent.contract.event import (
    Alert,
    Body,
    CameraFault,
    CameraSilent,
    Counts,
    Event,
    Evidence,
    LeftBehind,
    Place,
    Removed,
    StateAlert,
    Stream,
)
from agent.errors import EventStoreError
from agent.vision.capture import Capture, CaptureState
from agent.vision.live import Tap
from agent.vision.pipeline import Pipeline, Seen
from agent.vision.rules.base import Happening
from agent.vision.scene import Scene
from agent.vision.track import Tracks
from drivers.base import Camera, Frame

_log = logging.getLogger(__name__)

_TAKE_TIMEOUT_S = 0.5
_STORE_AGAIN_S = 1.0
_AFTER_BUG_S = 1.0
_STEP_WITHIN_S = 60.0  # one picture through all stages, on a slow board that is hot and short of memory


class Witness(Protocol):
    """Whoever keeps pictures for alerts."""

    def look(self, frame: Frame, tracks: Tracks) -> None: ...
    def testify(self, track: int, place: Place | None = None) -> Evidence | None: ...


class Memory(Protocol):
    """What outlives the agent. Does not raise: a disk that cannot be written is no reason to stop watching."""

    def keep_view(self, memory: bytes) -> None: ...
    def reached_track(self, number: int) -> None: ...


class CameraWorker:
    """Owns the capture and the thread of one camera. put: stores events or raises EventStoreError.

    witness: asked for a picture where a rule wants one; none: no rule does.
    """

    def __init__(
        self,
        camera_id: str,
        camera: Camera,
        pipeline: Pipeline,
        put: Callable[..., None],
        *,
        clock: Clock,
        stall_timeout_s: float,
        scene: Scene | None = None,
        witness: Witness | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.camera_id = camera_id
        self.pipeline = pipeline
        self.scene = scene
        self.tap = Tap(clock)
        self._witness = witness
        self._memory = memory
        self._put = put
        self._clock = clock
        self._silent_alert: str | None = None
        self._notices: deque[Event] = deque()
        self.bugs = 0
        self._over = False
        self._wanted: deque[Future[Frame]] = deque()
        self._signs = Signs(f"vision-{camera_id}", clock)
        self._stopping = threading.Event()
        self._capture = Capture(
            camera_id,
            camera,
            clock=clock,
            stall_timeout_s=stall_timeout_s,
            on_silent=self._on_silent,
            on_back=self._on_back,
        )
        self._thread = threading.Thread(target=self._run, name=f"vision-{camera_id}", daemon=True)

    def resume(self, body: CameraSilent | CameraFault | StateAlert, since_s: float) -> None:
        """Before start: go on with what was raised when the agent ended."""
        if isinstance(body, CameraSilent):
            self._silent_alert = body.alert
            self._capture.resume(since_s)
        else:
            self.pipeline.resume(body, since_s)

    def start(self) -> None:
        self._capture.start()
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Store what is known and end. May be called twice."""
        self._stopping.set()
        self._capture.stop(timeout_s)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def state(self) -> CaptureState:
        return self._capture.state()

    @property
    def signs(self) -> tuple[Signs, ...]:
        return self._capture.signs, self._signs

    def next_frame(self, timeout_s: float) -> Frame | None:
        """The next picture that the stages look at, for another thread; None: none came in time."""
        wanted: Future[Frame] = Future()
        self._wanted.append(wanted)
        try:
            return wanted.result(timeout_s)
        except TimeoutError:
            wanted.cancel()
            return None

    def ended(self) -> bool:
        """The camera was a recording, it is over, and everything it showed is stored."""
        return self._over

    def _run(self) -> None:
        while not self._stopping.is_set() and not self._over:
            self._signs.give(_STEP_WITHIN_S)
            self._store_notices()
            # Asked before the frame is taken: the last one may come together with the end.
            over = self._capture.state().phase == "ended"
            frame = self._capture.take(0.0 if over else _TAKE_TIMEOUT_S)
            if frame is not None:
                self._look(frame)
            elif over:
                break
        self._finish()
        self._store_notices()
        self._remember(is_last=True)
        self._signs.end()
        self._over = True

    def _look(self, frame: Frame) -> None:
        while self._wanted:
            wanted = self._wanted.popleft()
            if wanted.set_running_or_notify_cancel():
                wanted.set_result(frame)
        try:
            seen = self.pipeline.process(frame)
        except Exception:  # a bug in a stage: say so loudly, and let this camera and the others go on
            _log.exception(
                "camera %s: bug in a vision stage at frame %d; starting it anew", self.camera_id, frame.index
            )
            self.bugs += 1
            self._finish()
            self.pipeline.reset()
            self._stopping.wait(_AFTER_BUG_S)
            return
        if self._witness is not None:
            self._show(self._witness, frame, seen)
        self._store(seen.happened)
        self._remember()
        if self.tap.is_watched:
            self._reveal(frame, seen)
        if self.scene is not None:
            self._draw(frame, seen)

    def _finish(self) -> None:
        """Store what the stages have counted so far; a bug may have left them unable to say."""
        try:
            happened = self.pipeline.finish()
        except Exception:
            _log.exception("camera %s: bug in a vision stage: what it had counted is lost", self.camera_id)
            return
        self._store(happened)

    def _show(self, witness: Witness, frame: Frame, seen: Seen) -> None:
        try:
            witness.look(frame, seen.tracks)
        except Exception:  # a picture is not worth a camera, nor an alert
            _log.exception("camera %s: bug in keeping pictures for alerts; going on without", self.camera_id)
            self._witness = None

    def _remember(self, *, is_last: bool = False) -> None:
        """After the events are stored: an alert that is remembered as raised has been told."""
        if self._memory is None:
            return
        try:
            self._memory.reached_track(self.pipeline.next_track)
            health = self.pipeline.health
            if health is not None and (is_last or health.is_to_be_remembered()):
                self._memory.keep_view(health.memory())
        except Exception:  # what the next run would like to know is not worth a camera
            _log.exception("camera %s: bug in remembering; going on without", self.camera_id)
            self._memory = None

    def _reveal(self, frame: Frame, seen: Seen) -> None:
        try:
            self.tap.show(frame, seen)
        except Exception:  # who looks on is not worth a camera
            _log.exception("camera %s: bug in showing its picture; nobody is shown it any more", self.camera_id)
            self.tap.close()

    def _draw(self, frame: Frame, seen: Seen) -> None:
        assert self.scene is not None
        try:
            self.scene.add(frame, seen)
        except Exception:  # a picture for a person is not worth a camera
            _log.exception("camera %s: bug in the picture of the scene; going on without it", self.camera_id)
            self.scene = None

    def _store(self, happened: list[Happening]) -> None:
        if happened:
            now, now_s = self._clock.stamp(), self._clock.mono_s()
            self._put_until_stored([self._event(self._proven(h), _earlier(now, now_s - h.mono_s)) for h in happened])

    def _proven(self, happening: Happening) -> Body:
        """Its body, with the picture that a rule wanted, if there is one. An alert is never lost for its picture."""
        body = happening.body
        if self._witness is None or not happening.evidence or not isinstance(body, Alert):
            return body
        try:
            place = body.place if isinstance(body, LeftBehind | Removed) else None
            return body.model_copy(update={"evidence": self._witness.testify(happening.track, place)})
        except Exception:
            _log.exception("camera %s: bug in the picture of an alert; it goes without", self.camera_id)
            return body

    def _store_notices(self) -> None:
        while self._notices:
            self._put_until_stored([self._notices[0]])
            self._notices.popleft()

    def _put_until_stored(self, events: list[Event]) -> None:
        complained = False
        while True:
            self._signs.give(_STEP_WITHIN_S)
            try:
                self._put(*events)
                return
            except EventStoreError as exc:
                if not complained:
                    _log.error("camera %s: %d event(s) wait to be stored: %s", self.camera_id, len(events), exc)
                    complained = True
            if self._stopping.wait(_STORE_AGAIN_S):
                _log.error("camera %s: stopped with %d event(s) not stored", self.camera_id, len(events))
                return

    def _event(self, body: Body, stamp: Stamp) -> Event:
        stream = Stream.COUNT if isinstance(body, Counts) else Stream.ALERT
        return Event(stream, self.camera_id, body, stamp)

    def _on_silent(self, reason: str) -> None:
        self._silent_alert = secrets.token_hex(4)
        body = CameraSilent(state="raised", alert=self._silent_alert, reason=reason)
        self._notices.append(self._event(body, self._clock.stamp()))

    def _on_back(self, lasted_s: float) -> None:
        if self._silent_alert is not None:
            body = CameraSilent(state="cleared", alert=self._silent_alert, lasted_s=round(lasted_s, 1))
            self._notices.append(self._event(body, self._clock.stamp()))
            self._silent_alert = None


def _earlier(stamp: Stamp, by_s: float) -> Stamp:
    """The stamp of something that happened by_s before it."""
    by_ms = max(round(by_s * 1000), 0)
    return Stamp(stamp.wall_ms - by_ms, stamp.mono_ms - by_ms, stamp.trusted)
