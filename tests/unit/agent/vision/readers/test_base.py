"""Which crops a reader gets, what becomes of what it says, and that neither takes more than its share."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from agent.vision.readers import Readers
from drivers.base import CLASSES, Frame
from tests.support.vision import Box, Picture, road, sighting

CAR = (200.0, 100.0, 300.0, 160.0)


class ScriptedReader:
    """Says in turn what it is told, and remembers the crops it got."""

    name = "mood"
    class_ids = frozenset({CLASSES.index("car")})
    least_side_px = 20.0

    def __init__(
        self, said: Sequence[tuple[str, float] | None] = (), *, always: tuple[str, float] | None = None
    ) -> None:
        self._said = iter(said)
        self._always = always
        self.crops: list[Picture] = []

    def read(self, crop_bgr: Picture) -> tuple[str, float] | None:
        self.crops.append(crop_bgr)
        return next(self._said, self._always)


def show(readers: Readers, frames: Sequence[dict[int, Box]], *, fps: float = 10.0, **options: object) -> None:
    for n, boxes in enumerate(frames):
        readers.update(Frame(road(), n, n / fps), sighting(boxes, n, n / fps, **options))  # type: ignore[arg-type]


def growing(count: int, factor: float) -> list[dict[int, Box]]:
    return [{1: (100.0, 50.0, 100 + 40 * factor**n, 50 + 40 * factor**n)} for n in range(count)]


def test_a_reader_gets_the_object_s_own_part_of_the_picture() -> None:
    reader = ScriptedReader()
    show(Readers([reader]), [{1: CAR}])
    (crop,) = reader.crops
    assert np.array_equal(crop, road()[100:160, 200:300])


def test_an_object_that_stays_is_read_a_few_times_spread_over_time() -> None:
    reader = ScriptedReader()
    show(Readers([reader], per_track=5), [{1: CAR}] * 100)
    assert len(reader.crops) == 5
    again = ScriptedReader()
    show(Readers([again], per_track=5), [{1: CAR}] * 3, fps=30.0)
    assert len(again.crops) == 1


def test_one_that_comes_nearer_is_read_again_while_it_grows_and_not_for_ever() -> None:
    reader = ScriptedReader()
    show(Readers([reader], per_track=3), growing(40, 1.05))
    sizes = [crop.shape[0] for crop in reader.crops]
    assert sizes == sorted(sizes)
    assert 4 <= len(sizes) <= 6
    assert sizes[-1] > 2 * sizes[0]


def test_one_that_goes_away_is_read_where_it_was_large() -> None:
    reader = ScriptedReader()
    show(Readers([reader], per_track=5), growing(30, 1.06)[::-1])
    assert min(crop.shape[0] for crop in reader.crops) > 0.7 * reader.crops[0].shape[0]


def test_a_blurred_crop_is_not_worth_a_reading() -> None:
    reader = ScriptedReader()
    readers = Readers([reader])
    sharp = cv2.resize(np.random.default_rng(1).integers(0, 255, (90, 160, 3)).astype(np.uint8), (640, 360))
    for n in range(20):
        picture = sharp if n < 3 else np.asarray(cv2.blur(sharp, (31, 31)), np.uint8)
        readers.update(Frame(picture, n, n / 10), sighting({1: CAR}, n, n / 10))
    assert len(reader.crops) == 2


@pytest.mark.parametrize(
    ("boxes", "classes"),
    [
        pytest.param({1: CAR}, {1: "person"}, id="of a class it cannot read"),
        pytest.param({1: (200.0, 100.0, 300.0, 115.0)}, {1: "car"}, id="too small"),
        pytest.param({1: (700.0, 100.0, 800.0, 160.0)}, {1: "car"}, id="outside the picture"),
        pytest.param({1: (-200.0, -100.0, -100.0, -60.0)}, {1: "car"}, id="outside on the other side"),
    ],
)
def test_a_reader_is_not_given_what_is(boxes: dict[int, Box], classes: dict[int, str]) -> None:
    reader = ScriptedReader()
    show(Readers([reader]), [boxes] * 3, classes=classes)
    assert reader.crops == []


def test_a_reader_is_not_given_what_is_unconfirmed_or_unseen() -> None:
    reader = ScriptedReader()
    readers = Readers([reader])
    doubtful = sighting({1: CAR}, 0, 0.0)
    doubtful.confirmed[:] = False
    readers.update(Frame(road(), 0, 0.0), doubtful)
    readers.update(Frame(road(), 1, 0.1), sighting({}, 1, 0.1, unseen={1: CAR}))
    assert reader.crops == []


@pytest.mark.parametrize(
    ("said", "known"),
    [
        pytest.param([("red", 0.9)], {"mood": "red"}, id="one sure word"),
        pytest.param([("red", 0.3)], {}, id="one unsure word"),
        pytest.param([("red", 0.3), ("red", 0.3)], {"mood": "red"}, id="two that agree"),
        pytest.param([("red", 0.9), ("blue", 0.8)], {}, id="two that differ"),
        pytest.param([("red", 0.9), ("blue", 0.3), None], {"mood": "red"}, id="the surer one"),
        pytest.param([None, None], {}, id="silence"),
    ],
)
def test_words_are_weighed_by_how_sure_they_are(said: list[tuple[str, float] | None], known: dict[str, str]) -> None:
    readers = Readers([ScriptedReader(said)])
    show(readers, [{1: CAR}] * 12)
    assert readers.attributes(1) == known


def test_of_objects_it_does_not_know_nothing_is_said() -> None:
    assert Readers([ScriptedReader()]).attributes(7) == {}


def test_what_has_ended_is_forgotten() -> None:
    readers = Readers([ScriptedReader(always=("red", 0.9))])
    show(readers, [{1: CAR, 2: CAR}])
    readers.forget((1,))
    assert (readers.attributes(1), readers.attributes(2)) == ({}, {"mood": "red"})
    readers.reset()
    assert readers.attributes(2) == {}


def test_readings_stay_within_the_budget_and_everybody_gets_a_turn() -> None:
    reader = ScriptedReader()
    readers = Readers([reader], per_track=5, reads_per_s=10.0)
    crowd = {track: (10.0 * track, 100.0, 10.0 * track + 40, 140.0) for track in range(1, 41)}
    show(readers, [crowd] * 51)
    assert 55 <= len(reader.crops) <= 60  # 10 at once, and 10 a second for 5 s
    show(readers, [crowd])
    assert {len(crop) for crop in reader.crops} == {40}
    counts = [readers._of[track][0].count for track in crowd]
    assert min(counts) >= 1


def test_a_reader_with_a_bug_is_left_out_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ScriptedReader):
        name = "broken"
        calls = 0

        def read(self, crop_bgr: Picture) -> tuple[str, float] | None:
            self.calls += 1
            raise ZeroDivisionError

    broken, well = Broken(), ScriptedReader(always=("red", 0.9))
    readers = Readers([broken, well])
    show(readers, [{1: CAR}] * 30)
    assert broken.calls == 1
    assert readers.attributes(1) == {"mood": "red"}
    assert "bug in the reader of broken" in caplog.text
