"""Is a .tflite file whole, and does it fit together? Found out before anybody works with it, and told in one line.

Rules, about the tensors that operators, inputs and outputs name:

1. Every index, offset and length points inside the file; there is one subgraph.
2. A tensor has at most 8 axes, no negative extent, less than 2 GiB; a constant the bytes that its shape and type say.
3. A quantised tensor has as many zero points as scales, one or one for each slice along its axis; scales are finite,
   positive and have an inverse, zero points numbers of the tensor's type.
4. Operators are known ones, their strides, dilations and windows positive; a reduction names no axis twice.
5. An operator reads constants, inputs of the model, and what operators before it wrote; a tensor is written once.
6. Inputs and outputs have names. TVM's importer knows tensors by name: those that are computed have names of their own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tflite

from tvm_pex.frontend.layer_by_layer import ITEM_BYTES

LARGEST = 2**31 - 1  # bytes of a tensor: TVM counts elements in int32
_MOST_AXES = 8
_LEAST_SCALE = np.finfo(np.float32).tiny  # quantising multiplies by the inverse, a float32
_NONE = -1  # an optional input that is not given


class Malformed(Exception):
    """The message is one line that says what is wrong with the file, without its name."""


def _names_of(enum: type) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int) and not name.startswith("_")}


_OPERATORS = _names_of(tflite.BuiltinOperator)
_TYPES = _names_of(tflite.TensorType)
_ZERO_POINTS = {
    tflite.TensorType.INT8: (-128, 127),
    tflite.TensorType.UINT8: (0, 255),
    tflite.TensorType.INT16: (-32768, 32767),
}
_REDUCTIONS = [
    getattr(tflite.BuiltinOperator, name)
    for name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL")
    if hasattr(tflite.BuiltinOperator, name)
]
_STRIDES = ("StrideH", "StrideW")
_DILATIONS = ("DilationHFactor", "DilationWFactor")
_POSITIVE = {
    "Conv2DOptions": (*_STRIDES, *_DILATIONS),
    "DepthwiseConv2DOptions": (*_STRIDES, *_DILATIONS),
    "Pool2DOptions": (*_STRIDES, "FilterHeight", "FilterWidth"),
    "TransposeConvOptions": _STRIDES,
}


def check_model(flat: Any) -> Any:
    """Visits every part that TVM's importer reads, and gives the only subgraph. Raises Malformed.

    Besides it raises whatever flatbuffers and numpy do where something points outside the file.
    """
    for index in range(flat.BuffersLength()):
        buffer = flat.Buffers(index)
        buffer.DataAsNumpy()
        if buffer.Offset() > 1:
            raise Malformed("keeps data outside its flatbuffer, which TVM cannot import")
    if flat.SubgraphsLength() != 1:
        raise Malformed(f"has {flat.SubgraphsLength()} subgraphs; only models with one are supported")
    graph = flat.Subgraphs(0)
    inputs, outputs = _indices(graph.InputsAsNumpy()), _indices(graph.OutputsAsNumpy())
    if not inputs or not outputs:
        raise Malformed(f"has {len(inputs)} inputs and {len(outputs)} outputs; needs one of each")
    for index in range(graph.TensorsLength()):
        tensor_name(graph, index)
    for index in (*inputs, *outputs):
        _in_range(index, graph.TensorsLength(), "tensor")
    codes = _check_codes(flat, graph)
    used = sorted(set(_used(graph, inputs, outputs)))
    for index in used:
        _check_tensor(flat, graph, index)
    _check_names(flat, graph, used, inputs, outputs)
    for index in inputs:
        _check_input(flat, graph, index)
    written = set(inputs)
    for position, code in enumerate(codes):
        _check_flow(flat, graph, position, code, written)
        _check_options(flat, graph, graph.Operators(position), f"operator {position} ({code})")
    for index in outputs:
        if index not in written:
            raise Malformed(f"output {tensor_name(graph, index)} is computed by no operator")
    if len(set(outputs)) < len(outputs):
        raise Malformed("names one of its outputs twice")
    return graph


def tensor_name(graph: Any, index: int) -> str:
    """The name that TVM's importer gives to a tensor, which may lack one of its own."""
    name = graph.Tensors(index).Name()
    return f"tvmgen_tensor_{index}" if name is None else str(name.decode())


def operator_code(flat: Any, operator: Any) -> int:
    """The number of a builtin operator, wherever the file's version has put it."""
    code = flat.OperatorCodes(operator.OpcodeIndex())
    return int(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))


def operator_name(flat: Any, operator: Any) -> str:
    """The name of a builtin operator in the schema, as CONV_2D."""
    code = operator_code(flat, operator)
    return _OPERATORS.get(code, f"code {code}")


def _indices(values: Any) -> list[int]:
    """A vector of integers; flatbuffers gives 0 for one that is missing."""
    return [] if isinstance(values, int) else [int(value) for value in values]


def _shape(tensor: Any) -> list[int]:
    return _indices(tensor.ShapeAsNumpy())


def _in_range(index: int, length: int, what: str) -> None:
    if not 0 <= index < length:
        raise Malformed(f"refers to {what} {index} of {length}")


def _check_codes(flat: Any, graph: Any) -> list[str]:
    """The name of each operator."""
    names, custom = [], set()
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        _in_range(operator.OpcodeIndex(), flat.OperatorCodesLength(), "operator code")
        code = operator_code(flat, operator)
        if code not in _OPERATORS:
            raise Malformed(f"operator {position} has code {code}, which is no builtin operator's")
        if code == tflite.BuiltinOperator.CUSTOM:
            name = flat.OperatorCodes(operator.OpcodeIndex()).CustomCode()
            custom.add(name.decode() if name else "(unnamed)")
        names.append(_OPERATORS[code])
    if custom:
        raise Malformed(f"TVM cannot import custom operators: {', '.join(sorted(custom))}")
    return names


def _used(graph: Any, inputs: Sequence[int], outputs: Sequence[int]) -> Iterator[int]:
    yield from inputs
    yield from outputs
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        written = _indices(operator.OutputsAsNumpy())
        for index in (*(i for i in _indices(operator.InputsAsNumpy()) if i != _NONE), *written):
            _in_range(index, graph.TensorsLength(), "tensor")
            yield index


def _check_tensor(flat: Any, graph: Any, index: int) -> None:
    tensor, name = graph.Tensors(index), f"tensor {tensor_name(graph, index)}"
    _in_range(tensor.Buffer(), flat.BuffersLength(), "buffer")
    shape, kind = _shape(tensor), tensor.Type()
    if kind not in ITEM_BYTES:
        raise Malformed(f"{name} is of type {_TYPES.get(kind, kind)}, which TVM cannot import")
    if len(shape) > _MOST_AXES:
        raise Malformed(f"{name} has {len(shape)} dimensions; at most {_MOST_AXES} are supported")
    if any(extent < 0 for extent in shape):
        raise Malformed(f"{name} has a negative extent: {shape}")
    size = math.prod(shape) * ITEM_BYTES[kind]
    if size > LARGEST:
        raise Malformed(f"{name} has {size} bytes: {_TYPES[kind]}{shape}; fewer than {LARGEST + 1} are supported")
    if _is_constant(flat, tensor) and tensor.Sparsity() is None:
        held = flat.Buffers(tensor.Buffer()).DataLength()
        if held != size:
            raise Malformed(f"{name} has {held} bytes of data; {_TYPES[kind]}{shape} takes {size}")
    _check_quantisation(tensor, name, shape)


def _check_quantisation(tensor: Any, name: str, shape: Sequence[int]) -> None:
    parameters = tensor.Quantization()
    if parameters is None or parameters.ScaleLength() == 0:
        return
    count, zero_count = parameters.ScaleLength(), parameters.ZeroPointLength()
    if zero_count != count:
        raise Malformed(f"{name} has {count} scales and {zero_count} zero points")
    axis = parameters.QuantizedDimension()
    if count > 1 and list(shape) != [count] and not (0 <= axis < len(shape) and shape[axis] == count):
        raise Malformed(f"{name} has {count} scales along axis {axis} of {list(shape)}")
    scales, zeros = parameters.ScaleAsNumpy(), parameters.ZeroPointAsNumpy()
    if not np.all(np.isfinite(scales) & (scales >= 0)):
        raise Malformed(f"{name} has a scale that is negative or no number")
    if tensor.Type() in _ZERO_POINTS:  # the scale of an int32 bias may have become 0: it says nothing new
        low, high = _ZERO_POINTS[tensor.Type()]
        if not np.all(scales >= _LEAST_SCALE):
            raise Malformed(f"{name} has a scale of {scales.min():g}, which has no inverse")
        if not np.all((low <= zeros) & (zeros <= high)):
            raise Malformed(f"{name} has a zero point that {_TYPES[tensor.Type()]} cannot hold")


def _is_constant(flat: Any, tensor: Any) -> bool:
    return bool(flat.Buffers(tensor.Buffer()).DataLength())


def _constant_ints(flat: Any, tensor: Any) -> list[int]:
    """The elements of an int32 constant; none of other tensors."""
    data = flat.Buffers(tensor.Buffer()).DataAsNumpy()
    is_int32 = tensor.Type() == tflite.TensorType.INT32 and _is_constant(flat, tensor)
    return [int(value) for value in data.view(np.int32)] if is_int32 else []


def _check_names(flat: Any, graph: Any, used: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]) -> None:
    counts = Counter(tensor_name(graph, index) for index in used)
    for index in used:
        name = tensor_name(graph, index)
        if counts[name] > 1 and not _is_constant(flat, graph.Tensors(index)):
            raise Malformed(f"has {counts[name]} tensors of the name {name!r}, which TVM cannot tell apart")
    for index in (*inputs, *outputs):
        if not tensor_name(graph, index):
            raise Malformed(f"has an input or output without a name: tensor {index}")
    if len(set(inputs)) < len(inputs):
        raise Malformed("names one of its inputs twice")


def _check_input(flat: Any, graph: Any, index: int) -> None:
    """A batch left open is taken as the 1 that the file's shape has; any other open extent is refused."""
    tensor, name = graph.Tensors(index), f"input {tensor_name(graph, index)}"
    if _is_constant(flat, tensor):
        raise Malformed(f"{name} is a constant")
    shape = _shape(tensor)
    signature = shape if tensor.ShapeSignatureIsNone() else _indices(tensor.ShapeSignatureAsNumpy())
    if any(extent < 0 for extent in signature[1:]) or any(extent < 1 for extent in shape):
        raise Malformed(f"{name} has a dynamic shape: {signature}")


def _check_flow(flat: Any, graph: Any, position: int, code: str, written: set[int]) -> None:
    operator, name = graph.Operators(position), f"operator {position} ({code})"
    for index in _indices(operator.InputsAsNumpy()):
        if index == _NONE or index in written:
            continue
        tensor = graph.Tensors(index)
        if not (_is_constant(flat, tensor) or tensor.IsVariable() or 0 in _shape(tensor)):
            raise Malformed(f"{name} reads tensor {tensor_name(graph, index)}, which nothing before it has written")
    outputs = _indices(operator.OutputsAsNumpy())
    if not outputs:
        raise Malformed(f"{name} writes no tensor")
    for index in outputs:
        if index in written or _is_constant(flat, graph.Tensors(index)):
            raise Malformed(f"{name} writes tensor {tensor_name(graph, index)}, which has a value already")
        written.add(index)


def _check_options(flat: Any, graph: Any, operator: Any, name: str) -> None:
    code = operator_code(flat, operator)
    if code == tflite.BuiltinOperator.STRIDED_SLICE and operator.InputsLength() == 4:
        if 0 in _constant_ints(flat, graph.Tensors(operator.Inputs(3))):
            raise Malformed(f"{name} has a stride of 0")
    if code in _REDUCTIONS and operator.InputsLength() == 2:
        rank = len(_shape(graph.Tensors(operator.Inputs(0))))
        axes = [axis % max(rank, 1) for axis in _constant_ints(flat, graph.Tensors(operator.Inputs(1)))]
        if len(set(axes)) < len(axes):
            raise Malformed(f"{name} names an axis twice")
    kind = _OPTIONS.get(operator.BuiltinOptionsType())
    table = operator.BuiltinOptions()
    if kind is None or table is None:
        return
    options = getattr(tflite, kind)()
    options.Init(table.Bytes, table.Pos)
    for field in _POSITIVE[kind]:
        if getattr(options, field)() < 1:
            raise Malformed(f"{name} has {field} {getattr(options, field)()}")


_OPTIONS = {getattr(tflite.BuiltinOptions, kind): kind for kind in _POSITIVE}
