import numpy as np
import pytest

from drivers.base import CLASSES
from drivers.inference.decode import (
    MAX_CANDIDATES,
    Candidates,
    ClassColumns,
    HeadMismatch,
    SsdPostprocess,
    SsdRaw,
    TensorSpec,
    Yolo,
    suppress_duplicates,
)

PERSON, CAR, TRUCK = (CLASSES.index(name) for name in ("person", "car", "truck"))
# Network labels: 0 person, 1 tree (not counted), 2 car, 3 pickup (counted as truck).
COLUMNS = ClassColumns(labels=(0, 2, 3), class_ids=(PERSON, CAR, TRUCK), total=4)
ANCHORS = np.array([[0.1, 0.2, 0.3, 0.6], [0.5, 0.5, 0.9, 0.7]], np.float32)


def ssd(boxes_spec=None, scores_spec=None, *, activation="none", background=True, order=("boxes", "scores")):
    width = 4 + background
    specs = {
        "boxes": boxes_spec or TensorSpec("b", (1, 2, 4), "float32"),
        "scores": scores_spec or TensorSpec("s", (1, 2, width), "float32"),
    }
    return SsdRaw(
        [specs[name] for name in order],
        COLUMNS,
        ANCHORS,
        variances=(10.0, 10.0, 5.0, 5.0),
        activation=activation,
        background=background,
        nms_iou=0.6,
        outputs=order,
    )


def test_ssd_box_with_a_zero_encoding_is_its_anchor():
    scores = np.array([[[0, 0.9, 0, 0, 0], [0, 0, 0, 0.5, 0]]], np.float32)
    found = ssd()([np.zeros((1, 2, 4), np.float32), scores], 0.4)
    np.testing.assert_allclose(found.boxes_xyxy, [[0.2, 0.1, 0.6, 0.3], [0.5, 0.5, 0.7, 0.9]], atol=1e-6)
    assert found.class_ids.tolist() == [PERSON, CAR]
    np.testing.assert_allclose(found.scores, [0.9, 0.5])


def test_ssd_box_moves_and_grows_by_the_formula():
    encoded = np.zeros((1, 2, 4), np.float32)
    encoded[0, 0] = (1.0, -2.0, 5 * np.log(2), 5 * np.log(0.5))  # ty, tx, th, tw
    scores = np.array([[[0, 0.9, 0, 0, 0], [0, 0, 0, 0, 0]]], np.float32)
    found = ssd()([encoded, scores], 0.4)
    # Anchor 0: centre (y 0.2, x 0.4), 0.2 high, 0.4 wide. Down by 0.1 of 0.2, left by 0.2 of 0.4; 2 x high, half wide.
    cy, cx, h, w = 0.22, 0.32, 0.4, 0.2
    np.testing.assert_allclose(found.boxes_xyxy, [[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]], atol=1e-6)


def test_ssd_outputs_may_come_in_the_other_order():
    scores = np.array([[[0, 0.9, 0, 0, 0], [0, 0, 0, 0, 0]]], np.float32)
    found = ssd(order=("scores", "boxes"))([scores, np.zeros((1, 2, 4), np.float32)], 0.4)
    np.testing.assert_allclose(found.boxes_xyxy, [[0.2, 0.1, 0.6, 0.3]], atol=1e-6)


def test_ssd_int8_heads_give_what_their_real_values_give():
    rng = np.random.default_rng(1)
    boxes = TensorSpec("b", (1, 2, 4), "int8", 0.08, 5)
    scores = TensorSpec("s", (1, 2, 5), "int8", 1 / 256, -128)
    raw = [rng.integers(-128, 128, spec.shape).astype(np.int8) for spec in (boxes, scores)]
    quantised = ssd(boxes, scores)(raw, 0.3)
    real = ssd()([boxes.real(raw[0]), scores.real(raw[1])], 0.3)
    np.testing.assert_allclose(quantised.boxes_xyxy, real.boxes_xyxy, rtol=1e-6)
    np.testing.assert_allclose(quantised.scores, real.scores)
    assert quantised.class_ids.tolist() == real.class_ids.tolist()


@pytest.mark.parametrize("step", range(-128, 128, 17))
def test_int8_threshold_keeps_exactly_what_reaches_it(step):
    spec = TensorSpec("s", (1, 2, 5), "int8", 1 / 256, -128)
    raw = np.full((1, 2, 5), -128, np.int8)
    raw[0, 0, 1] = step
    score = (step + 128) / 256
    boxes = np.zeros((1, 2, 4), np.float32)
    if score > 0:
        assert len(ssd(scores_spec=spec)([boxes, raw], score).scores) == 1
    assert len(ssd(scores_spec=spec)([boxes, raw], score + 0.001).scores) == 0


def test_logits_are_compared_and_given_as_probabilities():
    logits = np.full((1, 2, 4), -9, np.float32)
    logits[0, 0, 2] = np.log(0.7 / 0.3)
    decoder = ssd(activation="sigmoid", background=False)
    boxes = np.zeros((1, 2, 4), np.float32)
    found = decoder([boxes, logits], 0.69)
    np.testing.assert_allclose(found.scores, [0.7], rtol=1e-6)
    assert found.class_ids.tolist() == [CAR]
    assert len(decoder([boxes, logits], 0.71).scores) == 0


def test_a_label_nobody_counts_gives_no_box():
    scores = np.array([[[0, 0, 0.9, 0, 0], [0, 0, 0, 0, 0]]], np.float32)
    assert len(ssd()([np.zeros((1, 2, 4), np.float32), scores], 0.4).scores) == 0


def test_a_counted_label_keeps_its_box_when_an_uncounted_one_scores_higher():
    scores = np.array([[[0, 0, 0.9, 0.5, 0], [0, 0, 0, 0, 0]]], np.float32)
    found = ssd()([np.zeros((1, 2, 4), np.float32), scores], 0.4)
    assert found.class_ids.tolist() == [CAR]
    np.testing.assert_allclose(found.scores, [0.5])


def test_one_row_gives_one_box_of_its_best_class():
    scores = np.array([[[0, 0.5, 0, 0.6, 0.7], [0, 0, 0, 0, 0]]], np.float32)
    assert ssd()([np.zeros((1, 2, 4), np.float32), scores], 0.4).class_ids.tolist() == [TRUCK]


@pytest.mark.parametrize(
    ("boxes_shape", "scores_shape", "complaint"),
    [
        pytest.param((1, 3, 4), (1, 3, 5), "anchors", id="other number of anchors"),
        pytest.param((1, 2, 4), (1, 2, 91), "5 scores", id="other number of labels"),
        pytest.param((1, 2, 5), (1, 2, 4), "4 box encodings", id="swapped"),
    ],
)
def test_ssd_refuses_outputs_of_another_shape(boxes_shape, scores_shape, complaint):
    with pytest.raises(HeadMismatch, match=complaint):
        ssd(TensorSpec("b", boxes_shape, "float32"), TensorSpec("s", scores_shape, "float32"))


def postprocess(order=("boxes", "classes", "scores", "count"), rows=3):
    specs = {
        "boxes": TensorSpec("b", (1, rows, 4), "float32"),
        "classes": TensorSpec("c", (1, rows), "float32"),
        "scores": TensorSpec("s", (1, rows), "float32"),
        "count": TensorSpec("n", (1,), "float32"),
    }
    return SsdPostprocess([specs[name] for name in order], COLUMNS, outputs=order)


def test_postprocess_rows_beyond_the_count_are_rubbish():
    boxes = np.array([[[0.1, 0.2, 0.3, 0.6]] * 3], np.float32)
    boxes[0, 2] = np.nan
    outputs = [boxes, np.array([[2.0, 0.0, np.nan]]), np.array([[0.8, 0.9, np.nan]]), np.array([2.0])]
    found = postprocess()(outputs, 0.4)
    np.testing.assert_allclose(found.scores, [0.9, 0.8])
    assert found.class_ids.tolist() == [PERSON, CAR]
    np.testing.assert_allclose(found.boxes_xyxy[0], [0.2, 0.1, 0.6, 0.3])


def test_postprocess_drops_low_scores_uncounted_labels_and_labels_that_do_not_exist():
    boxes = np.zeros((1, 3, 4), np.float32)
    outputs = [boxes, np.array([[1.0, 7.0, 0.0]]), np.array([[0.8, 0.8, 0.2]]), np.array([3.0])]
    assert len(postprocess()(outputs, 0.4).scores) == 0


def test_postprocess_outputs_may_come_in_another_order():
    order = ("scores", "boxes", "count", "classes")
    outputs = [np.array([[0.8]]), np.array([[[0.1, 0.2, 0.3, 0.6]]]), np.array([1.0]), np.array([[3.0]])]
    found = postprocess(order, rows=1)(outputs, 0.4)
    assert found.class_ids.tolist() == [TRUCK]


def yolo(kind, spec, *, units="fraction", strides=(), activation="none"):
    return Yolo(kind, [spec], COLUMNS, (32, 16), activation=activation, box_units=units, strides=strides, nms_iou=0.6)


def test_yolo_v5_score_is_objectness_times_class():
    row = [[0.5, 0.4, 0.2, 0.1, 0.8, 0.1, 0.9, 0.5, 0.0], [0.1, 0.1, 0.1, 0.1, 0.5, 0.7, 0.0, 0.0, 0.0]]
    decoder = yolo("yolo-v5", TensorSpec("o", (1, 2, 9), "float32"))
    found = decoder([np.array([row], np.float32)], 0.36)
    np.testing.assert_allclose(found.scores, [0.4], rtol=1e-6)
    np.testing.assert_allclose(found.boxes_xyxy, [[0.4, 0.35, 0.6, 0.45]], rtol=1e-6)
    assert found.class_ids.tolist() == [CAR]


def test_yolo_v5_int8_gives_what_its_real_values_give():
    spec = TensorSpec("o", (1, 50, 9), "int8", 1 / 255, -128)
    raw = np.random.default_rng(2).integers(-128, 128, spec.shape).astype(np.int8)
    quantised = yolo("yolo-v5", spec)([raw], 0.3)
    real = yolo("yolo-v5", TensorSpec("o", (1, 50, 9), "float32"))([spec.real(raw)], 0.3)
    assert len(real.scores) > 10
    np.testing.assert_allclose(quantised.scores, real.scores, rtol=1e-6)
    np.testing.assert_allclose(quantised.boxes_xyxy, real.boxes_xyxy, rtol=1e-5)
    assert quantised.class_ids.tolist() == real.class_ids.tolist()


def test_yolo_v8_is_read_column_by_column_without_objectness():
    table = np.zeros((1, 8, 3), np.float32)
    table[0, :, 1] = (16, 8, 8, 4, 0.1, 0.9, 0.3, 0.6)  # x, y, w, h, then four labels; input is 32 x 16
    found = yolo("yolo-v8", TensorSpec("o", (1, 8, 3), "float32"), units="pixels")([table], 0.5)
    np.testing.assert_allclose(found.scores, [0.6], rtol=1e-6)
    np.testing.assert_allclose(found.boxes_xyxy, [[12 / 32, 6 / 16, 20 / 32, 10 / 16]])
    assert found.class_ids.tolist() == [TRUCK]


def test_yolo_x_boxes_are_relative_to_their_grid_cell():
    # 32 x 16 with strides 8 and 16: 4 x 2 = 8 cells, then 2 x 1 = 2.
    table = np.zeros((1, 10, 9), np.float32)
    table[0, 6, :6] = (0.5, 0.25, np.log(2), 0.0, 1.0, 0.9)  # stride 8, column 2, row 1
    table[0, 9, :6] = (0.5, 0.5, 0.0, 0.0, 1.0, 0.8)  # stride 16, column 1, row 0
    found = yolo("yolo-x", TensorSpec("o", (1, 10, 9), "float32"), strides=(8, 16))([table], 0.5)
    wanted_px = [[20 - 8, 10 - 4, 20 + 8, 10 + 4], [24 - 8, 8 - 8, 24 + 8, 8 + 8]]
    np.testing.assert_allclose(found.boxes_xyxy, np.array(wanted_px) / [32, 16, 32, 16], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "shape", "strides"),
    [
        pytest.param("yolo-v5", (1, 8, 10), (), id="v5 with other labels"),
        pytest.param("yolo-v8", (1, 10, 8), (), id="v8 not transposed"),
        pytest.param("yolo-x", (1, 11, 9), (8, 16), id="x with rows that fit no grid"),
        pytest.param("yolo-v5", (10, 9), (), id="no batch axis"),
    ],
)
def test_yolo_refuses_an_output_of_another_shape(kind, shape, strides):
    with pytest.raises(HeadMismatch):
        yolo(kind, TensorSpec("o", shape, "float32"), strides=strides)


def candidates(boxes, scores, class_ids):
    return Candidates(np.array(boxes, np.float32), np.array(scores, np.float32), np.array(class_ids, np.int32))


def test_weaker_box_of_the_same_class_is_a_duplicate():
    boxes = [[0, 0, 1, 1], [0, 0, 1, 0.9], [0.5, 0, 1.5, 1]]
    assert suppress_duplicates(candidates(boxes, [0.9, 0.8, 0.7], [3, 3, 3]), 0.6).tolist() == [0, 2]


def test_overlapping_boxes_of_two_classes_both_stay():
    boxes = [[0, 0, 1, 1], [0, 0, 1, 0.9]]
    assert suppress_duplicates(candidates(boxes, [0.9, 0.8], [3, 5]), 0.6).tolist() == [0, 1]


def test_duplicate_of_a_duplicate_stays_when_it_is_far_from_what_was_kept():
    boxes = [[0, 0, 1, 1], [0.2, 0, 1.2, 1], [0.4, 0, 1.4, 1]]  # neighbours overlap by 0.67, ends by 0.43
    assert suppress_duplicates(candidates(boxes, [0.9, 0.8, 0.7], [3, 3, 3]), 0.6).tolist() == [0, 2]


def test_no_box_has_no_duplicates():
    assert suppress_duplicates(candidates(np.empty((0, 4)), [], []), 0.6).tolist() == []


def test_a_picture_full_of_noise_gives_its_best_two_hundred():
    decoder = yolo("yolo-v8", TensorSpec("o", (1, 8, 1000), "float32"))
    table = np.random.default_rng(3).uniform(0.1, 1.0, (1, 8, 1000)).astype(np.float32)
    found = decoder([table], 0.05)
    best = np.sort(table[0, [4, 6, 7]].max(0))[::-1]
    assert len(found.scores) == MAX_CANDIDATES
    np.testing.assert_array_equal(found.scores, best[:MAX_CANDIDATES])
