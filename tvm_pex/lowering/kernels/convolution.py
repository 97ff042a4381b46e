"""Convolutions: sums over a window, or over slices of channels, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tir

from tvm_pex.graph import Convolution
from tvm_pex.lowering.kernels.place import Expr, Moment, Place, clipped, loop_name, rescaled
from tvm_pex.lowering.kernels.window import for_window

TURN = 4


def pack_weights(op: Convolution, weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(kh, kw, channels in / groups, channels out) in the order the kernel reads: out, kh, kw, in; flat."""
    return np.ascontiguousarray(weights.transpose(3, 0, 1, 2)).reshape(-1)


def convolution(ib: Any, op: Convolution, place: Place, moment: Moment) -> None:
    """Output channel by output channel: window, bias, requantise."""
    acc, running = place.scratch, moment.running
    channels, columns = place.shape_out[2], place.shape_out[1]
    reduction = running is not None and running.reduction
    output = place.output.at(0, 0) if reduction else place.output.at(moment.row, moment.column)
    if place.inputs_apart:
        _sum_inputs(ib, op, place, moment)
    with ib.for_range(0, place.slice_out or channels, loop_name(op.name, "oc")) as slot:
        oc = slot if place.slice_out is None else moment.slice * place.slice_out + slot
        tap = _tap(ib, op, place, moment, slot, oc)
        if running is None:
            acc[0] = acc[1] * -op.zero_weight if place.inputs_apart else _bias(op, place, oc)
            for_window(ib, op, place, moment, tap)
            if place.inputs_apart:  # at last: then no sum before is larger than 32 bits
                acc[0] = acc[0] + _bias(op, place, oc)
            place.output.pointer[output + slot] = _requantised(op, place, oc)
        else:
            kept = oc if reduction else (moment.row * columns + moment.column) * channels + oc
            acc[0] = tir.Select(running.begins, _bias(op, place, oc), running.sums[kept])
            if reduction:  # this moment's pixel is one tap of the only window
                tap(place.inputs[0].at(moment.row, moment.column), moment.row, moment.column)
            else:
                for_window(ib, op, place, moment, tap)
            with ib.if_scope(running.ends):
                place.output.pointer[output + slot] = _requantised(op, place, oc)
            with ib.else_scope():
                running.sums[kept] = acc[0]


def _tap(
    ib: Any, op: Convolution, place: Place, moment: Moment, slot: Expr, oc: Expr
) -> Callable[[Expr, Expr, Expr], None]:
    """Adds one window position's products to the accumulator."""
    x, acc, weights = place.inputs[0].pointer, place.scratch, place.constants[op.weights]
    depth = op.views[0][2] // op.groups
    group = tir.truncdiv(slot, place.shape_out[2] // op.groups) if op.groups > 1 else 0
    sliced = place.slice_in is not None and op.groups == 1
    first = moment.slice * place.slice_in if sliced else 0
    kernel_rows, kernel_columns = op.window.kernel
    count = (place.slice_in if sliced else None) or depth
    zero_weight = 0 if place.inputs_apart else op.zero_weight

    def tap(pixel: Expr, row: Expr, column: Expr) -> None:
        at = ((oc * kernel_rows + row) * kernel_columns + column) * depth + first
        with ib.for_range(0, count // _turn(count), "ic") as turn:
            total = acc[0]
            for product in range(_turn(count)):
                ic = turn * _turn(count) + product
                value = place.wide(x[pixel + group * depth + ic]) - op.zero_in
                total = total + value * (place.wide(weights[at + ic]) - zero_weight)
            acc[0] = total

    return tap


def _turn(count: int) -> int:
    """Products of one turn of the inner loop: C compilers do not unroll it with -O2."""
    return TURN if count % TURN == 0 else 1


def _sum_inputs(ib: Any, op: Convolution, place: Place, moment: Moment) -> None:
    """What the weights' zero point is multiplied with."""
    x, acc, depth = place.inputs[0].pointer, place.scratch, op.views[0][2]
    acc[1] = place.wide(0)

    def tap(pixel: Expr, _row: Expr, _column: Expr) -> None:
        with ib.for_range(0, depth // _turn(depth), "ic") as turn:
            total = acc[1]
            for summand in range(_turn(depth)):
                total = total + (place.wide(x[pixel + turn * _turn(depth) + summand]) - op.zero_in)
            acc[1] = total

    for_window(ib, op, place, moment, tap)


def _bias(op: Convolution, place: Place, oc: Expr) -> Expr:
    return place.constants[op.scales][oc if place.dtype == "float32" else oc * 3]


def _requantised(op: Convolution, place: Place, oc: Expr) -> Expr:
    value, scales = place.scratch[0], place.constants[op.scales]
    if place.dtype == "int32":
        value = rescaled(value, scales[oc * 3 + 1], scales[oc * 3 + 2], place.rounding) + op.zero_out
    return clipped(op, place, value)
