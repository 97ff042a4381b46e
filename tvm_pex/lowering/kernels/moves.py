"""Operators that move values to another place: pads, concatenations, slices, and entries of a table."""

from __future__ import annotations

from typing import Any

from tvm import tir

from tvm_pex.graph import Concat, Gather, Pad, Patches, Slice
from tvm_pex.lowering.kernels.place import Expr, Moment, Place, Store, clipped, loop_name, rescaled_by
from tvm_pex.lowering.kernels.window import picked


def pad(ib: Any, op: Pad, place: Place, moment: Moment) -> None:
    store, (height, width, _) = place.inputs[0], op.views[0]
    row, column = moment.row - op.window.pad[0], moment.column - op.window.pad[1]
    inside = tir.all(row >= 0, row < height, column >= 0, column < width)
    output, channels = place.output.at(moment.row, moment.column), place.shape_out[2]
    with ib.for_range(0, place.slice_out or channels, loop_name(op.name, "c")) as c:
        here, source = inside, c
        if op.views[0][2] != channels:
            source = c - op.first
            here = tir.all(inside, source >= 0, source < op.views[0][2])
        with ib.if_scope(here):
            place.output.pointer[output + c] = store.pointer[store.at(row, column) + source]
        with ib.else_scope():
            place.output.pointer[output + c] = tir.const(op.value, place.dtype_out)


def concat(ib: Any, op: Concat, place: Place, moment: Moment) -> None:
    """Input by input, but for those that were written right into the output."""
    output = place.output.at(moment.row, moment.column)
    for position, (store, view, rescale) in enumerate(zip(place.inputs, op.views, op.rescales, strict=True)):
        if position in place.written:
            continue
        pixel, first = store.at(moment.row, moment.column), output + op.first_channel(position)
        with ib.for_range(0, view[2], loop_name(op.name, "c")) as c:
            value = store.pointer[pixel + c]
            if rescale:
                value = clipped(op, place, rescaled_by(rescale, place.wide(value), place.rounding) + rescale.zero_out)
            place.output.pointer[first + c] = value


def slice_(ib: Any, op: Slice, place: Place, moment: Moment) -> None:
    store, channels = place.inputs[0], place.shape_out[2]
    (row, back), (column, left) = (
        picked(op.window, axis, op.views[0][axis], at) for axis, at in enumerate((moment.row, moment.column))
    )
    first = op.first + (back * op.window.up[1] + left) * channels if op.blocks else op.first
    pixel = store.at(row, column) + first
    output = place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or channels, loop_name(op.name, "c")) as c:
        place.output.pointer[output + c] = store.pointer[pixel + c * op.step]


def patches(ib: Any, op: Patches, place: Place, moment: Moment) -> None:
    store, channels = place.inputs[0], op.views[0][2]
    rows, columns = op.window.kernel
    output = place.output.at(moment.row, moment.column)
    row, column = moment.row * op.window.stride[0], moment.column * op.window.stride[1]
    with ib.for_range(0, rows, "kh") as kh, ib.for_range(0, columns, "kw") as kw:
        pixel, first = store.at(row + kh, column + kw), output + (kh * columns + kw) * channels
        with ib.for_range(0, channels, loop_name(op.name, "c")) as c:
            place.output.pointer[first + c] = store.pointer[pixel + c]


def gather(ib: Any, op: Gather, place: Place, moment: Moment) -> None:
    channels = place.shape_out[2]
    entry = _entry(op, place.inputs[0], moment) * channels
    output = place.output.at(moment.row, moment.column)
    with ib.for_range(0, channels, loop_name(op.name, "c")) as c:
        place.output.pointer[output + c] = place.constants[op.table][entry + c]


def _entry(op: Gather, store: Store, moment: Moment) -> Expr:
    """The number of the entry, never outside the table; a float is held inside before it is truncated."""
    index = store.pointer[store.at(moment.row, moment.column)]
    if op.wrap:
        entries = tir.const(op.entries, "int32")
        return tir.truncmod(tir.truncmod(index, entries) + entries, entries)
    last = tir.const(op.entries - 1, index.dtype)
    return tir.Cast("int32", tir.max(tir.min(index, last), tir.const(0, index.dtype)))
