import numpy as np
import pytest

from agent.vision.motion import Motion, MotionMap
from drivers.base import Frame
from tests.support.vision import Box, noisy, road, with_boxes

WIDE_PX, HIGH_PX = 640, 360
SCENE = road(WIDE_PX, HIGH_PX)
SETTLED_S = 4.0


class Watcher:
    """A motion stage and the time of its camera."""

    def __init__(self, fps: float = 10.0) -> None:
        self.motion = Motion()
        self.fps = fps
        self.index = 0

    @property
    def mono_s(self) -> float:
        return self.index / self.fps

    def show(self, picture: np.ndarray) -> MotionMap:
        shown = self.motion.update(Frame(picture, self.index, self.mono_s))
        self.index += 1
        return shown

    def settle(self, scene: np.ndarray = SCENE) -> MotionMap:
        """Until the road is known and the gate of the beginning has shut."""
        until_s = self.mono_s + SETTLED_S
        while self.mono_s < until_s:
            shown = self.show(noisy(scene, self.index))
        return shown


def car(x: float, wide: float = 60, high: float = 40) -> Box:
    return x, 200, x + wide, 200 + high


def overlap(blob: np.ndarray, box: Box) -> bool:
    return bool(blob[0] < box[2] and blob[2] > box[0] and blob[1] < box[3] and blob[3] > box[1])


def test_the_first_picture_is_worth_a_look() -> None:
    assert Watcher().show(SCENE).is_open


@pytest.mark.parametrize("fps", [5.0, 10.0, 25.0])
def test_the_gate_shuts_on_a_still_scene_and_stays_shut_under_sensor_noise(fps: float) -> None:
    watcher = Watcher(fps)
    assert not watcher.settle().is_open
    opened = [n for n in range(int(20 * fps)) if watcher.show(noisy(SCENE, 1000 + n)).is_open]
    assert opened == []


@pytest.mark.parametrize("fps", [5.0, 10.0, 25.0])
def test_the_gate_opens_with_the_first_frame_of_something_that_moves(fps: float) -> None:
    watcher = Watcher(fps)
    watcher.settle()
    shown = watcher.show(noisy(with_boxes(SCENE, [car(300)]), 9))
    assert shown.is_open
    assert any(overlap(blob, car(300)) for blob in shown.blobs_xyxy_px)


@pytest.mark.parametrize(
    ("fps", "px_per_s"),
    [
        pytest.param(10.0, 300, id="fast"),
        pytest.param(10.0, 60, id="slow"),
        pytest.param(5.0, 60, id="slow at 5 fps"),
        pytest.param(5.0, 600, id="fast at 5 fps"),
        pytest.param(25.0, 120, id="at 25 fps"),
    ],
)
def test_the_gate_stays_open_while_something_moves(fps: float, px_per_s: float) -> None:
    watcher = Watcher(fps)
    watcher.settle()
    began_s, shut = watcher.mono_s, []
    while (x := 20 + px_per_s * (watcher.mono_s - began_s)) < WIDE_PX - 80:
        if not watcher.show(noisy(with_boxes(SCENE, [car(x)]), watcher.index)).is_open:
            shut.append(watcher.mono_s - began_s)
    assert shut == []


@pytest.mark.parametrize("stood_s", [0.0, 1.0, 3.0, 8.0, 20.0])
def test_the_gate_shuts_after_something_left_whatever_it_uncovered(stood_s: float) -> None:
    watcher = Watcher()
    watcher.settle()
    stood_until_s = watcher.mono_s + stood_s
    while watcher.mono_s <= stood_until_s:
        watcher.show(noisy(with_boxes(SCENE, [car(300)]), watcher.index))
    left_s = watcher.mono_s
    open_s = [watcher.mono_s - left_s for n in range(150) if watcher.show(noisy(SCENE, n)).is_open]
    assert max(open_s, default=0.0) < 2.0, "held open by what it uncovered"


def test_the_gate_shuts_soon_after_something_stopped() -> None:
    watcher = Watcher()
    watcher.settle()
    for x in range(100, 300, 10):
        assert watcher.show(noisy(with_boxes(SCENE, [car(x)], (250, 250, 250)), x)).is_open
    stopped_s = watcher.mono_s
    parked = with_boxes(SCENE, [car(300)], (250, 250, 250))
    open_s = [watcher.mono_s - stopped_s for n in range(100) if watcher.show(noisy(parked, n)).is_open]
    assert max(open_s) < 2.0


@pytest.mark.parametrize("gain", [0.6, 0.8, 1.25, 1.6])
def test_a_change_of_exposure_does_not_open_the_gate(gain: float) -> None:
    watcher = Watcher()
    watcher.settle()
    brighter = np.clip(SCENE * gain, 0, 255).astype(np.uint8)
    assert not any(watcher.show(noisy(brighter, n)).is_open for n in range(50))


def test_something_that_moves_opens_the_gate_while_the_exposure_changes() -> None:
    watcher = Watcher()
    watcher.settle()
    brighter = np.clip(with_boxes(SCENE, [car(300)]) * 1.3, 0, 255).astype(np.uint8)
    assert watcher.show(brighter).is_open


def test_a_speck_does_not_open_the_gate() -> None:
    watcher = Watcher()
    watcher.settle()
    fly = [with_boxes(SCENE, [(100 + 5 * n, 100, 104 + 5 * n, 104)]) for n in range(30)]
    assert not any(watcher.show(noisy(picture, n)).is_open for n, picture in enumerate(fly))


def test_the_share_of_a_box_tells_what_moves_from_what_stands() -> None:
    watcher = Watcher()
    parked: Box = (60, 60, 140, 120)
    watcher.settle(with_boxes(SCENE, [parked]))
    shown = watcher.show(with_boxes(SCENE, [parked, car(300)]))
    beyond_the_picture: Box = (WIDE_PX, HIGH_PX, WIDE_PX + 50, HIGH_PX + 50)
    boxes = np.array([car(300), parked, (300, 200, 420, 240), beyond_the_picture], np.float32)
    moving, standing, half, outside = shown.share(boxes).tolist()
    assert moving > 0.9
    assert standing < 0.05
    assert 0.35 < half < 0.65
    assert outside == 0.0
    assert shown.share(np.empty((0, 4), np.float32)).shape == (0,)


def test_what_stopped_becomes_part_of_the_scene() -> None:
    watcher = Watcher()
    watcher.settle()
    for n in range(300):
        shown = watcher.show(noisy(with_boxes(SCENE, [car(300)]), n))
    assert shown.share(np.array([car(300)], np.float32))[0] < 0.05
    assert not shown.is_open


@pytest.mark.parametrize(
    ("wide_px", "high_px"),
    [
        pytest.param(1280, 720, id="HD"),
        pytest.param(352, 288, id="CIF"),
        pytest.param(360, 640, id="upright"),
        pytest.param(1920, 300, id="panorama"),
    ],
)
def test_blobs_are_in_pixels_of_the_full_frame(wide_px: int, high_px: int) -> None:
    watcher, scene = Watcher(), road(wide_px, high_px)
    watcher.settle(scene)
    box: Box = (0.5 * wide_px, 0.4 * high_px, 0.7 * wide_px, 0.8 * high_px)
    blobs = watcher.show(with_boxes(scene, [box], (250, 250, 250))).blobs_xyxy_px
    assert blobs.shape == (1, 4)
    assert np.abs(blobs[0] - np.array(box)).max() < 0.03 * max(wide_px, high_px)


@pytest.mark.parametrize(("wide_px", "high_px"), [(1280, 720), (480, 480), (320, 500)])
def test_a_camera_that_changes_its_pictures_size_is_followed(wide_px: int, high_px: int) -> None:
    watcher, scene = Watcher(), road(wide_px, high_px)
    watcher.settle()
    assert not watcher.settle(scene).is_open
    box: Box = (0.5 * wide_px, 0.4 * high_px, 0.7 * wide_px, 0.8 * high_px)
    shown = watcher.show(with_boxes(scene, [box], (250, 250, 250)))
    assert shown.is_open
    assert shown.share(np.array([box], np.float32))[0] > 0.9


def test_a_picture_is_never_written_into() -> None:
    watcher = Watcher()
    picture = SCENE.copy()
    picture.setflags(write=False)
    watcher.show(picture)
    watcher.show(picture)
    assert np.array_equal(picture, SCENE)


def test_time_that_stands_still_or_jumps_is_survived() -> None:
    motion = Motion()
    for mono_s in (0.0, 0.0, 5.0, 5.0, 3600.0, 3600.1):
        shown = motion.update(Frame(SCENE, 0, mono_s))
    assert not shown.is_open
