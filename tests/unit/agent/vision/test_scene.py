from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.contract.event import Crossing, ZoneEnter
from agent.vision.motion import Motion
from agent.vision.pipeline import Seen
from agent.vision.rules.base import Happening
from agent.vision.scene import Scene
from drivers.base import Frame
from tests.support.vision import Box, road, sighting, standing_at


@dataclass(frozen=True)
class Line:
    id: str
    a: tuple[float, float]
    b: tuple[float, float]


@dataclass(frozen=True)
class Zone:
    id: str
    polygon: tuple[tuple[float, float], ...]


LINE = Line("gate", (0.1, 0.6), (0.9, 0.6))
ZONE = Zone("plaza", ((0.2, 0.2), (0.6, 0.2), (0.6, 0.5), (0.2, 0.5)))
PICTURE = road(640, 360)


def show(scene: Scene, boxes: dict[int, Box], n: int, happened: tuple[Happening, ...] = ()) -> None:
    frame = Frame(PICTURE, n, n / 10)
    scene.add(frame, Seen(list(happened), sighting(boxes, n, n / 10), Motion().update(frame), True))


def crossing(track: int) -> Happening:
    body = Crossing.model_validate({"line": "gate", "direction": "in", "class": "car", "track": track})
    return Happening(body, track, 0, 0.0)


def test_before_the_first_frame_there_is_no_picture(tmp_path: Path) -> None:
    scene = Scene((LINE,), (ZONE,))
    assert scene.draw() is None
    assert scene.write(tmp_path / "scene.jpg") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("wide", "high"), [(640, 360), (352, 288), (1920, 1080), (90, 160)])
def test_the_picture_has_the_frames_size_and_shows_line_zone_and_path(wide: int, high: int) -> None:
    scene, scene_without = Scene((LINE,), (ZONE,)), Scene((), ())
    picture = road(wide, high)
    for n in range(30):
        frame = Frame(picture, n, n / 10)
        boxes = {1: standing_at(wide * (0.2 + 0.02 * n), high * 0.9, wide / 8, high / 6)}
        seen = Seen([crossing(1)] if n == 20 else [], sighting(boxes, n, n / 10), Motion().update(frame), True)
        scene.add(frame, seen)
        scene_without.add(frame, seen)
    drawn, without = scene.draw(), scene_without.draw()
    assert drawn is not None
    assert without is not None
    assert drawn.shape == picture.shape
    assert not np.array_equal(without, picture), "box and path"
    assert not np.array_equal(drawn, without), "line and zone"


def test_a_frame_is_never_drawn_into() -> None:
    scene = Scene((LINE,), (ZONE,))
    before = PICTURE.copy()
    for n in range(20):
        show(scene, {1: standing_at(100 + 20 * n, 300)}, n)
    scene.draw()
    assert np.array_equal(PICTURE, before)


def test_counts_are_drawn() -> None:
    def drawn(crossings: int, entered: int) -> np.ndarray:
        scene = Scene((LINE,), (ZONE,))
        enter = ZoneEnter.model_validate({"zone": "plaza", "class": "car", "track": 1})
        happened = [*(crossing(1) for _ in range(crossings)), *[Happening(enter, 1, 0, 0.0)] * entered]
        show(scene, {}, 0, tuple(happened))
        picture = scene.draw()
        assert picture is not None
        return picture

    assert not np.array_equal(drawn(0, 0), drawn(7, 0))
    assert not np.array_equal(drawn(0, 0), drawn(0, 7))
    assert np.array_equal(drawn(7, 7), drawn(7, 7))


def test_what_is_remembered_is_bounded() -> None:
    scene = Scene((), ())
    for track in range(1, 500):
        show(scene, {track: standing_at(300, 200)}, track)
    for n in range(2000):
        show(scene, {1000: standing_at(100 + n % 400, 200)}, 500 + n)
    assert len(scene._paths) < 100
    assert sum(len(path.points) for path in scene._paths.values()) < 20_000
    assert scene._paths[1000].points[-1] == (100 + 1999 % 400, 200), "what was seen last is kept"


def test_boxes_at_and_beyond_the_edge_are_drawn_without_complaint() -> None:
    scene = Scene((Line("edge", (0, 0), (1, 1)),), (Zone("all", ((0, 0), (1, 0), (1, 1), (0, 1))),))
    for n in range(20):
        show(scene, {1: (-50 + n, -20, 30, 10), 2: (600 + n, 340 + n, 700, 400)}, n)
    assert scene.draw() is not None


def test_a_jpeg_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    scene = Scene((LINE,), (ZONE,))
    show(scene, {1: standing_at(300, 200)}, 0)
    path = tmp_path / "new folder" / "scene.jpg"
    assert scene.write(path) == path
    assert path.read_bytes()[:3] == b"\xff\xd8\xff"
    picture = cv2.imread(str(path))
    assert picture is not None
    assert picture.shape == PICTURE.shape


def test_a_picture_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    scene = Scene((), ())
    show(scene, {}, 0)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        scene.write(tmp_path / "file" / "scene.jpg")
