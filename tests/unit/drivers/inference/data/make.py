#!/usr/bin/env python3
"""Make the tiny networks beside this file, one for every kind of head. Needs models/build/requirements.txt.

    python tests/unit/drivers/inference/data/make.py

All see a picture of 16 x 16 as four quadrants, and score three labels by colour: red, green, blue. A quadrant that is
wholly one colour scores 0.98 for it. The box is the quadrant (the whole quadrant, in every kind's own encoding).
"""

import os
from collections.abc import Callable
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import flatbuffers
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

HERE = Path(__file__).parent
SIZE = 16
# Quadrants row by row: top, left, bottom, right.
ANCHORS = np.array([[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1], [0.5, 0, 1, 0.5], [0.5, 0.5, 1, 1]], np.float32)
CENTRE_WH = np.array([[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]])
IMAGE = tf.TensorSpec((1, SIZE, SIZE, 3), tf.float32, name="image")


def logits(image: tf.Tensor) -> tf.Tensor:
    """(1, 4, 3): for each quadrant how red, green, blue it is; 4 for a full colour, -4 for none."""
    return tf.reshape(tf.nn.avg_pool2d(image, 8, 8, "VALID"), (1, 4, 3)) * 4.0


def constant(rows: np.ndarray, image: tf.Tensor) -> tf.Tensor:
    """rows as (1, n, k), tied to the image so that the converter keeps the output."""
    nothing = tf.reshape(tf.reduce_mean(image, (1, 2, 3)), (1, 1, 1)) * 0.0
    return tf.constant(rows[None].astype(np.float32)) + nothing


def ssd_raw(image: tf.Tensor) -> tuple[tf.Tensor, ...]:
    scores = tf.concat([constant(np.zeros((4, 1)), image), tf.sigmoid(logits(image))], 2)
    return constant(np.zeros((4, 4)), image), scores


def ssd_raw_logits(image: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return constant(np.zeros((4, 4)), image), logits(image)


def yolo_v5(image: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return (tf.concat([constant(CENTRE_WH, image), constant(np.ones((4, 1)), image), tf.sigmoid(logits(image))], 2),)


def yolo_v8(image: tf.Tensor) -> tuple[tf.Tensor, ...]:
    rows = tf.concat([constant(CENTRE_WH * SIZE, image), tf.sigmoid(logits(image))], 2)
    return (tf.transpose(rows, (0, 2, 1)),)


def yolo_v8_fraction(image: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return (tf.transpose(tf.concat([constant(CENTRE_WH, image), tf.sigmoid(logits(image))], 2), (0, 2, 1)),)


def yolo_x(image: tf.Tensor) -> tuple[tf.Tensor, ...]:
    # Stride 8 on 16 pixels: cells are the quadrants; centre half a cell in, size exp(0) cells.
    box = np.tile([0.5, 0.5, 0.0, 0.0], (4, 1))
    return (tf.concat([constant(box, image), constant(np.ones((4, 1)), image), tf.sigmoid(logits(image))], 2),)


def write(name: str, network: Callable[[tf.Tensor], tuple[tf.Tensor, ...]], image_type: tf.DType | None = None) -> None:
    function = tf.function(network, input_signature=[IMAGE]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.allow_custom_ops = True
    if image_type is not None:
        random = np.random.default_rng(0)
        corners = [np.full((1, SIZE, SIZE, 3), v, np.float32) for v in (-1, 1)]
        noise = [random.uniform(-1, 1, (1, SIZE, SIZE, 3)).astype(np.float32) for _ in range(20)]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x] for x in corners + noise)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = image_type
    (HERE / f"{name}.tflite").write_bytes(converter.convert())


def postprocessed(raw: str, name: str) -> None:
    """The network `raw` with the operator TFLite_Detection_PostProcess behind its heads, room for 6 rows."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray((HERE / f"{raw}.tflite").read_bytes())))
    graph = model.subgraphs[0]

    def tensor(name: str, shape: tuple[int, ...], data: bytes | None = None) -> int:
        buffer = schema.BufferT()
        buffer.data = None if data is None else np.frombuffer(data, np.uint8)
        model.buffers.append(buffer)
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = (
            name,
            list(shape),
            schema.TensorType.FLOAT32,
            len(model.buffers) - 1,
        )
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    settings = flexbuffers.Builder()
    with settings.Map():
        for key, count in {"max_detections": 6, "max_classes_per_detection": 1, "num_classes": 3}.items():
            settings.Int(key, count)
        settings.Bool("use_regular_nms", False)
        scales = {"y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}
        for key, value in {"nms_score_threshold": 0.001, "nms_iou_threshold": 0.6, **scales}.items():
            settings.Float(key, value)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "TFLite_Detection_PostProcess"
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    anchors_yxhw = CENTRE_WH[:, [1, 0, 3, 2]].astype(np.float32)
    operator.inputs = [*graph.outputs, tensor("anchors", (4, 4), anchors_yxhw.tobytes())]
    shapes = {"boxes": (1, 6, 4), "classes": (1, 6), "scores": (1, 6), "count": (1,)}
    operator.outputs = graph.outputs = [tensor(name, shape) for name, shape in shapes.items()]
    operator.customOptions = np.frombuffer(bytes(settings.Finish()), np.uint8)
    graph.operators.append(operator)
    model.signatureDefs = []
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    (HERE / f"{name}.tflite").write_bytes(bytes(builder.Output()))


def main() -> None:
    np.save(HERE / "anchors.npy", ANCHORS)
    write("ssd-raw-float32", ssd_raw)
    write("ssd-raw-logits-float32", ssd_raw_logits)
    write("ssd-raw-int8", ssd_raw, tf.int8)
    write("ssd-raw-uint8", ssd_raw, tf.uint8)
    postprocessed("ssd-raw-float32", "ssd-postprocess-float32")
    write("yolo-v5-float32", yolo_v5)
    write("yolo-v5-int8", yolo_v5, tf.int8)
    write("yolo-v8-float32", yolo_v8)
    write("yolo-v8-int8", yolo_v8_fraction, tf.int8)
    write("yolo-x-float32", yolo_x)


if __name__ == "__main__":
    main()
