"""From what a camera saw to a stored picture."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from agent.clock import FakeClock
from agent.contract.event import Evidence
from agent.evidence import EvidenceStore, Witness
from drivers.base import Frame
from tests.support.vision import Box, PerfectDetector, Picture, road, sighting

A, B = (100.0, 100.0, 180.0, 260.0), (400.0, 100.0, 480.0, 260.0)


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    return EvidenceStore(tmp_path / "evidence", max_bytes=10**8, max_days=14, clock=FakeClock())


def people_everywhere(number: int) -> Picture:
    """Fine stripes where people are, so that a mosaic is seen at once; the number is its brightness."""
    picture = road(640, 360)
    for left, top, right, bottom in (A, B):
        picture[int(top) : int(bottom), int(left) : int(right) : 4] = 255
    picture[:20, :20] = number
    return picture


def seen_by(witness: Witness, number: int, boxes: dict[int, Box]) -> None:
    names = dict.fromkeys(boxes, "person")
    witness.look(Frame(people_everywhere(number), number, number / 10), sighting(boxes, number, 0.0, classes=names))


def stored(store: EvidenceStore, evidence: Evidence | None) -> Picture:
    assert evidence is not None
    jpeg = store.read(evidence.id)
    assert jpeg is not None
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def is_sharp(picture: Picture, box: Box) -> bool:
    left, top, right, bottom = (int(v) for v in box)
    return float(picture[top + 20 : bottom - 20, left + 8 : right - 8].std()) > 50


@pytest.mark.parametrize(
    ("pixelate", "track", "sharp"),
    [
        ("others", 1, (True, False)),
        ("others", 2, (False, True)),
        ("others", 0, (False, False)),
        ("others", 99, (False, False)),
        ("all", 1, (False, False)),
        ("none", 1, (True, True)),
        ("none", 0, (True, True)),
    ],
)
def test_the_policy_says_who_can_be_recognised(
    store: EvidenceStore, pixelate: Literal["others", "all", "none"], track: int, sharp: tuple[bool, bool]
) -> None:
    witness = Witness(store, PerfectDetector(), pixelate=pixelate)
    seen_by(witness, 100, {1: A, 2: B})
    picture = stored(store, witness.testify(track))
    assert (is_sharp(picture, A), is_sharp(picture, B)) == sharp


def test_the_picture_shows_the_best_moment_of_the_track(store: EvidenceStore) -> None:
    witness = Witness(store, PerfectDetector())
    seen_by(witness, 50, {1: (100.0, 100.0, 110.0, 120.0)})
    seen_by(witness, 150, {1: A})
    seen_by(witness, 250, {1: (100.0, 100.0, 110.0, 120.0)})
    assert stored(store, witness.testify(1))[:20, :20].mean() == pytest.approx(150, abs=3)
    assert stored(store, witness.testify(0))[:20, :20].mean() == pytest.approx(250, abs=3), "of no track: this moment"


def test_nothing_seen_yet_is_no_picture(store: EvidenceStore) -> None:
    assert Witness(store, PerfectDetector()).testify(1) is None


def test_the_place_of_a_thing_that_nobody_follows_is_framed(store: EvidenceStore) -> None:
    witness = Witness(store, PerfectDetector())
    seen_by(witness, 100, {1: A})
    plain, framed = stored(store, witness.testify(0)), stored(store, witness.testify(0, (0.75, 0.5, 0.875, 0.75)))
    changed = np.argwhere(np.abs(framed.astype(int) - plain).max(axis=2) > 60)
    assert changed.min(axis=0) == pytest.approx((180, 480), abs=3)
    assert changed.max(axis=0) == pytest.approx((270, 560), abs=3)


def test_what_the_camera_gave_is_not_drawn_upon(store: EvidenceStore) -> None:
    witness = Witness(store, PerfectDetector(), pixelate="all")
    seen_by(witness, 100, {1: A, 2: B})
    first = stored(store, witness.testify(0))
    assert np.array_equal(stored(store, witness.testify(0)), first)
    assert not is_sharp(first, A)
