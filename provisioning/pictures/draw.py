"""Draw the handbook's pictures of the rules: `python provisioning/pictures/draw.py` writes them beside itself.

A road as a camera on a pole sees it, with what the rule is about in yellow and blue and what raises the alert in red.
Lengths on the road are in metres: x to the right of the middle, y away from the camera.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

WIDE_PX, HIGH_PX = 480, 270
_ABOVE_M, _FOCAL_PX, _HORIZON_PX = 7.0, 420.0, 40.0
_SMOOTH = 3  # drawn larger, then made smaller: soft edges

Colour = tuple[int, int, int]
Point = tuple[float, float]  # metres on the road
ZONE, LINE, ALERT, WAY = (255, 190, 60), (0, 210, 255), (50, 50, 235), (245, 245, 245)  # BGR
SILVER, BLUE, WHITE, DARK = (190, 190, 185), (170, 110, 60), (235, 235, 235), (60, 60, 60)


class Picture:
    def __init__(self) -> None:
        self.image = np.zeros((HIGH_PX * _SMOOTH, WIDE_PX * _SMOOTH, 3), np.uint8)
        self.image[:] = (205, 190, 170)
        self._fill([(-60, 150), (60, 150), (60, 4), (-60, 4)], (120, 150, 130))
        self._fill([(-9, 150), (9, 150), (9, 4), (-9, 4)], (175, 175, 175))
        self._fill([(-6, 150), (6, 150), (6, 4), (-6, 4)], (105, 105, 105))
        for y in range(8, 150, 6):
            self._fill([(-0.1, y), (0.1, y), (0.1, y + 3), (-0.1, y + 3)], (225, 225, 225))

    def px(self, x_m: float, y_m: float, z_m: float = 0.0) -> tuple[int, int]:
        scale = _FOCAL_PX / y_m
        x, y = WIDE_PX / 2 + x_m * scale, _HORIZON_PX + (_ABOVE_M - z_m) * scale
        return round(x * _SMOOTH), round(y * _SMOOTH)

    def zone(self, corners: Sequence[Point], name: str) -> None:
        below = self.image.copy()
        self._fill(corners, ZONE)
        cv2.addWeighted(self.image, 0.35, below, 0.65, 0, dst=self.image)
        cv2.polylines(self.image, [self._outline(corners)], True, ZONE, 2 * _SMOOTH, cv2.LINE_AA)
        self._words(name, self.px(*corners[-1]), ZONE)

    def line(self, a: Point, b: Point) -> None:
        cv2.line(self.image, self.px(*a), self.px(*b), LINE, 3 * _SMOOTH, cv2.LINE_AA)
        for name, end in (("a", a), ("b", b)):
            self._words(name, self.px(*end), LINE)

    def way(self, points: Sequence[Point], colour: Colour = WAY) -> None:
        pixels = [self.px(*point) for point in points]
        for begin, end in pairwise(pixels[:-1]):
            cv2.line(self.image, begin, end, colour, 2 * _SMOOTH, cv2.LINE_AA)
        cv2.arrowedLine(self.image, pixels[-2], pixels[-1], colour, 2 * _SMOOTH, cv2.LINE_AA, tipLength=0.25)

    def car(self, x_m: float, y_m: float, colour: Colour = SILVER, *, alert: str = "") -> None:
        """Seen from behind or from the front: a body, a cabin, glass and two wheels."""
        for left, right, low, high, shade in (
            (-0.85, -0.55, 0.0, 0.4, DARK),
            (0.55, 0.85, 0.0, 0.4, DARK),
            (-0.9, 0.9, 0.25, 0.9, colour),
            (-0.75, 0.75, 0.9, 1.5, colour),
            (-0.62, 0.62, 0.95, 1.4, (95, 85, 75)),
        ):
            cv2.rectangle(self.image, self.px(x_m + left, y_m, high), self.px(x_m + right, y_m, low), shade, -1)
        if alert:
            self._mark(self.px(x_m - 1.2, y_m, 1.9), self.px(x_m + 1.2, y_m, -0.1), alert)

    def person(self, x_m: float, y_m: float, colour: Colour = (120, 60, 60), *, alert: str = "") -> None:
        head = self.px(x_m, y_m, 1.6)
        size = max(round(0.16 * _FOCAL_PX / y_m * _SMOOTH), 2)
        for side in (-0.12, 0.12):
            cv2.line(self.image, self.px(x_m, y_m, 0.8), self.px(x_m + side, y_m, 0.0), DARK, size, cv2.LINE_AA)
        cv2.line(self.image, self.px(x_m, y_m, 0.8), self.px(x_m, y_m, 1.3), colour, 2 * size, cv2.LINE_AA)
        cv2.circle(self.image, head, size, (140, 170, 215), -1, cv2.LINE_AA)
        if alert:
            self._mark(self.px(x_m - 0.5, y_m, 2.0), self.px(x_m + 0.5, y_m, -0.1), alert)

    def bag(self, x_m: float, y_m: float, *, alert: str = "", gone: bool = False) -> None:
        if not gone:
            cv2.rectangle(self.image, self.px(x_m - 0.3, y_m, 0.45), self.px(x_m + 0.3, y_m), (40, 80, 150), -1)
            cv2.rectangle(self.image, self.px(x_m - 0.12, y_m, 0.6), self.px(x_m + 0.12, y_m, 0.45), DARK, _SMOOTH)
        if alert:
            self._mark(self.px(x_m - 0.5, y_m, 0.75), self.px(x_m + 0.5, y_m, -0.15), alert)

    def around(self, far_left: Point, near_right: Point, words: str) -> None:
        """An alert that is about all who are there."""
        (_, top), (right, bottom) = self.px(*far_left, 1.8), self.px(*near_right)
        self._mark((self.px(far_left[0], near_right[1])[0], top), (right, bottom), words)

    def point(self, place: Point, words: str) -> None:
        cv2.circle(self.image, self.px(*place), 4 * _SMOOTH, LINE, -1, cv2.LINE_AA)
        x, y = self.px(*place)
        self._words(words, (x, y - 9 * _SMOOTH), LINE)

    def words(self, place: Point, words: str) -> None:
        self._words(words, self.px(*place), WAY)

    def write(self, path: Path) -> None:
        small = cv2.resize(self.image, (WIDE_PX, HIGH_PX), interpolation=cv2.INTER_AREA)
        path.write_bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes())

    def _outline(self, corners: Sequence[Point]) -> npt.NDArray[np.int32]:
        return np.array([self.px(*corner) for corner in corners], np.int32)

    def _fill(self, corners: Sequence[Point], colour: Colour) -> None:
        cv2.fillPoly(self.image, [self._outline(corners)], colour, cv2.LINE_AA)

    def _mark(self, left_top: tuple[int, int], right_bottom: tuple[int, int], words: str) -> None:
        cv2.rectangle(self.image, left_top, right_bottom, ALERT, 2 * _SMOOTH, cv2.LINE_AA)
        self._words(words, ((left_top[0] + right_bottom[0]) // 2, left_top[1] - 7 * _SMOOTH), ALERT)

    def _words(self, text: str, middle: tuple[int, int], colour: Colour) -> None:
        scale, pad = 0.4 * _SMOOTH, 3 * _SMOOTH
        (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, _SMOOTH)
        x = min(max(middle[0] - wide // 2, pad), WIDE_PX * _SMOOTH - wide - pad)
        y = min(max(middle[1] + high // 2, high + pad), HIGH_PX * _SMOOTH - below - pad)
        cv2.rectangle(self.image, (x - pad, y - high - pad), (x + wide + pad, y + below), (20, 20, 20), -1)
        cv2.putText(self.image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, _SMOOTH, cv2.LINE_AA)


def crossing(picture: Picture) -> None:
    picture.line((6, 17), (-6, 17))
    picture.way([(3, 13.5), (3, 23)])
    picture.car(3, 25, BLUE)
    picture.words((3, 12.2), "in")
    picture.way([(-3, 23), (-3, 13.5)])
    picture.car(-3, 26, SILVER)
    picture.words((-3, 12.2), "out")


def counts(picture: Picture) -> None:
    picture.line((6, 15), (0, 15))
    picture.zone([(0.2, 60), (6, 60), (6, 18), (0.2, 18)], "3 inside")
    picture.car(4.4, 44, WHITE)
    picture.car(1.7, 33, BLUE)
    picture.car(4.4, 22, SILVER)
    picture.way([(4.4, 13.5), (4.4, 18)])
    picture.words((2.4, 12.5), "12 in, one every 5 s, 38 km/h")
    picture.car(-3, 28, BLUE)


def wrong_way(picture: Picture) -> None:
    picture.line((6, 17), (0, 17))
    picture.car(-3, 28, BLUE)
    picture.way([(4.4, 15), (4.4, 21)])
    picture.car(4.4, 24, SILVER)
    picture.way([(1.7, 36), (1.7, 21)], ALERT)
    picture.car(1.7, 15.5, WHITE, alert="wrong-way")


def restricted(picture: Picture) -> None:
    picture.zone([(-6, 40), (6, 40), (6, 20), (-6, 20)], "22:00-05:00")
    picture.way([(8.3, 20), (5.5, 24), (3.0, 25.5)], ALERT)
    picture.person(2.2, 26, alert="restricted")
    picture.person(8, 16)


def loitering(picture: Picture) -> None:
    picture.zone([(-9, 40), (-6.2, 40), (-6.2, 15), (-9, 15)], "loading bay")
    picture.way([(-6.6, 30), (-8.4, 26), (-6.8, 23), (-8.2, 20), (-7.4, 18.5)], ALERT)
    picture.person(-7.3, 18, alert="2 min")
    picture.car(3, 26, BLUE)


def stopped(picture: Picture) -> None:
    picture.zone([(2.6, 60), (6, 60), (6, 14), (2.6, 14)], "no-stopping")
    picture.car(4.5, 19, SILVER, alert="60 s")
    picture.car(-3, 30, BLUE)
    picture.way([(-3, 24), (-3, 16)])
    picture.car(1.3, 36, WHITE)


def speeding(picture: Picture) -> None:
    picture.line((6, 18), (0, 18))
    picture.way([(3, 14.5), (3, 23)], ALERT)
    picture.car(3, 25, WHITE, alert="72 +-5 km/h")
    picture.car(-3, 34, BLUE)


def congestion(picture: Picture) -> None:
    picture.zone([(0.2, 70), (6, 70), (6, 14), (0.2, 14)], "lanes")
    for n, (x, y) in enumerate(
        [(4.5, 62), (1.6, 58), (4.4, 46), (1.6, 42), (4.5, 33), (1.5, 30), (4.5, 23), (1.6, 21)]
    ):
        picture.car(x, y, (SILVER, BLUE, WHITE)[n % 3])
    picture.car(4.4, 17, SILVER)
    picture.around((0.2, 64), (6, 16), "congestion")
    picture.car(-3, 26, WHITE)


def crowd(picture: Picture) -> None:
    picture.zone([(-9, 44), (-1, 44), (-1, 17), (-9, 17)], "square")
    rng = np.random.default_rng(3)
    for y in sorted(rng.uniform(18, 42, 26), reverse=True):
        picture.person(float(rng.uniform(-8, -2)), float(y), tuple(int(c) for c in rng.integers(40, 200, 3)))
    picture.around((-8.2, 40), (-1.6, 18), "crowd")


def left_behind(picture: Picture) -> None:
    picture.zone([(-9, 40), (-6.2, 40), (-6.2, 14), (-9, 14)], "stop")
    picture.way([(-7.4, 18), (-6, 24), (-3, 30)])
    picture.person(-2.6, 31)
    picture.bag(-7.6, 17, alert="left-behind")
    picture.car(3, 26, BLUE)


def removed(picture: Picture) -> None:
    picture.zone([(6.2, 40), (9, 40), (9, 15), (6.2, 15)], "stores")
    picture.bag(7.6, 28)
    picture.bag(7.6, 23)
    picture.bag(7.5, 18, gone=True, alert="removed")
    picture.way([(6.6, 18), (4, 22), (2, 28)], ALERT)
    picture.person(1.6, 29)


def calibration(picture: Picture) -> None:
    corners = [(-6.0, 46.0), (6.0, 46.0), (6.0, 16.0), (-6.0, 16.0)]
    picture.zone(corners, "")
    for place, words in zip(corners, ("1: [0, 30]", "2: [12, 30]", "3: [12, 0]", "4: [0, 0]"), strict=True):
        picture.point(place, words)
    picture.car(3, 27, BLUE)


PICTURES: dict[str, Callable[[Picture], None]] = {
    "crossing": crossing,
    "counts": counts,
    "wrong-way": wrong_way,
    "restricted": restricted,
    "loitering": loitering,
    "stopped": stopped,
    "speeding": speeding,
    "congestion": congestion,
    "crowd": crowd,
    "left-behind": left_behind,
    "removed": removed,
    "calibration": calibration,
}


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        picture = Picture()
        draw(picture)
        picture.write(Path(__file__).with_name(f"{name}.jpg"))
