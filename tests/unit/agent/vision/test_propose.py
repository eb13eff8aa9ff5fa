"""Moving areas as objects: when an area replaces what was found in it, and when it speaks for itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from agent.vision.propose import VEHICLE, add_moving_areas
from drivers.base import CLASSES
from tests.support.vision import Box, Found, detections, motion_of

CAR: Box = (200, 100, 320, 180)
WH_PX = (640, 360)
CAR_ID = CLASSES.index("car")


def proposed(
    found: Sequence[Found], moving: Sequence[Box] = (CAR,), expected: Sequence[Box] = ()
) -> list[tuple[int, list[float]]]:
    """Class and box of what is left, where these boxes move and these objects are expected."""
    motion = motion_of(moving)
    given = detections(found)
    share = motion.share(given.boxes_xyxy_px)
    left, left_share = add_moving_areas(
        given, share, motion, np.array(expected, np.float32).reshape(len(expected), 4), WH_PX
    )
    assert len(left) == len(left.scores) == len(left.class_ids) == len(left_share)
    return [(int(c), [round(float(v)) for v in b]) for c, b in zip(left.class_ids, left.boxes_xyxy_px, strict=True)]


def near(box: Sequence[float], other: Sequence[float]) -> bool:
    return max(abs(a - b) for a, b in zip(box, other, strict=True)) <= 8


def test_a_sure_box_is_left_as_it_is() -> None:
    assert proposed([("car", 0.8, CAR)]) == [(CAR_ID, list(CAR))]


def test_an_unsure_piece_becomes_the_whole_and_says_what_it_might_be() -> None:
    ((class_id, box),) = proposed([("car", 0.2, (210, 105, 280, 170))])
    assert class_id == CAR_ID
    assert near(box, CAR)


def test_of_several_pieces_one_whole_is_left_of_the_class_of_the_surest() -> None:
    ((class_id, box),) = proposed([("truck", 0.25, (210, 105, 290, 170)), ("person", 0.2, (200, 100, 262, 178))])
    assert class_id == CLASSES.index("truck")
    assert near(box, CAR)


def test_what_the_network_does_not_see_at_all_is_a_vehicle() -> None:
    ((class_id, box),) = proposed([])
    assert class_id == VEHICLE
    assert near(box, CAR)


def test_where_the_network_plainly_sees_what_moves_an_area_alone_is_a_shadow() -> None:
    shadow: Box = (450, 250, 560, 320)
    assert proposed([("car", 0.8, CAR)], [CAR, shadow]) == [(CAR_ID, list(CAR))]


def test_an_area_in_which_two_are_followed_is_left_to_what_is_found() -> None:
    pieces: list[Found] = [("car", 0.2, (200, 100, 255, 180)), ("car", 0.2, (265, 100, 320, 180))]
    both = [piece[2] for piece in pieces]
    assert sorted(box for _, box in proposed(pieces, expected=both)) == sorted(list(box) for box in both)


def test_an_area_much_larger_than_the_one_followed_has_merged_with_something() -> None:
    piece: Box = (205, 105, 262, 175)
    assert [box for _, box in proposed([("car", 0.2, piece)], expected=[(200, 100, 225, 160)])] == [list(piece)]


@pytest.mark.parametrize(
    "area",
    [
        pytest.param((200, 100, 206, 104), id="a leaf"),
        pytest.param((20, 100, 620, 125), id="a barrier's shadow"),
        pytest.param((5, 5, 635, 355), id="the whole picture"),
    ],
)
def test_what_cannot_be_a_road_user_by_size_or_shape_is_none(area: Box) -> None:
    assert proposed([], [area]) == []


def test_nothing_moving_changes_nothing() -> None:
    assert proposed([("car", 0.2, CAR)], []) == [(CAR_ID, list(CAR))]


def test_an_area_in_which_nothing_was_found_is_the_object_that_is_expected_there() -> None:
    seen_elsewhere: Box = (450, 250, 560, 320)  # the network is not blind here, so an area alone would be a shadow
    left = proposed([("car", 0.8, seen_elsewhere)], moving=(CAR, seen_elsewhere), expected=[(205, 98, 318, 176)])
    assert [class_id for class_id, _ in left] == [CAR_ID, VEHICLE]
    assert near(left[1][1], CAR)


def test_pieces_that_are_expected_over_each_other_are_one_object() -> None:
    seen_elsewhere: Box = (450, 250, 560, 320)
    pieces: list[Box] = [(205, 100, 275, 176), (240, 105, 318, 178)]
    left = proposed([("car", 0.8, seen_elsewhere)], moving=(CAR, seen_elsewhere), expected=pieces)
    assert [class_id for class_id, _ in left] == [CAR_ID, VEHICLE]


def test_an_area_in_which_two_are_expected_side_by_side_is_neither() -> None:
    seen_elsewhere: Box = (450, 250, 560, 320)
    pair: list[Box] = [(200, 100, 258, 180), (262, 100, 320, 180)]
    left = proposed([("car", 0.8, seen_elsewhere)], moving=(CAR, seen_elsewhere), expected=pair)
    assert [class_id for class_id, _ in left] == [CAR_ID]
