"""The tap on a camera, and what is made of one picture for people."""

import cv2
import numpy as np
import pytest

from agent.clock import FakeClock
from agent.vision import live
from agent.vision.live import Shown, Tap, detail, picture
from agent.vision.pipeline import Seen
from drivers.base import Frame
from tests.support.street import street
from tests.support.vision import Picture, motion_of, noisy, road, sighting

BOX = (64.0, 36.0, 128.0, 180.0)


def shown(image: Picture | None = None) -> Shown:
    frame = Frame(road() if image is None else image, 7, 99.9)
    return Shown(frame, Seen([], sighting({3: BOX}, 7, 99.9), motion_of([BOX]), True), 0.05, 9.96, 8.04)


def test_places_are_fractions_of_the_whole_picture() -> None:
    figures, _ = picture(shown())
    (box,) = figures["boxes"]
    assert box == {"id": 3, "class": "car", "score": 0.9, "moves": True, "box": [0.1, 0.1, 0.2, 0.5]}
    assert figures["size"] == [640, 360]
    assert (figures["fps"], figures["looks"], figures["age_ms"]) == (10.0, 8.0, 50)
    assert len(figures["motion"]) == 1
    assert all(0.0 <= value <= 1.0 for value in figures["motion"][0])


def test_a_large_picture_is_sent_small_and_a_small_one_as_it_is() -> None:
    for wide, high, sent in ((1920, 1080, (640, 360)), (320, 240, (320, 240))):
        _, jpeg = picture(shown(road(wide, high)))
        decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert (decoded.shape[1], decoded.shape[0]) == sent
        assert len(jpeg) < 60_000


def test_what_is_not_seen_now_or_not_for_certain_is_not_shown() -> None:
    tracks = sighting({3: BOX}, 7, 99.9, unseen={4: (200, 100, 240, 160)})
    seen = Seen([], tracks, motion_of([]), False)
    figures, _ = picture(Shown(Frame(road(), 7, 99.9), seen, 0.0, 1.0, 0.0))
    assert [box["id"] for box in figures["boxes"]] == [3]


def test_the_frame_is_not_written_into() -> None:
    image = street()
    before = image.copy()
    picture(shown(image))
    assert np.array_equal(image, before)


@pytest.mark.parametrize(("wide", "high"), [(640, 360), (1920, 1080)])
def test_a_picture_out_of_focus_has_less_detail_and_the_sharper_the_more(wide: int, high: int) -> None:
    """Through a sensor's noise, which a blurred lens does not blur."""
    sharp = cv2.resize(street(), (wide, high), interpolation=cv2.INTER_CUBIC)
    seen = [cv2.GaussianBlur(sharp, (0, 0), blur_px * wide / 640) for blur_px in (4.0, 2.0, 1.0, 0.1)]
    found = [detail(noisy(np.asarray(one, np.uint8), seed)) for seed, one in enumerate(seen)]
    assert found == sorted(found)
    assert found[-1] > 3 * found[0]


def test_detail_does_not_follow_exposure() -> None:
    sharp = street()
    darker = np.asarray(sharp * 0.6, np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 2.0), np.uint8)
    assert detail(darker) == pytest.approx(detail(sharp), rel=0.15)
    assert detail(blurred) < 0.7 * detail(darker)


def test_light_tells_what_is_lost_in_the_dark_and_in_the_bright() -> None:
    image = np.full((360, 640, 3), 128, np.uint8)
    image[:, :160] = 0
    image[:, 480:] = 255
    assert picture(shown(image))[0]["light"] == {"mean": 0.501, "dark": 0.25, "bright": 0.25}


def test_a_tap_hands_over_the_newest_once_and_wakes_who_looks() -> None:
    clock, woken = FakeClock(), []
    tap = Tap(clock)
    assert not tap.is_watched
    tap.open(lambda: woken.append(1))
    assert tap.is_watched
    seen = shown().seen
    for n in range(3):
        tap.show(Frame(road(), n, clock.mono_s() - 0.2), seen)
        clock.sleep(0.1)
    newest = tap.take()
    assert newest is not None
    assert newest.frame.index == 2
    assert newest.age_s == pytest.approx(0.2)
    assert newest.fps == pytest.approx(10.0)
    assert tap.take() is None
    assert woken == [1, 1, 1]


def test_a_closed_tap_keeps_no_picture() -> None:
    tap = Tap(FakeClock())
    tap.open(lambda: None)
    tap.show(Frame(road(), 0, 0.0), shown().seen)
    tap.close()
    assert not tap.is_watched
    assert tap.take() is None


def test_the_rate_begins_anew_after_nobody_looked_for_a_while() -> None:
    clock = FakeClock()
    tap = Tap(clock)
    for _ in range(5):
        tap.show(Frame(road(), 0, clock.mono_s()), shown().seen)
        clock.sleep(0.1)
    clock.sleep(live._RATE_OVER_S + 1)
    tap.show(Frame(road(), 0, clock.mono_s()), shown().seen)
    clock.sleep(0.5)
    tap.show(Frame(road(), 0, clock.mono_s()), shown().seen)
    newest = tap.take()
    assert newest is not None
    assert newest.fps == pytest.approx(2.0)
