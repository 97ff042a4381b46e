"""Operators that work value by value: additions, requantises, and the borders between floats and 8-bit integers."""

from __future__ import annotations

from typing import Any

from tvm import tir

from tvm_pex.graph import Add, Dequantize, Quantize, Resize
from tvm_pex.lowering.kernels.place import Expr, Moment, Place, clipped, loop_name, rescaled_by


def add(ib: Any, op: Add, place: Place, moment: Moment) -> None:
    output = place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        total: Expr = op.rescales[0].zero_out
        for store, rescale in zip(place.inputs, op.rescales, strict=True):
            total = total + rescaled_by(rescale, place.wide(store.pointer[store.at(moment.row, moment.column) + c]))
        place.output.pointer[output + c] = clipped(op, place, total)


def quantize(ib: Any, op: Quantize, place: Place, moment: Moment) -> None:
    store, output = place.inputs[0], place.output.at(moment.row, moment.column)
    pixel = store.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        place.output.pointer[output + c] = quantized(op, place, store.pointer[pixel + c])


def quantized(op: Quantize | Resize, place: Place, value: Expr) -> Expr:
    """A float in the output's type, in the order in which stock TVM clips, so that a NaN becomes the same."""
    value = tir.round(value * tir.const(op.inverse, "float32")) + tir.const(op.zero_out, "float32")
    value = tir.max(tir.min(value, tir.const(op.high, "float32")), tir.const(op.low, "float32"))
    return tir.Cast(place.dtype_out, value)


def dequantize(ib: Any, op: Dequantize, place: Place, moment: Moment) -> None:
    store, output = place.inputs[0], place.output.at(moment.row, moment.column)
    pixel = store.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        place.output.pointer[output + c] = dequantized(op, store.pointer[pixel + c])


def dequantized(op: Dequantize | Resize, value: Expr) -> Expr:
    """An integer as a float."""
    return tir.Cast("float32", tir.Cast("int32", value) - op.zero_in) * tir.const(op.scale, "float32")
