"""Reads pools and reductions: maximum, average, mean and sum, over a window, or rows and columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import prod

from tvm import relay

from tvm_pex.frontend.claim import (
    NAMELESS,
    Claim,
    Readers,
    pair,
    requantise_arguments,
    sides,
    strip_pads,
    tensor_rescale,
    unsupported_scales,
    used_once,
)
from tvm_pex.frontend.fixed_point import tflite_mean
from tvm_pex.frontend.values import (
    dtype_range,
    element_dtype,
    farthest,
    graph_shape,
    image_shape,
    integer,
    integer_dtype,
    op_name,
    require,
    scalar,
    static_shape,
)
from tvm_pex.graph import Limits, Pool, Rescale, Shape, Window


def read_max_pool(call: relay.Call, readers: Readers) -> Claim:
    """Looks through pads with the type's lowest value: a maximum over them is one over what they pad."""
    del readers
    low, high = dtype_range(element_dtype(call))
    window = _pool_window(call)
    source = call.args[0]
    data, pad = strip_pads(source, lambda value: value <= low)
    folded = dataclasses.replace(window, pad=(window.pad[0] + pad[0], window.pad[1] + pad[1]))
    if not _touches(folded, image_shape(data), image_shape(call)):
        data, folded = source, window
    return _pool(call, data, folded, reduction="max", bounds=(low, high), rescale=None)


def read_reduction(call: relay.Call, readers: Readers) -> Claim:
    """cast or requantise (reduction (cast to int32 (x))): TVM reduces integers in 32 bits."""
    average = call.args[0]
    used_once(average, readers)
    widened = average.args[0]
    wide = op_name(widened) == "cast" and str(widened.checked_type.dtype) == "int32"
    require(wide, f"the argument of its {op_name(average)} is not cast to int32")
    data = widened.args[0]
    window = REDUCTIONS[op_name(average)](average)
    largest = farthest(integer_dtype(data), 0) * prod(window.kernel)
    require(op_name(average) == "max" or largest < 2**31, "its sums may not fit 32 bits")
    rescale, undefined = None, 0
    if op_name(call) == "qnn.requantize":
        requantise_arguments(call)
        if readers.rounding == "tflite" and op_name(average) != "max":
            rescale = _tflite_rescale(call, op_name(average), window)
        else:
            rescale, undefined = tensor_rescale(*call.args[1:])
    else:
        require(
            integer_dtype(call) == integer_dtype(data), f"it reduces {integer_dtype(data)} to {integer_dtype(call)}"
        )
        require(op_name(average) != "sum", "its sum is not requantised")
    if rescale and (rescale.multiplier, rescale.shift) == (1, 0) and rescale.zero_in == rescale.zero_out:
        rescale = None
    limits = dtype_range(integer_dtype(call))
    claim = _pool(call, data, window, reduction=op_name(average), bounds=limits, rescale=rescale)
    return dataclasses.replace(claim, undefined_shifts=undefined)


def _tflite_rescale(call: relay.Call, average: str, window: Window) -> Rescale:
    """Of the sums: TFLite's mean is the only average that rescales."""
    require(average in ("mean", "sum"), "TFLite averages into the type and the scale of what it reads")
    scale_in, zero_in, scale_out, zero_out = call.args[1:]
    count = prod(window.kernel) if average == "mean" else 1
    with unsupported_scales():
        fixed = tflite_mean(scalar(scale_in, "input scale") / scalar(scale_out, "output scale"), count)
    zeros = integer(zero_in, "input zero point"), integer(zero_out, "output zero point")
    return Rescale(fixed.multiplier, fixed.shift, *zeros)


def read_float_reduction(call: relay.Call, readers: Readers) -> Claim:
    """A reduction of float32."""
    del readers
    window = REDUCTIONS[op_name(call)](call)
    return _pool(call, call.args[0], window, reduction=op_name(call), bounds=dtype_range("float32"), rescale=None)


def _pool(
    call: relay.Call,
    data: relay.Expr,
    window: Window,
    *,
    reduction: str,
    bounds: Limits,
    rescale: Rescale | None,
) -> Claim:
    view = graph_shape(data)
    shape = _window_outputs(window, call, view)
    require(_touches(window, view, shape), "one of its windows lies wholly in the padding")
    kind = reduction == "max", reduction == "sum"
    operator = Pool(NAMELESS, (), (view,), NAMELESS, window, kind[0], rescale, *bounds, kind[1])
    return Claim("pool", operator, (data,), shape, element_dtype(call))


def _window_outputs(window: Window, call: relay.Call, view: Shape) -> Shape:
    """The output's (height, width, channels), also where a reduction drops the axes that it sums over."""
    if len(static_shape(call)) == 4:
        return image_shape(call)
    height, width, channels = view
    return height // window.kernel[0], width // window.kernel[1], channels


def _touches(window: Window, view: Shape, shape: Shape) -> bool:
    """True when every window of an output of ``shape`` holds a position of the input."""
    for axis in (0, 1):
        for index in range(shape[axis]):
            first = index * window.stride[axis] - window.pad[axis]
            taps = (first + k * window.dilation[axis] for k in range(window.kernel[axis]))
            if not any(0 <= tap < view[axis] for tap in taps):
                return False
    return True


def _pool_window(pool: relay.Call) -> Window:
    attrs = pool.attrs
    require(str(attrs.layout) == "NHWC", f"its layout is {attrs.layout}, not NHWC")
    require(str(attrs.out_layout) in ("", "NHWC"), f"its output layout is {attrs.out_layout}")
    require(not attrs.ceil_mode, "its ceil_mode is on")
    require(all(int(d) == 1 for d in attrs.dilation), "it is dilated")
    top, left = sides(attrs.padding)[:2]
    return Window(kernel=pair(attrs.pool_size), stride=pair(attrs.strides), pad=(top, left))


def _average_window(pool: relay.Call) -> Window:
    counted = bool(pool.attrs.count_include_pad) and any(sides(pool.attrs.padding))
    require(not counted, "its count_include_pad is on")
    return _pool_window(pool)


def _global_window(pool: relay.Call) -> Window:
    require(str(pool.attrs.layout) == "NHWC", f"its layout is {pool.attrs.layout}, not NHWC")
    height, width, _ = image_shape(pool.args[0])
    return Window(kernel=(height, width), stride=(height, width))


def _whole_window(reduction: relay.Call) -> Window:
    height, width, _ = graph_shape(reduction.args[0])
    rank = len(static_shape(reduction.args[0]))
    require(rank in (3, 4), "its tensor has neither rows nor columns")
    require(not reduction.attrs.exclude, "its exclude is on")
    require(bool(reduction.attrs.axis), "it reduces channels too")
    axes = {int(axis) % rank for axis in reduction.attrs.axis}
    require(axes <= set(range(1, rank - 1)), f"it reduces axes {sorted(axes)}, not rows and columns")
    kernel = height if 1 in axes else 1, width if 2 in axes else 1
    return Window(kernel=kernel, stride=kernel)


REDUCTIONS: dict[str, Callable[[relay.Call], Window]] = {
    "nn.avg_pool2d": _average_window,
    "nn.global_avg_pool2d": _global_window,
    **dict.fromkeys(("mean", "sum", "max"), _whole_window),
}
"""The window of each Relay operator that averages, or reduces whole axes."""
