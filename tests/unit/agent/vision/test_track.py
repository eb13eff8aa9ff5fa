from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest

from agent.vision.propose import VEHICLE
from agent.vision.track import _LOST_S, MIN_SCORE, Tracker, Tracks
from drivers.base import CLASSES, Detections
from tests.support.vision import Box, Found, centred_at, detections, motion_of

FRAME_WH_PX = (1280, 720)
Script = Iterable[tuple[float, Sequence[Found]]]  # time of each frame, and what was found in it


def follow(script: Script, *, moving: float = 1.0, tracker: Tracker | None = None) -> list[Tracks]:
    tracker = tracker or Tracker()
    return [
        tracker.update(
            detections(found),
            np.full(len(found), moving, np.float32),
            FRAME_WH_PX,
            n,
            mono_s,
        )
        for n, (mono_s, found) in enumerate(script)
    ]


def times(seconds: float, fps: float = 10.0) -> list[float]:
    return [n / fps for n in range(round(seconds * fps))]


def ids_of(frames: Sequence[Tracks]) -> set[int]:
    return {int(i) for tracks in frames for i in tracks.ids}


def ended_of(frames: Sequence[Tracks]) -> list[int]:
    return [i for tracks in frames for i in tracks.ended]


def car_at(x: float, y: float = 300, score: float = 0.8, wide: float = 120, high: float = 80) -> Found:
    return "car", score, centred_at(x, y, wide, high)


def jittered(box: Box, rng: np.random.Generator, share: float = 0.05) -> Box:
    wide, high = box[2] - box[0], box[3] - box[1]
    shift = rng.normal(0, share, 4) * (wide, high, wide, high)
    left, top, right, bottom = (float(v) for v in np.array(box) + shift)
    return left, top, right, bottom


def test_an_object_keeps_its_number_though_its_box_trembles() -> None:
    rng = np.random.default_rng(1)
    frames = follow((t, [("car", 0.8, jittered(centred_at(200 + 150 * t, 300, 120, 80), rng))]) for t in times(6))
    assert ids_of(frames) == {1}
    assert frames[-1].confirmed.all()
    assert ended_of(frames) == []


def test_an_object_keeps_its_number_though_one_in_three_boxes_is_missing() -> None:
    rng = np.random.default_rng(2)
    frames = follow((t, [car_at(200 + 150 * t)] if t < 0.5 or rng.random() > 0.33 else []) for t in times(6))
    assert ids_of(frames) == {1}


def test_an_object_keeps_its_number_over_a_short_hiding_place() -> None:
    hidden_until_s = 2.0 + 0.8 * _LOST_S
    frames = follow((t, [] if 2.0 <= t < hidden_until_s else [car_at(200 + 150 * t)]) for t in times(5))
    assert ids_of(frames) == {1}
    assert frames[-1].seen.all()


@pytest.mark.parametrize("fps", [5.0, 10.0, 25.0])
@pytest.mark.parametrize(
    "x_at",
    [
        pytest.param(lambda t: 100 + 40 * t, id="slow"),
        pytest.param(lambda t: 100 + 300 * t, id="2.5 of its lengths a second"),
        pytest.param(lambda t: 100 + 150 * min(t, 1.5) + 150 * max(t - 3.5, 0), id="stop and go"),
        pytest.param(lambda t: 100 + 40 * t * t, id="speeding up"),
        pytest.param(lambda t: 900 - 600 * np.exp(-t), id="braking"),
    ],
)
def test_an_object_keeps_its_number_however_it_drives(fps: float, x_at: Callable[[float], float]) -> None:
    frames = follow((t, [car_at(x_at(t))]) for t in times(4.5, fps) if x_at(t) < 1200)
    assert ids_of(frames) == {1}


def test_an_object_keeps_its_number_though_frames_come_as_they_like() -> None:
    rng = np.random.default_rng(3)
    at_s = np.cumsum(rng.choice([0.04, 0.1, 0.2, 0.35], 40))
    frames = follow((float(t), [car_at(100 + 110 * t)]) for t in at_s if 100 + 110 * t < 1200)
    assert ids_of(frames) == {1}


def test_two_that_pass_each_other_keep_their_numbers() -> None:
    def both(t: float) -> list[Found]:
        return [car_at(200 + 200 * t, 300), car_at(1000 - 200 * t, 330)]

    frames = follow((t, both(t)) for t in times(4))
    assert ids_of(frames) == {1, 2}
    last = dict(zip(frames[-1].ids.tolist(), frames[-1].boxes_xyxy_px[:, 0].tolist(), strict=True))
    assert last[1] > 800
    assert last[2] < 300


def test_two_keep_their_numbers_though_the_one_behind_is_hidden_while_they_pass() -> None:
    def both(t: float) -> list[Found]:
        near, far = car_at(200 + 200 * t, 300), car_at(1000 - 200 * t, 310)
        return [near] if abs((200 + 200 * t) - (1000 - 200 * t)) < 100 else [near, far]

    frames = follow((t, both(t)) for t in times(4))
    assert ids_of(frames) == {1, 2}
    last = dict(zip(frames[-1].ids.tolist(), frames[-1].boxes_xyxy_px[:, 0].tolist(), strict=True))
    assert last[1] > 800
    assert last[2] < 300


def test_an_object_that_vanishes_is_forgotten_within_seconds_and_said_to_have_ended_once() -> None:
    frames = follow((t, [car_at(300 + 50 * t)] if t < 2 else []) for t in times(8))
    assert ended_of(frames) == [1]
    gone_s = next(tracks.mono_s for tracks in frames if tracks.ended)
    assert 2.0 < gone_s < 5.0
    assert all((1 in tracks.ids) == (tracks.mono_s < gone_s) for tracks in frames)


def test_an_object_seen_once_is_forgotten_sooner_than_a_sure_one() -> None:
    def vanishing(seen_s: float) -> float:
        frames = follow((t, [car_at(300)] if t < seen_s else []) for t in times(8))
        return next(tracks.mono_s for tracks in frames if tracks.ended) - seen_s

    assert vanishing(0.1) < vanishing(2.0)


def test_an_object_that_drove_out_of_the_picture_ends_and_does_not_come_back() -> None:
    frames = follow((t, [car_at(1000 + 200 * t)] if 1000 + 200 * t < 1280 else []) for t in times(4))
    assert ended_of(frames) == [1]


def test_a_long_silence_of_the_camera_ends_what_was_there() -> None:
    before = [(t, [car_at(300)]) for t in times(2)]
    frames = follow([*before, *((600 + t, [car_at(900, 600)]) for t in times(1))])
    assert ended_of(frames) == [1]
    assert frames[-1].ids.tolist() == [2]


def test_numbers_are_never_used_again() -> None:
    rng = np.random.default_rng(4)
    born: list[int] = []
    ended: set[int] = set()
    known: set[int] = set()
    tracker = Tracker()
    for n in range(600):
        found = [car_at(*rng.uniform((100, 100), (1200, 600))) for _ in range(int(rng.integers(0, 4)))]
        tracks = follow([(n / 10, found)], tracker=tracker)[0]
        now = set(tracks.ids.tolist())
        assert len(now) == len(tracks)
        assert set(tracks.ended) == known - now, "what is gone is told, and nothing else"
        assert not now & ended
        ended |= set(tracks.ended)
        born += sorted(now - known)
        known = now
    assert born == sorted(set(born))
    assert len(born) > 50


def test_a_new_tracker_can_go_on_counting_where_another_was() -> None:
    first = Tracker()
    follow([(0.0, [car_at(300), car_at(900)])], tracker=first)
    assert follow([(0.0, [car_at(600)])], tracker=Tracker(first_id=first.next_id))[0].ids.tolist() == [3]


def test_two_boxes_on_one_object_end_in_one_track() -> None:
    rng = np.random.default_rng(6)

    def two(t: float) -> list[Found]:
        box = centred_at(200 + 150 * t, 300, 120, 80)
        return [("car", 0.8, jittered(box, rng, 0.02)), ("car", 0.7, jittered(box, rng, 0.02))]

    frames = follow((t, two(t)) for t in times(4))
    assert len(frames[-1]) == 1


def test_boxes_too_faint_start_nothing_but_carry_on_what_is_known() -> None:
    faint = MIN_SCORE + 0.01
    alone = follow((t, [car_at(300 + 100 * t, score=faint)]) for t in times(3))
    assert ids_of(alone) == set()
    known = follow((t, [car_at(300 + 100 * t, score=0.8 if t < 1 else faint)]) for t in times(5))
    assert ids_of(known) == {1}
    assert known[-1].seen.all()


def test_one_sighting_proves_nothing_and_a_moving_object_is_believed_sooner_than_a_still_one() -> None:
    def confirmed_s(moving: float) -> float:
        frames = follow(((t, [car_at(300 + 100 * t, score=0.5)]) for t in times(8)), moving=moving)
        return next(tracks.mono_s for tracks in frames if tracks.confirmed.any())

    assert 0.0 < confirmed_s(1.0) < confirmed_s(0.0)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        pytest.param(["person", "motorcycle"] * 10, "motorcycle", id="rider and machine in turns"),
        pytest.param((["person"] * 2 + ["motorcycle"]) * 7, "motorcycle", id="the rider more often than the machine"),
        pytest.param(["person"] * 19 + ["bicycle"], "person", id="once taken for a cyclist"),
        pytest.param((["car"] * 3 + ["truck"]) * 5, "car", id="car, sometimes truck"),
        pytest.param((["truck"] * 3 + ["car"]) * 5, "truck", id="truck, sometimes car"),
        pytest.param(["motorcycle"] + ["car"] * 19, "car", id="once taken for a motorcycle"),
    ],
)
def test_the_class_is_voted(names: list[str], wanted: str) -> None:
    frames = follow((n / 10, [(name, 0.7, centred_at(200 + 10 * n, 300, 50, 80))]) for n, name in enumerate(names))
    assert ids_of(frames) == {1}
    assert CLASSES[frames[-1].class_ids[0]] == wanted


def test_while_nobody_looks_everything_stays_and_nothing_ages() -> None:
    tracker = Tracker()
    before = follow(((t, [car_at(300), car_at(800)]) for t in times(2)), tracker=tracker)[-1]
    for n in range(600):
        held = tracker.hold(20 + n, 2 + n / 10)
        assert held.ids.tolist() == before.ids.tolist()
        assert np.array_equal(held.boxes_xyxy_px, before.boxes_xyxy_px)
        assert held.ended == ()
        assert not held.seen.any()
        assert (held.frame_index, held.mono_s) == (20 + n, 2 + n / 10)
    after = follow([(62.1, [car_at(300), car_at(800)])], tracker=tracker)[0]
    assert after.ids.tolist() == before.ids.tolist()
    assert after.seen.all()
    assert after.ended == ()


def test_what_a_look_misses_after_nobody_looked_is_not_given_up_at_once() -> None:
    tracker = Tracker()
    follow(((t, [car_at(300)]) for t in times(2)), tracker=tracker)
    for n in range(50):
        tracker.hold(20 + n, 2 + n / 10)
    missed, found = follow([(7.0, []), (7.1, [car_at(300)])], tracker=tracker)
    assert missed.ids.tolist() == found.ids.tolist() == [1]
    assert found.seen.all()


def test_nobody_looking_before_the_first_frame_is_no_matter() -> None:
    assert len(Tracker().hold(0, 5.0)) == 0


def test_ten_thousand_frames_of_clutter_leave_little_behind() -> None:
    rng = np.random.default_rng(7)
    tracker, most = Tracker(), 0
    for n in range(10_000):
        centres = rng.uniform((0, 0), FRAME_WH_PX, (2, 2))
        found = detections([("car", float(rng.uniform(0.3, 0.9)), centred_at(x, y, 60, 40)) for x, y in centres])
        most = max(most, len(tracker.update(found, np.ones(2, np.float32), FRAME_WH_PX, n, n / 10)))
    assert tracker.next_id > 5_000, "the clutter did start objects"
    assert most < 60
    assert len(follow([(2000.0, [])], tracker=tracker)[0]) == 0


def forty(t: float, rng: np.random.Generator) -> list[Found]:
    """Five lanes of eight cars, each lane at a speed of its own."""
    return [
        ("car", 0.8, jittered(centred_at(40 + 140 * i + (20 + 6 * lane) * t, 80 + 130 * lane, 90, 60), rng, 0.03))
        for lane in range(5)
        for i in range(8)
        if rng.random() > 0.1 or t < 0.5
    ]


def test_forty_objects_at_once_keep_forty_numbers() -> None:
    rng = np.random.default_rng(8)
    frames = follow((t, forty(t, rng)) for t in times(5))
    assert ids_of(frames) == set(range(1, 41))
    assert len(frames[-1]) == 40
    assert frames[-1].confirmed.all()


def test_the_same_input_gives_the_same_output() -> None:
    def run() -> list[tuple[list[int], bytes, bytes]]:
        rng = np.random.default_rng(9)
        frames = follow((t, forty(t, rng)) for t in times(3))
        return [(tracks.ids.tolist(), tracks.boxes_xyxy_px.tobytes(), tracks.scores.tobytes()) for tracks in frames]

    assert run() == run()


def test_what_was_given_and_what_was_handed_out_is_never_written_into() -> None:
    tracker = Tracker()
    found = detections([car_at(300), car_at(800)])
    moving = np.ones(2, np.float32)
    for array in (found.boxes_xyxy_px, found.scores, found.class_ids, moving):
        array.setflags(write=False)
    first = tracker.update(found, moving, FRAME_WH_PX, 0, 0.0)
    boxes = first.boxes_xyxy_px.copy()
    second = tracker.update(detections([car_at(310), car_at(810)]), moving, FRAME_WH_PX, 1, 0.1)
    moved = second.boxes_xyxy_px.copy()
    tracker.update(detections([car_at(320), car_at(820)]), moving, FRAME_WH_PX, 2, 0.2)
    assert np.array_equal(second.boxes_xyxy_px, moved)
    assert np.array_equal(first.boxes_xyxy_px, boxes)


def test_time_that_stands_still_or_goes_back_is_survived() -> None:
    frames = follow((t, [car_at(300)]) for t in (1.0, 1.0, 0.5, 0.6, 1.1))
    assert ids_of(frames) == {1}
    assert all(np.isfinite(tracks.boxes_xyxy_px).all() for tracks in frames)


def seen_in(motion_boxes: Sequence[Box], found: Sequence[Found], n: int, tracker: Tracker) -> Tracks:
    """One frame at 10 fps in which these boxes have just moved."""
    motion = motion_of(motion_boxes, *FRAME_WH_PX)
    return tracker.update(
        detections(found), motion.share(detections(found).boxes_xyxy_px), FRAME_WH_PX, n, n / 10, motion
    )


def test_what_came_and_stands_is_there_still_though_the_network_misses_it_for_seconds() -> None:
    tracker = Tracker()
    for n in range(40):
        seen_in([], [car_at(200 + 12 * min(n, 20), 300)], n, tracker)
    for n in range(40, 100):
        assert seen_in([], [], n, tracker).ids.tolist() == [1]
    assert seen_in([], [car_at(440)], 100, tracker).ids.tolist() == [1]


def test_what_stood_and_where_something_stirs_may_have_gone() -> None:
    tracker = Tracker()
    for n in range(40):
        seen_in([], [car_at(200 + 12 * min(n, 20), 300)], n, tracker)
    for n in range(40, 60):
        tracks = seen_in([centred_at(440, 300, 120, 80)], [], n, tracker)
    assert len(tracks) == 0


def test_what_stands_and_is_never_found_again_is_given_up() -> None:
    tracker = Tracker()
    for n in range(40):
        seen_in([], [car_at(200 + 12 * min(n, 20), 300)], n, tracker)
    assert ended_of([seen_in([], [], n, tracker) for n in range(40, 160)]) == [1]


def test_what_appears_where_others_went_is_expected_to_go_as_they_did() -> None:
    tracker = Tracker()
    follow(((t, [car_at(200 + 150 * t)]) for t in times(6)), tracker=tracker)
    newcomer = follow([(20.0, [car_at(500)])], tracker=tracker)[0]
    assert newcomer.speeds_px_s[-1].tolist() == pytest.approx([150, 0], abs=15)
    elsewhere = follow([(40.0, [car_at(500, 650)])], tracker=tracker)[0]
    assert elsewhere.speeds_px_s[-1].tolist() == [0, 0]


def test_a_vehicle_that_was_never_recognised_is_believed_once_it_has_come_far_and_straight() -> None:
    def confirmed_px(x_at: Callable[[int], float]) -> float:
        tracker = Tracker()
        for n in range(60):
            box = centred_at(x_at(n), 300, 60, 40)
            found = Detections(np.array([box], np.float32), np.full(1, 0.4, np.float32), np.full(1, VEHICLE, np.int32))
            tracks = tracker.update(found, np.ones(1, np.float32), FRAME_WH_PX, n, n / 10)
            if tracks.confirmed.any():
                assert tracks.class_ids[0] == VEHICLE
                return x_at(n) - x_at(0)
        return np.inf

    assert 150 < confirmed_px(lambda n: 100 + 15 * n) < 400
    assert confirmed_px(lambda n: 300 + 15 * (n % 2)) == np.inf


def test_whatever_recognised_it_once_names_the_vehicle() -> None:
    tracker = Tracker()
    for n in range(20):
        class_id = CLASSES.index("truck") if n == 7 else VEHICLE
        found = Detections(
            np.array([centred_at(100 + 15 * n, 300, 60, 40)], np.float32),
            np.full(1, 0.4, np.float32),
            np.full(1, class_id, np.int32),
        )
        tracks = tracker.update(found, np.ones(1, np.float32), FRAME_WH_PX, n, n / 10)
    assert tracks.class_ids.tolist() == [CLASSES.index("truck")]


def test_a_person_faster_than_a_runner_rides() -> None:
    def class_at(px_per_s: float) -> str:
        frames = follow(
            (t, [("person", 0.7, centred_at(100 + px_per_s * t, 300, 40, 80))]) for t in times(1100 / px_per_s)
        )
        return CLASSES[frames[-1].class_ids[0]]

    assert class_at(60) == "person"
    assert class_at(110) == "person"
    assert class_at(400) == "motorcycle"


def test_a_frame_passed_over_changes_nothing_and_sees_nothing() -> None:
    tracker = Tracker()
    before = follow(((t, [car_at(300 + 40 * t)]) for t in times(2)), tracker=tracker)[-1]
    passed = tracker.pass_over(20, 2.0)
    assert passed.ids.tolist() == before.ids.tolist()
    assert not passed.seen.any()
    assert passed.ended == ()
    assert follow([(2.1, [car_at(384)])], tracker=tracker)[0].ids.tolist() == before.ids.tolist()


def test_a_box_found_in_one_look_of_five_is_not_believed() -> None:
    frames = follow((n / 30, [car_at(300, score=0.9)] if n % 5 == 0 else []) for n in range(300))
    assert not any(tracks.confirmed.any() for tracks in frames)


def test_three_weeks_of_traffic_leave_nothing_behind() -> None:
    """Every hour of them shortened to one car that comes, stands, and goes, at the hour's own time."""
    tracker, most = Tracker(), 0
    for hour in range(3 * 7 * 24):
        for n in range(12):
            mono_s = 3600.0 * hour + n / 10
            found = detections([car_at(200 + 30 * n)])
            most = max(most, len(tracker.update(found, np.ones(1, np.float32), FRAME_WH_PX, 12 * hour + n, mono_s)))
        tracker.hold(12 * hour + 12, 3600.0 * hour + 1800.0)
    assert most <= 2
    assert tracker.next_id <= 3 * 7 * 24 * 2


def test_a_doubtful_piece_ends_when_another_object_is_found_around_it() -> None:
    piece: Found = ("car", 0.3, (300, 300, 340, 330))
    frames = follow([(0.0, [("car", 0.6, (350, 270, 480, 350)), piece]), (0.1, [("car", 0.6, (290, 265, 480, 350))])])
    assert ended_of(frames) == [2]


def test_a_plain_object_that_another_one_hides_goes_on() -> None:
    hidden: Found = ("motorcycle", 0.7, (300, 300, 340, 330))
    frames = follow([(0.0, [("car", 0.6, (350, 270, 480, 350)), hidden]), (0.1, [("car", 0.6, (290, 265, 480, 350))])])
    assert ended_of(frames) == []


def stream(tracker: Tracker) -> float:
    """Thirty cars from left to right, so that the tracker knows how traffic goes here; the time after them."""
    for n in range(30):
        follow(((n * 2 + t, [car_at(100 + 500 * t)]) for t in times(2)), tracker=tracker)
    return 62.0


def test_boxes_that_hop_back_through_the_traffic_are_erratic() -> None:
    tracker = Tracker()
    start_s = stream(tracker)
    leaps = [(0.0, 800), (0.1, 740), (0.4, 560), (0.5, 540), (0.9, 330), (1.0, 310)]
    found = {round(t, 1): x for t, x in leaps}
    script = (
        (start_s + t, [car_at(found[round(t, 1)], score=0.35)] if round(t, 1) in found else []) for t in times(1.1)
    )
    frames = follow(script, tracker=tracker)
    assert frames[-1].erratic.any()


@pytest.mark.parametrize("score", [0.35, 0.8])
def test_who_drives_the_wrong_way_steadily_is_not_erratic(score: float) -> None:
    tracker = Tracker()
    start_s = stream(tracker)
    frames = follow(((start_s + t, [car_at(1000 - 500 * t, score=score)]) for t in times(1.5)), tracker=tracker)
    assert len(frames[-1]) == 1
    assert not any(tracks.erratic.any() for tracks in frames[5:])


def hopping(score: float) -> list[Tracks]:
    """Boxes that leap backwards, found in half of the looks, where no traffic has been seen yet."""
    leaps = {0.0: 800, 0.1: 740, 0.4: 560, 0.5: 540, 0.9: 330, 1.0: 310}
    return follow((t, [car_at(leaps[round(t, 1)], score=score)] if round(t, 1) in leaps else []) for t in times(1.1))


def test_where_no_traffic_is_known_what_is_hardly_seen_is_erratic_and_what_is_seen_is_not() -> None:
    assert any(tracks.erratic.any() for tracks in hopping(score=0.27))
    assert not any(tracks.erratic.any() for tracks in hopping(score=0.36))


def lowest_edges(frames: Sequence[Tracks]) -> list[float]:
    return [float(tracks.boxes_xyxy_px[0, 3]) for tracks in frames]


def test_the_lower_half_that_is_lost_in_some_pictures_does_not_tear_the_box_up_and_down() -> None:
    def now_and_then(t: float) -> list[Found]:
        whole = centred_at(300 + 60 * t, 300, 120, 80)
        half = (whole[0], whole[1], whole[2], whole[1] + 40)
        return [("car", 0.6, half if t > 1 and round(t * 10) % 3 == 0 else whole)]

    edges = lowest_edges(follow((t, now_and_then(t)) for t in times(3)))
    assert all(abs(edge - 340) <= 25 for edge in edges), "of 40 that were lost"


def test_what_has_become_smaller_is_followed_to_its_new_size() -> None:
    def shrinks(t: float) -> list[Found]:
        high = 80 if t < 1 else 40
        return [("car", 0.6, (240 + 60 * t, 260, 360 + 60 * t, 260 + high))]

    assert lowest_edges(follow((t, shrinks(t)) for t in times(3)))[-1] == pytest.approx(300, abs=4)


def test_what_leaves_the_picture_is_followed_to_the_edge() -> None:
    def leaves(t: float) -> list[Found]:
        return [("car", 0.6, (1100 + 100 * t, 260, min(1220 + 100 * t, 1280.0), 340))]

    frames = follow((t, leaves(t)) for t in times(1.5))
    assert [float(tracks.boxes_xyxy_px[0, 2]) for tracks in frames[8:]] == pytest.approx([1280.0] * 7, abs=1)
