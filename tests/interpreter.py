"""A slow, plain interpreter of graphs in 64-bit numbers: every faster way of running a graph is held against it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_pex.graph import (
    Add,
    Apply,
    Binary,
    Concat,
    Convolution,
    Dequantize,
    Gather,
    Graph,
    Lookup,
    Operator,
    Pad,
    Patches,
    Pool,
    Quantize,
    Rescale,
    Resize,
    Shape,
    Slice,
    Window,
)

Array = npt.NDArray[Any]


def run_graph(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor of the graph, by name, in its shape and type; ``inputs`` may have any shape of the right size."""
    tensors = graph.tensors
    values = {name: np.asarray(inputs[name]).reshape(tensors[name].shape) for name in graph.inputs}
    for operator in graph.operators:
        tensor = tensors[operator.output]
        operands = [values[name].reshape(view) for name, view in zip(operator.inputs, operator.views, strict=True)]
        if not isinstance(operator, Gather | Quantize | Dequantize | Resize):  # of one type, in and out
            operands = [x.astype(np.float64 if tensor.dtype == "float32" else np.int64) for x in operands]
        result = _run(operator, operands, tensor.shape, graph.constants)
        limits = np.finfo(tensor.dtype) if tensor.dtype == "float32" else np.iinfo(tensor.dtype)
        assert result.min() >= limits.min and result.max() <= limits.max, f"{operator.name} leaves {tensor.dtype}"
        values[tensor.name] = result.astype(tensor.dtype).reshape(tensor.shape)
    return values


def _run(operator: Operator, operands: list[Array], shape: Shape, constants: Mapping[str, Array]) -> Array:
    if isinstance(operator, Convolution):
        return _convolution(operator, operands[0], shape, constants)
    if isinstance(operator, Pool):
        return _pool(operator, operands[0], shape)
    if isinstance(operator, Add):
        return _add(operator, operands)
    if isinstance(operator, Binary):
        return _binary(operator, operands)
    if isinstance(operator, Concat):
        return _concat(operator, operands)
    if isinstance(operator, Slice):
        return _slice(operator, operands[0], shape)
    if isinstance(operator, Patches):
        return _patches(operator, operands[0], shape)
    if isinstance(operator, Resize):
        return _resize(operator, operands[0], shape)
    if isinstance(operator, Gather):
        return _gather(operator, operands[0], constants[operator.table])
    if isinstance(operator, Apply):
        return _apply(operator, operands, constants)
    if isinstance(operator, Lookup):
        return _lookup(operands[0], constants[operator.table])
    if isinstance(operator, Quantize):
        return _quantize(operator, operands[0])
    if isinstance(operator, Dequantize):
        return _dequantize(operator, operands[0])
    return _pad(operator, operands[0], shape)


def _rescale(values: Array, multiplier: Any, shift: Any) -> Array:
    """The formula of tvm_pex.graph, for one multiplier and shift or one per channel."""
    half = np.where(np.asarray(shift) > 0, np.int64(1) << np.maximum(np.asarray(shift) - 1, 0), 0)
    result: Array = (values * multiplier + half) >> shift
    return result


def _rescaled(values: Array, rescale: Rescale) -> Array:
    if values.dtype.kind == "f":
        assert rescale == Rescale(1, 0, 0, 0)
        return values
    return _rescale(values - rescale.zero_in, rescale.multiplier, rescale.shift)


def _taps(data: Array, window: Window, shape: Shape, outside: float) -> list[tuple[int, int, Array]]:
    """(row, column, what it reads for every output position) of each position of the window."""
    rows = _reads(window, shape, 0)
    columns = _reads(window, shape, 1)
    spread = np.full((data.shape[0] * window.up[0], data.shape[1] * window.up[1], data.shape[2]), outside, data.dtype)
    spread[:: window.up[0], :: window.up[1]] = data
    bordered = np.pad(spread, ((1, 1), (1, 1), (0, 0)), constant_values=outside)
    rows, columns = np.clip(rows, -1, spread.shape[0]) + 1, np.clip(columns, -1, spread.shape[1]) + 1
    kernel = window.kernel
    return [(i, j, bordered[rows[i]][:, columns[j]]) for i in range(kernel[0]) for j in range(kernel[1])]


def _reads(window: Window, shape: Shape, axis: int) -> Array:
    """[window position, output index] -> input index, possibly outside the tensor."""
    first = np.arange(shape[axis]) * window.stride[axis] - window.pad[axis]
    reads: Array = first[None, :] + (np.arange(window.kernel[axis]) * window.dilation[axis])[:, None]
    return reads


def _convolution(op: Convolution, data: Array, shape: Shape, constants: Mapping[str, Array]) -> Array:
    weights = constants[op.weights].astype(data.dtype) - op.zero_weight
    bias, *scales = constants[op.scales].astype(data.dtype).T
    height, width, channels = shape
    deep, wide = weights.shape[2], channels // op.groups
    grouped = weights.reshape(*weights.shape[:2], deep, op.groups, wide)
    sums = np.zeros((height, width, op.groups, wide), data.dtype)
    for i, j, tap in _taps(data - op.zero_in, op.window, shape, 0):
        parts = tap.reshape(height, width, op.groups, deep)
        if deep == 1:
            sums += parts * grouped[i, j, 0]
        elif op.groups == 1:
            sums[:, :, 0] += parts[:, :, 0] @ grouped[i, j, :, 0]
        else:
            sums += np.einsum("hwgi,igo->hwgo", parts, grouped[i, j])
    sums = sums.reshape(shape) + bias
    if scales:
        assert np.abs(sums).max() < 2**31, f"{op.name} leaves 32 bits"
        sums = _rescale(sums, *scales) + op.zero_out
    result: Array = np.clip(sums, op.low, op.high)
    return result


def _pool(op: Pool, data: Array, shape: Shape) -> Array:
    lowest = -np.inf if data.dtype.kind == "f" else np.iinfo(np.int64).min
    if op.maximum:
        result = np.max([tap for _, _, tap in _taps(data, op.window, shape, lowest)], axis=0)
        assert result.min() > lowest, f"{op.name} has an empty window"
    else:
        sums = sum(tap for _, _, tap in _taps(data, op.window, shape, 0))
        count = 1 if op.undivided else sum(tap for _, _, tap in _taps(np.ones_like(data), op.window, shape, 0))
        result = sums / count if data.dtype.kind == "f" else np.sign(sums) * (np.abs(sums) // count)
    if op.rescale:
        result = _rescaled(result, op.rescale) + op.rescale.zero_out
    clipped: Array = np.clip(result, op.low, op.high)
    return clipped


def _add(op: Add, operands: list[Array]) -> Array:
    total = sum(_rescaled(data, rescale) for data, rescale in zip(operands, op.rescales, strict=True))
    result: Array = np.clip(total + op.rescales[0].zero_out, op.low, op.high)
    return result


def _binary(op: Binary, operands: list[Array]) -> Array:
    a, b = (_rescaled(data, rescale) for data, rescale in zip(operands, op.rescales, strict=True))
    result = getattr(np, op.function)(a, b)
    if op.rescale:
        result = _rescaled(result, op.rescale) + op.rescale.zero_out
    clipped: Array = np.clip(result, op.low, op.high)
    return clipped


def _pad(op: Pad, data: Array, shape: Shape) -> Array:
    result = np.full(shape, op.value, data.dtype)
    top, left = op.window.pad
    result[top : top + data.shape[0], left : left + data.shape[1], op.first : op.first + data.shape[2]] = data
    return result


def _concat(op: Concat, operands: list[Array]) -> Array:
    parts = []
    for data, rescale in zip(operands, op.rescales, strict=True):
        changed = data if rescale is None else _rescaled(data, rescale) + rescale.zero_out
        parts.append(changed if rescale is None else np.clip(changed, op.low, op.high))
    return np.concatenate(parts, axis=2)


def _slice(op: Slice, data: Array, shape: Shape) -> Array:
    window = op.window
    if window.mirror is not None:
        before, behind = window.pad, [shape[a] - data.shape[a] - window.pad[a] for a in (0, 1)]
        mode: Any = "symmetric" if window.mirror == 0 else "reflect"
        data = np.pad(data, ((before[0], behind[0]), (before[1], behind[1]), (0, 0)), mode)
        window = Window()
    rows, columns = (_picked(window, data.shape, shape, axis) for axis in (0, 1))
    pixels = data[rows // window.up[0]][:, columns // window.up[1]]
    numbers = op.first + np.arange(shape[2]) * op.step
    if not op.blocks:
        return pixels[:, :, numbers]
    places = rows[:, None] % window.up[0] * window.up[1] + columns[None, :] % window.up[1]
    return np.take_along_axis(pixels, numbers + places[:, :, None] * shape[2], axis=2)


def _picked(window: Window, size: tuple[int, ...], shape: Shape, axis: int) -> Array:
    """The last position of each window, in positions of which ``up`` are one of the tensor."""
    at = np.arange(shape[axis]) * window.stride[axis] - window.pad[axis] + window.kernel[axis] - 1
    assert window.kernel[axis] == window.up[axis]
    assert at[0] >= 0 and at[-1] < size[axis] * window.up[axis], (at, size)
    return at


def _patches(op: Patches, data: Array, shape: Shape) -> Array:
    return np.concatenate([tap for _, _, tap in _taps(data, op.window, shape, 1 << 40)], axis=2)


def _resize(op: Resize, data: Array, shape: Shape) -> Array:
    """In float32, as TVM does it, operation by operation."""
    if data.dtype != np.float32:
        data = (data.astype(np.int64) - op.zero_in).astype(np.float32) * np.float32(op.scale)
    one, lines = np.float32(1), []
    for axis in (0, 1):
        at = _coordinates(op.coordinates, data.shape[axis], shape[axis])
        before = np.floor(at).astype(int)
        part = (at - before.astype(np.float32))[(slice(None), None, None) if axis == 0 else (slice(None), None)]
        lines.append((np.clip([before, before + 1], 0, data.shape[axis] - 1), part))
    (rows, down), (columns, right) = lines
    top, bottom = (data[row][:, columns[0]] * (one - right) + data[row][:, columns[1]] * right for row in rows)
    result: Array = top * (one - down) + bottom * down
    if np.isinf(op.high):
        return result
    product = (result * np.float32(op.inverse)).astype(np.float64)
    return np.clip(np.copysign(np.floor(np.abs(product) + 0.5), product) + op.zero_out, op.low, op.high)


def _coordinates(kind: str, size: int, out: int) -> Array:
    index = np.arange(out, dtype=np.float32)
    if kind == "align_corners":
        return np.float32((size - 1) / (out - 1)) * index
    scale = np.float32(size / out)
    return (index + np.float32(0.5)) * scale - np.float32(0.5) if kind == "half_pixel" else scale * index


def _gather(op: Gather, index: Array, table: Array) -> Array:
    assert len(table) == op.entries
    number = np.trunc(index[:, :, 0].astype(np.float64))
    number = number % op.entries if op.wrap else np.clip(number, 0, op.entries - 1)
    result: Array = table[number.astype(np.int64)]
    return result


_STEPS: dict[str, Any] = {
    "clip": np.clip,
    "leaky": lambda x, slope: np.where(x > 0, x, x * slope),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "erf": np.vectorize(math.erf),
}


def _apply(op: Apply, operands: list[Array], constants: Mapping[str, Array]) -> Array:
    values = list(operands)
    for name, *arguments in op.steps:
        known: list[Any] = []
        for argument in arguments:
            if isinstance(argument, float):
                known.append(argument)
            else:
                known.append(values[argument] if argument >= 0 else constants[op.vectors][-1 - argument])
        values.append(_STEPS.get(name, getattr(np, name, None))(*known))
    return values[-1]


def _lookup(data: Array, table: Array) -> Array:
    rows = np.broadcast_to(table, (data.shape[2], 256))
    result: Array = rows[np.arange(data.shape[2]), data % 256]
    return result


def _quantize(op: Quantize, data: Array) -> Array:
    """The product is rounded to float32; from there on 64 bits hold every number exactly that is not clipped."""
    assert data.dtype == np.float32
    with np.errstate(over="ignore"):
        product = (data * np.float32(op.inverse)).astype(np.float64)
    result: Array = np.clip(np.copysign(np.floor(np.abs(product) + 0.5), product) + op.zero_out, op.low, op.high)
    return result


def _dequantize(op: Dequantize, data: Array) -> Array:
    result: Array = (data.astype(np.int64) - op.zero_in).astype(np.float32) * np.float32(op.scale)
    return result
