"""The colour of a vehicle, from the middle of its box: white, grey, black, red, yellow, green, blue, brown.

No network: robust statistics in CIELAB. Paint is what is coloured in a good part of the middle; of paint without colour
the brightness counts, taken where glass, tyres and shadow (dark) and reflections (brightest) are not. Says nothing at
night, in coloured light, and between two names: silver in the sun is white to a camera, and navy black.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from drivers.base import CLASSES

Floats = npt.NDArray[np.float32]

_SIDE_PX = 48
_ROWS, _COLUMNS = slice(10, 42), slice(7, 41)  # the middle: no road beside, no roof line, no shadow below
_CORNER_PX = 6
_DARK = 25.0
_DARK_PAINT = 0.7  # dark paint has less chroma
# Name: hue from, to (degrees: red is 20, yellow 90, green 150, blue 280); chroma from which on it is one; share of the
# middle that must have it. Sky is in every window and on every bonnet, so blue needs much of it; lamps are red, so red
# needs some; warm and green are nowhere but in paint, and in the light (see below).
_HUES = (
    ("red", -30.0, 40.0, 14.0, 0.22),
    ("warm", 40.0, 110.0, 8.0, 0.16),
    ("green", 110.0, 200.0, 14.0, 0.30),
    ("blue", 200.0, 310.0, 14.0, 0.36),
)
_YELLOW_CHROMA = 34.0  # of warm hues: less is brown
_BLACK, _DARK_GREY, _LIGHT_GREY, _WHITE = 36.0, 42.0, 66.0, 76.0  # lightness of paint without colour
_GLARING = 94.0  # a tenth of the middle as light as this is white paint in the sun, if the rest is not dark
_NIGHT = 30.0  # the lightest tenth of the whole crop
_TINT = 12.0  # chroma of the corners, where road is
_WARM_ROAD = 6.0  # in evening light all is brown


class ColourReader:
    name = "colour"
    class_ids = frozenset(CLASSES.index(name) for name in ("car", "bus", "truck"))
    least_side_px = 24.0

    def read(self, crop_bgr: npt.NDArray[np.uint8]) -> tuple[str, float] | None:
        step = max(min(crop_bgr.shape[:2]) // (2 * _SIDE_PX), 1)  # of a large one every so many pixels is enough
        small = cv2.resize(crop_bgr[::step, ::step], (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
        lab = cast(Floats, cv2.cvtColor(small.astype(np.float32) / np.float32(255), cv2.COLOR_BGR2LAB))
        middle = lab[_ROWS, _COLUMNS].reshape(-1, 3)
        if float(np.percentile(lab[..., 0], 90)) < _NIGHT:
            return None
        road = _corners(lab)
        tint = float(np.hypot(*road))
        if tint > _TINT and float(np.hypot(*(np.median(middle[:, 1:], axis=0) - road))) < 0.7 * tint:
            return None  # the vehicle has the colour of the road: it is the lamp's
        return _colour(middle, road_is_warm=bool(road[1] > _WARM_ROAD)) or _lightness(middle[:, 0])


def _corners(lab: Floats) -> Floats:
    """What is beside the vehicle, road as a rule: the median a, b of the crop's corners."""
    ends = (slice(_CORNER_PX), slice(-_CORNER_PX, None))
    patches = [lab[y, x, 1:].reshape(-1, 2) for y in ends for x in ends]
    return np.asarray(np.median(np.concatenate(patches), axis=0), np.float32)


def _colour(middle: Floats, *, road_is_warm: bool) -> tuple[str, float] | None:
    chroma = np.hypot(middle[:, 1], middle[:, 2]) / np.where(middle[:, 0] < _DARK, _DARK_PAINT, 1.0)
    hue = np.degrees(np.arctan2(middle[:, 2], middle[:, 1]))
    best: tuple[str, float] | None = None
    for name, low, high, least_chroma, least_share in _HUES:
        of_it = (chroma > least_chroma) & ((hue - low) % 360.0 < high - low)
        sure = float(of_it.mean()) / least_share
        if sure < 1.0 or (best is not None and sure <= best[1]) or (name == "warm" and road_is_warm):
            continue
        if name == "warm":
            name = "yellow" if float(np.median(chroma[of_it])) >= _YELLOW_CHROMA else "brown"
        best = (name, sure)
    return best and (best[0], min(best[1] / 2.0, 1.0))


def _lightness(lightness: Floats) -> tuple[str, float] | None:
    """Of paint without colour; reflections are the lightest tenth of the middle, glass and tyres its darker half."""
    low, upper, high = np.percentile(lightness, [65, 75, 90])
    paint = float(lightness[(lightness >= low) & (lightness <= high)].mean())
    if paint > _WHITE or (high > _GLARING and upper > 50.0):
        return "white", min(max(paint - _WHITE, 0.0) / 15.0 + 0.4, 1.0)
    if paint < _BLACK:
        return "black", min((_BLACK - paint) / 10.0 + 0.3, 1.0)
    if _DARK_GREY < paint < _LIGHT_GREY:
        return "grey", min(min(paint - _DARK_GREY, _LIGHT_GREY - paint) / 10.0 + 0.2, 1.0)
    return None  # silver in the sun, navy in the shade
