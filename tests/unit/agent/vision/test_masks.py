"""What is masked does not get through, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from agent.vision.masks import Polygon, PrivateCamera, blackened, outside, unmasked
from drivers.base import Frame
from drivers.fakes import FakeCamera
from tests.support.vision import PerfectDetector, road

LEFT: Polygon = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
MIDDLE: Polygon = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))
FLOOR: Polygon = ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0))


def white(wide: int = 64, high: int = 36) -> Frame:
    return Frame(np.full((high, wide, 3), 255, np.uint8), 3, 1.5)


def test_inside_is_black_and_outside_is_as_it_was() -> None:
    shown = blackened(white(), (LEFT,)).image_bgr
    assert not shown[:, :32].any()
    assert (shown[:, 33:] == 255).all()


def test_where_two_masks_overlap_nothing_shows_through() -> None:
    shown = blackened(white(), (LEFT, MIDDLE)).image_bgr
    assert not shown[:, :32].any()
    assert not shown[10:26, 17:47].any()


def test_the_drivers_own_picture_is_not_written_into() -> None:
    frame = white()
    frame.image_bgr.setflags(write=False)
    masked = blackened(frame, (LEFT,))
    assert (frame.image_bgr == 255).all()
    assert (masked.index, masked.mono_s) == (3, 1.5)


@pytest.mark.parametrize("wh_px", [(1920, 1080), (640, 360), (352, 288), (163, 91)])
def test_a_mask_covers_the_same_part_at_every_size(wh_px: tuple[int, int]) -> None:
    slanted: Polygon = ((0.1, 0.1), (0.9, 0.2), (0.8, 0.95), (0.3, 0.7))
    seen = unmasked((slanted,), wh_px)
    assert seen.shape == wh_px[::-1]
    assert 1 - seen.mean() == pytest.approx(0.445, abs=0.015)


def test_whoever_reads_the_camera_gets_the_masked_picture() -> None:
    frame = white()
    camera = PrivateCamera(FakeCamera("north", [frame.image_bgr]), (LEFT,))
    camera.open()
    assert not camera.read(1.0).image_bgr[:, :32].any()
    camera.close()
    camera.close()


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        pytest.param((10, 10, 20, 20), True, id="above"),
        pytest.param((10, 10, 20, 90), False, id="stands in it"),
        pytest.param((10, 60, 20, 100), False, id="cut off by the picture's lower edge"),
        pytest.param((-8, 60, 2, 90), False, id="cut off by its left edge"),
        pytest.param((10, 10, 20, 49), True, id="stands just before it"),
    ],
)
def test_an_object_that_stands_in_a_detection_mask_is_not_found(
    box: tuple[float, float, float, float], kept: bool
) -> None:
    detector = PerfectDetector()
    detector.sees = [("car", box), ("person", (40, 10, 50, 30))]
    found = outside(detector.detect(road(100, 100), 0.1), (FLOOR,), (100, 100))
    assert len(found) == 1 + kept
    assert len(found.scores) == len(found.class_ids) == len(found.boxes_xyxy_px)


def test_nothing_found_stays_nothing() -> None:
    assert len(outside(PerfectDetector().detect(road(100, 100), 0.1), (FLOOR,), (100, 100))) == 0
