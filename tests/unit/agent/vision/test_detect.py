from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from agent.vision.detect import one_box_an_object
from agent.vision.motion import MotionMap
from drivers.base import CLASSES, Detections
from tests.support.vision import Box, Found, detections, motion_of

WHOLE_ROAD: Box = (0, 0, 640, 360)
CAR: Box = (200, 100, 320, 180)
LEAST = 0.15


@cache
def motion(*moving: Box) -> MotionMap:
    return motion_of(moving)


def kept(found: Sequence[Found], *moving: Box) -> list[tuple[str, Box]]:
    """What one_box_an_object leaves of it, best first, in a picture where all of `moving` (else everything) moves."""
    left, share = one_box_an_object(detections(found), motion(*(moving or (WHOLE_ROAD,))), LEAST)
    assert len(left) == len(left.boxes_xyxy_px) == len(left.class_ids) == len(share)
    assert left.boxes_xyxy_px.dtype == left.scores.dtype == share.dtype == np.float32
    return [
        (CLASSES[class_id], (box[0], box[1], box[2], box[3]))
        for class_id, box in zip(left.class_ids.tolist(), left.boxes_xyxy_px.tolist(), strict=True)
    ]


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        pytest.param(
            [("car", 0.9, CAR), ("car", 0.6, (205, 98, 330, 184)), ("car", 0.5, (195, 104, 318, 178))],
            ["car"],
            id="three boxes of one car",
        ),
        pytest.param(
            [("car", 0.5, CAR), ("truck", 0.6, (202, 98, 322, 182))], ["truck"], id="one, as car and as truck"
        ),
        pytest.param([("car", 0.9, CAR), ("person", 0.4, CAR)], ["car"], id="one, as car and as person"),
        pytest.param([("car", 0.8, CAR), ("car", 0.6, (200, 100, 255, 180))], ["car"], id="half a car in the whole"),
        pytest.param(
            [("bicycle", 0.6, (200, 100, 240, 160)), ("motorcycle", 0.7, (200, 98, 242, 160))],
            ["motorcycle"],
            id="one, as bicycle and as motorcycle",
        ),
        pytest.param(
            [("car", 0.8, CAR), ("car", 0.7, (330, 100, 450, 180))], ["car", "car"], id="two cars one behind the other"
        ),
        pytest.param(
            [("car", 0.8, CAR), ("car", 0.7, (260, 110, 380, 190))], ["car", "car"], id="a car that hides half a car"
        ),
        pytest.param(
            [("bus", 0.8, (100, 20, 460, 200)), ("car", 0.78, (300, 130, 400, 195))],
            ["bus", "car"],
            id="a small car before a bus",
        ),
        pytest.param(
            [("bus", 0.8, (100, 20, 460, 200)), ("car", 0.4, (110, 130, 210, 195))],
            ["bus"],
            id="a part of a bus that looks like a car, a little",
        ),
        pytest.param(
            [("person", 0.8, (200, 80, 230, 180)), ("person", 0.7, (240, 80, 270, 180))],
            ["person", "person"],
            id="two people",
        ),
        pytest.param(
            [("car", 0.7, (20, 40, 460, 300)), ("car", 0.65, CAR), ("car", 0.6, (340, 100, 450, 180))],
            ["car", "car"],
            id="a box around a platoon",
        ),
        pytest.param(
            [("bus", 0.8, (20, 40, 460, 300)), ("car", 0.4, CAR), ("car", 0.3, (340, 100, 450, 180))],
            ["bus"],
            id="a bus and its windows",
        ),
    ],
)
def test_one_box_an_object(found: list[Found], wanted: list[str]) -> None:
    assert [name for name, _ in kept(found)] == wanted


def test_a_box_goes_only_for_a_better_one_that_itself_stays() -> None:
    """Three in a row, each the same object as its neighbour: the middle one goes, the ends are two cars."""
    row: list[Found] = [("car", 0.9 - k / 10, (200 + 30 * k, 100, 300 + 30 * k, 180)) for k in range(3)]
    assert kept(row) == [("car", row[0][2]), ("car", row[2][2])]


def test_the_whole_is_kept_though_its_half_scores_better() -> None:
    half: Box = (200, 100, 265, 180)
    assert kept([("car", 0.8, half), ("car", 0.7, CAR)], CAR) == [("car", CAR)]


MACHINE: Box = (200, 140, 260, 200)
RIDER: Box = (210, 90, 250, 180)


@pytest.mark.parametrize("machine", ["motorcycle", "bicycle"])
@pytest.mark.parametrize(("machine_score", "rider_score"), [(0.5, 0.9), (0.9, 0.5)])
def test_rider_and_machine_are_one_object(machine: str, machine_score: float, rider_score: float) -> None:
    found: list[Found] = [("person", rider_score, RIDER), (machine, machine_score, MACHINE)]
    assert kept(found) == [(machine, (200, 90, 260, 200))]


def test_two_riders_of_one_machine_are_one_object() -> None:
    passenger: Box = (232, 95, 266, 178)
    found: list[Found] = [("person", 0.8, RIDER), ("person", 0.7, passenger), ("motorcycle", 0.6, MACHINE)]
    assert kept(found) == [("motorcycle", (200, 90, 266, 200))]


@pytest.mark.parametrize(
    "person",
    [
        pytest.param((270, 90, 305, 200), id="beside it"),
        pytest.param((215, 20, 245, 120), id="behind it, feet above"),
        pytest.param((215, 120, 245, 300), id="before it, feet far below"),
    ],
)
def test_a_person_who_does_not_ride_stays_a_person(person: Box) -> None:
    assert sorted(kept([("person", 0.8, person), ("motorcycle", 0.7, MACHINE)])) == [
        ("motorcycle", MACHINE),
        ("person", person),
    ]


def test_a_person_before_a_car_does_not_ride_it() -> None:
    assert len(kept([("person", 0.8, (230, 60, 260, 160)), ("car", 0.7, CAR)])) == 2


def test_a_box_that_moves_keeps_its_score_and_a_still_one_loses_half_of_it() -> None:
    parked: Box = (400, 200, 520, 280)
    found, moving = one_box_an_object(detections([("car", 0.6, CAR), ("car", 0.8, parked)]), motion(CAR), LEAST)
    assert found.boxes_xyxy_px.tolist() == [list(CAR), list(parked)], "best first, by the weighed score"
    assert found.scores == pytest.approx([0.6, 0.4], abs=0.01)
    assert moving == pytest.approx([1.0, 0.0], abs=0.05)


def test_what_stands_still_and_was_doubtful_is_dropped() -> None:
    bush: Box = (400, 200, 520, 280)
    assert kept([("car", 1.9 * LEAST, bush)], CAR) == []
    assert kept([("car", 1.9 * LEAST, CAR)], CAR) == [("car", CAR)]


def test_what_was_found_is_never_written_into() -> None:
    found = detections([("person", 0.8, RIDER), ("motorcycle", 0.7, MACHINE), ("car", 0.6, (400, 200, 520, 280))])
    before = Detections(found.boxes_xyxy_px.copy(), found.scores.copy(), found.class_ids.copy())
    for array in (found.boxes_xyxy_px, found.scores, found.class_ids):
        array.setflags(write=False)
    one_box_an_object(found, motion(WHOLE_ROAD), LEAST)
    assert np.array_equal(found.boxes_xyxy_px, before.boxes_xyxy_px)
    assert np.array_equal(found.scores, before.scores)
    assert np.array_equal(found.class_ids, before.class_ids)


def test_nothing_found_is_nothing() -> None:
    assert kept([]) == []
