"""The colour of drawn cars in drawn light. How often it is right on a street is measured, not tested."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from agent.vision.readers import ColourReader
from tests.support.street import car

PAINTS = {  # BGR
    "white": (240, 240, 240),
    "grey": (140, 140, 135),
    "black": (16, 15, 14),
    "red": (35, 30, 170),
    "blue": (160, 70, 25),
    "green": (60, 120, 30),
    "yellow": (30, 190, 220),
    "brown": (40, 75, 110),
}


def crop(
    paint: tuple[int, int, int], *, wide: int = 190, light: float = 1.0, tint: tuple[float, float, float] = (1, 1, 1)
) -> npt.NDArray[np.uint8]:
    """A car on asphalt as a camera sees it, cut out with a little road around."""
    high = wide * 7 // 19
    picture = np.full((high + wide // 6, wide + 8, 3), (105, 105, 105), np.uint8)
    car(picture, 4, 4, wide, high, paint)
    noise = np.random.default_rng(2).normal(0, 4, picture.shape)
    seen = (cv2.GaussianBlur(picture, (3, 3), 0).astype(np.float32) + noise) * light * np.array(tint)
    return np.clip(seen, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("wide", [60, 190, 500])
@pytest.mark.parametrize("light", [0.85, 1.0])
@pytest.mark.parametrize("name", PAINTS)
def test_a_car_in_daylight_has_its_colour(name: str, light: float, wide: int) -> None:
    said = ColourReader().read(crop(PAINTS[name], light=light, wide=wide))
    assert said is not None
    assert said[0] == name
    assert 0.0 < said[1] <= 1.0


@pytest.mark.parametrize("name", PAINTS)
def test_at_night_nothing_is_said(name: str) -> None:
    assert ColourReader().read(crop(PAINTS[name], light=0.15)) is None


@pytest.mark.parametrize("name", ["white", "grey"])
@pytest.mark.parametrize(
    "tint", [pytest.param((0.3, 0.75, 1.1), id="sodium lamp"), pytest.param((1.1, 0.75, 0.45), id="blue dusk")]
)
def test_in_coloured_light_a_car_without_colour_gets_none(name: str, tint: tuple[float, float, float]) -> None:
    assert ColourReader().read(crop(PAINTS[name], tint=tint, light=0.8)) is None


def test_between_two_names_nothing_is_said() -> None:
    names = [(ColourReader().read(crop((level, level, level))) or ("nothing", 0))[0] for level in range(20, 250, 5)]
    order = [name for n, name in enumerate(names) if n == 0 or name != names[n - 1]]
    assert order == ["black", "nothing", "grey", "nothing", "white"]


def test_tail_lights_do_not_make_a_car_red() -> None:
    picture = crop((140, 140, 135))
    high, wide = picture.shape[:2]
    for x in (wide // 8, wide * 6 // 8):
        cv2.rectangle(picture, (x, high // 2), (x + wide // 8, high * 5 // 8), (20, 20, 230), -1)
    said = ColourReader().read(picture)
    assert said is None or said[0] == "grey"


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2)])
def test_a_crop_of_any_shape_is_borne(shape: tuple[int, int]) -> None:
    ColourReader().read(np.full((*shape, 3), 128, np.uint8))


def test_the_crop_is_not_written_to() -> None:
    picture = crop(PAINTS["red"])
    picture.setflags(write=False)
    ColourReader().read(picture)
