"""One reader for each Relay operator that can end one of Pex's: clips and types here, the others beside.

A reader looks at a call and what lies directly under it, and answers with a Claim, or raises Unsupported.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from tvm import relay

from tvm_pex.frontend.apply import STEPS, read_apply
from tvm_pex.frontend.arithmetic import (
    AS_IT_IS,
    read_add,
    read_extreme,
    read_float_add,
    read_multiply,
    read_subtract,
    sum_of,
)
from tvm_pex.frontend.claim import (
    NAMELESS,
    Claim,
    Readers,
    pad_attributes,
    requantise_arguments,
    tensor_rescale,
    used_once,
)
from tvm_pex.frontend.convolution import SUMS, read_convolution, read_float_convolution
from tvm_pex.frontend.lookup import read_lookup
from tvm_pex.frontend.moves import (
    read_blocks,
    read_concat,
    read_copy,
    read_part,
    read_patches,
    read_strided_slice,
    read_take,
)
from tvm_pex.frontend.pool import REDUCTIONS, read_float_reduction, read_max_pool, read_reduction
from tvm_pex.frontend.resize import read_integer_resize, read_mirror_pad, read_resize, read_tile
from tvm_pex.frontend.values import (
    Unsupported,
    dtype_range,
    element_dtype,
    graph_shape,
    integer,
    integer_dtype,
    is_byte,
    is_float,
    op_name,
    require,
    scalar,
    strip_views,
)
from tvm_pex.graph import (
    Add,
    Apply,
    Binary,
    Concat,
    Convolution,
    Dequantize,
    Limits,
    Lookup,
    Pad,
    Pool,
    Quantize,
    Resize,
    Window,
)

_Limited = Convolution | Pool | Add | Binary | Concat | Quantize


def read_call(call: relay.Call | relay.TupleGetItem, readers: Readers) -> Claim:
    """What Pex would run in place of ``call``. Raises Unsupported with the reason if it must stay with TVM."""
    if isinstance(call, relay.TupleGetItem):
        return read_part(call, readers)
    lookup = read_lookup(call, readers) if is_byte(call) and op_name(call) not in _not_looked_up(readers) else None
    if lookup:
        return lookup
    reader = _READERS.get(op_name(call))
    if reader is None and is_float(call):
        reader = _FLOAT_READERS.get(op_name(call))
    if reader is None:
        raise Unsupported(_why_not(call))
    return reader(call, readers)


def _read_requantise(call: relay.Call, readers: Readers) -> Claim:
    source = requantise_arguments(call)[0]
    if op_name(source) in SUMS:
        return read_convolution(call, readers)
    if op_name(source) in REDUCTIONS:
        return read_reduction(call, readers)
    integer_dtype(source)
    rescale, undefined = tensor_rescale(*call.args[1:], rounding=readers.rounding)
    return sum_of("add", call, (source,), (rescale,), undefined)


def _read_cast(call: relay.Call, readers: Readers) -> Claim:
    require(op_name(call.args[0]) in REDUCTIONS, _why_not(call))
    return read_reduction(call, readers)


def _read_clip(call: relay.Call, readers: Readers) -> Claim:
    """A clip belongs to the operator under it; one whose operator has other readers, or is an input, stands alone."""
    low, high = _clip_bounds(call)
    source = call.args[0]
    under = strip_views(source)
    if isinstance(under, relay.Call):
        claim = read_call(under, readers)  # when TVM keeps what lies under it, TVM keeps the clip
        if isinstance(claim.operator, Apply) and under is source and readers[source] == 1:
            return read_apply(call, readers)
        longer = read_lookup(call, readers) if isinstance(claim.operator, Lookup) and readers[under] == 1 else None
        if longer:
            return longer
        if under is source and readers[source] == 1 and isinstance(claim.operator, _Limited):
            return dataclasses.replace(claim, operator=_clipped(claim.operator, low, high))
    claim = sum_of("clip", call, (source,), (AS_IT_IS,), 0)
    assert isinstance(claim.operator, Add)
    return dataclasses.replace(claim, operator=_clipped(claim.operator, low, high))


def _read_float_add(call: relay.Call, readers: Readers) -> Claim:
    constant = any(isinstance(operand, relay.Constant) for operand in call.args)
    return read_apply(call, readers) if constant else read_float_add(call, readers)


def _read_extreme(call: relay.Call, readers: Readers) -> Claim:
    return read_apply(call, readers) if is_float(call) else read_extreme(call, readers)


def _clip_bounds(call: relay.Call) -> Limits:
    lowest, highest = dtype_range(element_dtype(call))
    if op_name(call) == "nn.relu":
        return max(lowest, 0), highest
    bounds = float(call.attrs.a_min), float(call.attrs.a_max)
    if is_float(call):
        require(bounds[0] <= bounds[1], f"its bounds {bounds} exclude each other")
        return bounds
    require(all(b.is_integer() for b in bounds), f"its bounds {bounds} are not integers")
    require(lowest <= bounds[0] <= bounds[1] <= highest, f"its bounds {bounds} do not fit its type")
    return int(bounds[0]), int(bounds[1])


def _clipped(operator: _Limited, low: float, high: float) -> _Limited:
    """``operator`` followed by a clip to low..high."""
    if isinstance(operator, Concat):  # what was copied is clipped now
        operator = dataclasses.replace(operator, rescales=tuple(r or AS_IT_IS for r in operator.rescales))
    lowest, highest = min(max(operator.low, low), high), max(min(operator.high, high), low)
    return dataclasses.replace(operator, low=lowest, high=highest)


def _read_quantize(call: relay.Call, readers: Readers) -> Claim:
    """Stays with TVM where what it reads does, because TVM then computes both at once."""
    data, operator = call.args[0], _quantize_operator(call)
    if op_name(data) == "image.resize2d" and op_name(data.args[0]) == "qnn.dequantize":
        return _quantised_resize(call, operator, readers)
    if isinstance(strip_views(data), relay.Call | relay.TupleGetItem):
        read_call(strip_views(data), readers)
    constants = {} if readers.rounding == "tvm" else {"scale": np.array([_scale(call)], np.float32)}
    return Claim("quantize", operator, (data,), graph_shape(call), integer_dtype(call), constants)


def _quantize_operator(call: relay.Call) -> Quantize:
    data, scale, zero = call.args[0], _scale(call), integer(call.args[2], "zero point")
    require(is_float(data), "it does not read float32")
    inverse = float(np.float32(1) / np.float32(scale))
    require(math.isfinite(inverse), f"its scale is {scale}")
    limits = dtype_range(integer_dtype(call))
    return Quantize(NAMELESS, (), (graph_shape(data),), NAMELESS, inverse, zero, *limits)


def _quantised_resize(call: relay.Call, after: Quantize, readers: Readers) -> Claim:
    """quantize (resize2d (dequantize)), as TVM's importer gives a linear one: the floats exist nowhere as a tensor."""
    floats = used_once(call.args[0], readers)
    before = _read_dequantize(used_once(floats.args[0], readers), readers)
    assert isinstance(before.operator, Dequantize)
    if readers.rounding == "tflite":
        alike = before.operator.zero_in == after.zero_out and before.operator.scale == _scale(call)
        require(alike, "TFLite resizes within one encoding")
        return read_integer_resize(floats, *before.inputs)
    resized = read_resize(floats, readers)
    require(isinstance(resized.operator, Resize), "it copies floats")
    assert isinstance(resized.operator, Resize)
    operator = dataclasses.replace(
        resized.operator,
        scale=before.operator.scale,
        zero_in=before.operator.zero_in,
        inverse=after.inverse,
        zero_out=after.zero_out,
        low=after.low,
        high=after.high,
    )
    return dataclasses.replace(resized, operator=operator, inputs=before.inputs, dtype=integer_dtype(call))


def _read_dequantize(call: relay.Call, readers: Readers) -> Claim:
    data, scale, zero = call.args[0], _scale(call), integer(call.args[2], "zero point")
    integer_dtype(data)
    operator = Dequantize(NAMELESS, (), (graph_shape(data),), NAMELESS, scale, zero)
    constants = {} if readers.rounding == "tvm" else {"exact": np.array([scale], np.float32)}
    return Claim("dequantize", operator, (data,), graph_shape(call), element_dtype(call), constants)


def _scale(call: relay.Call) -> float:
    scale = scalar(call.args[1], "scale")
    require(0 < scale < math.inf, f"its scale is {scale}")
    return scale


def _read_pad(call: relay.Call, readers: Readers) -> Claim:
    del readers
    before, first, value = pad_attributes(call)
    data = call.args[0]
    operator = Pad(NAMELESS, (), (graph_shape(data),), NAMELESS, Window(pad=before), value, first)
    return Claim("pad", operator, (data,), graph_shape(call), element_dtype(call))


def _why_not(call: relay.Call) -> str:
    """The reason for operators that no reader takes."""
    name = op_name(call)
    if not name:
        return "it calls a function"
    if name in _REASONS:
        return _REASONS[name]
    dtypes = {str(e.checked_type.dtype) for e in (call, *call.args) if hasattr(e.checked_type, "dtype")}
    floats = sorted(d for d in dtypes if d.startswith(("float", "bfloat")))
    return f"it works on {floats[0]}" if floats else f"Pex has no operator for {name}"


_CLIPS = ("clip", "nn.relu")
"""Lookups only where what they clip is one."""


def _not_looked_up(readers: Readers) -> tuple[str, ...]:
    """A table holds what TVM computes, and TFLite requantises otherwise."""
    return (*_CLIPS, "qnn.requantize") if readers.rounding == "tflite" else _CLIPS


_REASONS = {
    "nn.softmax": "softmax needs its whole input at once",
    "nn.log_softmax": "softmax needs its whole input at once",
    "transpose": "it moves every byte to another place",
    "layout_transform": "it moves every byte to another place",
    "qnn.conv2d": "its sums are not requantised",
    "qnn.conv2d_transpose": "its sums are not requantised",
    "qnn.dense": "its sums are not requantised",
    "cast": "it does not end a pool",
}

_READERS: dict[str, Callable[[relay.Call, Readers], Claim]] = {
    "qnn.requantize": _read_requantise,
    "qnn.add": read_add,
    "qnn.subtract": read_subtract,
    "qnn.mul": read_multiply,
    "maximum": _read_extreme,
    "minimum": _read_extreme,
    "clip": _read_clip,
    "nn.relu": _read_clip,
    "nn.max_pool2d": read_max_pool,
    "cast": _read_cast,
    "nn.pad": _read_pad,
    "concatenate": read_concat,
    "qnn.concatenate": read_concat,
    "strided_slice": read_strided_slice,
    "copy": read_copy,
    "take": read_take,
    "qnn.quantize": _read_quantize,
    "qnn.dequantize": _read_dequantize,
    "image.resize2d": read_resize,
    "nn.mirror_pad": read_mirror_pad,
    "tile": read_tile,
    "nn.depth_to_space": read_blocks,
    "nn.space_to_depth": read_patches,
}

_FLOAT_READERS: dict[str, Callable[[relay.Call, Readers], Claim]] = {
    "nn.bias_add": read_float_convolution,
    "nn.conv2d": read_float_convolution,
    "nn.conv2d_transpose": read_float_convolution,
    "nn.dense": read_float_convolution,
    **dict.fromkeys(STEPS, read_apply),
    "add": _read_float_add,
    **dict.fromkeys(REDUCTIONS, read_float_reduction),
}
"""Of operators that end one of Pex's in float32 alone."""
