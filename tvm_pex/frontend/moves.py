"""Reads what moves values to another place: concatenations, slices, copies, splits, and the entries of a table."""

from __future__ import annotations

import math

from tvm import relay

from tvm_pex.frontend.claim import NAMELESS, Claim, Readers, tensor_rescale
from tvm_pex.frontend.values import (
    constant,
    dtype_range,
    element_dtype,
    graph_shape,
    is_float,
    op_name,
    require,
    static_shape,
)
from tvm_pex.graph import Concat, Gather, Patches, Rescale, Shape, Slice, Window

_TOLD_APART = 10**7
"""Whole floats from here on may be others in TVM's C, which has seven digits of each."""


def read_concat(call: relay.Call, readers: Readers) -> Claim:
    """concatenate, or qnn.concatenate, which rescales each input whose scale or zero point is not the output's."""
    require(isinstance(call.args[0], relay.Tuple), "its inputs are the results of one operator")
    inputs = tuple(call.args[0].fields)
    rescales: tuple[Rescale | None, ...] = (None,) * len(inputs)
    undefined = 0
    if op_name(call) == "qnn.concatenate":
        encodings = call.args[1:3]
        require(all(isinstance(e, relay.Tuple) for e in encodings), "its scales are the results of one operator")
        found = [
            tensor_rescale(scale, zero, *call.args[3:5])
            for scale, zero in zip(*(e.fields for e in encodings), strict=True)
        ]
        rescales = tuple(None if _changes_nothing(rescale) else rescale for rescale, _ in found)
        exact = readers.rounding == "tvm" or not any(rescales)
        require(exact, "TFLite rescales what it joins in floating point")
        undefined = sum(count for _, count in found)
    axis = int(call.attrs.axis) % len(static_shape(call))
    views = tuple(_side_by_side(data, axis) for data in inputs)
    operator = Concat(NAMELESS, (), views, NAMELESS, rescales, *dtype_range(element_dtype(call)))
    return Claim("concat", operator, inputs, _side_by_side(call, axis), element_dtype(call), undefined_shifts=undefined)


def _changes_nothing(rescale: Rescale) -> bool:
    return (rescale.multiplier, rescale.shift) == (1, 0) and rescale.zero_in == rescale.zero_out


def _side_by_side(expr: relay.Expr, axis: int) -> Shape:
    """The view under which tensors that are joined along ``axis`` are joined along their channels."""
    shape, whole = static_shape(expr), graph_shape(expr)
    require(shape[0] == 1 or axis > 0 or len(shape) == 1, "it joins batches")
    if axis == len(shape) - 1 and len(shape) <= 4:
        return whole
    return math.prod(shape[:axis]), 1, math.prod(shape[axis:])


def read_strided_slice(call: relay.Call, readers: Readers) -> Claim:
    """A strided_slice with constant bounds; steps go forward, but of channels."""
    del readers
    data, attrs = call.args[0], call.attrs
    rank = len(static_shape(data))
    axes = [int(a) % rank for a in attrs.axes] if attrs.axes else list(range(len(attrs.begin)))
    steps = [int(s) for s in attrs.strides or ()] if str(attrs.slice_mode) == "end" else []
    begins, strides = [0] * rank, [1] * rank
    for position, axis in enumerate(axes):
        size, begin = static_shape(data)[axis], int(attrs.begin[position])
        strides[axis] = steps[position] if position < len(steps) else 1
        last = size if strides[axis] > 0 else size - 1
        begins[axis] = min(max(begin + size if begin < 0 else begin, 0), last)
    return _slice(call, data, begins, strides)


def read_copy(call: relay.Call, readers: Readers) -> Claim:
    """A copy: a slice of everything."""
    del readers
    data = call.args[0]
    operator = Slice(NAMELESS, (), (graph_shape(data),), NAMELESS, Window(), 0)
    return Claim("copy", operator, (data,), graph_shape(call), element_dtype(call))


def read_part(item: relay.TupleGetItem, readers: Readers) -> Claim:
    """One of the parts of a split."""
    del readers
    split = item.tuple_value
    require(op_name(split) == "split", f"it is a part of what {op_name(split) or 'TVM'} gives")
    data = split.args[0]
    rank = len(static_shape(data))
    axis = int(split.attrs.axis) % rank
    begins = [0] * rank
    begins[axis] = sum(int(part.shape[axis]) for part in split.checked_type.fields[: item.index])
    return _slice(item, data, begins, [1] * rank)


def _slice(result: relay.Expr, data: relay.Expr, begins: list[int], strides: list[int]) -> Claim:
    """``begins`` and ``strides`` along each axis of ``data``."""
    view, shape, rank = graph_shape(data), graph_shape(result), len(begins)
    require(rank <= 4, f"its tensor has {rank} dimensions")
    require(all(stride > 0 for stride in strides[:-1]), "it goes backwards")
    rows = 1 if rank > 2 else None
    columns = 2 if rank > 3 else None
    begin = tuple(0 if axis is None else begins[axis] for axis in (rows, columns))
    stride = tuple(1 if axis is None else strides[axis] for axis in (rows, columns))
    window = Window(stride=(stride[0], stride[1]), pad=(-begin[0], -begin[1]))
    operator = Slice(NAMELESS, (), (view,), NAMELESS, window, begins[-1], strides[-1])
    return Claim("slice", operator, (data,), shape, element_dtype(result))


def read_blocks(call: relay.Call, readers: Readers) -> Claim:
    """depth_to_space: each pixel becomes a block of pixels, which its channels hold one after the other."""
    del readers
    block = _block(call)
    require(str(call.attrs.mode) == "DCR", f"its mode is {call.attrs.mode}")
    window = Window(kernel=block, pad=(block[0] - 1, block[1] - 1), up=block)
    data = call.args[0]
    operator = Slice(NAMELESS, (), (graph_shape(data),), NAMELESS, window, 0, blocks=True)
    return Claim("blocks", operator, (data,), graph_shape(call), element_dtype(call))


def read_patches(call: relay.Call, readers: Readers) -> Claim:
    """space_to_depth: each block of pixels becomes one."""
    del readers
    block, data = _block(call), call.args[0]
    operator = Patches(NAMELESS, (), (graph_shape(data),), NAMELESS, Window(kernel=block, stride=block))
    return Claim("patches", operator, (data,), graph_shape(call), element_dtype(call))


def _block(call: relay.Call) -> tuple[int, int]:
    require(str(call.attrs.layout) == "NHWC", f"its layout is {call.attrs.layout}, not NHWC")
    return int(call.attrs.block_size), int(call.attrs.block_size)


def read_take(call: relay.Call, readers: Readers) -> Claim:
    """take along axis 0 of a constant table; looks through casts of the index that truncate, or change nothing.

    TVM's mode "fast" reads outside the table where an index is outside; Pex takes the nearest entry, as for "clip".
    """
    table = constant(call.args[0], "table")
    attrs = call.attrs
    first = attrs.axis is not None and int(attrs.axis) == 0 and not int(attrs.batch_dims)
    require(first, "it does not take along axis 0")
    require(table.ndim > 1, "its table has numbers for entries")
    wrap = str(attrs.mode) == "wrap"
    index = call.args[1]
    require(str(index.checked_type.dtype) == "int32", f"its index is {index.checked_type.dtype}, not int32")
    truncated = not wrap and len(table) < _TOLD_APART
    while op_name(index) == "cast" and readers[index] == 1 and _is_index(index.args[0], truncated):
        index = index.args[0]
    height, width, channels = shape = graph_shape(call)
    require(channels == table[0].size, "its entries are not along the channels")
    operator = Gather(NAMELESS, (), ((height, width, 1),), NAMELESS, NAMELESS, len(table), wrap)
    constants = {"table": table.reshape(len(table), -1)}
    return Claim("gather", operator, (index,), shape, element_dtype(call), constants)


def _is_index(expr: relay.Expr, truncated: bool) -> bool:
    return str(expr.checked_type.dtype) == "int32" or (is_float(expr) and truncated)
