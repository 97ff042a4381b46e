"""Operators that work value by value: arithmetic, tables, and the borders between floats and 8-bit integers."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tvm import tir

from tvm_pex.graph import VALUES, Add, Apply, Binary, Dequantize, Lookup, Quantize, Resize, window_on
from tvm_pex.lowering.kernels.place import Expr, Moment, Place, clipped, loop_name, rescaled, rescaled_by
from tvm_pex.rounding import SUM_BITS


def add(ib: Any, op: Add, place: Place, moment: Moment) -> None:
    output = place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        values = [*_operands(op, place, moment, c)]
        if op.total:
            parts = _with_more_bits(op, values, place)
            total = rescaled_by(op.total, functools.reduce(operator.add, parts), place.rounding) + op.total.zero_out
        else:
            total = _rescaled_sum(op, values, place)
        place.output.pointer[output + c] = clipped(op, place, total)


def _rescaled_sum(op: Add, values: Sequence[Expr], place: Place) -> Expr:
    total: Expr = op.rescales[0].zero_out
    for value, rescale in zip(values, op.rescales, strict=True):
        total = total + rescaled_by(rescale, value, place.rounding)
    return total


def _with_more_bits(op: Add | Binary, values: Sequence[Expr], place: Place) -> list[Expr]:
    """The operands' rescaled differences to their zero points, so fine that what becomes of them is rescaled, too."""
    return [
        rescaled((value - r.zero_in) * (1 << SUM_BITS), r.multiplier, r.shift, place.rounding)
        for value, r in zip(values, op.rescales, strict=True)
    ]


def binary(ib: Any, op: Binary, place: Place, moment: Moment) -> None:
    output = place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        values = [*_operands(op, place, moment, c)]
        if op.function == "subtract" and place.rounding == "tflite":
            parts = _with_more_bits(op, values, place)
        else:
            parts = [rescaled_by(r, value, place.rounding) for r, value in zip(op.rescales, values, strict=True)]
        value = _FUNCTIONS[op.function](*parts)
        if op.rescale:
            value = rescaled_by(op.rescale, value, place.rounding) + op.rescale.zero_out
        place.output.pointer[output + c] = clipped(op, place, value)


_FUNCTIONS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "maximum": tir.max,
    "minimum": tir.min,
}


def _operands(op: Add | Binary, place: Place, moment: Moment, channel: Expr) -> Iterator[Expr]:
    """Each input's value for one channel of the output."""
    for position in range(len(op.inputs)):
        yield place.wide(_value(op, position, place, moment, channel))


def _value(op: Add | Apply | Binary, position: int, place: Place, moment: Moment, channel: Expr) -> Expr:
    """What the input at ``position``, repeated where it has to be, gives for one channel of the output."""
    store, stride = place.inputs[position], window_on(op, position, place.shape_out).stride
    pixel = store.at(moment.row if stride[0] else 0, moment.column if stride[1] else 0)
    return store.pointer[pixel + channel if op.views[position][2] == place.shape_out[2] else pixel]


def apply(ib: Any, op: Apply, place: Place, moment: Moment) -> None:
    output, channels = place.output.at(moment.row, moment.column), place.shape_out[2]
    with ib.for_range(0, place.slice_out or channels, loop_name(op.name, "c")) as c:
        whole = c if place.slice_out is None else moment.slice * place.slice_out + c
        values = [_value(op, position, place, moment, c) for position in range(len(op.inputs))]
        for function, *arguments in op.steps:
            operands = [_argument(op, place, argument, values, whole) for argument in arguments]
            values.append(ib.let(loop_name(op.name, "value"), STEPS[function](*operands)))
        place.output.pointer[output + c] = values[-1]


def _argument(op: Apply, place: Place, argument: float, values: list[Expr], channel: Expr) -> Expr:
    if isinstance(argument, float):
        return tir.const(argument, "float32")
    if argument >= 0:
        return values[argument]
    return place.constants[op.vectors][(-1 - argument) * place.shape_out[2] + channel]


STEPS: dict[str, Callable[..., Expr]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": tir.Div,
    "power": tir.power,
    "maximum": tir.max,
    "minimum": tir.min,
    "clip": lambda x, low, high: tir.max(tir.min(x, high), low),
    "leaky": lambda x, slope: tir.Select(x > 0, x, x * slope),
    "sigmoid": tir.sigmoid,
    "tanh": tir.tanh,
    "exp": tir.exp,
    "log": tir.log,
    "sqrt": tir.sqrt,
    "rsqrt": tir.rsqrt,
    "erf": tir.erf,
    "sin": tir.sin,
    "cos": tir.cos,
    "negative": lambda x: tir.const(0.0, "float32") - x,
    "abs": lambda x: tir.max(x, tir.const(0.0, "float32") - x),  # TVM's C has no other
    "floor": tir.floor,
    "ceil": tir.ceil,
}


def lookup(ib: Any, op: Lookup, place: Place, moment: Moment) -> None:
    store, output, table = place.inputs[0], place.output.at(moment.row, moment.column), place.constants[op.table]
    pixel = store.at(moment.row, moment.column)
    several = int(place.buffers[op.table].shape[0]) > VALUES
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        entry = tir.Cast("int32", tir.Cast("uint8", store.pointer[pixel + c]))
        if several:
            channel = c if place.slice_out is None else moment.slice * place.slice_out + c
            entry = channel * VALUES + entry
        place.output.pointer[output + c] = table[entry]


def quantize(ib: Any, op: Quantize, place: Place, moment: Moment) -> None:
    store, output = place.inputs[0], place.output.at(moment.row, moment.column)
    pixel = store.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        steps = _in_steps(op, store.pointer[pixel + c], place)
        place.output.pointer[output + c] = quantized(op, place, steps)


def quantized(op: Quantize | Resize, place: Place, steps: Expr) -> Expr:
    """Steps of the scale in the output's type, clipped in stock TVM's order, so that a NaN becomes the same."""
    value = tir.round(steps) + tir.const(op.zero_out, "float32")
    value = tir.max(tir.min(value, tir.const(op.high, "float32")), tir.const(op.low, "float32"))
    return tir.Cast(place.dtype_out, value)


def _in_steps(op: Quantize, value: Expr, place: Place) -> Expr:
    return value / place.constants[op.scale][0] if op.scale else value * tir.const(op.inverse, "float32")


def dequantize(ib: Any, op: Dequantize, place: Place, moment: Moment) -> None:
    store, output = place.inputs[0], place.output.at(moment.row, moment.column)
    pixel = store.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        scale = place.constants[op.exact][0] if op.exact else tir.const(op.scale, "float32")
        place.output.pointer[output + c] = dequantized(op, store.pointer[pixel + c], scale)


def dequantized(op: Dequantize | Resize, value: Expr, scale: Expr) -> Expr:
    """An integer as a float."""
    return tir.Cast("float32", tir.Cast("int32", value) - op.zero_in) * scale
