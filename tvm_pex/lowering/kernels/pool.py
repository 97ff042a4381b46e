"""Pools: maximum, average and sum."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from tvm import tir

from tvm_pex.graph import Pool
from tvm_pex.lowering.kernels.place import Expr, Moment, Place, clipped, loop_name, rescaled_by
from tvm_pex.lowering.kernels.window import for_window


def pool(ib: Any, op: Pool, place: Place, moment: Moment) -> None:
    x, acc, running = place.inputs[0].pointer, place.scratch, moment.running
    output = place.output.at(0, 0) if running else place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        if running:
            pixel = place.inputs[0].at(moment.row, moment.column)
            at = running.first + c
            acc[0] = tir.Select(running.begins, _neutral(op, place), place.wide(running.sums[at]))
            acc[0] = _joined(op, acc[0], place.wide(x[pixel + c]))
            with ib.if_scope(running.ends):
                place.output.pointer[output + c] = pooled(op, place)
            with ib.else_scope():
                running.sums[at] = tir.Cast(running.sums.dtype, acc[0])
        else:
            acc[0] = _neutral(op, place)

            def tap(pixel: Expr, _row: Expr, _column: Expr, c: Expr = c) -> None:
                acc[0] = _joined(op, acc[0], place.wide(x[pixel + c]))

            size = for_window(ib, op, place, moment, tap)
            place.output.pointer[output + c] = pooled(op, place, size)


def _neutral(op: Pool, place: Place) -> Expr:
    """What changes nothing."""
    return place.wide(tir.min_value(place.inputs[0].buffer.dtype).value if op.maximum else 0)


def _joined(op: Pool, so_far: Expr, value: Expr) -> Expr:
    return tir.max(so_far, value) if op.maximum else so_far + value


def pooled(op: Pool, place: Place, size: Expr = None) -> Expr:
    """What becomes of the sum or the maximum in the scratch; ``size`` is that of the window, None if it is whole."""
    value = place.scratch[0]
    size = math.prod(op.window.kernel) if size is None else size
    if op.rescale and place.rounding == "tflite":  # it divides, too
        whole = dataclasses.replace(op.rescale, zero_in=size * op.rescale.zero_in)
        return clipped(op, place, rescaled_by(whole, value, place.rounding) + op.rescale.zero_out)
    if not (op.maximum or op.undivided):
        value = _average(value, size, place)
    if op.rescale:
        value = rescaled_by(op.rescale, value, place.rounding) + op.rescale.zero_out
    return clipped(op, place, value)


def _average(total: Expr, size: Expr, place: Place) -> Expr:
    size = place.wide(size)
    if place.dtype == "float32":
        return tir.Div(total, size)
    if place.rounding == "tflite":  # halves away from zero
        half = tir.truncdiv(size, 2)
        total = total + tir.Select(total > 0, half, -half)
    return tir.truncdiv(total, size)
