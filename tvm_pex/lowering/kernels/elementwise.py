"""Operators that work value by value: arithmetic, tables, and the borders between floats and 8-bit integers."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tvm import tir

from tvm_pex.graph import VALUES, Add, Binary, Dequantize, Lookup, Quantize, Rescale, Resize, window_on
from tvm_pex.lowering.kernels.place import Expr, Moment, Place, clipped, loop_name, rescaled, rescaled_by
from tvm_pex.rounding import SUM_BITS


def add(ib: Any, op: Add, place: Place, moment: Moment) -> None:
    output = place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        values = [*_operands(op, place, moment, c)]
        total = _twice_rescaled(op, op.total, values, place) if op.total else _rescaled_sum(op, values, place)
        place.output.pointer[output + c] = clipped(op, place, total)


def _rescaled_sum(op: Add, values: Sequence[Expr], place: Place) -> Expr:
    total: Expr = op.rescales[0].zero_out
    for value, rescale in zip(values, op.rescales, strict=True):
        total = total + rescaled_by(rescale, value, place.rounding)
    return total


def _twice_rescaled(op: Add, total: Rescale, values: Sequence[Expr], place: Place) -> Expr:
    """Differences are taken with more bits, so that their sum may be rescaled, too."""
    parts = [
        rescaled((value - r.zero_in) * (1 << SUM_BITS), r.multiplier, r.shift, place.rounding)
        for value, r in zip(values, op.rescales, strict=True)
    ]
    return rescaled_by(total, functools.reduce(operator.add, parts), place.rounding) + total.zero_out


def binary(ib: Any, op: Binary, place: Place, moment: Moment) -> None:
    output = place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        values = zip(op.rescales, _operands(op, place, moment, c), strict=True)
        value = _FUNCTIONS[op.function](*(rescaled_by(rescale, value, place.rounding) for rescale, value in values))
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
    for position, (store, view) in enumerate(zip(place.inputs, op.views, strict=True)):
        stride = window_on(op, position, place.shape_out).stride
        pixel = store.at(moment.row if stride[0] else 0, moment.column if stride[1] else 0)
        yield place.wide(store.pointer[pixel + channel if view[2] == place.shape_out[2] else pixel])


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
