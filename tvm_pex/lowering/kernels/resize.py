"""Resizing: linear between four pixels."""

from __future__ import annotations

from typing import Any

from tvm import te, tir, topi

from tvm_pex.graph import Resize
from tvm_pex.lowering.kernels.elementwise import dequantized, quantized
from tvm_pex.lowering.kernels.place import Expr, Moment, Place, loop_name


def resize(ib: Any, op: Resize, place: Place, moment: Moment) -> None:
    """The floats are those of stock TVM: the same expressions, in the same order."""
    store, output = place.inputs[0], place.output.at(moment.row, moment.column)
    rows, down = _nearest(ib, op, place, 0, moment.row)
    columns, right = _nearest(ib, op, place, 1, moment.column)
    pixels = [(store.at(row, columns[0]), store.at(row, columns[1])) for row in rows]
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        lines = [
            _between(_value(op, place, store.pointer[a + c]), _value(op, place, store.pointer[b + c]), right)
            for a, b in pixels
        ]
        value = _between(lines[0], lines[1], down)
        if place.dtype_out != "float32":
            value = quantized(op, place, value * tir.const(op.inverse, "float32"))
        place.output.pointer[output + c] = value


def _nearest(ib: Any, op: Resize, place: Place, axis: int, output: Expr) -> tuple[tuple[Expr, Expr], Expr]:
    """The positions before and behind that of an output, along one axis, and how far it lies from the first."""
    size = op.views[0][axis]
    sizes = [tir.IntImm("int32", extent) for extent in (size, place.shape_out[axis])]
    at = ib.let(loop_name(op.name, f"at{axis}"), topi.image.get_inx(output, *sizes, op.coordinates))
    before = ib.let(loop_name(op.name, f"before{axis}"), te.floor(at).astype("int32"))
    near = tuple(tir.max(tir.min(before + step, size - 1), 0) for step in (0, 1))
    return (near[0], near[1]), ib.let(loop_name(op.name, f"part{axis}"), at - before)


def _between(a: Expr, b: Expr, part: Expr) -> Expr:
    return a * (tir.const(1, "float32") - part) + b * part


def _value(op: Resize, place: Place, value: Expr) -> Expr:
    return value if place.dtype_out == "float32" else dequantized(op, value, tir.const(op.scale, "float32"))
