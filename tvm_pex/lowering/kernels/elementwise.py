"""Operators that work value by value: arithmetic, tables, and the borders between floats and 8-bit integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tvm import tir

from tvm_pex.graph import VALUES, Add, Apply, Binary, Dequantize, Lookup, Quantize, window_on
from tvm_pex.lowering.kernels.place import Expr, Moment, Place, clipped, loop_name, rescaled_by


def add(ib: Any, op: Add, place: Place, moment: Moment) -> None:
    output = place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        total: Expr = op.rescales[0].zero_out
        for value in _operands(op, place, moment, c):
            total = total + value
        place.output.pointer[output + c] = clipped(op, place, total)


def binary(ib: Any, op: Binary, place: Place, moment: Moment) -> None:
    output = place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        value = _FUNCTIONS[op.function](*_operands(op, place, moment, c))
        if op.rescale:
            value = rescaled_by(op.rescale, value) + op.rescale.zero_out
        place.output.pointer[output + c] = clipped(op, place, value)


_FUNCTIONS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "maximum": tir.max,
    "minimum": tir.min,
}


def _operands(op: Add | Binary, place: Place, moment: Moment, channel: Expr) -> Iterator[Expr]:
    """Each input's value, rescaled, for one channel of the output."""
    for position, rescale in enumerate(op.rescales):
        yield rescaled_by(rescale, place.wide(_value(op, position, place, moment, channel)))


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
    """In the order in which stock TVM clips, so that a NaN becomes the same."""
    store, output = place.inputs[0], place.output.at(moment.row, moment.column)
    pixel = store.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        value = tir.round(store.pointer[pixel + c] * tir.const(op.inverse, "float32"))
        value = value + tir.const(op.zero_out, "float32")
        value = tir.max(tir.min(value, tir.const(op.high, "float32")), tir.const(op.low, "float32"))
        place.output.pointer[output + c] = tir.Cast(place.dtype_out, value)


def dequantize(ib: Any, op: Dequantize, place: Place, moment: Moment) -> None:
    store, output = place.inputs[0], place.output.at(moment.row, moment.column)
    pixel = store.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        difference = tir.Cast("int32", store.pointer[pixel + c]) - op.zero_in
        place.output.pointer[output + c] = tir.Cast("float32", difference) * tir.const(op.scale, "float32")
