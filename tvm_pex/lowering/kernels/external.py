"""Calls of the kernels in C, for runs of pixels of one row: see ``tvm_pex/micro_kernels/sources/pex_kernels.h``."""

from __future__ import annotations

import dataclasses
from typing import Any

from tvm import tir

from tvm_pex.graph import Add, Convolution, Operator, Pool
from tvm_pex.lowering.kernels.place import Expr, Moment, Place, Store, loop_name
from tvm_pex.lowering.kernels.pool import pooled
from tvm_pex.micro_kernels.selection import parameters_name
from tvm_pex.scheduling.kernels import BLOCK


def emit_run(ib: Any, op: Operator, place: Place, moment: Moment, pixels: Expr) -> None:
    """Appends the work on ``pixels`` pixels of a row, from ``moment`` on."""
    if isinstance(op, Convolution):
        _convolution(ib, op, place, moment, pixels)
        return
    stores = (*place.inputs, place.output) if isinstance(op, Add) else place.inputs
    if (isinstance(pixels, int) and pixels == 1) or not any(store.wraps for store in stores):
        _side_by_side(ib, op, place, moment, pixels)
        return
    with ib.for_range(0, pixels, loop_name(op.name, "pixel")) as pixel:
        running = moment.running
        if running:
            begins, ends = tir.all(running.begins, pixel == 0), tir.all(running.ends, pixel == pixels - 1)
            running = dataclasses.replace(running, begins=begins, ends=ends)
        _side_by_side(ib, op, place, Moment(moment.row, moment.column + pixel, moment.slice, running), 1)


def _side_by_side(ib: Any, op: Operator, place: Place, moment: Moment, pixels: Expr) -> None:
    """Pixels that no store's end parts."""
    if isinstance(op, Add):
        _add(ib, op, place, moment, pixels)
    else:
        assert isinstance(op, Pool), f"{op.name} has no kernel"
        _sum(ib, op, place, moment, pixels)


def _call(ib: Any, function: str, *arguments: Expr) -> None:
    ib.emit(tir.call_extern("int32", function, *arguments))


def _convolution(ib: Any, op: Convolution, place: Place, moment: Moment, pixels: Expr) -> None:
    """In two parts where the output's ring may end between them."""
    store = place.output
    if (isinstance(pixels, int) and pixels == 1) or not store.wraps:
        _convolve(ib, op, place, moment, pixels)
        return
    left = store.pixels - store.position(moment.row, moment.column)
    _convolve(ib, op, place, moment, tir.min(pixels, left))
    with ib.if_scope(left < pixels):
        _convolve(ib, op, place, dataclasses.replace(moment, column=moment.column + left), pixels - left)


def _convolve(ib: Any, op: Convolution, place: Place, moment: Moment, pixels: Expr) -> None:
    """The kernel finds windows by itself, from the beginning of its input; of a slice, from its first channel."""
    source = place.inputs[0]
    first = 0 if place.slice_out is None else moment.slice * (place.slice_out // BLOCK)
    patch = [] if place.patch is None else [place.patch.access_ptr("rw")]
    _call(
        ib,
        str(place.kernel),
        source.buffer.access_ptr("r", offset=source.base),
        place.buffers[op.weights].access_ptr("r"),
        place.buffers[op.scales].access_ptr("r"),
        _pixel(place.output, moment, "w"),
        moment.row,
        moment.column,
        pixels,
        first,
        *patch,
    )


def _pixel(store: Store, moment: Moment, mode: str) -> Expr:
    return store.buffer.access_ptr(mode, offset=store.at(moment.row, moment.column))


def _add(ib: Any, op: Add, place: Place, moment: Moment, pixels: Expr) -> None:
    """At once where the pixels of all tensors lie side by side, else pixel by pixel."""
    channels = place.slice_out or place.shape_out[2]
    together = all(store.channels == channels for store in (*place.inputs, place.output))
    with ib.for_range(0, 1 if together else pixels, loop_name(op.name, "pixel")) as pixel:
        at = Moment(moment.row, moment.column + pixel)
        a, b = (_pixel(store, at, "r") for store in place.inputs)
        parameters = place.buffers[parameters_name(op)].access_ptr("r")
        count = channels * pixels if together else channels
        _call(ib, str(place.kernel), a, b, parameters, _pixel(place.output, at, "w"), count)


def _sum(ib: Any, op: Pool, place: Place, moment: Moment, pixels: Expr) -> None:
    """An average of everything: the sums begin with the first pixel, and after the last they become the output."""
    running, store = moment.running, place.inputs[0]
    assert running is not None, "it is a reduction"
    channels = place.slice_out or place.shape_out[2]
    sums = running.buffer
    with ib.if_scope(running.begins):
        with ib.for_range(0, channels, loop_name(op.name, "c")) as c:
            running.sums[running.first + c] = tir.const(0, sums.dtype)
    function = f"{place.kernel}_{sums.dtype}"
    at = sums.access_ptr("rw", offset=running.first)
    _call(ib, function, _pixel(store, moment, "r"), at, pixels, channels, store.channels)
    with ib.if_scope(running.ends):
        output = place.output.at(0, 0)
        with ib.for_range(0, channels, loop_name(op.name, "c")) as c:
            place.scratch[0] = place.wide(running.sums[running.first + c])
            place.output.pointer[output + c] = pooled(op, place)
