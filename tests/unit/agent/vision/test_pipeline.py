from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from agent.contract.event import CameraFault, Counts, Crossing, Dwell, ZoneEnter, ZoneExit
from agent.contract.wire import body_json
from agent.vision.budget import InferenceBudget
from agent.vision.camera_health import CameraHealth
from agent.vision.pipeline import _LOOK_EVERY_S, Pipeline
from agent.vision.readers import Reader
from agent.vision.rulebook import Rules
from agent.vision.rules.base import Happening
from agent.vision.rules.crossing import LineCrossing
from agent.vision.rules.zone import ZonePresence
from drivers.base import CLASSES, Frame
from drivers.fakes import FakeDetector
from tests.support.vision import ALL_CLASSES, Box, PerfectDetector, inside_picture, road, with_boxes

HD = (1280, 720)
Objects = Mapping[str, Box]  # class name and its box; one of a class is enough here
Point = tuple[float, float]


def rules(
    lines: Mapping[str, tuple[Point, Point]] | None = None,
    zones: Mapping[str, Sequence[Point]] | None = None,
    *,
    class_ids: frozenset[int] = ALL_CLASSES,
    dwell_s: float | None = None,
) -> Callable[[tuple[int, int]], Rules]:
    """Lines and zones in fractions of the picture."""

    def make(frame_wh_px: tuple[int, int]) -> Rules:
        size = np.array(frame_wh_px)
        return Rules(
            tuple(
                LineCrossing(name, np.array(a) * size, np.array(b) * size, class_ids=class_ids)
                for name, (a, b) in (lines or {}).items()
            ),
            tuple(
                ZonePresence(
                    name, np.array(polygon) * size, frame_wh_px=frame_wh_px, class_ids=class_ids, dwell_s=dwell_s
                )
                for name, polygon in (zones or {}).items()
            ),
        )

    return make


UPRIGHT = {"first": ((0.35, 0.0), (0.35, 1.0)), "second": ((0.65, 0.0), (0.65, 1.0))}
LEVEL = {"first": ((0.0, 0.35), (1.0, 0.35)), "second": ((0.0, 0.65), (1.0, 0.65))}
GATE = {"gate": ((0.0, 0.6), (1.0, 0.6))}
PLAZA = {"plaza": ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))}


class Camera:
    """Draws what is there, tells the perfect detector, and plays it through a pipeline."""

    def __init__(
        self, pipeline: Pipeline, detector: PerfectDetector, *, wh_px: tuple[int, int] = HD, fps: float = 10.0
    ):
        self.pipeline = pipeline
        self.detector = detector
        self.scene = road(*wh_px)
        self.fps = fps
        self.index = 0
        self.happened: list[Happening] = []

    @property
    def mono_s(self) -> float:
        return self.index / self.fps

    def show(self, objects: Iterable[tuple[str, Box]] = (), *, seconds: float = 0.0) -> None:
        """One frame, or the same picture for some seconds."""
        high, wide = self.scene.shape[:2]
        clipped = [(name, inside_picture(box, wide, high)) for name, box in objects]
        visible = [(name, box) for name, box in clipped if box is not None]
        picture = with_boxes(self.scene, [box for _, box in visible])
        self.detector.sees = visible
        for _ in range(max(round(seconds * self.fps), 1)):
            self.happened += self.pipeline.process(Frame(picture, self.index, self.mono_s)).happened
            self.index += 1

    def change_size(self, wide: int, high: int) -> None:
        self.scene = road(wide, high)

    def said(self, kind: type) -> list[Happening]:
        return [h for h in self.happened if isinstance(h.body, kind)]

    def crossings(self) -> list[tuple[str, str, str]]:
        return [
            (h.body.line, h.body.direction, h.body.object_class) for h in self.happened if isinstance(h.body, Crossing)
        ]


def camera(
    make_rules: Callable[[tuple[int, int]], Rules],
    *,
    wh_px: tuple[int, int] = HD,
    fps: float = 10.0,
    score: float = 0.9,
    count_interval_s: float = 60.0,
    motion_gate: bool = True,
    readers: Sequence[Reader] = (),
) -> Camera:
    detector = PerfectDetector(score)
    pipeline = Pipeline(
        detector, make_rules, count_interval_s=count_interval_s, motion_gate=motion_gate, readers=readers
    )
    return Camera(pipeline, detector, wh_px=wh_px, fps=fps)


def passage(fraction: float, direction: str, wide: float, high: float) -> Box:
    """Where it is when so much of the crossing of the whole view is done: from just outside to just outside."""
    if direction in ("right", "left"):
        done = fraction if direction == "right" else 1.0 - fraction
        x = -wide + done * (HD[0] + wide)
        return x, 300.0, x + wide, 300.0 + high
    done = fraction if direction == "down" else 1.0 - fraction
    y = -high + done * (HD[1] + high)
    return 500.0, y, 500.0 + wide, y + high


@pytest.mark.parametrize("motion_gate", [True, False])
@pytest.mark.parametrize(
    ("direction", "wide", "high", "wanted"),
    [
        pytest.param("right", 300, 160, "out", id="a car to the right"),
        pytest.param("left", 300, 160, "in", id="a car to the left"),
        pytest.param("right", 480, 300, "out", id="a lorry to the right"),
        pytest.param("left", 480, 300, "in", id="a lorry to the left"),
        pytest.param("down", 220, 200, "in", id="a car towards the camera"),
        pytest.param("up", 220, 200, "out", id="a car away from it"),
    ],
)
def test_a_crossing_of_the_whole_view_in_seven_tenths_of_a_second_is_counted_every_time_on_both_lines(
    direction: str, wide: float, high: float, wanted: str, motion_gate: bool
) -> None:
    """At 10 fps, so seven sightings; whenever it comes, and a little faster or slower."""
    lines = UPRIGHT if direction in ("right", "left") else LEVEL
    watched = camera(rules(lines), motion_gate=motion_gate)
    watched.show(seconds=1.5)
    passed = 0
    for crossing_s in (0.65, 0.7, 0.8):
        for phase in range(10):
            began_s, shown = watched.mono_s - 0.1 * phase / 10, 0
            while (done := (watched.mono_s - began_s) / crossing_s) < 1.0:
                watched.show([("car", passage(done, direction, wide, high))])
                shown += 1
            assert shown <= 9
            passed += 1
            watched.show(seconds=1.6)
            assert Counter(watched.crossings()) == {(name, wanted, "car"): passed for name in ("first", "second")}, (
                f"{crossing_s} s, phase {phase}"
            )


@pytest.mark.parametrize("direction", ["down", "up"])
def test_forty_objects_at_once_are_all_counted(direction: str) -> None:
    """Twenty lanes of two, each lane at its own pace, over two lines."""
    watched = camera(rules(LEVEL))
    watched.show(seconds=1.0)
    began_s = watched.mono_s
    for _ in range(60):
        t = watched.mono_s - began_s
        objects = []
        for k in range(40):
            done = t * (110 + k % 20 % 7 * 10) - 110 * (k // 20)
            y = done if direction == "down" else 720 - done
            objects.append(("car", (5 + 63 * (k % 20), y - 30, 57 + 63 * (k % 20), y + 30)))
        watched.show(objects)
    watched.show(seconds=2.0)
    way = "in" if direction == "down" else "out"
    assert Counter(watched.crossings()) == {(name, way, "car"): 40 for name in ("first", "second")}
    by_line = Counter((h.body.line, h.track) for h in watched.said(Crossing) if isinstance(h.body, Crossing))
    assert set(by_line.values()) == {1}, "each of them once a line"


def drive(watched: Camera, name: str = "car", *, down: bool = True, x: float = 600.0, seconds: float = 3.0) -> None:
    """Through the whole view from above to below, or back."""
    high, wide = watched.scene.shape[:2]
    began_s = watched.mono_s
    while (done := (watched.mono_s - began_s) / seconds) <= 1.0:
        y = -100 + 820 * (done if down else 1.0 - done)
        watched.show([(name, (x * wide / 1280, y * high / 720, (x + 160) * wide / 1280, (y + 100) * high / 720))])


def test_classes_a_line_is_not_about_are_not_counted_on_it() -> None:
    people_only = camera(rules(GATE, class_ids=frozenset({0})))
    people_only.show(seconds=1.0)
    drive(people_only, "car")
    people_only.show(seconds=2.0)
    assert people_only.crossings() == []
    drive(people_only, "person", down=False, seconds=6.0)
    assert people_only.crossings() == [("gate", "out", "person")]


def test_the_class_told_is_the_one_voted_by_the_time_it_is_told() -> None:
    """Not that of the first sight, at which it entered."""
    watched = camera(rules(None, PLAZA), score=0.4)
    watched.show(seconds=1.0)
    for n in range(15):
        watched.show([("truck" if n == 0 else "car", (600 + 5 * n, 300, 760 + 5 * n, 400))])
    (enter,) = watched.said(ZoneEnter)
    assert isinstance(enter.body, ZoneEnter)
    assert enter.body.object_class == "car"


def test_what_a_doubtful_object_did_is_held_back_and_dropped_when_it_comes_to_nothing() -> None:
    watched = camera(rules(GATE, PLAZA), score=0.4)
    watched.show(seconds=1.0)
    watched.show([("car", (600, 300, 760, 400))])
    assert watched.pipeline.process(Frame(watched.scene, watched.index, watched.mono_s)).tracks.ids.tolist() == [1]
    watched.show(seconds=8.0)
    drive(watched)
    assert {h.track for h in watched.happened} == {2}, "the second is the first that anything is told of"


def test_what_an_object_did_before_it_was_sure_is_told_once_it_is() -> None:
    """Slow evidence: the enter at first sight is told late, and dated when it was."""
    watched = camera(rules(None, PLAZA), score=0.4)
    watched.show(seconds=1.0)
    entered_s = watched.mono_s
    for n in range(15):
        watched.show([("person", (600 + 3 * n, 250, 640 + 3 * n, 400))])
    (enter,) = watched.said(ZoneEnter)
    assert enter.mono_s == pytest.approx(entered_s)


def test_a_shut_gate_saves_the_detector_and_dwell_is_told_all_the_same() -> None:
    watched = camera(rules(None, PLAZA, dwell_s=20.0))
    watched.show(seconds=2.0)
    for n in range(20):  # drives in and parks
        watched.show([("car", (200 + 20 * n, 300, 360 + 20 * n, 400))])
    entered_s = watched.said(ZoneEnter)[0].mono_s
    parked = [("car", (580.0, 300.0, 740.0, 400.0))]
    looked = watched.pipeline.inferred
    watched.show(parked, seconds=30.0)
    (dwell,) = watched.said(Dwell)
    assert dwell.mono_s == pytest.approx(entered_s + 20.0, abs=0.11)
    assert watched.pipeline.inferred - looked < 60, "of 300 frames"
    assert watched.pipeline.frames == watched.index
    assert watched.said(ZoneExit) == []


def test_an_empty_road_is_hardly_looked_at() -> None:
    watched = camera(rules(GATE))
    watched.show(seconds=60.0)
    assert 60 / _LOOK_EVERY_S - 1 <= watched.pipeline.inferred <= 30
    assert watched.detector.calls == watched.pipeline.inferred


def test_without_a_gate_every_frame_is_looked_at() -> None:
    watched = camera(rules(GATE), motion_gate=False)
    watched.show(seconds=5.0)
    assert watched.pipeline.inferred == watched.pipeline.frames == 50


def test_a_camera_that_changes_its_pictures_size_loses_no_count_and_uses_no_number_again() -> None:
    watched = camera(rules(GATE), count_interval_s=1000.0)
    watched.show(seconds=1.0)
    drive(watched)
    watched.show(seconds=2.0)
    for wh_px in ((640, 360), (640, 480), (1280, 720)):
        watched.change_size(*wh_px)
        watched.show(seconds=1.0)
        drive(watched)
        watched.show(seconds=2.0)
    watched.happened += watched.pipeline.finish()
    assert watched.crossings() == [("gate", "in", "car")] * 4
    tracks = [h.track for h in watched.said(Crossing)]
    assert tracks == sorted(set(tracks))
    counts = [h.body for h in watched.said(Counts)]
    assert [sum(line.n for line in body.lines) for body in counts if isinstance(body, Counts)] == [1, 1, 1, 1]


def test_sums_equal_single_events() -> None:
    watched = camera(rules({**GATE, **LEVEL}), count_interval_s=7.0)
    watched.show(seconds=1.0)
    for n in range(6):
        drive(watched, ("car", "bus", "person")[n % 3], down=n % 2 == 0, seconds=2.0)
        watched.show(seconds=1.5)
    watched.happened += watched.pipeline.finish()
    summed: Counter[tuple[str, str, str]] = Counter()
    for h in watched.said(Counts):
        assert isinstance(h.body, Counts)
        for line in h.body.lines:
            summed[line.line, line.direction, line.object_class] += line.n
    assert summed == Counter(watched.crossings())
    assert sum(summed.values()) == 18


def test_what_happened_comes_in_order_and_with_the_frames_own_numbers() -> None:
    watched = camera(rules({**GATE, **LEVEL}, PLAZA))
    watched.show(seconds=1.0)
    drive(watched)
    watched.show(seconds=2.0)
    frames = [h.frame_index for h in watched.happened]
    assert frames == sorted(frames)
    assert all(0 <= h.frame_index < watched.index for h in watched.happened)
    assert [h.body.kind for h in watched.happened if isinstance(h.body, ZoneEnter | ZoneExit)] == ["enter", "exit"]


def test_what_is_told_late_is_told_in_the_order_in_which_it_happened() -> None:
    """It enters, and crosses the line, before it is sure."""
    watched = camera(rules(GATE, PLAZA), score=0.4)
    watched.show(seconds=1.0)
    for y in (400, 470, 500, 510, 520):
        watched.show([("person", (600, y - 100, 640, y))])
    told_at_once = [h.body for h in watched.happened]
    assert [type(body) for body in told_at_once] == [ZoneEnter, Crossing]


def test_reset_forgets_what_was_followed() -> None:
    watched = camera(rules(GATE))
    watched.show(seconds=1.0)
    for n in range(10):
        watched.show([("car", (600, 200 + 10 * n, 760, 300 + 10 * n))])
    watched.pipeline.reset()
    watched.show([("car", (600, 500, 760, 600))])
    watched.show(seconds=2.0)
    assert watched.crossings() == []
    drive(watched)
    assert watched.crossings() == [("gate", "in", "car")]


def test_the_same_frames_give_the_same_events() -> None:
    def run() -> list[Happening]:
        watched = camera(rules({**GATE, **LEVEL}, PLAZA, dwell_s=1.0), count_interval_s=5.0)
        watched.show(seconds=1.0)
        drive(watched)
        drive(watched, "bus", down=False, x=400)
        watched.show(seconds=2.0)
        return [*watched.happened, *watched.pipeline.finish()]

    first = run()
    assert len(first) > 8
    assert run() == first


def test_finish_before_the_first_frame_says_nothing() -> None:
    assert Pipeline(FakeDetector([]), rules(GATE)).finish() == []


WHOLE = {"whole": ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))}


@pytest.mark.parametrize("direction", ["down", "right"])
@pytest.mark.parametrize("px_per_s", [60, 150, 300, 600])
def test_what_drove_out_of_the_picture_is_gone_though_the_gate_shut_behind_it(direction: str, px_per_s: int) -> None:
    watched = camera(rules(None, WHOLE, dwell_s=20.0))
    watched.show(seconds=4.0)
    t0 = watched.mono_s
    while (d := (watched.mono_s - t0) * px_per_s) < (900 if direction == "down" else 1400):
        box = (600, d - 150, 750, d - 50) if direction == "down" else (d - 150, 300, d, 400)
        watched.show([("car", box)])
    left_s = watched.mono_s
    watched.show(seconds=60.0)
    exits = watched.said(ZoneExit)
    assert len(exits) == 1
    if left_s - watched.said(ZoneEnter)[0].mono_s < 15:
        assert watched.said(Dwell) == []


def test_reset_uses_no_number_again() -> None:
    watched = camera(rules(GATE))
    watched.show(seconds=1.0)
    drive(watched)
    watched.show(seconds=2.0)
    watched.pipeline.reset()
    watched.show(seconds=1.0)
    drive(watched)
    watched.show(seconds=2.0)
    tracks = [h.track for h in watched.said(Crossing)]
    assert len(tracks) == len(set(tracks)) == 2


def test_what_stayed_in_a_zone_when_the_picture_changed_its_size_has_left_it() -> None:
    watched = camera(rules(None, PLAZA))
    watched.show(seconds=2.0)
    for n in range(20):
        watched.show([("car", (200 + 20 * n, 300, 360 + 20 * n, 400))])
    watched.change_size(640, 360)
    watched.show(seconds=5.0)
    assert [h.body.kind for h in watched.happened if isinstance(h.body, ZoneEnter | ZoneExit)] == ["enter", "exit"]


def test_no_exit_and_no_dwell_is_told_of_what_never_entered() -> None:
    """Parked in doubt: its enter is held back for two seconds and dropped; later looks make it sure."""
    watched = camera(rules(None, PLAZA, dwell_s=10.0), score=0.6)
    watched.show(seconds=2.0)
    parked = [("car", (580.0, 300.0, 740.0, 400.0))]
    watched.show(parked, seconds=0.1)
    for _ in range(40):
        watched.show(parked, seconds=2.0)
    kinds = [h.body.kind for h in watched.happened if not isinstance(h.body, Counts)]
    assert kinds == [] or kinds[0] == "enter"


@pytest.mark.parametrize("px_per_frame", [15, 30])
def test_a_car_lost_as_it_leaves_raises_no_dwell_in_an_empty_zone(px_per_frame: int) -> None:
    """The gate shuts 0.3 s behind it, while the tracker still remembers it: hold() must not keep it alive."""
    watched = camera(rules(None, WHOLE, dwell_s=10.0))
    watched.show(seconds=4.0)
    for bottom in range(0, 715, px_per_frame):
        watched.show([("car", (600, bottom - 100, 750, bottom))])
    watched.show(seconds=60.0)
    assert watched.said(Dwell) == []


@pytest.mark.parametrize("wide", [80, 160, 200])
def test_a_small_object_that_crosses_in_seven_tenths_of_a_second_is_counted(wide: int) -> None:
    watched = camera(rules(UPRIGHT))
    watched.show(seconds=1.5)
    began_s = watched.mono_s
    while (done := (watched.mono_s - began_s) / 0.7) < 1.0:
        watched.show([("car", passage(done, "right", wide, 100))])
    watched.show(seconds=1.6)
    assert len(watched.crossings()) == 2


# ---- readers ---------------------------------------------------------------------------------------------------------


class SizeReader:
    """Reads of a car whether it is wide: an attribute without a network."""

    name = "shape"
    class_ids = frozenset({CLASSES.index("car")})
    least_side_px = 10.0

    def read(self, crop_bgr: np.ndarray) -> tuple[str, float] | None:
        high, wide = crop_bgr.shape[:2]
        return ("wide" if wide > high else "high"), 0.9


def passing(name: str, **options: Any) -> Camera:
    """Something of that class drives down over the gate and on."""
    watched = camera(rules(GATE, PLAZA), **options)
    watched.show(seconds=1.5)
    for n in range(20):
        watched.show([(name, passage(n / 19, "down", 220, 100))])
    return watched


def test_what_a_reader_says_lands_in_the_crossings_of_the_object() -> None:
    (crossed,) = passing("car", readers=[SizeReader()]).said(Crossing)
    assert crossed.body.attributes == {"shape": "wide"}  # type: ignore[attr-defined]
    assert "attributes" not in passing("car", readers=[SizeReader()]).said(ZoneEnter)[0].body.model_fields_set


def test_without_a_reader_or_of_a_class_it_cannot_read_a_crossing_says_nothing_more_than_before() -> None:
    plain = passing("car").said(Crossing)[0].body
    assert "attributes" not in body_json(plain)
    assert "attributes" not in body_json(passing("motorcycle", readers=[SizeReader()]).said(Crossing)[0].body)


def test_readers_forget_with_the_tracks_and_with_the_picture_s_size() -> None:
    watched = passing("car", readers=[SizeReader()])
    assert watched.pipeline._readers is not None
    watched.show(seconds=3.0)
    assert watched.pipeline._readers._of == {}
    for n in range(10):
        watched.show([("car", passage(n / 19, "down", 220, 100))])
    assert watched.pipeline._readers._of != {}
    watched.change_size(640, 360)
    watched.show()
    assert watched.pipeline._readers._of == {}


# ---- masks, numbers, the picture itself ------------------------------------------------------------------------------


def test_what_moves_behind_a_detection_mask_wakes_no_detector() -> None:
    detector = PerfectDetector()
    left = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    camera = Camera(Pipeline(detector, rules(), still_polygons=(left,)), detector)
    camera.show(seconds=2.0)
    calls = detector.calls
    for n in range(20):
        camera.show([("car", (50.0 + 20 * n, 300.0, 150.0 + 20 * n, 400.0))])
    assert detector.calls == calls
    camera.show([("car", (900.0, 300.0, 1100.0, 400.0))])
    assert detector.calls == calls + 1


def test_tracks_are_numbered_from_where_they_are_told() -> None:
    detector = PerfectDetector()
    camera = Camera(Pipeline(detector, rules(GATE), first_track=700_001), detector)
    for n in range(20):
        camera.show([("car", (500.0, 100.0 + 20 * n, 600.0, 200.0 + 20 * n))])
    (crossed,) = camera.said(Crossing)
    assert crossed.track >= 700_001
    assert camera.pipeline.next_track > crossed.track
    camera.pipeline.reset()
    assert camera.pipeline.next_track > crossed.track


def test_an_overexposed_camera_is_told_beside_what_the_rules_say() -> None:
    detector = PerfectDetector()
    camera = Camera(Pipeline(detector, rules(GATE), health=CameraHealth(lambda: "a1")), detector)
    camera.scene = np.full_like(camera.scene, 255)
    for n in range(100):
        camera.show([("car", (500.0, 100.0 + 4 * n, 600.0, 200.0 + 4 * n))])
    assert [h.body.fault for h in camera.happened if isinstance(h.body, CameraFault)] == ["overexposed"]
    assert len(camera.said(Crossing)) == 1


def test_without_budget_left_a_frame_is_passed_over_and_what_crosses_meanwhile_is_counted_all_the_same() -> None:
    budget = InferenceBudget(3.0)
    detector = PerfectDetector()
    starved = Camera(Pipeline(detector, rules(GATE), budget=budget, camera_id="north"), detector)
    starved.show(seconds=2.0)
    drive(starved, seconds=6.0)
    starved.show(seconds=2.0)
    assert starved.crossings() == [("gate", "in", "car")]
    assert budget.state().refused > 10
    assert starved.pipeline.inferred == budget.state().granted < starved.pipeline.frames / 2


def test_an_idle_camera_asks_for_next_to_nothing() -> None:
    budget, detector = InferenceBudget(40.0), PerfectDetector()
    idle = Camera(Pipeline(detector, rules(GATE), budget=budget, camera_id="yard"), detector)
    idle.show(seconds=120.0)
    assert budget.state().granted <= 2 * (120 / _LOOK_EVERY_S + 5)


def test_a_second_look_is_taken_where_something_small_moves() -> None:
    detector = PerfectDetector()
    near = Camera(Pipeline(detector, rules(GATE), regions=True), detector)
    near.show(seconds=1.0)
    for n in range(20):
        near.show([("car", (300.0 + 10 * n, 300.0, 360.0 + 10 * n, 340.0))])
    assert near.pipeline.second_looks > 10
    assert detector.calls == near.pipeline.inferred + near.pipeline.second_looks
