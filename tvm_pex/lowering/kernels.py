"""What one operator does at one moment: the TIR of a single output pixel (or, for reductions, a single input pixel).

Portable scalar TIR, the same for the c and the llvm target. Windows are clipped to the tensor, so padding costs nothing
and reads nothing; the arithmetic is that of ``tvm_pex.graph``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tir

from tvm_pex.graph import Add, Convolution, Operator, Pad, Pool, Rescale, Shape, Window

Expr = Any  # tir.PrimExpr, or a Python int


@dataclass(frozen=True)
class Store:
    """Where a tensor lives: a flat TIR pointer, and the ring position of pixel (row, column).

    ``width`` and ``channels`` are those of the view; ``channels`` of a sliced tensor count one slice. ``pixels`` is the
    ring's length, None for a whole tensor; ``base`` where the slice begins inside a whole tensor's pixel; ``first`` the
    column of the tensor at which the store's columns begin.
    """

    pointer: Any
    width: int
    channels: int
    pixels: int | None = None
    base: Expr = 0
    first: Expr = 0

    def at(self, row: Expr, column: Expr) -> Expr:
        """Index of the pixel's first channel, or of the slice's."""
        column = column - self.first
        if self.pixels is None:
            return (row * self.width + column) * self.channels + self.base
        if self.pixels % self.width == 0:
            row = tir.truncmod(row, self.pixels // self.width) if self.pixels > self.width else 0
            return (row * self.width + column) * self.channels
        return tir.truncmod(row * self.width + column, self.pixels) * self.channels


@dataclass(frozen=True)
class Running:
    """Sums that outlive a moment: they begin with the bias or 0, and at the end become the output.

    A ``reduction`` adds one input pixel at a moment and gives one output pixel; else slices of channels are added up.
    """

    sums: Any
    begins: Expr
    ends: Expr
    reduction: bool


@dataclass(frozen=True)
class Moment:
    """The pixel to compute (for a reduction, of the input) and the number of the slice of channels."""

    row: Expr
    column: Expr
    slice: Expr = 0
    running: Running | None = None


@dataclass(frozen=True)
class Place:
    """Everything a kernel may touch. ``scratch`` is one int32 or float32 that the C compiler keeps in a register.

    The scratch's type is the one in which the kernel computes.

    ``slice_in`` and ``slice_out`` are channels of a slice where the input or the output is taken by slices.
    """

    inputs: tuple[Store, ...]
    output: Store
    shape_out: Shape
    dtype_out: str
    constants: dict[str, Any]
    scratch: Any
    slice_in: int | None = None
    slice_out: int | None = None

    @property
    def dtype(self) -> str:
        """The type in which the kernel computes."""
        return str(self.scratch.dtype)

    def wide(self, value: Expr) -> Expr:
        """``value`` in the type in which the kernel computes."""
        return _cast(self.dtype, value)


def emit_operator(ib: Any, op: Operator, place: Place, moment: Moment) -> None:
    """Appends the operator's work at ``moment``."""
    emitters: dict[type, Callable[..., None]] = {Convolution: _convolution, Pool: _pool, Add: _add, Pad: _pad}
    emitters[type(op)](ib, op, place, moment)


def pack_weights(op: Convolution, weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(kh, kw, channels in / groups, channels out) in the order the kernel reads: out, kh, kw, in; flat."""
    return np.ascontiguousarray(weights.transpose(3, 0, 1, 2)).reshape(-1)


def loop_name(operator: str, loop: str) -> str:
    """Of a loop's variable: in the C it tells whose work is done there."""
    return re.sub(r"\W", "_", f"{operator}_{loop}")


def _cast(dtype: str, value: Expr) -> Expr:
    return tir.Cast(dtype, value) if isinstance(value, tir.PrimExpr) else tir.const(value, dtype)


def _rescaled(value: Expr, multiplier: Expr, shift: Expr) -> Expr:
    """floor((value * multiplier + 2**(shift - 1)) / 2**shift) in 64 bits, as int32."""
    wide = tir.Cast("int64", value) * tir.Cast("int64", _cast("int32", multiplier))
    bits = tir.Cast("int64", _cast("int32", shift))
    half = tir.shift_left(tir.const(1, "int64"), bits - 1)
    return tir.Cast("int32", tir.shift_right(wide + half, bits))


def _by(rescale: Rescale, value: Expr) -> Expr:
    """The rescaled difference to ``zero_in``, without ``zero_out``."""
    value = value - rescale.zero_in
    return value if rescale.shift == 0 else _rescaled(value, rescale.multiplier, rescale.shift)


def _clipped(op: Convolution | Pool | Add, place: Place, value: Expr) -> Expr:
    """The value within the operator's limits, in the output's type."""
    if math.isfinite(op.high):
        value = tir.min(value, place.wide(op.high))
    if math.isfinite(op.low):
        value = tir.max(value, place.wide(op.low))
    return tir.Cast(place.dtype_out, value)


@dataclass(frozen=True)
class _Taps:
    """The window positions along one axis that lie inside the tensor: ``count`` of them from ``first`` on."""

    first: Expr
    count: Expr
    origin: Expr
    dilation: int

    def position(self, tap: Expr) -> Expr:
        return self.origin + (self.first + tap) * self.dilation

    def index(self, tap: Expr) -> Expr:
        return self.first + tap


def _taps(window: Window, axis: int, size_in: int, size_out: int, output: Expr) -> _Taps:
    kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    pad = window.pad[axis]
    origin = output * stride - pad
    first: Expr = 0
    if pad > 0:
        first = tir.truncdiv(tir.max(pad - output * stride, 0) + (dilation - 1), dilation)
    stop: Expr = kernel
    if (size_out - 1) * stride - pad + window.reach(axis) > size_in - 1:
        stop = tir.min(kernel, tir.truncdiv(tir.max(size_in - origin, 0) + (dilation - 1), dilation))
    return _Taps(first, stop - first, origin, dilation)


def _window(ib: Any, op: Operator, place: Place, moment: Moment, body: Callable[[Expr, Expr, Expr], None]) -> Expr:
    """Runs ``body(index of the input pixel, kernel row, kernel column)`` over the window; gives its size."""
    view = op.views[0]
    rows = _taps(op.window, 0, view[0], place.shape_out[0], moment.row)
    columns = _taps(op.window, 1, view[1], place.shape_out[1], moment.column)
    with ib.for_range(0, rows.count, "kh") as kh, ib.for_range(0, columns.count, "kw") as kw:
        body(place.inputs[0].at(rows.position(kh), columns.position(kw)), rows.index(kh), columns.index(kw))
    return rows.count * columns.count


def _convolution(ib: Any, op: Convolution, place: Place, moment: Moment) -> None:
    """Output channel by output channel: bias, window, requantise."""
    acc, running = place.scratch, moment.running
    channels, columns = place.shape_out[2], place.shape_out[1]
    reduction = running is not None and running.reduction
    output = place.output.at(0, 0) if reduction else place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or channels, loop_name(op.name, "oc")) as slot:
        oc = slot if place.slice_out is None else moment.slice * place.slice_out + slot
        tap = _tap(ib, op, place, moment, slot, oc)
        if running is None:
            acc[0] = _bias(op, place, oc)
            _window(ib, op, place, moment, tap)
            place.output.pointer[output + slot] = _requantised(op, place, oc)
        else:
            kept = oc if reduction else (moment.row * columns + moment.column) * channels + oc
            acc[0] = tir.Select(running.begins, _bias(op, place, oc), running.sums[kept])
            if reduction:  # this moment's pixel is one tap of the only window
                tap(place.inputs[0].at(moment.row, moment.column), moment.row, moment.column)
            else:
                _window(ib, op, place, moment, tap)
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

    def tap(pixel: Expr, row: Expr, column: Expr) -> None:
        with ib.for_range(0, place.slice_in if sliced else depth, "ic") as ic:
            at = ((oc * kernel_rows + row) * kernel_columns + column) * depth + first + ic
            value = place.wide(x[pixel + group * depth + ic]) - op.zero_in
            acc[0] = acc[0] + value * (place.wide(weights[at]) - op.zero_weight)

    return tap


def _bias(op: Convolution, place: Place, oc: Expr) -> Expr:
    return place.constants[op.scales][oc if place.dtype == "float32" else oc * 3]


def _requantised(op: Convolution, place: Place, oc: Expr) -> Expr:
    value, scales = place.scratch[0], place.constants[op.scales]
    if place.dtype == "int32":
        value = _rescaled(value, scales[oc * 3 + 1], scales[oc * 3 + 2]) + op.zero_out
    return _clipped(op, place, value)


def _pool(ib: Any, op: Pool, place: Place, moment: Moment) -> None:
    x, acc, running = place.inputs[0].pointer, place.scratch, moment.running
    output = place.output.at(0, 0) if running else place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        if running:
            pixel = place.inputs[0].at(moment.row, moment.column)
            acc[0] = tir.Select(running.begins, place.wide(0), place.wide(running.sums[c])) + place.wide(x[pixel + c])
            with ib.if_scope(running.ends):
                place.output.pointer[output + c] = _pooled(op, place, math.prod(op.window.kernel))
            with ib.else_scope():
                running.sums[c] = tir.Cast(running.sums.dtype, acc[0])
        else:
            acc[0] = place.wide(tir.min_value(place.dtype_out).value if op.maximum else 0)

            def tap(pixel: Expr, _row: Expr, _column: Expr, c: Expr = c) -> None:
                value = place.wide(x[pixel + c])
                acc[0] = tir.max(acc[0], value) if op.maximum else acc[0] + value

            size = _window(ib, op, place, moment, tap)
            place.output.pointer[output + c] = _pooled(op, place, size)


def _pooled(op: Pool, place: Place, size: Expr) -> Expr:
    value = place.scratch[0]
    if not op.maximum:
        divide = tir.Div if place.dtype == "float32" else tir.truncdiv
        value = divide(value, place.wide(size))
    if op.rescale:
        value = _by(op.rescale, value) + op.rescale.zero_out
    return _clipped(op, place, value)


def _add(ib: Any, op: Add, place: Place, moment: Moment) -> None:
    output = place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        total: Expr = op.rescales[0].zero_out
        for store, rescale in zip(place.inputs, op.rescales, strict=True):
            total = total + _by(rescale, place.wide(store.pointer[store.at(moment.row, moment.column) + c]))
        place.output.pointer[output + c] = _clipped(op, place, total)


def _pad(ib: Any, op: Pad, place: Place, moment: Moment) -> None:
    store, (height, width, _) = place.inputs[0], op.views[0]
    row, column = moment.row - op.window.pad[0], moment.column - op.window.pad[1]
    inside = tir.all(row >= 0, row < height, column >= 0, column < width)
    output = place.output.at(moment.row, moment.column)
    with ib.for_range(0, place.slice_out or place.shape_out[2], loop_name(op.name, "c")) as c:
        with ib.if_scope(inside):
            place.output.pointer[output + c] = store.pointer[store.at(row, column) + c]
        with ib.else_scope():
            place.output.pointer[output + c] = tir.const(op.value, place.dtype_out)
