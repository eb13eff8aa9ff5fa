"""Where a second look goes, and how what it finds comes back into the picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from agent.vision.regions import Regions, look_closer
from drivers.base import Detections
from tests.support.vision import Box, centred_at, detections

HD = (1920, 1080)
Boxes = npt.NDArray[np.float32]


def boxes(*given: Box) -> Boxes:
    return np.array(given, np.float32).reshape(len(given), 4)


def inside(window: tuple[int, int, int, int], box: Box) -> bool:
    return window[0] <= box[0] and window[1] <= box[1] and box[2] <= window[2] and box[3] <= window[3]


def test_a_window_is_a_square_in_the_picture_around_what_is_small() -> None:
    bike = centred_at(1900, 40, 30, 60)
    ((left, top, right, bottom),) = Regions().choose(boxes(bike), HD, 1)
    assert right - left == bottom - top
    assert (left >= 0, top >= 0, right <= 1920, bottom <= 1080) == (True,) * 4
    assert inside((left, top, right, bottom), (1885, 10, 1915, 70))


def test_one_window_covers_as_many_as_it_can() -> None:
    platoon = [centred_at(400 + 60 * k, 500, 40, 60) for k in range(4)]
    alone = centred_at(1500, 300, 40, 60)
    (window,) = Regions().choose(boxes(alone, *platoon), HD, 1)
    assert all(inside(window, box) for box in platoon)


def test_others_get_their_turn() -> None:
    regions, two, one = (
        Regions(),
        [centred_at(300 + 60 * k, 500, 40, 60) for k in (0, 1)],
        centred_at(1500, 300, 40, 60),
    )
    looked_at_one = [inside(regions.choose(boxes(one, *two), HD, 1)[0], one) for _ in range(6)]
    assert any(looked_at_one)
    assert not all(looked_at_one)


def test_two_windows_do_not_look_at_the_same() -> None:
    here, there = centred_at(300, 500, 40, 60), centred_at(1500, 300, 40, 60)
    windows = Regions().choose(boxes(here, there), HD, 5)
    assert len(windows) == 2


@pytest.mark.parametrize(
    ("wh_px", "box"),
    [
        pytest.param(HD, centred_at(900, 500, 600, 400), id="large enough in the whole"),
        pytest.param((352, 288), centred_at(100, 100, 20, 20), id="the picture itself has no more to show"),
    ],
)
def test_where_a_second_look_shows_nothing_new_there_is_none(wh_px: tuple[int, int], box: Box) -> None:
    assert Regions().choose(boxes(box), wh_px, 3) == []


def test_nothing_to_look_at_or_nothing_allowed_is_no_window() -> None:
    assert Regions().choose(boxes(), HD, 3) == []
    assert Regions().choose(boxes(centred_at(900, 500)), HD, 0) == []


class PartDetector:
    """Finds white squares in whatever part it is shown, as boxes in that part."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, int]] = []

    def detect(self, image_bgr: npt.NDArray[np.uint8], min_score: float) -> Detections:
        self.shown.append(image_bgr.shape[1::-1])
        rows, columns = np.nonzero(image_bgr[:, :, 0] == 255)
        if not len(rows):
            return Detections.none()
        box = (float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1)
        return detections([("car", 0.9, box)])

    def close(self) -> None:
        pass


def picture(left: int, top: int, right: int, bottom: int) -> npt.NDArray[np.uint8]:
    image = np.zeros((360, 640, 3), np.uint8)
    image[top:bottom, left:right] = 255
    return image


def test_what_is_found_in_a_window_is_told_in_the_pictures_pixels_beside_what_was_found_in_the_whole() -> None:
    detector, whole = PartDetector(), detections([("bus", 0.5, (0, 0, 90, 90))])
    found = look_closer(detector, picture(320, 120, 360, 150), [(300, 100, 540, 340)], whole, 0.1)
    assert detector.shown == [(240, 240)]
    assert found.boxes_xyxy_px.tolist() == [[320, 120, 360, 150], [0, 0, 90, 90]]
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])
    assert len(whole) == 1


def test_what_a_window_cuts_through_is_left_to_the_whole_but_the_pictures_own_edge_is_no_cut() -> None:
    nothing = Detections.none()
    cut = look_closer(PartDetector(), picture(280, 120, 360, 150), [(300, 100, 540, 340)], nothing, 0.1)
    assert len(cut) == 0
    at_the_edge = look_closer(PartDetector(), picture(600, 120, 640, 150), [(400, 100, 640, 340)], nothing, 0.1)
    assert at_the_edge.boxes_xyxy_px.tolist() == [[600, 120, 640, 150]]
