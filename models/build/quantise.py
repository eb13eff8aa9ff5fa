"""Float TFLite network in, INT8 network out: per-channel weights, ranges taken from calibration pictures.

TensorFlow's own calibrator gets the ranges of operators that work in place wrong, so ranges are collected here, with an
interpreter that keeps every tensor, and handed to ai-edge-quantizer.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_quantizer import quantizer, recipe

from .graphs import INPUT, SIGNATURE

_SAMPLE = 20_000  # values kept of each tensor and picture; enough for a quantile of 5e-5 over some hundred pictures


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """What one tensor held over all pictures: its extremes, and a random sample of its values."""

    low: float
    high: float
    sample: np.ndarray

    def clipped(self, quantile: float) -> tuple[float, float]:
        """The range without the given share of outliers at either end; always contains 0."""
        low, high = np.quantile(self.sample, [quantile, 1 - quantile])
        return min(float(low), 0.0), max(float(high), 1e-3)


def collect(tflite: bytes, inputs: Iterable[np.ndarray]) -> dict[str, Statistics]:
    """Statistics of every float tensor that an operator writes, by the tensor's name."""
    # Without delegates: XNNPACK would fuse operators and leave the tensors between them empty.
    network = Interpreter(
        model_content=tflite,
        num_threads=2,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    network.allocate_tensors()
    image = network.get_input_details()[0]["index"]
    written = {int(i) for op in network._get_ops_details() for i in op["outputs"]}
    tensors = {
        d["name"]: d["index"]
        for d in network.get_tensor_details()
        if d["index"] in written and d["dtype"] == np.float32
    }
    low, high = dict.fromkeys(tensors, np.inf), dict.fromkeys(tensors, -np.inf)
    samples: dict[str, list[np.ndarray]] = {name: [] for name in tensors}
    random = np.random.default_rng(0)
    for values in inputs:
        network.set_tensor(image, values)
        network.invoke()
        for name, index in tensors.items():
            flat = network.get_tensor(index).ravel()
            low[name], high[name] = min(low[name], float(flat.min())), max(high[name], float(flat.max()))
            samples[name].append(random.choice(flat, _SAMPLE, replace=False) if flat.size > _SAMPLE else flat)
    return {name: Statistics(low[name], high[name], np.concatenate(samples[name])) for name in tensors}


def before_hard_swish(tflite: bytes) -> set[str]:
    """Names of the tensors x of x * relu6(x + 3) / 6: below -3 they do not matter, the product is 0 there."""
    network = Interpreter(
        model_content=tflite, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    network.allocate_tensors()
    tensors = {d["index"]: d for d in network.get_tensor_details()}
    return {
        tensors[int(op["inputs"][0])]["name"]
        for op in network._get_ops_details()
        if op["op_name"] == "ADD" and np.prod(tensors[int(op["inputs"][1])]["shape"]) == 1
    }


def quantise(tflite: bytes, range_of: Callable[[str], tuple[float, float] | None]) -> bytes:
    """INT8 with the given range per tensor name; None leaves a tensor to the quantiser."""
    logging.getLogger().setLevel(logging.ERROR)
    work = quantizer.Quantizer(tflite)
    work.load_quantization_recipe(recipe.static_wi8_ai8())
    shape = Interpreter(model_content=tflite).get_input_details()[0]["shape"]
    # One picture of zeros gives the table its keys and shapes; every number in it is then replaced.
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        table = work.calibrate({SIGNATURE: [{INPUT: np.zeros(shape, np.float32)}]}, num_threads=1)
    for name, entry in table.items():
        found = (-1.0, 1.0) if name.startswith(f"{SIGNATURE}_{INPUT}") else range_of(name)
        if found is not None and "min" in entry:
            # Three digits: what another processor's float arithmetic changes must not change the packs' bytes.
            entry["min"][...], entry["max"][...] = (float(f"{value:.3g}") for value in found)
    with contextlib.redirect_stderr(io.StringIO()):
        quantised = work.quantize(table, enable_progress_report=False).quantized_model
    return _finish(bytes(quantised))


def _finish(tflite: bytes) -> bytes:
    """Names, operator versions and buffers as every TFLite runtime reads them."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(tflite)))
    graph = model.subgraphs[0]
    for buffer in model.buffers:
        # The quantiser stores weights behind the flatbuffer, which older runtimes do not look for.
        if buffer.offset and buffer.offset > 1:
            buffer.data = np.frombuffer(tflite, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    signature = model.signatureDefs[0]
    # In the order boxes, scores, told apart by their last axis.
    graph.outputs = sorted(graph.outputs, key=lambda i: graph.tensors[i].shape[-1])
    for places, names in ((graph.inputs, [INPUT]), (graph.outputs, ["boxes", "scores"])):
        for place, name in zip(places, names, strict=True):
            graph.tensors[place].name = name
    signature.outputs = [_named(name, i) for name, i in zip(("boxes", "scores"), graph.outputs, strict=True)]
    builtin = schema.BuiltinOperator
    # The quantiser leaves every operator at version 1; INT8 came with these.
    int8_since = {
        builtin.CONV_2D: 3,
        builtin.DEPTHWISE_CONV_2D: 3,
        builtin.ADD: 2,
        builtin.MUL: 2,
        builtin.MEAN: 2,
        builtin.CONCATENATION: 2,
        builtin.LOGISTIC: 2,
        builtin.QUANTIZE: 2,
    }
    for code in model.operatorCodes:
        code.version = max(code.version, int8_since.get(code.builtinCode, 1))
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    builder = flatbuffers.Builder(1 << 20)
    builder.ForceDefaults(True)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _named(name: str, tensor: int) -> schema.TensorMapT:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, tensor
    return entry
