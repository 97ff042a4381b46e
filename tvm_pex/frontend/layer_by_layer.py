"""What a .tflite needs when each operator runs on whole tensors, one after the other: the figure to beat."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import tflite

# These give the same bytes another shape: no runtime needs to copy them.
_VIEWS = frozenset((tflite.BuiltinOperator.RESHAPE, tflite.BuiltinOperator.SQUEEZE, tflite.BuiltinOperator.EXPAND_DIMS))
ITEM_BYTES = {
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


def layer_by_layer_bytes(flat: Any, quantised_io: bool = False) -> int:
    """The most bytes of activations alive at once in the file's first subgraph, in the file's order of operators.

    Nothing in place, no padding, no scratch. Model inputs live until their last reader, outputs to the end.
    With ``quantised_io`` a float input or output that is only quantised or dequantised counts as what that gives or
    takes.
    """
    graph = flat.Subgraphs(0)
    operators = [graph.Operators(index) for index in range(graph.OperatorsLength())]
    borders = _borders(flat, graph, operators) if quantised_io else frozenset()
    same = list(range(graph.TensorsLength()))  # the tensor whose bytes a tensor shares
    spans: dict[int, list[int]] = {int(t): [0, 0] for t in graph.InputsAsNumpy()}
    for step, operator in enumerate(operators):
        reads = [int(t) for t in operator.InputsAsNumpy() if t >= 0 and not _constant(flat, graph, int(t))]
        writes = [int(t) for t in operator.OutputsAsNumpy()]
        if (_builtin(flat, operator) in _VIEWS or step in borders) and reads:
            same[writes[0]] = same[reads[0]]
        for tensor in (*reads, *writes):
            spans.setdefault(same[tensor], [step, step])[1] = step
    for tensor in graph.OutputsAsNumpy():
        spans.setdefault(same[int(tensor)], [0, 0])[1] = len(operators)
    sizes = {tensor: _tensor_bytes(graph.Tensors(tensor)) for tensor in spans}
    for step in borders:
        tensor = operators[step].Outputs(0)
        sizes[same[tensor]] = min(sizes[same[tensor]], _tensor_bytes(graph.Tensors(tensor)))
    alive = (
        sum(sizes[tensor] for tensor, (first, last) in spans.items() if first <= step <= last)
        for step in range(len(operators))
    )
    return max(alive, default=sum(sizes.values()))


def _borders(flat: Any, graph: Any, operators: list[Any]) -> frozenset[int]:
    """Steps that quantise a float input that nothing else reads, or dequantise to a float output likewise."""
    readers = Counter(int(tensor) for operator in operators for tensor in operator.InputsAsNumpy())
    inputs, outputs = ([int(t) for t in tensors] for tensors in (graph.InputsAsNumpy(), graph.OutputsAsNumpy()))
    readers.update(outputs)
    found = set()
    for step, operator in enumerate(operators):
        read, written = int(operator.Inputs(0)), int(operator.Outputs(0))
        kind = _builtin(flat, operator)
        quantises = kind == tflite.BuiltinOperator.QUANTIZE and read in inputs and readers[read] == 1
        dequantises = kind == tflite.BuiltinOperator.DEQUANTIZE and written in outputs and readers[written] == 1
        wide = graph.Tensors(read if quantises else written).Type() == tflite.TensorType.FLOAT32
        if wide and (quantises or dequantises):
            found.add(step)
    return frozenset(found)


def _builtin(flat: Any, operator: Any) -> int:
    code = flat.OperatorCodes(operator.OpcodeIndex())
    return int(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))


def _constant(flat: Any, graph: Any, tensor: int) -> bool:
    return bool(flat.Buffers(graph.Tensors(tensor).Buffer()).DataLength())


def _tensor_bytes(tensor: Any) -> int:
    shape = np.atleast_1d(tensor.ShapeAsNumpy()).tolist() if tensor.ShapeLength() else []
    return int(math.prod(shape)) * ITEM_BYTES[tensor.Type()]
