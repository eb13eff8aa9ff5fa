"""What leaves in a picture: a small JPEG, the subject visible and nobody else."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from agent.evidence.best import Shot
from agent.evidence.people import others
from agent.evidence.picture import CELLS, MAX_BYTES, as_jpeg, frame_subject, pixelate
from drivers.base import CLASSES, Detections
from drivers.fakes import FakeDetector
from tests.support.vision import Box, Found, Picture, detections, road


def noise(wide: int, high: int) -> Picture:
    return np.random.default_rng(3).integers(0, 255, (high, wide, 3)).astype(np.uint8)


def boxes(*several: Box) -> np.ndarray:
    return np.array(several, np.float32).reshape(-1, 4)


@pytest.mark.parametrize("wide_high", [(1280, 720), (640, 360), (1, 1), (2000, 30)])
@pytest.mark.parametrize("make", [noise, road])
def test_a_picture_is_a_jpeg_of_at_most_60_kb_whatever_it_shows(wide_high: tuple[int, int], make: object) -> None:
    jpeg = as_jpeg(make(*wide_high))  # type: ignore[operator]
    assert len(jpeg) <= MAX_BYTES == 60_000
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None


def test_an_easy_picture_keeps_its_size() -> None:
    decoded = cv2.imdecode(np.frombuffer(as_jpeg(road(1280, 720)), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (720, 1280, 3)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((100.0, 50.0, 160.0, 200.0), id="somebody upright"),
        pytest.param((100.3, 50.7, 103.1, 60.2), id="somebody tiny"),
        pytest.param((-40.0, -100.0, 30.0, 120.0), id="somebody half outside"),
        pytest.param((300.0, 100.0, 900.0, 700.0), id="somebody who fills the corner"),
        pytest.param((0.0, 0.0, 640.0, 360.0), id="the whole picture"),
    ],
)
def test_at_most_a_few_cells_are_left_of_a_person(box: Box) -> None:
    picture = noise(640, 360)
    before = picture.copy()
    pixelate(picture, boxes(box))
    left, top, right, bottom = (max(int(np.floor(box[0])), 0), max(int(np.floor(box[1])), 0), int(box[2]), int(box[3]))
    inside = picture[top:bottom, left:right].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) <= (CELLS + 1) ** 2
    outside = np.ones(picture.shape[:2], bool)
    outside[max(top - 1, 0) : bottom + 2, max(left - 1, 0) : right + 2] = False
    assert np.array_equal(picture[outside], before[outside])


def test_boxes_outside_the_picture_and_none_at_all_do_no_harm() -> None:
    picture = noise(64, 36)
    before = picture.copy()
    pixelate(picture, boxes((-50.0, -50.0, -10.0, -10.0), (100.0, 10.0, 120.0, 30.0)))
    pixelate(picture, boxes())
    assert np.array_equal(picture, before)


def test_the_subject_s_box_is_drawn_outside_of_it() -> None:
    picture = np.zeros((360, 640, 3), np.uint8)
    frame_subject(picture, np.array((100, 50, 160, 200), np.float32))
    assert picture[50:200, 100:160].max() == 0
    assert picture[40:210, 90:170].max() > 0


# ---- who is made unrecognisable --------------------------------------------------------------------------------------


class Scripted:
    """Finds in the whole picture what it is told, and in halves what of it is there."""

    def __init__(self, *found: Found) -> None:
        self.found = found
        self.lowest = 1.0

    def detect(self, image_bgr: Picture, min_score: float) -> Detections:
        self.lowest = min(self.lowest, min_score)
        whole = image_bgr.shape[1] == 640
        return detections(self.found) if whole else Detections.none()

    def close(self) -> None:
        pass


def shot(tracked: dict[int, tuple[str, Box]]) -> Shot:
    return Shot(
        road(640, 360),
        np.array(list(tracked), np.int64),
        boxes(*(box for _, box in tracked.values())),
        np.array([CLASSES.index(name) for name, _ in tracked.values()], np.int32),
    )


def hidden(tracked: dict[int, tuple[str, Box]], subject: int | None, *found: Found) -> np.ndarray:
    """bool (360, 640): what would be pixelated."""
    mask = np.zeros((360, 640), bool)
    for left, top, right, bottom in others(shot(tracked), subject, Scripted(*found)).astype(int):
        mask[max(top, 0) : bottom, max(left, 0) : right] = True
    return mask


A, B, CAR = (100.0, 100.0, 140.0, 220.0), (300.0, 100.0, 340.0, 220.0), (280.0, 120.0, 520.0, 260.0)


def covers(mask: np.ndarray, box: Box) -> float:
    left, top, right, bottom = (int(v) for v in box)
    return float(mask[top:bottom, left:right].mean())


@pytest.mark.parametrize("name", ["person", "bicycle", "motorcycle"])
def test_everybody_but_the_subject_is_hidden_with_a_margin(name: str) -> None:
    mask = hidden({1: (name, A), 2: (name, B)}, 1)
    assert (covers(mask, A), covers(mask, B)) == (0.0, 1.0)
    assert covers(mask, (B[0] - 4, B[1] - 12, B[2] + 4, B[3] + 12)) == 1.0


def test_vehicles_are_not_people() -> None:
    assert not hidden({1: ("car", CAR), 2: ("bus", A), 3: ("truck", B)}, 1).any()


def test_what_drives_and_was_not_recognised_is_hidden_since_somebody_may_sit_on_it() -> None:
    unknown = replace(shot({1: ("car", (100, 100, 180, 160))}), class_ids=np.array([len(CLASSES)], np.int32))
    assert len(others(unknown, None, FakeDetector([[]] * 3))) == 1


def test_without_a_subject_everybody_is_hidden() -> None:
    mask = hidden({1: ("person", A), 2: ("motorcycle", B)}, None)
    assert (covers(mask, A), covers(mask, B)) == (1.0, 1.0)


def test_a_person_nobody_follows_is_hidden() -> None:
    assert covers(hidden({1: ("car", CAR)}, 1, ("person", 0.35, A)), A) == 1.0


def test_somebody_in_front_of_the_vehicle_or_at_its_wheel_is_hidden() -> None:
    driver = (350.0, 130.0, 380.0, 170.0)
    assert covers(hidden({1: ("car", CAR)}, 1, ("person", 0.3, driver), ("person", 0.6, B)), driver) == 1.0
    assert covers(hidden({1: ("car", CAR)}, 1, ("person", 0.3, driver), ("person", 0.6, B)), B) == 1.0


def test_the_subject_found_again_is_not_hidden() -> None:
    a_little_off = (104.0, 96.0, 143.0, 226.0)
    head = (110.0, 100.0, 130.0, 120.0)
    assert not hidden({1: ("person", A)}, 1, ("person", 0.9, a_little_off), ("person", 0.4, head)).any()


def test_the_rider_of_the_subject_is_part_of_it_and_another_machine_s_is_not() -> None:
    rider, machine = (100.0, 100.0, 140.0, 180.0), (98.0, 150.0, 142.0, 220.0)
    other = (300.0, 150.0, 340.0, 220.0)
    mask = hidden(
        {1: ("motorcycle", A), 2: ("motorcycle", B)},
        1,
        ("person", 0.8, rider),
        ("motorcycle", 0.8, machine),
        ("motorcycle", 0.8, other),
    )
    assert (covers(mask, A), covers(mask, B)) == (0.0, 1.0)


def test_a_rider_who_was_not_found_is_hidden_above_his_machine() -> None:
    machine = (300.0, 150.0, 340.0, 220.0)
    assert covers(hidden({1: ("car", A)}, 1, ("motorcycle", 0.5, machine)), (300.0, 100.0, 340.0, 150.0)) == 1.0


def test_somebody_close_behind_the_subject_is_hidden_though_they_overlap() -> None:
    behind = (125.0, 95.0, 165.0, 215.0)
    mask = hidden({1: ("person", A), 2: ("person", behind)}, 1, ("person", 0.8, A), ("person", 0.8, behind))
    assert covers(mask, behind) == 1.0
    assert covers(mask, (100.0, 100.0, 118.0, 220.0)) == 0.0


def test_a_doubtful_box_over_half_the_street_hides_nothing() -> None:
    assert not hidden({}, None, ("person", 0.3, (100.0, 20.0, 500.0, 340.0))).any()
    assert hidden({}, None, ("person", 0.8, (100.0, 20.0, 500.0, 340.0))).any()


def test_small_people_are_looked_for_in_halves_of_the_picture() -> None:
    class InHalves:
        def detect(self, image_bgr: Picture, min_score: float) -> Detections:
            wide = image_bgr.shape[1]
            return Detections.none() if wide == 640 else detections([("person", 0.5, (wide - 40.0, 50, wide - 30, 80))])

        def close(self) -> None:
            pass

    found = others(shot({}), None, InHalves())
    assert [(round(left), round(right)) for left, _, right, _ in found] == [(359, 371), (599, 611)]
