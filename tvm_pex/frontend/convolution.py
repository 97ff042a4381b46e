"""Reads convolutions and dense layers, with their bias and requantise, as Convolutions."""

from __future__ import annotations

import numpy as np
from tvm import relay

from tvm_pex.frontend.claim import (
    NAMELESS,
    Claim,
    Readers,
    pair,
    requantise_arguments,
    sides,
    strip_pads,
    unsupported_scales,
    used_once,
)
from tvm_pex.frontend.fixed_point import FixedPoint, fixed_point, tflite_fixed_point
from tvm_pex.frontend.values import (
    Array,
    constant,
    dtype_range,
    farthest,
    graph_shape,
    image_shape,
    integer,
    integer_dtype,
    is_float,
    op_name,
    require,
    scalar,
    static_shape,
    strip_views,
)
from tvm_pex.graph import Convolution, Limits, Shape, Window
from tvm_pex.rounding import Rounding

_QUANTISED = ("qnn.conv2d", "qnn.conv2d_transpose", "qnn.dense")
_FLOAT = ("nn.conv2d", "nn.conv2d_transpose", "nn.dense")

SUMS = ("nn.bias_add", *_QUANTISED)
"""What a requantise that ends a convolution reads."""

_DENSE = ("qnn.dense", "nn.dense")
_TRANSPOSED = ("qnn.conv2d_transpose", "nn.conv2d_transpose")


def read_convolution(call: relay.Call, readers: Readers) -> Claim:
    """qnn.requantize ([nn.bias_add] (qnn.conv2d, its transpose, or qnn.dense)) -> Convolution. Raises Unsupported."""
    sums, bias = _without_bias(used_once(requantise_arguments(call)[0], readers), readers)
    require(op_name(sums) in _QUANTISED, f"its bias is added to {op_name(sums) or 'an input'}")
    # Sums of int16 are int64 in TVM, which cuts them to int32 before it rescales: those that fit are the same.
    require(str(sums.attrs.out_dtype) in ("int32", "int64"), f"its sums are {sums.attrs.out_dtype}, not integers")
    zero_in = integer(sums.args[2], "input zero point")
    data, view, window, groups, weights = _read_layer(sums, zero_in)
    require(weights.dtype in (np.int8, np.uint8), f"its weights are {weights.dtype}")
    zero_weight = _kernel_zero_point(sums.args[3])
    largest = np.abs(weights.astype(np.int64) - zero_weight).sum(axis=(0, 1, 2))
    largest = largest * farthest(integer_dtype(data), zero_in)
    fixed = _fixed_points(call, sums, weights.shape[3], readers.rounding)
    scales = _scales(call, fixed, bias, largest)
    limits = dtype_range(integer_dtype(call))
    zero_out = integer(call.args[4], "output zero point")
    operator = _nameless(view, window, groups, (zero_in, zero_weight, zero_out), limits)
    constants = {"weights": weights, "scales": scales}
    undefined = sum(point.undefined for point in fixed)
    return Claim(_kind(sums, operator), operator, (data,), graph_shape(call), integer_dtype(call), constants, undefined)


def read_float_convolution(call: relay.Call, readers: Readers) -> Claim:
    """[nn.bias_add] (nn.conv2d, its transpose, or nn.dense) of float32 -> Convolution. Raises Unsupported."""
    sums, bias = _without_bias(call, readers)
    require(op_name(sums) in _FLOAT, f"its bias is added to {op_name(sums) or 'an input'}")
    if sums is not call:
        used_once(sums, readers)
    data, view, window, groups, weights = _read_layer(sums, 0)
    require(is_float(data) and weights.dtype == np.float32, f"it multiplies by {weights.dtype}")
    operator = _nameless(view, window, groups, (0, 0, 0), dtype_range("float32"))
    scales = np.zeros(weights.shape[3], np.float32) if bias is None else bias
    constants = {"weights": weights, "scales": scales.reshape(-1, 1)}
    return Claim(_kind(sums, operator), operator, (data,), graph_shape(call), "float32", constants)


def _without_bias(call: relay.Call, readers: Readers) -> tuple[relay.Call, Array | None]:
    """What a bias per channel is added to, and the bias; ``call`` itself if it adds none."""
    if op_name(call) != "nn.bias_add":
        return call, None
    require(int(call.attrs.axis) in (-1, len(static_shape(call)) - 1), "its bias is not per channel")
    return used_once(call.args[0], readers), constant(call.args[1], "bias")


def _nameless(view: Shape, window: Window, groups: int, zeros: tuple[int, int, int], limits: Limits) -> Convolution:
    """``zeros`` are the zero points of the input, the weights and the output."""
    return Convolution(NAMELESS, (), (view,), NAMELESS, window, groups, NAMELESS, NAMELESS, *zeros, *limits)


def _kind(sums: relay.Call, operator: Convolution) -> str:
    if op_name(sums) in _DENSE:
        return "dense"
    if op_name(sums) in _TRANSPOSED:
        return "transposed"
    return "depthwise" if operator.groups > 1 and operator.groups == operator.views[0][2] else "conv"


def _read_layer(sums: relay.Call, zero_in: int) -> tuple[relay.Expr, Shape, Window, int, Array]:
    """The padded source, its view, the window, the groups and the weights as (h, w, channels in / groups, out)."""
    if op_name(sums) in _DENSE:
        return _read_dense(sums)
    return _read_transposed(sums) if op_name(sums) in _TRANSPOSED else _read_conv2d(sums, zero_in)


def _read_conv2d(conv: relay.Call, zero_in: int) -> tuple[relay.Expr, Shape, Window, int, Array]:
    """As _read_layer."""
    attrs = conv.attrs
    require(str(attrs.data_layout) == "NHWC", f"its layout is {attrs.data_layout}, not NHWC")
    require(str(attrs.out_layout) in ("", "NHWC"), f"its output layout is {attrs.out_layout}")
    data, pad = strip_pads(conv.args[0], lambda value: value == zero_in)
    view, groups = image_shape(data), int(attrs.groups)
    weights, layout = constant(conv.args[1], "weights"), str(attrs.kernel_layout)
    if layout == "HWOI":
        require(groups == view[2] == weights.shape[2], "it is grouped in layout HWOI, but not depthwise")
        weights = weights.reshape(*weights.shape[:2], 1, -1)
    else:
        require(layout == "HWIO", f"its kernel layout is {layout}")
    require(weights.shape[2] * groups == view[2], f"its {groups} groups do not fit {view[2]} channels")
    own = sides(attrs.padding)
    window = Window(
        kernel=(weights.shape[0], weights.shape[1]),
        stride=pair(attrs.strides),
        dilation=pair(attrs.dilation),
        pad=(own[0] + pad[0], own[1] + pad[1]),
    )
    return data, view, window, groups, weights


def _read_transposed(conv: relay.Call) -> tuple[relay.Expr, Shape, Window, int, Array]:
    """As _read_layer: each result sums what the pixels around it would have added to it, so the kernel is turned."""
    attrs = conv.attrs
    require(str(attrs.data_layout) == "NHWC", f"its layout is {attrs.data_layout}, not NHWC")
    require(str(attrs.out_layout) in ("", "NHWC"), f"its output layout is {attrs.out_layout}")
    require(str(attrs.kernel_layout) == "IOHW", f"its kernel layout is {attrs.kernel_layout}")
    require(int(attrs.groups) == 1, "it is transposed and grouped")
    require(pair(attrs.dilation) == (1, 1), "it is transposed and dilated")
    weights = constant(conv.args[1], "weights").transpose(2, 3, 0, 1)[::-1, ::-1]
    rows, columns = weights.shape[:2]
    top, left = sides(attrs.padding)[:2]
    window = Window(kernel=(rows, columns), pad=(rows - 1 - top, columns - 1 - left), up=pair(attrs.strides))
    data = conv.args[0]
    return data, image_shape(data), window, 1, np.ascontiguousarray(weights)


def _read_dense(dense: relay.Call) -> tuple[relay.Expr, Shape, Window, int, Array]:
    """As _read_layer: a 1x1 window over (1, 1, n), or over the whole (h, w, c) tensor that was flattened."""
    data = dense.args[0]
    shape = static_shape(data)
    require(len(shape) == 2, f"its input has {len(shape)} dimensions, not two")
    view = graph_shape(data)
    weights = constant(dense.args[1], "weights")
    source = strip_views(data)
    if isinstance(source, relay.Call) and len(static_shape(source)) in (3, 4) and static_shape(source)[0] == 1:
        view = graph_shape(source)
    height, width, channels = view
    weights = weights.reshape(-1, height, width, channels).transpose(1, 2, 3, 0)
    return data, view, Window(kernel=(height, width)), 1, np.ascontiguousarray(weights)


def _kernel_zero_point(expr: relay.Expr) -> int:
    values = np.unique(constant(expr, "kernel zero point"))
    require(values.size == 1, "its kernel zero point differs between channels")
    return int(values[0])


def _fixed_points(call: relay.Call, sums: relay.Call, channels: int, rounding: Rounding) -> list[FixedPoint]:
    """The multiplier and shift of each channel of ``sums``, which ``call`` requantises."""
    _, scale_in, _, scale_out, _ = requantise_arguments(call)
    scales = constant(scale_in, "requantise scale")
    per_channel = scales.ndim > 0
    if per_channel:
        last = len(static_shape(call)) - 1
        require(scales.size in (1, channels), f"it has {scales.size} scales for {channels} channels")
        require(int(call.attrs.axis) in (-1, last), f"its scales are along axis {call.attrs.axis}")
    out = scalar(scale_out, "output scale")
    with unsupported_scales():
        if rounding == "tvm":
            return [fixed_point(float(s), out, per_channel=per_channel) for s in np.broadcast_to(scales, (channels,))]
        exact = np.broadcast_to(_tflite_scales(sums, scales), (channels,))
        return [tflite_fixed_point(float(s) / out) for s in exact]


def _tflite_scales(sums: relay.Call, scales: Array) -> Array:
    """The scales of sums. For uint8, and for dense layers with one scale for all channels, TFLite takes products of 32
    bits, as TVM does; else of 64.
    """
    if integer_dtype(sums.args[0]) == "uint8" or (op_name(sums) == "qnn.dense" and scales.size == 1):
        return scales.astype(np.float64)
    of_input, of_kernel = (constant(scale, "scale").astype(np.float64) for scale in sums.args[4:6])
    return of_input * of_kernel


def _scales(call: relay.Call, fixed: list[FixedPoint], bias: Array | None, largest: Array) -> Array:
    """Rows of (bias, multiplier, shift).

    ``largest`` bounds each channel's sums without the bias. What could leave 32 bits is refused: TVM would wrap.
    """
    offset = np.zeros(len(fixed), np.int64) if bias is None else bias.astype(np.int64)
    offset = offset - integer(requantise_arguments(call)[2], "requantise zero point")
    rows = np.stack([offset, [f.multiplier for f in fixed], [f.shift for f in fixed]], axis=1)
    _check_32_bits(rows, largest)
    return rows.astype(np.int32)


def _check_32_bits(rows: Array, largest: Array) -> None:
    """Near-dead channels have biases of 2**30: the sums must still fit, and what they are rescaled to."""
    bound = largest + np.abs(rows[:, 0])
    scaled = bound * np.ldexp(rows[:, 1].astype(float), -rows[:, 2])
    require(bool((bound < 2**31).all() and (scaled < 2**30).all()), "its sums may not fit 32 bits")
