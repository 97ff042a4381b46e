"""Reads arithmetic on two tensors: sums, differences, products, the larger and the smaller of two values.

An operand may lack axes of the result, or have a length of 1 along them: it is repeated there.
"""

from __future__ import annotations

import math

import numpy as np
from tvm import relay

from tvm_pex.frontend.claim import NAMELESS, Claim, Readers, tensor_rescale, unsupported_scales
from tvm_pex.frontend.fixed_point import tflite_fixed_point, tflite_sum
from tvm_pex.frontend.values import (
    dtype_range,
    element_dtype,
    farthest,
    graph_shape,
    integer,
    integer_dtype,
    op_name,
    require,
    scalar,
    shape_in_graph,
    static_shape,
    strip_views,
)
from tvm_pex.graph import Add, Binary, Rescale, Shape

AS_IT_IS = Rescale(1, 0, 0, 0)

_RANK = 4  # of more axes, a graph's tensor has one


def read_add(call: relay.Call, readers: Readers) -> Claim:
    """qnn.add: each operand is rescaled, as TFLite does it with more bits, and so is their sum."""
    if readers.rounding == "tflite":
        rescales, total = tflite_rescales(call)
        return sum_of("add", call, _operands(call), rescales, 0, total)
    rescales, undefined = _rescales(call)
    return sum_of("add", call, _operands(call), rescales, undefined)


def tflite_rescales(call: relay.Call) -> tuple[tuple[Rescale, Rescale], Rescale]:
    """Of both operands of a qnn.add or qnn.subtract, and of their sum or difference."""
    (scale_left, zero_left), (scale_right, zero_right), (scale_out, zero_out) = (
        (scalar(scale, "scale"), integer(zero, "zero point")) for scale, zero in zip(call.args[2:8:2], call.args[3:8:2])
    )
    with unsupported_scales():
        scales, difference = (scale_left, scale_right), op_name(call) == "qnn.subtract"
        (left, right), total = tflite_sum(scales, scale_out, difference=difference)
    rescales = Rescale(*left[:2], zero_left, zero_out), Rescale(*right[:2], zero_right, zero_out)
    return rescales, Rescale(*total[:2], 0, zero_out)


def read_float_add(call: relay.Call, readers: Readers) -> Claim:
    """add of float32."""
    del readers
    return sum_of("add", call, _operands(call), (AS_IT_IS, AS_IT_IS), 0)


def sum_of(
    kind: str,
    call: relay.Call,
    inputs: tuple[relay.Expr, ...],
    rescales: tuple[Rescale, ...],
    undefined: int,
    total: Rescale | None = None,
) -> Claim:
    """An Add of ``inputs``, one or two."""
    dtype = element_dtype(call)
    operator = Add(NAMELESS, (), views_in(call, inputs), NAMELESS, rescales, *dtype_range(dtype), total)
    return Claim(kind, operator, inputs, graph_shape(call), dtype, undefined_shifts=undefined)


def read_subtract(call: relay.Call, readers: Readers) -> Claim:
    """qnn.subtract: each operand is rescaled, as TFLite does it with more bits, and so is their difference."""
    if readers.rounding == "tflite":
        rescales, total = tflite_rescales(call)
        return _binary("subtract", call, rescales, total, 0)
    rescales, undefined = _rescales(call)
    return _binary("subtract", call, rescales, Rescale(1, 0, 0, rescales[0].zero_out), undefined)


def read_multiply(call: relay.Call, readers: Readers) -> Claim:
    """qnn.mul: the product is rescaled, by the product of the scales as float32."""
    left, zero_left, right, zero_right, out, zero_out = call.args[2:8]
    scale = np.float32(scalar(left, "input scale")) * np.float32(scalar(right, "input scale"))
    ratio = float(scale) / scalar(out, "output scale")
    zeros_in = [integer(zero, "input zero point") for zero in (zero_left, zero_right)]
    largest = math.prod(farthest(integer_dtype(x), zero) for x, zero in zip(call.args[:2], zeros_in, strict=True))
    require(largest < 2**31 and ratio * largest < 2**30, "its products may not fit 32 bits")
    rescale, undefined = tensor_rescale(relay.const(scale), relay.const(np.int32(0)), out, zero_out)
    if readers.rounding == "tflite":
        rescale = tflite_product(call)
    zeros = (tensor_rescale(out, zero, out, zero)[0] for zero in (zero_left, zero_right))
    return _binary("multiply", call, tuple(zeros), rescale, undefined)


def tflite_product(call: relay.Call) -> Rescale:
    """Of the product of a qnn.mul."""
    left, _, right, _, out, zero_out = call.args[2:8]
    with unsupported_scales():
        fixed = tflite_fixed_point(scalar(left, "scale") * scalar(right, "scale") / scalar(out, "scale"))
    return Rescale(fixed.multiplier, fixed.shift, 0, integer(zero_out, "zero point"))


def read_extreme(call: relay.Call, readers: Readers) -> Claim:
    """maximum or minimum of two tensors of the same encoding."""
    del readers
    integer_dtype(call)
    return _binary(op_name(call), call, (AS_IT_IS, AS_IT_IS), None, 0)


def _binary(
    function: str, call: relay.Call, rescales: tuple[Rescale, ...], rescale: Rescale | None, undefined: int
) -> Claim:
    inputs, dtype = _operands(call), element_dtype(call)
    first, second = rescales
    views, limits = views_in(call, inputs), dtype_range(dtype)
    operator = Binary(NAMELESS, (), views, NAMELESS, function, (first, second), rescale, *limits)
    return Claim(function, operator, inputs, graph_shape(call), dtype, undefined_shifts=undefined)


def _rescales(call: relay.Call) -> tuple[tuple[Rescale, Rescale], int]:
    """Of both operands, and how many of them stock TVM leaves undefined."""
    out = call.args[6:8]
    left, undefined_left = tensor_rescale(*call.args[2:4], *out)
    right, undefined_right = tensor_rescale(*call.args[4:6], *out)
    return (left, right), undefined_left + undefined_right


def _operands(call: relay.Call) -> tuple[relay.Expr, relay.Expr]:
    for operand in call.args[:2]:
        require(not isinstance(operand, relay.Constant), "one of its operands is a constant")
    return call.args[0], call.args[1]


def views_in(call: relay.Call, operands: tuple[relay.Expr, ...]) -> tuple[Shape, ...]:
    """The operands as the result has its axes, of length 1 where they are repeated."""
    shape, shapes = static_shape(call), [static_shape(operand) for operand in operands]
    alike = all(other == shape for other in shapes)
    require(alike or len(shape) <= _RANK, f"its operands' shapes differ: {' and '.join(map(str, shapes))}")
    views = tuple(shape_in_graph((1,) * (len(shape) - len(other)) + other) for other in shapes)
    once = len({strip_views(operand) for operand in operands}) == len(operands)
    require(once or len(set(views)) == 1, "it reads one tensor under two shapes")
    return views
