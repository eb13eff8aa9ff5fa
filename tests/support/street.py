"""A drawn street in which real detectors see cars, a bus (or lorry) and people: for tests without a photograph."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

BUS_XYXY = (30, 100, 260, 240)
CARS_XYXY = ((330, 200, 520, 284), (140, 270, 360, 360))
PEOPLE_XYXY = ((268, 150, 312, 264), (557, 170, 603, 292))


def street() -> npt.NDArray[np.uint8]:
    """uint8 BGR (360, 640, 3), always the same."""
    picture = np.full((360, 640, 3), (200, 190, 170), np.uint8)
    picture[190:] = (150, 150, 150)
    picture[200:] = (90, 90, 90)
    _bus(picture, 30, 100, 230, 120)
    car(picture, 330, 200, 190, 70, (40, 40, 200))
    car(picture, 140, 270, 220, 75, (180, 120, 40))
    person(picture, 290, 150, 110)
    person(picture, 580, 170, 120)
    return cv2.GaussianBlur(picture, (3, 3), 0).astype(np.uint8)


def _wheels(picture: npt.NDArray[np.uint8], x: int, y: int, width: int, radius: int) -> None:
    for centre in (x + width // 5, x + width * 4 // 5):
        cv2.circle(picture, (centre, y), radius, (20, 20, 20), -1, cv2.LINE_AA)
        cv2.circle(picture, (centre, y), radius // 2, (160, 160, 160), -1, cv2.LINE_AA)


def _bus(picture: npt.NDArray[np.uint8], x: int, y: int, width: int, height: int) -> None:
    cv2.rectangle(picture, (x, y), (x + width, y + height), (30, 60, 190), -1)
    pane = (width - 10) // 5
    for i in range(5):
        cv2.rectangle(picture, (x + 8 + i * pane, y + 12), (x + (i + 1) * pane, y + height // 2), (60, 50, 40), -1)
    _wheels(picture, x, y + height, width, height // 6)


def car(picture: npt.NDArray[np.uint8], x: int, y: int, width: int, height: int, colour: tuple[int, int, int]) -> None:
    def fill(colour: tuple[int, int, int], outline: list[tuple[int, int]]) -> None:
        """outline in percent of the car's width and height."""
        points = [(x + width * px // 100, y + height * py // 100) for px, py in outline]
        cv2.fillPoly(picture, [np.array(points, np.int32)], colour, cv2.LINE_AA)

    fill(colour, [(0, 100), (0, 60), (17, 50), (30, 0), (70, 0), (85, 50), (100, 60), (100, 100)])
    fill((70, 60, 50), [(22, 50), (32, 10), (48, 10), (48, 50)])
    fill((70, 60, 50), [(52, 50), (52, 10), (68, 10), (78, 50)])
    _wheels(picture, x, y + height, width, height // 5)


def person(picture: npt.NDArray[np.uint8], x: int, y: int, height: int) -> None:
    coat, trousers = (120, 40, 40), (40, 40, 60)
    cv2.circle(picture, (x, y + height // 12), height // 12, (120, 150, 200), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (x, y + height * 35 // 100), (height // 9, height // 5), 0, 0, 360, coat, -1, cv2.LINE_AA)
    for side in (-1, 1):
        hip, foot = (x + side * height // 20, y + height // 2), (x + side * height // 12, y + height)
        shoulder, hand = (x + side * height // 10, y + height // 4), (x + side * height // 6, y + height // 2)
        cv2.line(picture, hip, foot, trousers, height // 12, cv2.LINE_AA)
        cv2.line(picture, shoulder, hand, coat, height // 18, cv2.LINE_AA)
