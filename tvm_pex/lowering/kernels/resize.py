"""Resizing: linear between four pixels."""

from __future__ import annotations

from typing import Any

from tvm import te, tir, topi

from tvm_pex.graph import Resize
from tvm_pex.lowering.kernels.elementwise import dequantized, quantized
from tvm_pex.lowering.kernels.place import Expr, Moment, Place, loop_name
from tvm_pex.rounding import RESIZE_BITS, resize_positions


def resize(ib: Any, op: Resize, place: Place, moment: Moment) -> None:
    """The floats are those of stock TVM: the same expressions, in the same order."""
    if place.rounding == "tflite" and place.dtype_out != "float32":
        _resize_integers(ib, op, place, moment)
        return
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


def _resize_integers(ib: Any, op: Resize, place: Place, moment: Moment) -> None:
    """In integers, as TFLite does it; the quotient is truncated after half of the divisor is added away from zero."""
    store, output = place.inputs[0], place.output.at(moment.row, moment.column)
    rows, down = _between_integers(ib, op, place, 0, moment.row)
    columns, right = _between_integers(ib, op, place, 1, moment.column)
    pixels = [(store.at(row, columns[0]), store.at(row, columns[1])) for row in rows]
    one, whole = 1 << RESIZE_BITS, 1 << 2 * RESIZE_BITS
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        values = [[place.wide(store.pointer[pixel + c]) for pixel in line] for line in pixels]
        top, bottom = (left * (one - right) + behind * right for left, behind in values)
        value = ib.let(loop_name(op.name, "sum"), top * (one - down) + bottom * down)
        half = tir.Select(value > 0, tir.const(whole // 2, "int32"), tir.const(-whole // 2, "int32"))
        place.output.pointer[output + c] = tir.Cast(place.dtype_out, tir.truncdiv(value + half, whole))


def _between_integers(ib: Any, op: Resize, place: Place, axis: int, output: Expr) -> tuple[tuple[Expr, Expr], Expr]:
    """As _nearest; how far the output lies behind the first position is in 1024ths."""
    size, out = op.views[0][axis], place.shape_out[axis]
    step, first = resize_positions(op.coordinates, size, out)
    at = ib.let(loop_name(op.name, f"at{axis}"), tir.max(place.wide(output) * step + first, 0))
    before = ib.let(loop_name(op.name, f"before{axis}"), tir.min(tir.shift_right(at, RESIZE_BITS), size - 1))
    return (before, tir.min(before + 1, size - 1)), ib.let(
        loop_name(op.name, f"part{axis}"), at - before * (1 << RESIZE_BITS)
    )


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
