"""Constants in the order and the form in which the kernels in ``sources`` read them. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_pex.graph import Add, Convolution, Graph
from tvm_pex.micro_kernels.selection import Layer, layer_of, parameters_name, sum_parameters
from tvm_pex.scheduling.kernels import (
    BLOCK,
    DEPTHWISE,
    DEPTHWISE_LANES,
    LANES,
    LANES_BLOCK,
    LANES_PATCH,
    PAIRS,
    PAIRS_PATCH,
    WIDE,
    WIDE_PATCH,
    depth,
    kernel_of,
)
from tvm_pex.scheduling.schedule import Schedule, Segment
from tvm_pex.scheduling.stores import layout_of

Bytes = npt.NDArray[np.int8]
Words = npt.NDArray[np.int32]

_ORDER = ((0, 0), (2, 0), (0, 2), (2, 2), (1, 0), (3, 0), (1, 2), (3, 2))  # (input, channel) of each pair; pex_pairs.c

_BEHIND = 12  # bytes behind the weights that pex_lanes reads


def packed_constants(graph: Graph, schedule: Schedule) -> dict[str, npt.NDArray[Any]]:
    """The constants that are not read as they are in ``graph``, by name: those of operators that run by a kernel."""
    operators = {op.name: op for op in graph.operators}
    packed: dict[str, npt.NDArray[Any]] = {}
    for segment in schedule.segments:
        for stage in segment.stages:
            op = operators[stage.operator]
            kernel = kernel_of(graph, segment, stage, op)
            if isinstance(op, Convolution) and kernel:
                packed[op.weights], packed[op.scales] = _convolution(graph, segment, op, kernel)
            elif isinstance(op, Add) and op.name in graph.kernels:
                packed[parameters_name(op)] = _add(op)
    return packed


def _add(op: Add) -> Words:
    """See pex_add in pex_kernels.h."""
    parameters = sum_parameters(op)
    assert parameters, "a kernel was chosen that cannot do it"
    return np.array([*parameters, op.low, op.high], np.int32)


def _convolution(graph: Graph, segment: Segment, op: Convolution, kernel: str) -> tuple[Bytes, Words]:
    pairs = kernel in (PAIRS, PAIRS_PATCH, WIDE, WIDE_PATCH)
    layer = layer_of(graph, op, pairs=pairs)
    assert layer, "a kernel was chosen that cannot do it"
    weights = layer.weights.reshape(graph.constants[op.weights].shape)
    if kernel in (DEPTHWISE, DEPTHWISE_LANES):
        packed = pack_depthwise(weights, BLOCK if kernel == DEPTHWISE else LANES_BLOCK)
    else:
        packed = pack_pairs(weights) if pairs else pack_lanes(weights)
    zeros = np.full(0 if kernel in (PAIRS_PATCH, WIDE_PATCH, LANES_PATCH) else _zeros(graph, op), op.zero_in, np.int8)
    behind = np.zeros(_BEHIND if kernel in (LANES, LANES_PATCH) else 0, np.int8)
    header = _header(graph, segment, op, layer, len(packed))
    blocks = _lanes_blocks(layer) if kernel == DEPTHWISE_LANES else _blocks(layer, kernel)
    return np.concatenate([packed, zeros, behind]), np.concatenate([header, blocks])


def _zeros(graph: Graph, op: Convolution) -> int:
    """Bytes that stand for what lies outside the tensor, if a window reaches there: see pex_window.h."""
    window, (height, width, channels) = op.window, op.views[0]
    outputs = graph.tensors[op.output].shape
    inside = all(
        window.pad[axis] <= 0
        and (outputs[axis] - 1) * window.stride[axis] - window.pad[axis] + window.reach(axis) < size
        for axis, size in ((0, height), (1, width))
    )
    if inside:
        return 0
    return channels if op.groups > 1 else window.kernel[1] * channels


def _header(graph: Graph, segment: Segment, op: Convolution, layer: Layer, zeros: int) -> Words:
    """A struct pex_parameters; see pex_kernels.h."""
    height, width, channels = op.views[0]
    stored = layout_of(graph, segment, op.inputs[0], op.views[0])
    outputs = segment.tile_of(op.name) or graph.tensors[op.output].shape[2]
    written = layout_of(graph, segment, op.output, graph.tensors[op.output].shape)
    low, high = max(op.low, -128), min(op.high, 127)
    special = any(layer.left_shifts) or (low, high) != (-128, 127)
    ring = height * stored.width if stored.ring is None else stored.ring
    w = op.window
    fields = (
        (height, width, channels, stored.width, ring, stored.pitch),
        (*w.kernel, *w.stride, *w.dilation, *w.pad),
        (outputs, written.pitch, zeros, op.zero_in, depth(op), 2 * op.zero_out + 1),
        (special, *layer.left_shifts, low, high),
    )
    return np.array([int(value) for part in fields for value in part], np.int32)


def _blocks(layer: Layer, kernel: str) -> Words:
    """An array of struct pex_block."""
    bias = layer.bias.copy()
    shift = ~layer.shift if kernel in (LANES, LANES_PATCH) else layer.shift
    if kernel in (PAIRS, PAIRS_PATCH, WIDE, WIDE_PATCH):  # the odd sums begin as 256 * odd + even
        odd = 256 * bias[1::2] + bias[::2][: len(bias) // 2]
        bias[1::2] = odd
    parts = [_in_blocks(part) for part in (bias, layer.multiplier, shift)]
    return np.stack(parts, axis=1).reshape(-1).astype(np.uint32).view(np.int32)


def _lanes_blocks(layer: Layer) -> Words:
    """The same for pex_depthwise_lanes."""
    parts = []
    for part in (layer.bias, layer.multiplier, ~layer.shift):
        lanes = np.pad(part, (0, -len(part) % LANES_BLOCK)).reshape(-1, LANES_BLOCK // BLOCK, BLOCK)
        parts.append(lanes.transpose(0, 2, 1))
    return np.stack(parts, axis=2).reshape(-1).astype(np.int32)


def _in_blocks(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.pad(values, (0, -len(values) % BLOCK)).reshape(-1, BLOCK)


def _padded(weights: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(rows, columns, inputs, outputs) as (inputs of one result, outputs), both rounded up to blocks."""
    flat = weights.reshape(-1, weights.shape[3]).astype(np.int64)
    return np.pad(flat, [(0, -size % BLOCK) for size in flat.shape])


def pack_pairs(weights: npt.NDArray[Any]) -> Bytes:
    """The order of pex_pairs.c: ``256 * odd + even`` for each two output channels."""
    flat = _padded(weights)
    blocks = flat.reshape(len(flat) // BLOCK, BLOCK, -1, BLOCK)  # input / 4, input, output / 4, output
    pairs = np.stack([blocks[:, i, :, c] + 256 * blocks[:, i, :, c + 1] for i, c in _ORDER], axis=-1)
    return pairs.transpose(1, 0, 2).reshape(-1).astype("<i2").view(np.int8)


def pack_lanes(weights: npt.NDArray[Any]) -> Bytes:
    """Output channel by output channel, the inputs as they lie."""
    return np.ascontiguousarray(_padded(weights).T).reshape(-1).astype(np.int8)


def pack_depthwise(weights: npt.NDArray[Any], block: int) -> Bytes:
    """For each ``block`` channels the window's positions, that many bytes each."""
    channels = weights.shape[3]
    flat = weights.reshape(-1, channels)
    blocks = np.pad(flat, ((0, 0), (0, -channels % block))).reshape(len(flat), -1, block)
    return np.ascontiguousarray(blocks.transpose(1, 0, 2)).reshape(-1).astype(np.int8)
