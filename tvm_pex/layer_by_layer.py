"""What a .tflite needs when each operator runs on whole tensors, one after the other: the figure to beat."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tflite

# These give the same bytes another shape: no runtime needs to copy them.
_VIEWS = frozenset((tflite.BuiltinOperator.RESHAPE, tflite.BuiltinOperator.SQUEEZE, tflite.BuiltinOperator.EXPAND_DIMS))
_BYTES = {
    tflite.TensorType.FLOAT32: 4,
    tflite.TensorType.INT32: 4,
    tflite.TensorType.INT64: 8,
    tflite.TensorType.FLOAT64: 8,
    tflite.TensorType.INT16: 2,
    tflite.TensorType.FLOAT16: 2,
    tflite.TensorType.INT8: 1,
    tflite.TensorType.UINT8: 1,
    tflite.TensorType.BOOL: 1,
}


def layer_by_layer_bytes(flat: Any) -> int:
    """The most bytes of activations alive at once in the file's first subgraph, in the file's order of operators.

    Nothing in place, no padding, no scratch. Model inputs live until their last reader, outputs to the end.
    """
    graph = flat.Subgraphs(0)
    operators = [graph.Operators(index) for index in range(graph.OperatorsLength())]
    same = list(range(graph.TensorsLength()))  # the tensor whose bytes a tensor shares
    spans: dict[int, list[int]] = {int(t): [0, 0] for t in graph.InputsAsNumpy()}
    for step, operator in enumerate(operators):
        reads = [int(t) for t in operator.InputsAsNumpy() if t >= 0 and not _constant(flat, graph, int(t))]
        writes = [int(t) for t in operator.OutputsAsNumpy()]
        code = flat.OperatorCodes(operator.OpcodeIndex())
        if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) in _VIEWS and reads:
            same[writes[0]] = same[reads[0]]
        for tensor in (*reads, *writes):
            spans.setdefault(same[tensor], [step, step])[1] = step
    for tensor in graph.OutputsAsNumpy():
        spans.setdefault(same[int(tensor)], [0, 0])[1] = len(operators)
    sizes = {tensor: _tensor_bytes(graph.Tensors(tensor)) for tensor in spans}
    alive = (
        sum(sizes[tensor] for tensor, (first, last) in spans.items() if first <= step <= last)
        for step in range(len(operators))
    )
    return max(alive, default=sum(sizes.values()))


def _constant(flat: Any, graph: Any, tensor: int) -> bool:
    return bool(flat.Buffers(graph.Tensors(tensor).Buffer()).DataLength())


def _tensor_bytes(tensor: Any) -> int:
    shape = np.atleast_1d(tensor.ShapeAsNumpy()).tolist() if tensor.ShapeLength() else []
    return int(math.prod(shape)) * _BYTES.get(tensor.Type(), 1)
