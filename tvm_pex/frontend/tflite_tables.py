"""What TFLite's reference kernels give for each of the 256 values of 8 bits, by the operator that TVM's importer read.

The kernels are those of TFLite Micro for int8 (``tensorflow/lite/kernels/internal/reference`` and its folder
``integer_ops``; parameters by ``tensorflow/lite/micro/kernels``), all in integers, so that a table holds every bit of
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tvm import relay

from tvm_pex.frontend import gemmlowp
from tvm_pex.frontend.arithmetic import tflite_product, tflite_rescales
from tvm_pex.frontend.claim import tensor_rescale, unsupported_scales
from tvm_pex.frontend.fixed_point import FixedPoint, significand_and_shift, tflite_fixed_point
from tvm_pex.frontend.values import Array, constant, integer, is_view, op_name, scalar
from tvm_pex.graph import VALUES, Rescale
from tvm_pex.rounding import SUM_BITS, rescaled

_LOWEST, _HIGHEST = -128, 127


@dataclass(frozen=True)
class _Codes:
    """Scales, as float32 holds them, and zero points of an operator's input and output."""

    scale_in: float
    zero_in: int
    scale_out: float
    zero_out: int


def tflite_table(end: relay.Call, source: relay.Expr) -> Array | None:
    """(1 or channels, 256) results of ``end``, computed from ``source`` alone; entry k is for the byte k.

    None if they are not of int8, or no formula of TFLite is known here: then it may be that TFLite rounds nothing.
    """
    if {str(expr.checked_type.dtype) for expr in (end, source)} != {"int8"}:
        return None
    values = np.arange(VALUES, dtype=np.uint8).view(np.int8).astype(np.int64)
    calls = _calls_between(end, source)
    names = tuple(map(op_name, calls))
    with unsupported_scales():
        return _FUNCTIONS[names](values, calls) if names in _FUNCTIONS else None


def _calls_between(end: relay.Call, source: relay.Expr) -> list[relay.Call]:
    """From ``end`` along first operands that are no constants, views left out; none if they lead elsewhere."""
    calls, expr = list[relay.Call](), end
    while isinstance(expr, relay.Call) and not expr.same_as(source):
        calls.append(expr)
        expr = next((operand for operand in expr.args if not isinstance(operand, relay.Constant)), None)
    return [call for call in calls if not is_view(call)] if expr is not None and source.same_as(expr) else []


def _table(values: Array) -> Array:
    """Clipped, and in the shape of a Lookup's constant."""
    table = np.clip(values, _LOWEST, _HIGHEST).astype(np.int8).reshape(VALUES, -1).T
    return np.ascontiguousarray(table)


def _requantized(values: Array, calls: list[relay.Call]) -> Array:
    """``integer_ops/requantize.h`` (Requantize)."""
    rescale, _ = tensor_rescale(*calls[0].args[1:], rounding="tflite")
    return _table(_by(rescale, values - rescale.zero_in) + rescale.zero_out)


def _product(values: Array, calls: list[relay.Call]) -> Array:
    """``integer_ops/mul.h``, with a constant."""
    (left, right), rescale = _operands(values, calls[0]), tflite_product(calls[0])
    return _table(_by(rescale, left * right) + rescale.zero_out)


def _sum(values: Array, calls: list[relay.Call]) -> Array:
    """``add.h`` and ``sub.h``, with a constant."""
    rescales, total = tflite_rescales(calls[0])
    fine = [_by(r, x << SUM_BITS) for r, x in zip(rescales, _operands(values, calls[0]), strict=True)]
    both = fine[0] - fine[1] if op_name(calls[0]) == "qnn.subtract" else fine[0] + fine[1]
    return _table(_by(total, both) + total.zero_out)


def _operands(values: Array, call: relay.Call) -> list[Array]:
    """The differences of two operands to their zero points: ``values``, as a column, and a constant, as a row."""
    operands = []
    for expr, zero in zip(call.args[:2], (call.args[3], call.args[5]), strict=True):
        fixed = isinstance(expr, relay.Constant)
        steps = constant(expr, "operand").astype(np.int64).reshape(1, -1) if fixed else values[:, None]
        operands.append(steps - integer(zero, "zero point"))
    return operands


def _by(rescale: Rescale, values: Array) -> Array:
    return np.asarray(rescaled(values, rescale.multiplier, rescale.shift, "tflite"))


def _codes(calls: list[relay.Call]) -> _Codes:
    """Of quantize (... (dequantize (source)))."""
    quantize, dequantize = calls[0], calls[-1]
    (scale_in, zero_in), (scale_out, zero_out) = (
        (scalar(call.args[1], "scale"), integer(call.args[2], "zero point")) for call in (dequantize, quantize)
    )
    return _Codes(scale_in, zero_in, scale_out, zero_out)


def _logistic(values: Array, calls: list[relay.Call]) -> Array | None:
    """``integer_ops/logistic.h``; ``micro/kernels/logistic_common.cc`` wants the lowest zero point."""
    codes = _codes(calls)
    return _saturating(values, codes, gemmlowp.logistic, 23, _LOWEST) if codes.zero_out == _LOWEST else None


def _tanh(values: Array, calls: list[relay.Call]) -> Array:
    """``integer_ops/tanh.h``."""
    return _saturating(values, _codes(calls), gemmlowp.tanh, 24, 0)


def _saturating(values: Array, codes: _Codes, function: Callable[[Array], Array], bits: int, zero_out: int) -> Array:
    """Of inputs within a radius; what lies farther out has the lowest or the highest value."""
    fraction_bits = 31 - gemmlowp.INTEGER_BITS
    multiplier, shift = significand_and_shift(codes.scale_in * 2.0**fraction_bits)
    radius = math.floor(math.ldexp(((1 << gemmlowp.INTEGER_BITS) - 1) << fraction_bits, shift - 31))
    steps = values - codes.zero_in
    inside = np.abs(steps) < radius
    fixed = rescaled(np.where(inside, steps, 0), multiplier, max(shift, 0), "tflite")
    results = gemmlowp.divided(function(fixed), bits) + zero_out
    return _table(np.where(inside, results, np.where(steps <= -radius, _LOWEST, _HIGHEST)))


def _hard_swish(values: Array, calls: list[relay.Call]) -> Array | None:
    """``hard_swish.h``: x on the scale of the output, times (x + 3) / 6 as a 16-bit number from 0 to 1."""
    if not _is_hard_swish(calls):
        return None
    codes = _codes(calls)
    fine = np.float32(1 / 128) * np.float32(codes.scale_in)
    to_output, output_exponent = _of_16_bits(fine / np.float32(codes.scale_out))
    to_slope, slope_exponent = _of_16_bits(fine / np.float32(3 / 32768))
    if output_exponent > 0:
        return None
    steps = (values - codes.zero_in) << 7
    slope = _saturated(steps << max(slope_exponent - 1, 0))
    slope = gemmlowp.doubled_high(slope, to_slope, 16)
    slope = _saturated(slope << 1) if slope_exponent > 0 else gemmlowp.divided(slope, -slope_exponent)
    slope = slope + (1 << 15) >> 1
    product = slope * gemmlowp.doubled_high(steps, to_output, 16)
    towards_zero = np.sign(product) * (np.abs(product) >> 15)
    return _table(gemmlowp.divided(towards_zero, -output_exponent) + codes.zero_out)


def _is_hard_swish(calls: list[relay.Call]) -> bool:
    """True for quantize (x * clip (x + 3, 0, 6) / 6) of a dequantized x."""
    _, divide, multiply, floats = calls
    clip = multiply.args[1]
    if op_name(clip) != "clip" or (clip.attrs.a_min, clip.attrs.a_max) != (0, 6) or op_name(clip.args[0]) != "add":
        return False
    operand, three = clip.args[0].args
    return bool(operand.same_as(floats) and scalar(three, "summand") == 3 and scalar(divide.args[1], "divisor") == 6)


def _of_16_bits(ratio: np.float32) -> tuple[int, int]:
    """The multiplier, of 15 bits, and the exponent of a ratio: QuantizeMultiplier, DownScaleInt32ToInt16Multiplier."""
    multiplier, shift = significand_and_shift(float(ratio))
    return min(multiplier + (1 << 15) >> 16, (1 << 15) - 1), 31 - shift


def _saturated(values: Array) -> Array:
    return np.clip(values, -(1 << 15), (1 << 15) - 1)


def _leaky(values: Array, calls: list[relay.Call]) -> Array:
    """``leaky_relu.h``: one ratio for values from 0 on, another below."""
    codes, slope = _codes(calls), np.float32(calls[1].attrs.alpha)
    scale_in, scale_out = np.float32(codes.scale_in), np.float32(codes.scale_out)
    above, below = scale_in / scale_out, scale_in * slope / scale_out
    steps = values - codes.zero_in
    falling = int(np.sign(below)) * _rescaled(steps, tflite_fixed_point(abs(float(below))))
    return _table(np.where(steps >= 0, _rescaled(steps, tflite_fixed_point(float(above))), falling) + codes.zero_out)


def _rescaled(values: Array, fixed: FixedPoint) -> Array:
    return np.asarray(rescaled(values, fixed.multiplier, fixed.shift, "tflite"))


_FUNCTIONS: dict[tuple[str, ...], Callable[[Array, list[relay.Call]], Array | None]] = {
    ("qnn.requantize",): _requantized,
    ("qnn.mul",): _product,
    ("qnn.add",): _sum,
    ("qnn.subtract",): _sum,
    ("qnn.quantize", "sigmoid", "qnn.dequantize"): _logistic,
    ("qnn.quantize", "tanh", "qnn.dequantize"): _tanh,
    ("qnn.quantize", "nn.leaky_relu", "qnn.dequantize"): _leaky,
    ("qnn.quantize", "divide", "multiply", "qnn.dequantize"): _hard_swish,
}
"""By the calls on the way from the result to the input."""
