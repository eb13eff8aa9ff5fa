"""One picture of a scene: the last frame with lines, zones, the paths of what passed, and the counts.

For a person who wants to see what the agent sees. It stays on the box.
"""

from __future__ import annotations

from collections import Counter, deque
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from agent.contract.event import Crossing, ZoneEnter
from agent.vision.pipeline import Seen
from agent.vision.rules.base import anchors, class_name
from drivers.base import Frame

_PATHS = 60  # of the tracks seen last
_POINTS = 200
_SMOOTH = 7  # points averaged, so that a path shows where somebody went and not how his box trembled
_TRAVELLED = 0.75  # own heights: less is standing about, and draws a scribble
_LINE, _ZONE, _STILL = (0, 210, 255), (255, 190, 60), (150, 150, 150)  # BGR, as all colours here
_WHITE, _BLACK = (255, 255, 255), (20, 20, 20)
_CLASSES = (  # person, bicycle, motorcycle, car, bus, truck, vehicle
    (90, 220, 60),
    (230, 220, 40),
    (40, 150, 255),
    (255, 150, 60),
    (230, 90, 160),
    (80, 80, 255),
    (200, 200, 120),
)

Fractions = tuple[float, float]
Colour = tuple[int, int, int]
Picture = npt.NDArray[np.uint8]
Point = npt.NDArray[np.floating]


class Line(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def a(self) -> Fractions: ...
    @property
    def b(self) -> Fractions: ...


class Zone(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def polygon(self) -> tuple[Fractions, ...]: ...


class _Path:
    def __init__(self) -> None:
        self.points: deque[tuple[float, float]] = deque(maxlen=_POINTS)
        self.class_id = 0
        self.height_px = 1.0

    def smooth(self) -> npt.NDArray[np.float32] | None:
        """float32 (n, 2), or None for something that went nowhere."""
        raw = np.array(self.points, np.float32)
        if len(raw) < _SMOOTH or float(np.hypot(*np.ptp(raw, axis=0))) < _TRAVELLED * self.height_px:
            return None
        kernel = np.full(_SMOOTH, 1 / _SMOOTH)
        return np.stack([np.convolve(raw[:, i], kernel, "valid") for i in (0, 1)], axis=1).astype(np.float32)


class Scene:
    """Remembers what a picture of one camera needs; bounded."""

    def __init__(self, lines: tuple[Line, ...], zones: tuple[Zone, ...]) -> None:
        self._lines = lines
        self._zones = zones
        self._paths: dict[int, _Path] = {}
        self._crossed: Counter[tuple[str, str]] = Counter()
        self._entered: Counter[str] = Counter()
        self._last: tuple[Frame, Seen] | None = None

    def add(self, frame: Frame, seen: Seen) -> None:
        self._last = (frame, seen)
        for happening in seen.happened:
            body = happening.body
            if isinstance(body, Crossing):
                self._crossed[body.line, body.direction] += 1
            elif isinstance(body, ZoneEnter):
                self._entered[body.zone] += 1
        tracks = seen.tracks
        rows = np.flatnonzero(tracks.seen & tracks.confirmed)
        for row, point in zip(rows, anchors(tracks.boxes_xyxy_px[rows], "bottom"), strict=True):
            track = int(tracks.ids[row])
            path = self._paths.pop(track, None) or _Path()
            path.points.append((float(point[0]), float(point[1])))
            path.class_id = int(tracks.class_ids[row])
            path.height_px = float(tracks.boxes_xyxy_px[row, 3] - tracks.boxes_xyxy_px[row, 1])
            self._paths[track] = path  # at the end: the order is that of the last sighting
        while len(self._paths) > _PATHS:
            self._paths.pop(next(iter(self._paths)))

    def draw(self) -> Picture | None:
        """uint8 (h, w, 3), or None before the first frame."""
        if self._last is None:
            return None
        frame, seen = self._last
        brush = _Brush(frame.image_bgr.copy())
        size = np.asarray(frame.size_wh_px, np.float32)
        for zone in self._zones:
            brush.zone(np.asarray(zone.polygon, np.float32) * size, f"{zone.id}: {self._entered[zone.id]} entered")
        for path in self._paths.values():
            points = path.smooth()
            if points is not None:
                brush.path(points, _CLASSES[path.class_id])
        tracks = seen.tracks
        for row in np.flatnonzero(tracks.confirmed & tracks.seen):
            still = tracks.moving[row] < 0.1
            name = "" if still else class_name(int(tracks.class_ids[row]))
            brush.box(tracks.boxes_xyxy_px[row], name, _STILL if still else _CLASSES[tracks.class_ids[row]])
        for line in self._lines:
            counts = (self._crossed[line.id, "in"], self._crossed[line.id, "out"])
            brush.line(np.asarray(line.a, np.float32) * size, np.asarray(line.b, np.float32) * size, line.id, counts)
        return brush.picture

    def write(self, path: Path) -> Path | None:
        """Write the picture as JPEG; None if there was no frame. Raises OSError if the file cannot be written."""
        picture = self.draw()
        if picture is None:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
        return path


def layout(picture_bgr: Picture, lines: tuple[Line, ...], zones: tuple[Zone, ...]) -> Picture:
    """A copy of a picture, uint8 (h, w, 3), with lines and zones where the configuration has them: nothing followed,
    nothing counted."""
    brush = _Brush(picture_bgr.copy())
    size = np.asarray(picture_bgr.shape[1::-1], np.float32)
    for zone in zones:
        brush.zone(np.asarray(zone.polygon, np.float32) * size, zone.id)
    for line in lines:
        brush.line(np.asarray(line.a, np.float32) * size, np.asarray(line.b, np.float32) * size, line.id, None)
    return brush.picture


class _Brush:
    """Draws into one picture, in sizes that fit it."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self._unit = max(picture.shape[0] / 576, 0.75)  # strokes and letters are chosen for 576 rows
        self._stroke = max(round(2 * self._unit), 1)

    def zone(self, corners_px: npt.NDArray[np.float32], text: str) -> None:
        corners = np.rint(corners_px).astype(np.int32)
        filled = cv2.fillPoly(self.picture.copy(), [corners], _ZONE)
        cv2.addWeighted(filled, 0.14, self.picture, 0.86, 0, dst=self.picture)
        cv2.polylines(self.picture, [corners], True, _ZONE, self._stroke, cv2.LINE_AA)
        self._plate(text, corners_px.mean(axis=0), _ZONE)

    def path(self, points_px: npt.NDArray[np.float32], colour: Colour) -> None:
        """Fades into the past: what is old is thin and mixed with the picture."""
        parts = np.array_split(points_px, min(8, max(len(points_px) // 4, 1)))
        for n, part in enumerate(parts):
            joined = np.concatenate([parts[n - 1][-1:], part]) if n else part
            layer = self.picture.copy() if n < len(parts) - 1 else self.picture
            cv2.polylines(layer, [np.rint(joined).astype(np.int32)], False, colour, self._stroke, cv2.LINE_AA)
            if layer is not self.picture:
                share = 0.5 + 0.5 * n / len(parts)
                cv2.addWeighted(layer, share, self.picture, 1 - share, 0, dst=self.picture)
        cv2.circle(self.picture, _pixel(points_px[-1]), self._stroke + 1, colour, -1, cv2.LINE_AA)

    def box(self, box_xyxy_px: npt.NDArray[np.float32], text: str, colour: Colour) -> None:
        left, top, right, bottom = (int(v) for v in box_xyxy_px)
        cv2.rectangle(self.picture, (left, top), (right, bottom), colour, self._stroke if text else 1, cv2.LINE_AA)
        if text:
            self._chip(text, (left, top), colour)

    def line(self, a_px: Point, b_px: Point, name: str, counts: tuple[int, int] | None) -> None:
        along = (b_px - a_px) / max(float(np.hypot(*(b_px - a_px))), 1e-6)
        right = np.array([-along[1], along[0]], np.float32)  # the right hand of somebody who looks from a to b; y down
        cv2.line(self.picture, _pixel(a_px), _pixel(b_px), _BLACK, self._stroke + 4, cv2.LINE_AA)
        cv2.line(self.picture, _pixel(a_px), _pixel(b_px), _LINE, self._stroke + 1, cv2.LINE_AA)
        for end, letter in ((a_px, "a"), (b_px, "b")):
            self._plate(letter, end, _LINE)
        middle = (a_px + b_px) / 2
        words = (f"in {counts[0]}", f"out {counts[1]}") if counts else ("in", "out")
        for text, hand in zip(words, (right, -right), strict=True):
            tip = middle + hand * 34 * self._unit
            for colour, stroke in ((_BLACK, self._stroke + 3), (_LINE, self._stroke)):
                cv2.arrowedLine(self.picture, _pixel(middle), _pixel(tip), colour, stroke, cv2.LINE_AA, tipLength=0.35)
            self._plate(text, tip + hand * 30 * self._unit, _LINE)
        self._plate(name, middle + along * 26 * self._unit, _WHITE)

    def _chip(self, text: str, left_top: tuple[int, int], colour: Colour) -> None:
        """A small label on top of a box, in the box's colour."""
        scale = 0.36 * self._unit
        (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        x, y = max(left_top[0], 0), max(left_top[1], high + below)
        cv2.rectangle(self.picture, (x, y - high - below), (x + wide + 4, y), colour, -1)
        cv2.putText(self.picture, text, (x + 2, y - below + 1), cv2.FONT_HERSHEY_SIMPLEX, scale, _BLACK, 1, cv2.LINE_AA)

    def _plate(self, text: str, middle_px: Point, colour: Colour) -> None:
        """Words on a dark ground, kept inside the picture."""
        scale = 0.5 * self._unit
        (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        pad = round(4 * self._unit)
        rows, columns = self.picture.shape[:2]
        x = round(min(max(float(middle_px[0]) - wide / 2, pad), max(columns - wide - pad, pad)))
        y = round(min(max(float(middle_px[1]) + high / 2, high + pad), max(rows - below - pad, high + pad)))
        cv2.rectangle(self.picture, (x - pad, y - high - pad), (x + wide + pad, y + below), _BLACK, -1)
        cv2.putText(self.picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def _pixel(point: Point) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
