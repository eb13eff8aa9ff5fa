import threading

import numpy as np
import pytest

from drivers.base import CLASSES, DriverError, ModelPackError
from drivers.inference import open_detector, runtime
from tests.support.packs import tiny_pack

PERSON, CAR = CLASSES.index("person"), CLASSES.index("car")
RED, GREEN, BLUE, GREY = (0, 0, 255), (0, 255, 0), (255, 0, 0), (114, 114, 114)  # BGR

# Every kind of head, and every type of input: (network, how it is read).
NETWORKS = [
    ("ssd-raw-float32", "ssd-raw"),
    ("ssd-raw-logits-float32", "ssd-raw-logits"),
    ("ssd-raw-int8", "ssd-raw"),
    ("ssd-raw-uint8", "ssd-raw"),
    ("ssd-postprocess-float32", "ssd-postprocess"),
    ("yolo-v5-float32", "yolo-v5"),
    ("yolo-v5-int8", "yolo-v5"),
    ("yolo-v8-float32", "yolo-v8"),
    ("yolo-v8-int8", "yolo-v8-fraction"),
    ("yolo-x-float32", "yolo-x"),
]


def quadrants(width, height, colours):
    """A picture of four quadrants: top left, top right, bottom left, bottom right."""
    picture = np.empty((height, width, 3), np.uint8)
    x, y = width // 2, height // 2
    for rows, columns, colour in zip(
        (slice(0, y), slice(0, y), slice(y, None), slice(y, None)),
        (slice(0, x), slice(x, None), slice(0, x), slice(x, None)),
        colours,
        strict=True,
    ):
        picture[rows, columns] = colour
    return picture


@pytest.mark.parametrize(("network", "head"), NETWORKS)
def test_every_kind_of_network_finds_the_same_quadrants(tmp_path, network, head):
    detector = open_detector(tiny_pack(tmp_path / "tiny", network, head))
    picture = quadrants(160, 80, [RED, GREEN, GREEN, BLUE])
    found = detector.detect(picture, 0.5)
    by_class = dict(zip(found.class_ids.tolist(), found.boxes_xyxy_px.tolist(), strict=True))
    assert by_class.keys() == {PERSON, CAR}
    # Half a pixel of the picture per step of the coarsest INT8 box there is.
    np.testing.assert_allclose(by_class[PERSON], [0, 0, 80, 40], atol=0.7)
    np.testing.assert_allclose(by_class[CAR], [80, 40, 160, 80], atol=0.7)
    np.testing.assert_allclose(found.scores, [0.982, 0.982], atol=0.01)


@pytest.mark.parametrize(("network", "head"), NETWORKS)
def test_result_types_are_those_of_the_seam(tmp_path, network, head):
    detector = open_detector(tiny_pack(tmp_path / "tiny", network, head))
    for colours in ([RED, GREEN, GREEN, BLUE], [GREEN] * 4):
        found = detector.detect(quadrants(64, 64, colours), 0.5)
        assert found.boxes_xyxy_px.dtype == found.scores.dtype == np.float32
        assert found.class_ids.dtype == np.int32
        assert found.boxes_xyxy_px.shape == (len(found), 4)


def test_a_picture_with_nothing_counted_gives_nothing(tmp_path):
    detector = open_detector(tiny_pack(tmp_path / "tiny", "ssd-raw-int8", "ssd-raw"))
    assert len(detector.detect(quadrants(64, 64, [GREEN] * 4), 0.5)) == 0


def test_best_comes_first(tmp_path):
    detector = open_detector(tiny_pack(tmp_path / "tiny", "ssd-raw-float32", "ssd-raw"))
    found = detector.detect(quadrants(64, 64, [(0, 0, 170), RED, (0, 0, 200), GREEN]), 0.5)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    np.testing.assert_allclose(found.boxes_xyxy_px[0], [32, 0, 64, 32], atol=0.01)


def test_picture_is_not_written_into(tmp_path):
    detector = open_detector(tiny_pack(tmp_path / "tiny", "ssd-raw-int8", "ssd-raw"))
    picture = quadrants(16, 16, [RED, GREEN, GREEN, BLUE])
    picture.flags.writeable = False
    before = picture.copy()
    detector.detect(picture, 0.5)
    np.testing.assert_array_equal(picture, before)


def test_a_network_trained_on_bgr_gets_bgr(tmp_path):
    detector = open_detector(tiny_pack(tmp_path / "tiny", "ssd-raw-int8", "ssd-raw", channels="bgr"))
    found = detector.detect(quadrants(64, 64, [RED, GREEN, GREEN, GREEN]), 0.5)
    assert found.class_ids.tolist() == [CAR]  # the network's red is now the picture's blue


@pytest.mark.parametrize(("network", "head"), [("yolo-v8-float32", "yolo-v8"), ("ssd-raw-int8", "ssd-raw")])
@pytest.mark.parametrize(("width", "height"), [(160, 80), (80, 160)])
def test_letterbox_keeps_the_aspect_and_boxes_come_back_to_the_picture(tmp_path, network, head, width, height):
    detector = open_detector(tiny_pack(tmp_path / "tiny", network, head, resize="letterbox"))
    # The picture fills two of the input's four quadrants; the others are padding.
    picture = np.full((height, width, 3), 0, np.uint8)
    middle = max(width, height) // 2
    if width > height:
        picture[:, :middle], picture[:, middle:] = RED, BLUE
        wanted = {PERSON: [0, 0, 80, 80], CAR: [80, 0, 160, 80]}
    else:
        picture[:middle], picture[middle:] = RED, BLUE
        wanted = {PERSON: [0, 0, 80, 80], CAR: [0, 80, 80, 160]}
    # A picture of the other shape before, whose remains must not be seen.
    detector.detect(np.full((width, height, 3), 255, np.uint8), 0.5)
    found = detector.detect(picture, 0.7)
    by_class = dict(zip(found.class_ids.tolist(), found.boxes_xyxy_px.tolist(), strict=True))
    assert by_class.keys() == wanted.keys()
    for class_id, box in wanted.items():
        np.testing.assert_allclose(by_class[class_id], box, atol=0.7)


def test_boxes_never_leave_the_picture(tmp_path):
    detector = open_detector(tiny_pack(tmp_path / "tiny", "ssd-raw-float32", "ssd-raw"))
    detector.pack.decoder._size_hw *= 3  # anchors thrice as large reach beyond every edge
    found = detector.detect(quadrants(160, 80, [RED, RED, RED, BLUE]), 0.5)
    assert len(found) == 4
    assert found.boxes_xyxy_px.min() >= 0
    assert (found.boxes_xyxy_px <= [160, 80, 160, 80]).all()


def test_threads_share_a_detector_without_mixing_pictures(tmp_path):
    detector = open_detector(tiny_pack(tmp_path / "tiny", "ssd-raw-int8", "ssd-raw"))
    pictures = {PERSON: quadrants(64, 64, [RED] * 4), CAR: quadrants(64, 64, [BLUE] * 4)}
    wrong = []

    def look(class_id):
        for _ in range(200):
            found = detector.detect(pictures[class_id], 0.5)
            if found.class_ids.tolist() != [class_id] * 4:
                wrong.append(found.class_ids.tolist())

    threads = [threading.Thread(target=look, args=(class_id,)) for class_id in (PERSON, CAR, PERSON)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_detector_says_so_and_may_be_closed_again(tmp_path):
    detector = open_detector(tiny_pack(tmp_path / "tiny", "ssd-raw-int8", "ssd-raw"))
    detector.close()
    detector.close()
    with pytest.raises(DriverError, match="closed"):
        detector.detect(np.zeros((16, 16, 3), np.uint8), 0.5)


def test_detector_names_its_runtime_and_its_pack(tmp_path):
    detector = open_detector(tiny_pack(tmp_path / "tiny", "ssd-raw-int8", "ssd-raw"))
    name, version = detector.runtime.split(" ")
    assert name in ("ai-edge-litert", "tflite-runtime")
    assert version[0].isdigit()
    assert detector.pack.label == "tiny 1.2.3"


def test_without_a_runtime_the_error_names_both(tmp_path, monkeypatch):
    gone = (("no_such_litert.interpreter", "ai-edge-litert"), ("no_such_tflite.interpreter", "tflite-runtime"))
    monkeypatch.setattr(runtime, "_RUNTIMES", gone)
    with pytest.raises(DriverError, match=r"no TFLite runtime: tried ai-edge-litert .* tflite-runtime") as error:
        open_detector(tiny_pack(tmp_path / "tiny", "ssd-raw-int8", "ssd-raw"))
    assert not isinstance(error.value, ModelPackError)
