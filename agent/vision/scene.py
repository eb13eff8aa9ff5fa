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

from agent.contract.event import Crossing
from agent.vision.pipeline import Seen
from agent.vision.rules.base import anchors, class_name
from drivers.base import Frame

_PATHS = 60  # of the tracks seen last
_POINTS = 200
_YELLOW, _MAGENTA, _GREEN, _WHITE, _BLACK = (0, 220, 255), (255, 0, 255), (80, 220, 80), (255, 255, 255), (0, 0, 0)

Fractions = tuple[float, float]


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


class Scene:
    """Remembers what a picture of one camera needs; bounded."""

    def __init__(self, lines: tuple[Line, ...], zones: tuple[Zone, ...]) -> None:
        self._lines = lines
        self._zones = zones
        self._paths: dict[int, deque[tuple[int, int]]] = {}
        self._counted: Counter[tuple[str, str]] = Counter()
        self._last: tuple[Frame, Seen] | None = None

    def add(self, frame: Frame, seen: Seen) -> None:
        self._last = (frame, seen)
        for happening in seen.happened:
            if isinstance(happening.body, Crossing):
                self._counted[happening.body.line, happening.body.direction] += 1
        tracks = seen.tracks
        rows = np.flatnonzero(tracks.seen & tracks.confirmed)
        for row, point in zip(rows, anchors(tracks.boxes_xyxy_px[rows], "bottom"), strict=True):
            track = int(tracks.ids[row])
            path = self._paths.pop(track, deque(maxlen=_POINTS))
            path.append((int(point[0]), int(point[1])))
            self._paths[track] = path  # at the end: the order is that of the last sighting
        while len(self._paths) > _PATHS:
            self._paths.pop(next(iter(self._paths)))

    def draw(self) -> npt.NDArray[np.uint8] | None:
        """uint8 (h, w, 3), or None before the first frame."""
        if self._last is None:
            return None
        frame, seen = self._last
        picture = frame.image_bgr.copy()
        scale = np.asarray(frame.size_wh_px, np.float32)
        for zone in self._zones:
            corners = np.rint(np.asarray(zone.polygon, np.float32) * scale).astype(np.int32)
            cv2.polylines(picture, [corners], True, _MAGENTA, 2, cv2.LINE_AA)
            _label(picture, zone.id, tuple(corners[0]), _MAGENTA)
        for number, path in self._paths.items():
            shade = cv2.applyColorMap(np.array([[number * 47 % 256]], np.uint8), cv2.COLORMAP_HSV)[0, 0].tolist()
            cv2.polylines(picture, [np.array(path, np.int32)], False, shade, 2, cv2.LINE_AA)
        tracks = seen.tracks
        for row in np.flatnonzero(tracks.confirmed):
            left, top, right, bottom = (int(v) for v in tracks.boxes_xyxy_px[row])
            cv2.rectangle(picture, (left, top), (right, bottom), _GREEN, 2)
            _label(picture, f"{class_name(int(tracks.class_ids[row]))} {tracks.ids[row]}", (left, top), _GREEN)
        for line in self._lines:
            self._draw_line(picture, line, scale)
        return picture

    def write(self, path: Path) -> Path | None:
        """Write the picture as JPEG; None if there was no frame. Raises OSError if the file cannot be written."""
        picture = self.draw()
        if picture is None:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes())
        return path

    def _draw_line(self, picture: npt.NDArray[np.uint8], line: Line, scale: npt.NDArray[np.float32]) -> None:
        a, b = np.asarray(line.a, np.float32) * scale, np.asarray(line.b, np.float32) * scale
        along = (b - a) / max(float(np.hypot(*(b - a))), 1e-6)
        middle = (a + b) / 2
        right = np.array([-along[1], along[0]], np.float32)  # the right hand of somebody who looks from a to b; y down
        cv2.line(picture, _pixel(a), _pixel(b), _YELLOW, 2, cv2.LINE_AA)
        cv2.circle(picture, _pixel(a), 5, _YELLOW, -1, cv2.LINE_AA)
        cv2.arrowedLine(picture, _pixel(middle), _pixel(middle + right * 28), _YELLOW, 2, cv2.LINE_AA, tipLength=0.4)
        counted = self._counted
        _label(
            picture, f"{line.id}: in {counted[line.id, 'in']}, out {counted[line.id, 'out']}", _pixel(middle), _YELLOW
        )


def _pixel(point: npt.NDArray[np.float32]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _label(picture: npt.NDArray[np.uint8], text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    x = int(min(max(at[0], 0), max(picture.shape[1] - wide - 4, 0)))
    y = int(min(max(at[1], high + below), picture.shape[0] - 2))
    cv2.rectangle(picture, (x, y - high - below), (x + wide + 4, y + 2), _BLACK, -1)
    cv2.putText(picture, text, (x + 2, y - below + 2), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
