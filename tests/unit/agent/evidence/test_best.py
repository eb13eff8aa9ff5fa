"""Which view of an object is kept, and that what is kept is bounded and forgotten."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from agent.evidence.best import MAX_PIXELS, MAX_SHOTS, BestViews, Shot
from drivers.base import Frame
from tests.support.vision import Box, Picture, road, sighting

WIDE, HIGH = 640, 360
SMALL, LARGE = (300.0, 200.0, 340.0, 230.0), (200.0, 120.0, 400.0, 260.0)


def shown(number: int, *, picture: Picture | None = None) -> Frame:
    """A picture that says its own number in its first pixel."""
    image = (road(WIDE, HIGH) if picture is None else picture).copy()
    image[0, 0] = number % 256
    return Frame(image, number, number / 10)


def number_of(shot: Shot | None) -> int | None:
    return None if shot is None else int(shot.picture_bgr[0, 0, 0])


def play(views: BestViews, *boxes: Box | None, track: int = 1) -> None:
    """Frame n shows the object there; None: unseen."""
    for n, box in enumerate(boxes):
        at = {track: box} if box else {}
        views.update(shown(n), sighting(at, n, n / 10, unseen={} if box else {track: SMALL}))


@pytest.mark.parametrize(
    ("boxes", "best"),
    [
        pytest.param((SMALL, LARGE, SMALL), 1, id="the largest"),
        pytest.param((LARGE, LARGE, LARGE), 0, id="the first of equal ones"),
        pytest.param(((0.0, 120.0, 200.0, 260.0), LARGE), 1, id="whole rather than cut off at the left"),
        pytest.param((LARGE, (200.0, 240.0, 420.0, 360.0)), 0, id="whole rather than cut off below"),
        pytest.param((LARGE, None, None), 0, id="seen rather than guessed"),
    ],
)
def test_the_best_view_is(boxes: tuple[Box | None, ...], best: int) -> None:
    views = BestViews()
    play(views, *boxes)
    assert number_of(views.get(1)) == best


def test_sharp_is_better_than_blurred() -> None:
    views = BestViews()
    sharp = np.random.default_rng(1).integers(0, 255, (HIGH, WIDE, 3)).astype(np.uint8)
    sharp = cv2.resize(sharp[::4, ::4], (WIDE, HIGH), interpolation=cv2.INTER_NEAREST)
    blurred = cv2.blur(sharp, (25, 25))
    for n, picture in enumerate((blurred, sharp, blurred)):
        views.update(shown(n, picture=picture), sighting({1: LARGE}, n, n / 10))
    assert number_of(views.get(1)) == 1


def test_with_somebody_in_front_is_worse_than_alone() -> None:
    views = BestViews()
    for n, other in enumerate(((210.0, 130.0, 390.0, 255.0), (20.0, 20.0, 60.0, 60.0))):
        views.update(shown(n), sighting({1: LARGE, 2: other}, n, n / 10))
    assert number_of(views.get(1)) == 1


def test_unconfirmed_objects_get_no_copy() -> None:
    views = BestViews()
    tracks = sighting({1: LARGE}, 0, 0.0)
    tracks.confirmed[:] = False
    views.update(shown(0), tracks)
    assert views.get(1) is None


def test_a_copy_is_taken_only_when_clearly_better(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    of = Shot.of
    monkeypatch.setattr(
        Shot, "of", staticmethod(lambda frame, tracks: (taken.append(frame.index), of(frame, tracks))[1])
    )
    views = BestViews()
    for n in range(100):  # a parked car whose box trembles
        left, top, right, bottom = LARGE
        views.update(shown(n), sighting({1: (left - n % 7, top, right + n % 5, bottom)}, n, n / 10))
    assert taken == [0]


def test_a_view_outlives_its_object_by_the_frame_in_which_it_ended() -> None:
    views = BestViews()
    play(views, LARGE)
    views.update(shown(1), sighting({}, 1, 0.1, ended=(1,)))
    assert number_of(views.get(1)) == 0
    views.update(shown(2), sighting({}, 2, 0.2))
    assert views.get(1) is None


def test_no_more_copies_than_the_bound_and_the_newest_stay() -> None:
    views = BestViews()
    for n in range(40):  # one after another comes in, and all stay
        boxes = {track: (10.0 * track, 100.0, 10.0 * track + 60, 160.0) for track in range(1, n + 2)}
        views.update(shown(n), sighting(boxes, n, n / 10))
    kept = {track: number_of(views.get(track)) for track in range(1, 41) if views.get(track)}
    assert len(set(kept.values())) == MAX_SHOTS
    assert max(kept) == 40


def test_objects_that_look_best_in_one_frame_share_its_copy() -> None:
    views = BestViews()
    views.update(shown(0), sighting({1: LARGE, 2: SMALL}, 0, 0.0))
    assert views.get(1) is views.get(2)


def test_a_large_picture_is_kept_smaller_and_the_boxes_with_it() -> None:
    shot = Shot.of(Frame(road(3840, 2160), 0, 0.0), sighting({1: (384.0, 216.0, 768.0, 1080.0)}, 0, 0.0))
    high, wide = shot.picture_bgr.shape[:2]
    assert wide * high <= MAX_PIXELS
    assert shot.boxes_xyxy_px[0] / (wide, high, wide, high) == pytest.approx([0.1, 0.1, 0.2, 0.5])


def test_what_is_kept_does_not_change_with_the_camera_s_buffer() -> None:
    views, frame = BestViews(), shown(7)
    views.update(frame, sighting({1: LARGE}, 0, 0.0))
    frame.image_bgr[:] = 255
    assert number_of(views.get(1)) == 7
