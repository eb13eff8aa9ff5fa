import numpy as np
import pytest

from drivers.base import CLASSES, CameraEnded, CameraStalled, CameraUnavailable
from drivers.fakes import FakeCamera, FakeDetector

PICTURE = np.zeros((4, 6, 3), np.uint8)


def test_fake_camera_plays_its_script() -> None:
    waited: list[float] = []
    camera = FakeCamera("north", [PICTURE, None, PICTURE, CameraStalled("cut"), PICTURE], fps=10, wait=waited.append)
    granted = camera.open()
    assert (granted.width_px, granted.height_px) == (6, 4)
    first = camera.read(2.0)
    with pytest.raises(CameraStalled, match="no picture for 2 s"):
        camera.read(2.0)
    second = camera.read(2.0)
    with pytest.raises(CameraStalled, match="cut"):
        camera.read(2.0)
    camera.close()
    camera.open()
    third = camera.read(2.0)
    with pytest.raises(CameraEnded):
        camera.read(2.0)
    assert [frame.index for frame in (first, second, third)] == [0, 1, 2]
    assert [frame.mono_s for frame in (first, second, third)] == pytest.approx([0.0, 2.1, 2.2])
    assert waited == pytest.approx([0.1, 2.0, 0.1, 0.1])


def test_fake_camera_refuses_to_open_as_often_as_told() -> None:
    camera = FakeCamera(
        "north", [PICTURE], open_errors=[CameraUnavailable("off"), None, CameraUnavailable("off again")]
    )
    with pytest.raises(CameraUnavailable, match="off"):
        camera.open()
    camera.open()
    with pytest.raises(CameraUnavailable, match="off again"):
        camera.open()
    camera.open()
    assert camera.opens == 4


def test_fake_camera_must_be_open_to_be_read() -> None:
    camera = FakeCamera("north", [PICTURE])
    with pytest.raises(CameraUnavailable, match="not open"):
        camera.read(1.0)


def test_fake_detector_sees_what_it_is_told_best_first_and_above_the_threshold() -> None:
    detector = FakeDetector(
        [[("car", 0.5, (0, 0, 2, 2)), ("bus", 0.9, (1, 1, 3, 3)), ("person", 0.1, (0, 0, 1, 1))], []]
    )
    seen = detector.detect(PICTURE, 0.3)
    assert [CLASSES[i] for i in seen.class_ids] == ["bus", "car"]
    assert seen.boxes_xyxy_px.tolist() == [[1, 1, 3, 3], [0, 0, 2, 2]]
    assert len(detector.detect(PICTURE, 0.3)) == 0
    assert len(detector.detect(PICTURE, 0.3)) == 0
    assert detector.calls == 3


def test_fake_detector_takes_a_script_by_call_number() -> None:
    detector = FakeDetector({2: [("car", 0.5, (0, 0, 2, 2))]})
    assert [len(detector.detect(PICTURE, 0.3)) for _ in range(4)] == [0, 0, 1, 0]
