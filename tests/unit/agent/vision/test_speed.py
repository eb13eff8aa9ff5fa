"""Speeds on a road drawn by a pinhole camera: the true speed is known, and lies within the error that is stated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from agent.vision.speed import GroundPlane, Speed, Speedometer
from drivers.base import Frame
from tests.support.vision import Box, sighting, standing_at

WIDE_PX, HIGH_PX = 1280, 720
NO_PICTURE = np.zeros((1, 1, 3), np.uint8)
CORNERS_M = ((-4.0, 45.0), (4.0, 45.0), (4.0, 14.0), (-4.0, 14.0))
CAR_M = (1.8, 4.4, 1.5)  # wide, long, high
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pinhole:
    """A camera above the road that looks along it: x to the right, y away, z up, in metres."""

    above_m: float = 6.0
    down_deg: float = 14.0
    focal_px: float = 1000.0

    def seen(self, places_m: Doubles) -> Doubles:
        """(n, 3) → (n, 2) pixels."""
        cos, sin = np.cos(np.radians(self.down_deg)), np.sin(np.radians(self.down_deg))
        x, y, z = places_m[:, 0], places_m[:, 1], places_m[:, 2] - self.above_m
        depth = y * cos - z * sin
        return np.stack(
            [WIDE_PX / 2 + self.focal_px * x / depth, HIGH_PX / 2 + self.focal_px * (-z * cos - y * sin) / depth],
            axis=1,
        )

    def car(self, x_m: float, y_m: float, size_m: tuple[float, float, float] = CAR_M) -> Doubles:
        """The box around a car whose middle is there."""
        wide, long, high = size_m
        corners = [(x_m + i * wide / 2, y_m + j * long / 2, k) for i in (-1, 1) for j in (-1, 1) for k in (0.0, high)]
        points = self.seen(np.array(corners))
        return np.concatenate([points.min(axis=0), points.max(axis=0)])

    def ground(self, rng: np.random.Generator, *, tolerance_m: float = 0.2, click_px: float = 1.0) -> GroundPlane:
        """Calibrated as a person does: points clicked a pixel beside, metres measured within the tolerance."""
        points = self.seen(np.array([(*corner, 0.0) for corner in CORNERS_M])) + rng.normal(0, click_px, (4, 2))
        metres = np.array(CORNERS_M) + rng.uniform(-tolerance_m, tolerance_m, (4, 2))
        return GroundPlane(points.astype(np.float32), metres.tolist(), tolerance_m=tolerance_m)


def box(edges: Doubles) -> Box:
    left, top, right, bottom = edges.tolist()
    return left, top, right, bottom


def measured(
    seed: int, *, fps: float, scatter: float, alike_s: float, aside: float
) -> tuple[float, list[tuple[Speed, float]]]:
    """One passage of one car before one camera, all drawn at random: the true km/h, and what was said of it.

    scatter: standard deviation of the box's edges, in shares of its size; alike_s: time constant of that error;
    aside: how far an edge may be off all the time, in shares of width and height.
    """
    rng = np.random.default_rng(seed)
    camera = Pinhole(rng.uniform(4, 9), rng.uniform(8, 22), rng.uniform(800, 1400))
    speeds = Speedometer((WIDE_PX, HIGH_PX), camera.ground(rng))
    speed_m_s, way, beside_m, late = rng.uniform(15, 110) / 3.6, rng.integers(3), rng.uniform(-3, 3), rng.uniform()
    keeps, error, off = np.exp(-1 / fps / alike_s), rng.normal(0, 1, 4), rng.uniform(-aside, aside, 4)
    said = []
    for n in range(round(8 * fps)):
        moved_m = speed_m_s * (n + late) / fps
        x_m, y_m, size_m = (
            (beside_m, 50 - moved_m, CAR_M),
            (beside_m, 10 + moved_m, CAR_M),
            (moved_m - 9, 20 + 4 * beside_m, (CAR_M[1], CAR_M[0], CAR_M[2])),
        )[way]
        if not (8 < y_m < 55 and abs(x_m) < 10):
            break
        true = camera.car(x_m, y_m, size_m)
        sides = np.tile(true[2:] - true[:2], 2)
        error = keeps * error + np.sqrt(1 - keeps**2) * rng.normal(0, 1, 4)
        seen = true + error * scatter * np.sqrt(sides[0] * sides[1]) + off * sides
        seen = np.clip(seen, 0, [WIDE_PX, HIGH_PX, WIDE_PX, HIGH_PX])
        speeds.update(Frame(NO_PICTURE, n, n / fps), sighting({1: box(seen)}, n, n / fps))
        speed = speeds.speed(1)
        if speed is not None and speed.kmh > 0:
            said.append((speed, n / fps))
    return 3.6 * speed_m_s, said


@pytest.mark.parametrize(
    ("fps", "scatter", "alike_s", "aside"),
    [
        pytest.param(10.0, 0.03, 0.001, 0.0, id="boxes that err each by itself"),
        pytest.param(10.0, 0.03, 0.3, 0.0, id="boxes that err alike for a while"),
        pytest.param(10.0, 0.02, 0.5, 0.05, id="boxes that miss the wheels all the time"),
        pytest.param(10.0, 0.03, 0.2, 0.04, id="all of it"),
        pytest.param(5.0, 0.03, 0.3, 0.02, id="5 pictures a second"),
        pytest.param(25.0, 0.03, 0.15, 0.02, id="25 pictures a second"),
    ],
)
def test_nineteen_of_twenty_true_speeds_lie_within_the_error_stated(
    fps: float, scatter: float, alike_s: float, aside: float
) -> None:
    within, shares, passages = [], [], 0
    for seed in range(80):
        true_kmh, said = measured(seed, fps=fps, scatter=scatter, alike_s=alike_s, aside=aside)
        if said:
            passages += 1
            speed, _ = said[len(said) // 2]
            within.append(abs(speed.kmh - true_kmh) <= speed.error_kmh)
            shares.append(speed.error_kmh / true_kmh)
    assert passages > 50, "a speed was told of most"
    assert np.mean(within) >= 0.95
    assert np.median(shares) < 0.1, "and the error is small enough to be of use"


def passage(camera: Pinhole, ground: GroundPlane | None, y_m: list[float], *, fps: float = 10.0) -> Speedometer:
    speeds = Speedometer((WIDE_PX, HIGH_PX), ground)
    for n, y in enumerate(y_m):
        speeds.update(Frame(NO_PICTURE, n, n / fps), sighting({1: box(camera.car(0, y))}, n, n / fps))
    return speeds


EXACT = Pinhole().ground(np.random.default_rng(0), tolerance_m=0.0, click_px=0.0)


def test_an_exact_passage_gives_the_exact_speed_near_and_far() -> None:
    for begin_m in (27.0, 35.0, 44.0):
        speed = passage(Pinhole(), EXACT, [begin_m - n for n in range(11)]).speed(1)
        assert speed is not None
        assert speed.kmh == pytest.approx(36.0, rel=0.02)


def test_the_error_is_larger_far_away_and_with_a_rougher_calibration() -> None:
    def error(begin_m: float, ground: GroundPlane) -> float:
        speed = passage(Pinhole(), ground, [begin_m - n for n in range(11)]).speed(1)
        assert speed is not None
        return speed.error_kmh

    rough = Pinhole().ground(np.random.default_rng(0), tolerance_m=0.5, click_px=0.0)
    assert error(27, EXACT) < error(45, EXACT)
    assert error(27, EXACT) < error(27, rough)


@pytest.mark.parametrize(
    "y_m",
    [
        pytest.param([90.0 - n for n in range(11)], id="far outside the calibrated area"),
        pytest.param([30.0, 29.0, 28.0], id="seen three times"),
        pytest.param([30.0], id="seen once"),
    ],
)
def test_where_too_little_is_known_there_is_no_speed(y_m: list[float]) -> None:
    assert passage(Pinhole(), EXACT, y_m).speed(1) is None


def test_without_calibration_there_is_no_speed_but_one_in_own_lengths() -> None:
    speeds = Speedometer((WIDE_PX, HIGH_PX))
    for n in range(11):
        speeds.update(Frame(NO_PICTURE, n, n / 10), sighting({1: standing_at(100 + 8 * n, 300, 40, 40)}, n, n / 10))
    assert speeds.speed(1) is None
    assert speeds.lengths_per_s(1) == pytest.approx(2.0, rel=0.01)
    assert speeds.lengths_per_s(2) is None


def test_what_nobody_looks_at_because_nothing_moves_stands() -> None:
    speeds = passage(Pinhole(), EXACT, [30.0] * 11)
    place = box(Pinhole().car(0, 30.0))
    for n in range(11, 60):
        speeds.update(Frame(NO_PICTURE, n, n / 10), sighting({}, n, n / 10, unseen={1: place}))
    speed = speeds.speed(1)
    assert speed is not None
    assert (speed.kmh, speeds.lengths_per_s(1)) == (0.0, 0.0)
    speeds.update(Frame(NO_PICTURE, 60, 6.0), sighting({1: place}, 60, 6.0))
    assert speeds.lengths_per_s(1) == pytest.approx(0.0, abs=1e-6), "one look after a while tells that it still does"


def test_a_box_cut_off_by_the_pictures_edge_is_not_measured() -> None:
    speeds = Speedometer((WIDE_PX, HIGH_PX), EXACT)
    for n in range(20):
        bottom = min(600 + 15 * n, HIGH_PX)
        speeds.update(Frame(NO_PICTURE, n, n / 10), sighting({1: (600, 500, 700, bottom)}, n, n / 10))
    assert speeds.speed(1) is None
    assert speeds.lengths_per_s(1) is None


def test_a_track_that_has_ended_is_forgotten_and_an_old_one_is_bounded() -> None:
    speeds = passage(Pinhole(), EXACT, [30.0] * 500)
    assert len(speeds._seen[1]) <= 12
    speeds.update(Frame(NO_PICTURE, 500, 50.0), sighting({}, 500, 50.0, ended=(1,)))
    assert speeds._seen == {}
