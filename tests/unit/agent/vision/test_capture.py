import logging
import threading
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from agent.clock import FakeClock
from agent.vision.capture import Capture, CaptureState
from drivers.base import CameraEnded, CameraFormat, CameraRefused, CameraStalled, CameraUnavailable, Frame
from drivers.fakes import FakeCamera, Step

PICTURE = np.zeros((4, 6, 3), np.uint8)


class Heard:
    """The listeners and the pauses of one capture, in the order in which they came."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.silent: list[str] = []
        self.back: list[float] = []
        self.pauses_s: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.clock.sleep(seconds)


def run_to_the_end(
    script: Iterable[Step], *, open_errors: Iterable[Exception | None] = (), fps: float = 10.0
) -> tuple[Capture, FakeCamera, Heard]:
    """Plays a script through a capture until the camera has ended; the capture is stopped then."""
    clock = FakeClock()
    camera = FakeCamera("north", script, fps=fps, open_errors=open_errors, wait=clock.sleep)
    heard = Heard(clock)
    capture = Capture(
        "north",
        camera,
        clock=clock,
        stall_timeout_s=5.0,
        on_silent=heard.silent.append,
        on_back=heard.back.append,
        pause=heard.pause,
    )
    capture.start()
    wait_until(capture, lambda state: state.phase == "ended")
    assert capture.stop()
    return capture, camera, heard


def wait_until(capture: Capture, true: Callable[[CaptureState], bool]) -> None:
    with capture._changed:
        assert capture._changed.wait_for(lambda: true(capture.state()), timeout=10.0), capture.state()


def test_the_freshest_frame_wins_and_the_others_are_counted() -> None:
    capture, _, _ = run_to_the_end([np.full((2, 2, 3), n, np.uint8) for n in range(10)])
    frame = capture.take(0)
    assert frame is not None
    assert (frame.index, int(frame.image_bgr[0, 0, 0])) == (9, 9)
    assert capture.take(0) is None
    assert (capture.state().frames_read, capture.state().frames_dropped) == (10, 9)


def test_a_stalled_camera_is_closed_and_opened_again() -> None:
    capture, camera, heard = run_to_the_end([PICTURE, None, PICTURE])
    assert camera.opens == 2
    assert camera.closes == 2
    assert capture.state().failures == 1
    assert len(heard.silent) == 1
    assert "no picture for 5 s" in heard.silent[0]
    # Silent for the 5 s of the stall, the pause, and the tenth of a second that the first new frame took.
    assert heard.back == pytest.approx([5.1 + heard.pauses_s[0]])


def test_a_short_break_is_mended_without_an_alert() -> None:
    _, camera, heard = run_to_the_end([PICTURE, CameraStalled("connection reset"), PICTURE])
    assert camera.opens == 2
    assert heard.silent == []
    assert heard.back == []


def test_waits_grow_are_jittered_and_stay_short_enough() -> None:
    errors = [CameraUnavailable("off")] * 12
    _, camera, heard = run_to_the_end([PICTURE], open_errors=errors)
    assert camera.opens == 13
    assert len(heard.pauses_s) == 12
    assert 0.4 <= heard.pauses_s[0] <= 1.4
    assert all(5.0 <= pause_s <= 6.0 for pause_s in heard.pauses_s[5:])
    assert len({round(pause_s, 6) for pause_s in heard.pauses_s[5:]}) > 1, "the same wait every time is not jittered"
    assert (len(heard.silent), len(heard.back)) == (1, 1)


def test_an_attempt_that_hangs_until_its_timeout_is_followed_by_a_short_wait() -> None:
    class SlowToFail(FakeCamera):
        def open(self) -> CameraFormat:
            clock.sleep(6.0)
            return super().open()

    clock = FakeClock()
    heard = Heard(clock)
    camera = SlowToFail("north", [PICTURE], open_errors=[CameraUnavailable("no stream within 6 s")] * 8)
    capture = Capture("north", camera, clock=clock, pause=heard.pause)
    capture.start()
    wait_until(capture, lambda state: state.phase == "ended")
    capture.stop()
    assert len(heard.pauses_s) == 8
    assert all(0.3 <= pause_s <= 0.8 for pause_s in heard.pauses_s)


def test_a_refusal_is_told_at_once_and_retried_slowly() -> None:
    refusals = [CameraRefused("wrong password (401)")] * 7
    _, _, heard = run_to_the_end([PICTURE], open_errors=refusals)
    assert heard.silent == ["wrong password (401)"]
    assert sum(heard.pauses_s[:3]) > 30, "cameras lock a user out after five wrong passwords in 30 s"
    assert max(heard.pauses_s) <= 60


def test_waits_go_on_growing_for_a_camera_that_fails_right_after_its_first_frame() -> None:
    script: list[Step] = []
    for _ in range(8):
        script += [PICTURE, CameraStalled("broke off")]
    _, camera, heard = run_to_the_end(script)
    assert camera.opens == 9
    assert heard.pauses_s[-1] >= 4.5  # of 5 to 6 s, less the attempt's own time


def test_after_a_healthy_time_the_first_attempt_is_at_once_and_waits_begin_small_again() -> None:
    healthy: list[Step] = [PICTURE] * 200  # 20 s
    off = [None, *[CameraUnavailable("off")] * 6, None, CameraUnavailable("off")]
    _, _, heard = run_to_the_end([*healthy, CameraStalled("cut"), *healthy, CameraStalled("cut")], open_errors=off)
    assert len(heard.pauses_s) == 7
    assert heard.pauses_s[5] >= 5.0
    assert heard.pauses_s[6] <= 1.4


def test_a_drivers_bug_is_logged_as_one_and_the_camera_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        capture, camera, _ = run_to_the_end([PICTURE, ZeroDivisionError("in the driver"), PICTURE])
    assert camera.opens == 2
    assert capture.state().frames_read == 2
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.levelno == logging.ERROR
    assert "bug in its driver" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_the_state_says_bug_while_waiting_after_one() -> None:
    seen: list[CaptureState] = []
    clock = FakeClock()
    camera = FakeCamera("north", [PICTURE, KeyError("x"), PICTURE], wait=clock.sleep)
    capture = Capture("north", camera, clock=clock, pause=lambda seconds: seen.append(capture.state()))
    capture.start()
    wait_until(capture, lambda state: state.phase == "ended")
    capture.stop()
    assert [state.phase for state in seen] == ["bug"]
    assert "KeyError" in (seen[0].error or "")


@pytest.mark.parametrize(
    ("error", "phase"),
    [(CameraUnavailable("off"), "waiting"), (CameraRefused("no"), "refused"), (CameraStalled("hm"), "waiting")],
)
def test_the_state_names_what_is_being_waited_for(error: Exception, phase: str) -> None:
    seen: list[CaptureState] = []
    clock = FakeClock()
    camera = FakeCamera("north", [PICTURE], open_errors=[error])
    capture = Capture("north", camera, clock=clock, pause=lambda seconds: seen.append(capture.state()))
    capture.start()
    wait_until(capture, lambda state: state.phase == "ended")
    capture.stop()
    assert [(state.phase, state.error) for state in seen] == [(phase, str(error))]


def test_an_outage_of_days_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run_to_the_end([PICTURE], open_errors=[CameraUnavailable("off")] * 500)
    assert [record.getMessage() for record in caplog.records].count("off") == 1


def test_the_end_of_a_recording_is_not_a_fault() -> None:
    capture, camera, heard = run_to_the_end([PICTURE, PICTURE])
    state = capture.state()
    assert (state.phase, state.error, state.failures) == ("ended", None, 0)
    assert heard.silent == []
    assert camera.closes == 1


class LiveCamera:
    """Gives a frame whenever the test lets it, and knows whether it is open."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.go = threading.Semaphore(0)
        self.is_open = False
        self.index = -1

    def open(self) -> CameraFormat:
        self.is_open = True
        return CameraFormat(6, 4, 10.0, "test")

    def read(self, timeout_s: float) -> Frame:
        if not self.go.acquire(timeout=10.0):
            raise CameraEnded("the test forgot this camera")
        self.index += 1
        self.clock.sleep(0.1)
        return Frame(PICTURE, self.index, self.clock.mono_s())

    def close(self) -> None:
        self.is_open = False


def test_state_measures_the_frame_rate_and_stop_closes_the_camera() -> None:
    clock = FakeClock()
    camera = LiveCamera(clock)
    capture = Capture("north", camera, clock=clock)
    capture.start()
    camera.go.release(20)
    wait_until(capture, lambda state: state.frames_read == 20)
    state = capture.state()
    assert state.phase == "connected"
    assert state.fps == pytest.approx(10.0)
    assert state.format == CameraFormat(6, 4, 10.0, "test")
    assert state.last_frame_mono_s == clock.mono_s()
    capture._stopping.set()
    camera.go.release()
    assert capture.stop()
    assert not camera.is_open
    assert capture.state().phase == "stopped"
    assert capture.state().fps == 0.0


def test_stop_interrupts_the_wait_between_attempts() -> None:
    clock = FakeClock()
    camera = FakeCamera("north", [], open_errors=[CameraRefused("no")] * 10)
    capture = Capture("north", camera, clock=clock)
    capture.start()
    wait_until(capture, lambda state: state.phase == "refused")
    assert capture.stop(timeout_s=5.0)
    assert camera.opens == 1


def test_take_returns_at_once_when_there_will_be_no_more_frames() -> None:
    capture, _, _ = run_to_the_end([])
    assert capture.take(timeout_s=3600) is None


def test_stop_before_start_does_nothing() -> None:
    clock = FakeClock()
    assert Capture("north", FakeCamera("north", []), clock=clock).stop()
