"""Reads pools: maximum, average and mean."""

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
    byte_dtype,
    dtype_range,
    element_dtype,
    graph_shape,
    image_shape,
    integer,
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
    return _pool(call, data, folded, maximum=True, bounds=(low, high), rescale=None)


def read_average(call: relay.Call, readers: Readers) -> Claim:
    """cast or requantise (average or mean (cast to int32 (x))): TVM averages 8-bit tensors in 32 bits."""
    average = call.args[0]
    used_once(average, readers)
    widened = average.args[0]
    wide = op_name(widened) == "cast" and str(widened.checked_type.dtype) == "int32"
    require(wide, f"the argument of its {op_name(average)} is not cast to int32")
    data = widened.args[0]
    byte_dtype(data)
    window = AVERAGES[op_name(average)](average)
    rescale, undefined = None, 0
    if op_name(call) == "qnn.requantize":
        requantise_arguments(call)
        if readers.rounding == "tflite":
            rescale = _tflite_rescale(call, op_name(average), window)
        else:
            rescale, undefined = tensor_rescale(*call.args[1:])
    else:
        require(byte_dtype(call) == byte_dtype(data), f"it averages {byte_dtype(data)} into {byte_dtype(call)}")
    if rescale and (rescale.multiplier, rescale.shift) == (1, 0) and rescale.zero_in == rescale.zero_out:
        rescale = None
    claim = _pool(call, data, window, maximum=False, bounds=dtype_range(byte_dtype(call)), rescale=rescale)
    return dataclasses.replace(claim, undefined_shifts=undefined)


def _tflite_rescale(call: relay.Call, average: str, window: Window) -> Rescale:
    """Of the sums: TFLite's mean is the only average that rescales."""
    require(average == "mean", "TFLite averages into the type and the scale of what it reads")
    scale_in, zero_in, scale_out, zero_out = call.args[1:]
    with unsupported_scales():
        fixed = tflite_mean(scalar(scale_in, "input scale") / scalar(scale_out, "output scale"), prod(window.kernel))
    zeros = integer(zero_in, "input zero point"), integer(zero_out, "output zero point")
    return Rescale(fixed.multiplier, fixed.shift, *zeros)


def read_float_average(call: relay.Call, readers: Readers) -> Claim:
    """An average or a mean of float32."""
    del readers
    window = AVERAGES[op_name(call)](call)
    return _pool(call, call.args[0], window, maximum=False, bounds=dtype_range("float32"), rescale=None)


def _pool(
    call: relay.Call,
    data: relay.Expr,
    window: Window,
    *,
    maximum: bool,
    bounds: Limits,
    rescale: Rescale | None,
) -> Claim:
    view = graph_shape(data)
    shape = _window_outputs(window, call, view)
    require(_touches(window, view, shape), "one of its windows lies wholly in the padding")
    operator = Pool(NAMELESS, (), (view,), NAMELESS, window, maximum, rescale, *bounds)
    return Claim("pool", operator, (data,), shape, element_dtype(call))


def _window_outputs(window: Window, call: relay.Call, view: Shape) -> Shape:
    """The output's (height, width, channels), also where a mean drops the axes that it sums over."""
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


def _mean_window(mean: relay.Call) -> Window:
    height, width, _ = graph_shape(mean.args[0])
    rank = len(static_shape(mean.args[0]))
    require(rank in (3, 4), "its tensor has neither rows nor columns")
    require(not mean.attrs.exclude, "its exclude is on")
    require(bool(mean.attrs.axis), "it averages over channels too")
    axes = {int(axis) % rank for axis in mean.attrs.axis}
    require(axes <= set(range(1, rank - 1)), f"it averages over axes {sorted(axes)}, not over rows and columns")
    kernel = height if 1 in axes else 1, width if 2 in axes else 1
    return Window(kernel=kernel, stride=kernel)


AVERAGES: dict[str, Callable[[relay.Call], Window]] = {
    "nn.avg_pool2d": _average_window,
    "nn.global_avg_pool2d": _global_window,
    "mean": _mean_window,
}
"""The window of each Relay operator that averages."""
