"""Give an INT8 network back the averages of its float original, by moving the biases of its convolutions.

Rounding weights shifts what a channel puts out on average, here by nearly two INT8 steps, and the shift adds up from
layer to layer: on road clips the plain INT8 SSD-MobileNetV3 had half again as many boxes above 0.25 as the float one.
So, from the first convolution to the last: run the network up to there, compare each channel's mean over some pictures
with the float network's, correct the bias by the difference. One after another, as each changes what the next is fed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

_CONVOLUTIONS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)


@dataclass(frozen=True, slots=True)
class _Convolution:
    """One convolution of the INT8 network. depth: how many convolutions stand before it, itself included."""

    output: int
    bias: int
    depth: int


def restore_means(int8: bytes, float32: bytes, inputs: Sequence[np.ndarray]) -> bytes:
    """int8 with corrected biases. Both networks must call their tensors alike.

    inputs: float32 (1, size, size, 3) each, as the float network takes them.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(int8)))
    graph = model.subgraphs[0]
    operators, outputs = graph.operators, graph.outputs
    depth_of: dict[int, int] = {}
    convolutions = []
    for op in operators:
        is_convolution = model.operatorCodes[op.opcodeIndex].builtinCode in _CONVOLUTIONS
        depth = max(depth_of.get(int(i), 0) for i in op.inputs) + is_convolution
        depth_of.update((int(i), depth) for i in op.outputs)
        if is_convolution:
            convolutions.append(_Convolution(int(op.outputs[0]), int(op.inputs[2]), depth))
    wanted = _float_means(float32, inputs, graph, convolutions)
    quantised = [_quantised(values, graph.tensors[graph.inputs[0]]) for values in inputs]
    for depth in range(1, max(c.depth for c in convolutions) + 1):
        layer = [c for c in convolutions if c.depth == depth]
        # Only what leads up to this layer, so that half of the work is left out.
        graph.operators = [op for op in operators if depth_of[int(op.outputs[0])] <= depth]
        graph.outputs = [c.output for c in layer]
        found = _means(_pack(model), quantised, graph, layer)
        for convolution in layer:
            bias = graph.tensors[convolution.bias]
            buffer = model.buffers[bias.buffer]
            steps = np.rint(
                (wanted[convolution.output] - found[convolution.output]) / np.array(bias.quantization.scale)
            )
            moved = np.frombuffer(bytes(buffer.data), np.int32) + steps.astype(np.int64)
            buffer.data = np.frombuffer(moved.astype(np.int32).tobytes(), np.uint8)
    graph.operators, graph.outputs = operators, outputs
    return _pack(model)


def _float_means(
    tflite: bytes, inputs: Sequence[np.ndarray], graph: schema.SubGraphT, convolutions: Sequence[_Convolution]
) -> dict[int, np.ndarray]:
    """Mean of every channel of every convolution of the float network, within what INT8 can hold of it."""
    network = _open(tflite, preserve=True)
    index_of = {d["name"]: d["index"] for d in network.get_tensor_details()}
    means: dict[int, np.ndarray] = {}
    for values in inputs:
        network.set_tensor(network.get_input_details()[0]["index"], values)
        network.invoke()
        for convolution in convolutions:
            tensor = graph.tensors[convolution.output]
            scale, zero_point = _quantisation(tensor)
            real = network.get_tensor(index_of[_name(tensor)])
            held = np.clip(real, (-128 - zero_point) * scale, (127 - zero_point) * scale)
            mean = held.mean((0, 1, 2), dtype=np.float64) / len(inputs)
            means[convolution.output] = means.get(convolution.output, 0.0) + mean
    return means


def _means(
    tflite: bytes, inputs: Sequence[np.ndarray], graph: schema.SubGraphT, layer: Sequence[_Convolution]
) -> dict[int, np.ndarray]:
    network = _open(tflite, preserve=False)
    places = [d["index"] for d in network.get_output_details()]
    means = {c.output: np.zeros(graph.tensors[c.output].shape[-1]) for c in layer}
    for values in inputs:
        network.set_tensor(network.get_input_details()[0]["index"], values)
        network.invoke()
        for convolution, place in zip(layer, places, strict=True):
            scale, zero_point = _quantisation(graph.tensors[convolution.output])
            raw = network.get_tensor(place).mean((0, 1, 2), dtype=np.float64)
            means[convolution.output] += (raw - zero_point) * scale / len(inputs)
    return means


def _open(tflite: bytes, *, preserve: bool) -> Interpreter:
    # The plain kernels: XNNPACK's depend on the processor, and the packs' bytes must not.
    network = Interpreter(
        model_content=tflite,
        num_threads=2,
        experimental_preserve_all_tensors=preserve,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    network.allocate_tensors()
    return network


def _quantised(values: np.ndarray, tensor: schema.TensorT) -> np.ndarray:
    scale, zero_point = _quantisation(tensor)
    return np.clip(np.rint(values / scale + zero_point), -128, 127).astype(np.int8)


def _quantisation(tensor: schema.TensorT) -> tuple[float, int]:
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])


def _name(tensor: schema.TensorT) -> str:
    return tensor.name if isinstance(tensor.name, str) else tensor.name.decode()


def _pack(model: schema.ModelT) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.ForceDefaults(True)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
