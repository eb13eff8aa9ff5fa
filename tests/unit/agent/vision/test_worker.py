import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from agent.clock import FakeClock, SystemClock
from agent.contract.event import (
    Alert,
    CameraFault,
    CameraSilent,
    Counts,
    Crossing,
    Event,
    Evidence,
    LeftBehind,
    Stream,
)
from agent.errors import EventStoreError
from agent.vision import worker as worker_module
from agent.vision.pipeline import Pipeline, Seen
from agent.vision.rulebook import Rules
from agent.vision.rules.base import Happening
from agent.vision.scene import Scene
from agent.vision.worker import CameraWorker
from drivers.base import CameraEnded, CameraFormat, CameraStalled, Frame
from drivers.fakes import FakeDetector
from tests.support.vision import road, sighting

PICTURE = road(64, 36)
SOON_S = 10.0  # what a busy machine may take; nothing waits for it when it works


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_STORE_AGAIN_S", 0.001)
    monkeypatch.setattr(worker_module, "_AFTER_BUG_S", 0.001)
    monkeypatch.setattr(worker_module, "_TAKE_TIMEOUT_S", 0.02)


class StepCamera:
    """Gives the next picture when the one before has been looked at: none is dropped, and no clock is needed.

    steps: a frame index is a picture taken then (its mono_s is a tenth of it), an exception is raised.
    """

    def __init__(self, steps: Sequence[int | Exception]) -> None:
        self._steps: Iterator[int | Exception] = iter(steps)
        self.looked_at = threading.Semaphore(1)

    def open(self) -> CameraFormat:
        return CameraFormat(64, 36, 10.0, "fake")

    def read(self, timeout_s: float) -> Frame:
        assert self.looked_at.acquire(timeout=SOON_S), "the worker looks no further"
        step = next(self._steps, CameraEnded("camera north: the script is at its end"))
        if isinstance(step, Exception):
            self.looked_at.release()
            raise step
        return Frame(PICTURE, step, step / 10)

    def close(self) -> None:
        pass


class ScriptedPipeline:
    """Says what it is told at each frame: happenings, or a bug to raise."""

    def __init__(self, said: dict[int, list[Happening] | Exception], at_the_end: Sequence[Happening] = ()) -> None:
        self.said = said
        self.at_the_end = list(at_the_end)
        self.frames: list[int] = []
        self.resets = 0
        self.health = None
        self.next_track = 1
        self.camera: StepCamera | None = None

    def process(self, frame: Frame) -> Seen:
        self.frames.append(frame.index)
        assert self.camera is not None
        self.camera.looked_at.release()
        said = self.said.get(frame.index, [])
        if isinstance(said, Exception):
            raise said
        return Seen(said, sighting({}, frame.index, frame.mono_s), None, True)  # type: ignore[arg-type]

    def reset(self) -> None:
        self.resets += 1

    def finish(self) -> list[Happening]:
        return self.at_the_end


class Store:
    """The outbox as the worker sees it: takes events, or fails as often as told."""

    def __init__(self, failures: Sequence[bool] = ()) -> None:
        self._failures = iter(failures)
        self.tried: list[tuple[Event, ...]] = []
        self.stored: list[Event] = []
        self.changed = threading.Condition()

    def put(self, *events: Event) -> None:
        with self.changed:
            self.tried.append(events)
            self.changed.notify_all()
            if next(self._failures, False):
                raise EventStoreError("/var/lib/outbox.db: disk full; free some space")
            self.stored += events

    def bodies(self) -> list[Any]:
        return [event.body for event in self.stored]


def crossing(track: int, mono_s: float = 0.0) -> Happening:
    body = Crossing.model_validate({"line": "gate", "direction": "in", "class": "car", "track": track})
    return Happening(body, track, 0, mono_s)


def run(
    steps: Sequence[int | Exception],
    pipeline: ScriptedPipeline,
    store: Store,
    *,
    clock: FakeClock | None = None,
    stall_timeout_s: float = 5.0,
    scene: Scene | None = None,
    witness: Any = None,
    wake: Callable[[], None] | None = None,
) -> CameraWorker:
    """From start to the end of the camera's script; stopped then. wake: of somebody who looks at its pictures."""
    camera = pipeline.camera = StepCamera(steps)
    worker = CameraWorker(
        "north",
        camera,
        pipeline,  # type: ignore[arg-type]
        store.put,
        clock=clock or FakeClock(mono_s=0.0),
        stall_timeout_s=stall_timeout_s,
        scene=scene,
        witness=witness,
    )
    worker._capture._pause = lambda seconds: None  # reopening need not be waited for
    if wake is not None:
        worker.tap.open(wake)
    worker.start()
    worker._thread.join(SOON_S)
    assert worker.ended(), "did not come to its end"
    worker.stop()
    return worker


def test_what_happened_reaches_the_store_in_order() -> None:
    store = Store()
    run([0, 1, 2], ScriptedPipeline({0: [crossing(1)], 2: [crossing(2), crossing(3)]}), store)
    assert [body.track for body in store.bodies()] == [1, 2, 3]
    assert {(event.stream, event.source) for event in store.stored} == {(Stream.ALERT, "north")}


def test_counts_go_on_their_own_stream() -> None:
    store = Store()
    run([0, 1], ScriptedPipeline({}, [Happening(Counts(interval_s=0.1, seen_s=0.1), 0, 1, 0.1)]), store)
    assert [event.stream for event in store.stored] == [Stream.COUNT]


def test_a_recording_that_ended_has_told_its_last_counts() -> None:
    store = Store()
    camera = StepCamera(list(range(20)))
    pipeline = Pipeline(FakeDetector([]), lambda wh: Rules((), ()))
    look = pipeline.process

    def process(frame: Frame) -> Seen:
        seen = look(frame)
        camera.looked_at.release()
        return seen

    pipeline.process = process  # type: ignore[method-assign]
    worker = CameraWorker("north", camera, pipeline, store.put, clock=SystemClock(), stall_timeout_s=5.0)
    worker.start()
    worker._thread.join(SOON_S)
    assert worker.ended()
    worker.stop()
    assert store.bodies() == [Counts(interval_s=1.9, seen_s=1.9)]


def test_an_event_is_stamped_with_when_it_happened_not_with_when_it_was_told() -> None:
    store, clock = Store(), FakeClock(wall_ms=1_700_000_000_000, mono_s=50.0)
    run([0], ScriptedPipeline({0: [crossing(1, mono_s=48.5)]}), store, clock=clock)
    (event,) = store.stored
    assert (event.stamp.wall_ms, event.stamp.mono_ms) == (1_699_999_998_500, 48_500)


@pytest.mark.parametrize("failures", [1, 5])
def test_what_cannot_be_stored_is_tried_again_unchanged_and_nothing_is_lost(failures: int) -> None:
    store = Store([True] * failures)
    pipeline = ScriptedPipeline({0: [crossing(1), crossing(2)], 1: [crossing(3)]})
    run([0, 1], pipeline, store)
    assert store.tried[:failures] == [store.tried[0]] * failures
    assert [body.track for body in store.bodies()] == [1, 2, 3]


def test_no_frame_is_looked_at_while_events_wait_to_be_stored() -> None:
    looked_at: list[list[int]] = []
    pipeline = ScriptedPipeline({0: [crossing(1)]})
    store = Store([True] * 20)
    put = store.put

    def watched_put(*events: Event) -> None:
        looked_at.append(list(pipeline.frames))
        put(*events)

    store.put = watched_put  # type: ignore[method-assign]
    run([0, 1, 2], pipeline, store)
    assert looked_at == [[0]] * 21
    assert pipeline.frames == [0, 1, 2]


def test_an_outage_of_the_store_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    run([0], ScriptedPipeline({0: [crossing(1)]}), Store([True] * 20))
    assert sum("wait to be stored" in record.message for record in caplog.records) == 1
    assert "disk full" in caplog.text


def test_a_worker_told_to_stop_does_not_try_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    store, camera = Store([True] * 1_000_000), StepCamera([0])
    pipeline = ScriptedPipeline({0: [crossing(1)]})
    pipeline.camera = camera
    worker = CameraWorker(
        "north",
        camera,
        pipeline,  # type: ignore[arg-type]
        store.put,
        clock=FakeClock(mono_s=0.0),
        stall_timeout_s=5.0,
    )
    worker.start()
    with store.changed:
        assert store.changed.wait_for(lambda: len(store.tried) >= 2, SOON_S)
    worker.stop()
    assert not worker._thread.is_alive()
    assert "1 event(s) not stored" in caplog.text


def test_a_bug_in_a_stage_is_logged_as_one_and_the_camera_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = ScriptedPipeline({0: [crossing(1)], 1: ZeroDivisionError("float division"), 3: [crossing(2)]})
    store = Store()
    worker = run([0, 1, 2, 3], pipeline, store)
    assert pipeline.frames == [0, 1, 2, 3]
    assert (worker.bugs, pipeline.resets) == (1, 1)
    assert [body.track for body in store.bodies()] == [1, 2]
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "camera north: bug in a vision stage at frame 1" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_a_bug_at_every_frame_does_not_end_the_camera() -> None:
    bugs: dict[int, list[Happening] | Exception] = {n: RuntimeError("again") for n in range(10)}
    worker = run(list(range(10)), ScriptedPipeline(bugs), Store())
    assert worker.bugs == 10


def stall_for(clock: FakeClock, seconds: float) -> Exception:
    """An error whose telling takes time, as a camera's silence does."""

    class Stall(CameraStalled):
        def __str__(self) -> str:
            return "camera north: no picture"

    clock.sleep(seconds)
    return Stall()


class FailingCamera(StepCamera):
    """A step that is a function is called for the exception to raise: so that time can pass in it."""

    def read(self, timeout_s: float) -> Frame:
        assert self.looked_at.acquire(timeout=SOON_S), "the worker looks no further"
        step: Any = next(self._steps, CameraEnded("camera north: the script is at its end"))
        if callable(step):
            step = step()
        if isinstance(step, Exception):
            self.looked_at.release()
            raise step
        return Frame(PICTURE, step, step / 10)


def run_with_silences(
    steps: Sequence[int | Callable[[], Exception]], clock: FakeClock, store: Store, resumed: CameraSilent | None = None
) -> None:
    pipeline = ScriptedPipeline({})
    camera = pipeline.camera = FailingCamera(steps)  # type: ignore[arg-type]
    worker = CameraWorker(
        "north",
        camera,
        pipeline,  # type: ignore[arg-type]
        store.put,
        clock=clock,
        stall_timeout_s=5.0,
    )
    worker._capture._pause = lambda seconds: None
    if resumed is not None:
        worker.resume(resumed, clock.mono_s() - 100.0)
    worker.start()
    worker._thread.join(SOON_S)
    assert worker.ended()
    worker.stop()


def test_silence_and_its_end_are_told_under_one_alert() -> None:
    clock, store = FakeClock(mono_s=0.0), Store()
    silence: Callable[[], Exception] = lambda: stall_for(clock, 6.0)  # noqa: E731
    run_with_silences([0, silence, silence, silence, 1, 2], clock, store)
    raised, cleared = store.bodies()
    assert isinstance(raised, CameraSilent)
    assert isinstance(cleared, CameraSilent)
    assert (raised.state, cleared.state) == ("raised", "cleared")
    assert raised.alert == cleared.alert
    assert raised.reason == "camera north: no picture"
    assert cleared.lasted_s == pytest.approx(18.0)
    assert {event.stream for event in store.stored} == {Stream.ALERT}


def test_a_silence_until_the_end_is_told() -> None:
    clock, store = FakeClock(mono_s=0.0), Store()
    run_with_silences([0, lambda: stall_for(clock, 6.0)], clock, store)
    assert [body.state for body in store.bodies()] == ["raised"]


def test_a_silence_from_before_the_agent_started_is_not_told_again_and_ends_under_its_id() -> None:
    clock, store = FakeClock(mono_s=0.0), Store()
    before = CameraSilent(state="raised", alert="from-before", reason="no picture for 5 s")
    run_with_silences([lambda: stall_for(clock, 6.0), 0, 1], clock, store, before)
    (cleared,) = store.bodies()
    assert (cleared.state, cleared.alert) == ("cleared", "from-before")
    assert cleared.lasted_s == pytest.approx(106.0)


def test_an_alert_of_a_rule_from_before_the_agent_started_is_the_pipelines_business() -> None:
    resumed: list[tuple[object, float]] = []
    pipeline = ScriptedPipeline({})
    pipeline.resume = lambda body, since_s: resumed.append((body, since_s))  # type: ignore[attr-defined]
    camera = pipeline.camera = StepCamera([])
    worker = CameraWorker("north", camera, pipeline, Store().put, clock=FakeClock(), stall_timeout_s=5.0)  # type: ignore[arg-type]
    fault = CameraFault(fault="dark", state="raised", alert="a1", severity="critical")
    worker.resume(fault, 7.0)
    assert resumed == [(fault, 7.0)]


def test_each_silence_has_an_alert_of_its_own() -> None:
    clock, store = FakeClock(mono_s=0.0), Store()
    silence: Callable[[], Exception] = lambda: stall_for(clock, 6.0)  # noqa: E731
    run_with_silences([0, silence, 1, silence, 2], clock, store)
    bodies = store.bodies()
    assert [body.state for body in bodies] == ["raised", "cleared", "raised", "cleared"]
    assert bodies[0].alert == bodies[1].alert != bodies[2].alert == bodies[3].alert


def test_an_alert_that_cannot_be_stored_is_tried_again() -> None:
    clock, store = FakeClock(mono_s=0.0), Store([True] * 3)
    run_with_silences([0, lambda: stall_for(clock, 6.0), 1], clock, store)
    assert [body.state for body in store.bodies()] == ["raised", "cleared"]
    assert len(store.tried) == 5


def test_a_short_failure_is_no_alert() -> None:
    clock, store = FakeClock(mono_s=0.0), Store()
    run_with_silences([0, lambda: stall_for(clock, 1.0), 1], clock, store)
    assert store.bodies() == []


def test_the_scene_is_given_what_was_seen() -> None:
    scene = Scene((), ())
    run([0, 1], ScriptedPipeline({}), Store(), scene=scene)
    picture = scene.draw()
    assert picture is not None
    assert np.array_equal(picture, PICTURE)


def test_a_worker_that_was_never_started_can_be_stopped() -> None:
    worker = CameraWorker(
        "north",
        StepCamera([]),
        Pipeline(FakeDetector([]), lambda wh: Rules((), ())),
        Store().put,
        clock=FakeClock(),
        stall_timeout_s=5.0,
    )
    worker.stop()
    worker.stop()
    assert not worker.ended()


def test_a_bug_in_drawing_the_scene_does_not_end_the_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    class BrokenScene:
        def add(self, frame: object, seen: object) -> None:
            raise ZeroDivisionError

    died = []
    monkeypatch.setattr(threading, "excepthook", lambda args: died.append(args.exc_type))
    store, pipeline = Store(), ScriptedPipeline({1: [crossing(1)]})
    camera = pipeline.camera = StepCamera([0, 1])
    worker = CameraWorker(
        "north", camera, pipeline, store.put, clock=FakeClock(), stall_timeout_s=5.0, scene=BrokenScene()
    )
    worker.start()
    worker._thread.join(10)
    camera.looked_at.release()
    camera.looked_at.release()
    worker.stop()
    assert died == []
    assert worker.ended()
    assert [b.track for b in store.bodies()] == [1]


# ---- pictures --------------------------------------------------------------------------------------------------------


class WrongWay(Alert):
    """An alert as a rule would make it."""

    kind: str = "wrong-way"
    track: int


EVIDENCE = Evidence(id="7-ab", sha256="00", bytes=1)


class ScriptedWitness:
    """Remembers what it was shown and asked; answers, or breaks, as told."""

    def __init__(self, answer: Evidence | Exception | None = EVIDENCE, *, blind: bool = False) -> None:
        self.answer = answer
        self.blind = blind
        self.calls: list[tuple[str, int]] = []
        self.places: list[object] = []

    def look(self, frame: Frame, tracks: object) -> None:
        self.calls.append(("look", frame.index))
        if self.blind:
            raise ZeroDivisionError

    def testify(self, track: int, place: object = None) -> Evidence | None:
        self.places.append(place)
        self.calls.append(("testify", track))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_picture_is_handed_to_whoever_looks_and_to_nobody_else() -> None:
    woken: list[int] = []
    unwatched = run([0, 1, 2], ScriptedPipeline({}), Store())
    assert unwatched.tap.take() is None
    watched = run([0, 1, 2], ScriptedPipeline({}), Store(), wake=lambda: woken.append(1))
    shown = watched.tap.take()
    assert shown is not None
    assert (shown.frame.index, len(woken)) == (2, 3)


def test_a_bug_in_showing_a_picture_ends_the_showing_and_not_the_camera(caplog: pytest.LogCaptureFixture) -> None:
    def wake() -> None:
        raise RuntimeError("Event loop is closed")

    pipeline = ScriptedPipeline({})
    worker = run([0, 1, 2], pipeline, Store(), wake=wake)
    assert pipeline.frames == [0, 1, 2]
    assert not worker.tap.is_watched
    assert "nobody is shown it any more" in caplog.text


def alert(track: int, *, evidence: bool = True) -> Happening:
    body = WrongWay(rule="one-way", severity="warning", track=track)
    return Happening(body, track, 0, 0.0, evidence=evidence)


def test_an_alert_that_wants_a_picture_names_one_that_is_stored_before_the_alert_is() -> None:
    witness, store = ScriptedWitness(), Store([True])
    run([0, 1], ScriptedPipeline({1: [alert(5)]}), store, witness=witness)
    assert [body.evidence for body in store.bodies()] == [EVIDENCE]
    assert witness.calls == [("look", 0), ("look", 1), ("testify", 5)], "one picture, though the alert was stored twice"


def test_only_alerts_whose_rule_wants_one_get_a_picture() -> None:
    witness, store = ScriptedWitness(), Store()
    unasked = Happening(crossing(2).body, 2, 0, 0.0, evidence=True)
    run([0], ScriptedPipeline({0: [alert(5, evidence=False), unasked]}), store, witness=witness)
    assert witness.calls == [("look", 0)]
    assert [getattr(body, "evidence", None) for body in store.bodies()] == [None, None]


@pytest.mark.parametrize("answer", [None, ZeroDivisionError("in drawing")])
def test_an_alert_is_never_lost_for_its_picture(answer: Exception | None) -> None:
    store = Store()
    run([0, 1], ScriptedPipeline({0: [alert(5)], 1: [alert(6)]}), store, witness=ScriptedWitness(answer))
    assert [(body.track, body.evidence) for body in store.bodies()] == [(5, None), (6, None)]


def test_a_bug_in_keeping_pictures_ends_the_pictures_and_not_the_camera(caplog: pytest.LogCaptureFixture) -> None:
    witness, store = ScriptedWitness(blind=True), Store()
    worker = run([0, 1], ScriptedPipeline({1: [alert(5)]}), store, witness=witness)
    assert [body.evidence for body in store.bodies()] == [None]
    assert (witness.calls, worker.bugs) == ([("look", 0)], 0)
    assert "going on without" in caplog.text


def test_what_happened_at_the_end_may_have_a_picture_too() -> None:
    store = Store()
    run([0], ScriptedPipeline({}, [alert(5)]), store, witness=ScriptedWitness())
    assert [body.evidence for body in store.bodies()] == [EVIDENCE]


def test_the_place_of_a_thing_left_behind_goes_with_the_wish_for_its_picture() -> None:
    witness, place = ScriptedWitness(), (0.1, 0.2, 0.3, 0.4)
    body = LeftBehind(
        rule="bags", severity="warning", state="raised", alert="a1", zone="hall", place=place, dwell_s=60.0
    )
    said: list[Happening] = [Happening(body, 0, 0, 0.0, evidence=True), alert(5)]
    run([0], ScriptedPipeline({0: said}), Store(), witness=witness)  # type: ignore[dict-item]
    assert witness.places == [place, None]


# ---- memory ----------------------------------------------------------------------------------------------------------


class Notebook:
    """A memory that says in which order it was asked, beside what was stored."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.views: list[tuple[bytes, int]] = []
        self.reached: list[int] = []

    def keep_view(self, memory: bytes) -> None:
        self.views.append((memory, len(self.store.stored)))

    def reached_track(self, number: int) -> None:
        self.reached.append(number)


class ScriptedHealth:
    def __init__(self, speaks_at: int) -> None:
        self.speaks_at = speaks_at
        self.looks = 0

    def update(self, frame: Frame) -> list[Happening]:
        self.looks += 1
        if frame.index != self.speaks_at:
            return []
        body = CameraFault(fault="dark", state="raised", alert="a1", severity="critical")
        return [Happening(body, 0, frame.index, frame.mono_s)]

    def restart(self) -> None:
        pass

    def faults(self) -> tuple[str, ...]:
        return ("dark",) if self.looks > self.speaks_at else ()

    def is_to_be_remembered(self) -> bool:
        return self.looks == self.speaks_at + 1

    def memory(self) -> bytes:
        return b"seen %d" % self.looks


def test_a_bug_in_remembering_does_not_end_the_camera(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Notebook):
        def reached_track(self, number: int) -> None:
            raise ZeroDivisionError

    store, pipeline = Store(), ScriptedPipeline({1: [crossing(1)]})
    camera = pipeline.camera = StepCamera([0, 1])
    worker = CameraWorker(
        "north",
        camera,
        pipeline,  # type: ignore[arg-type]
        store.put,
        clock=FakeClock(),
        stall_timeout_s=5.0,
        memory=Broken(store),
    )
    worker.start()
    worker._thread.join(SOON_S)
    worker.stop()
    assert [body.track for body in store.bodies()] == [1]
    assert sum("bug in remembering" in record.message for record in caplog.records) == 1


def test_an_alert_is_remembered_once_it_is_stored_and_everything_at_the_end() -> None:
    store = Store([True, True])
    notebook = Notebook(store)
    camera = StepCamera([0, 1, 2, 3])
    health = ScriptedHealth(1)
    pipeline = Pipeline(FakeDetector([]), lambda wh: Rules((), ()), health=health, first_track=41)  # type: ignore[arg-type]
    look = pipeline.process

    def process(frame: Frame) -> Seen:
        camera.looked_at.release()
        return look(frame)

    pipeline.process = process  # type: ignore[method-assign]
    worker = CameraWorker("north", camera, pipeline, store.put, clock=FakeClock(), stall_timeout_s=5.0, memory=notebook)
    worker.start()
    worker._thread.join(SOON_S)
    worker.stop()
    first, last = notebook.views
    assert first[1] == 1, "the alert was in the store before it was remembered"
    assert last[0].startswith(b"seen")
    assert next(body.kind for body in store.bodies()) == "camera-fault"
    assert set(notebook.reached) == {41}
