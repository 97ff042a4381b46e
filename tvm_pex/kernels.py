"""What one operator does at one moment: the TIR of a single output pixel (or, for reductions, a single input pixel).

Portable scalar TIR, the same for the c and the llvm target. Windows are clipped to the tensor, so padding costs nothing
and reads nothing; the arithmetic is that of ``tvm_pex.graph``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
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
    ring's length, None for a whole tensor; ``base`` where the slice begins inside a whole tensor's pixel.
    """

    pointer: Any
    width: int
    channels: int
    pixels: int | None = None
    base: Expr = 0

    def at(self, row: Expr, column: Expr) -> Expr:
        """Index of the pixel's first channel, or of the slice's."""
        if self.pixels is None:
            return (row * self.width + column) * self.channels + self.base
        if self.pixels % self.width == 0:
            row = tir.truncmod(row, self.pixels // self.width) if self.pixels > self.width else 0
            return (row * self.width + column) * self.channels
        return tir.truncmod(row * self.width + column, self.pixels) * self.channels


@dataclass(frozen=True)
class Moment:
    """The pixel to compute, the slice of channels, and whether sums begin or end here (None: not a running sum)."""

    row: Expr
    column: Expr
    slice: Expr | None = None
    begins: Expr | None = None
    ends: Expr | None = None


@dataclass(frozen=True)
class Place:
    """Everything a kernel may touch. ``scratch`` is one int32 that the C compiler keeps in a register."""

    inputs: tuple[Store, ...]
    output: Store
    shape_out: Shape
    dtype_out: str
    constants: dict[str, Any]
    scratch: Any
    sums: Any | None = None
    slice_in: int | None = None
    slice_out: int | None = None


def emit_operator(ib: Any, op: Operator, place: Place, moment: Moment) -> None:
    """Appends the operator's work at ``moment``."""
    emitters: dict[type, Callable[..., None]] = {Convolution: _convolution, Pool: _pool, Add: _add, Pad: _pad}
    emitters[type(op)](ib, op, place, moment)


def pack_weights(op: Convolution, weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(kh, kw, channels in / groups, channels out) in the order the kernel reads: out, kh, kw, in; flat."""
    return np.ascontiguousarray(weights.transpose(3, 0, 1, 2)).reshape(-1)


def _i32(value: Expr) -> Expr:
    return tir.Cast("int32", value) if isinstance(value, tir.PrimExpr) else tir.const(value, "int32")


def _rescaled(value: Expr, multiplier: Expr, shift: Expr) -> Expr:
    """floor((value * multiplier + 2**(shift - 1)) / 2**shift) in 64 bits, as int32."""
    wide = tir.Cast("int64", value) * tir.Cast("int64", _i32(multiplier))
    bits = tir.Cast("int64", _i32(shift))
    half = tir.shift_left(tir.const(1, "int64"), bits - 1)
    return tir.Cast("int32", tir.shift_right(wide + half, bits))


def _by(rescale: Rescale, value: Expr) -> Expr:
    """The rescaled difference to ``zero_in``, without ``zero_out``."""
    value = value - rescale.zero_in
    return value if rescale.shift == 0 else _rescaled(value, rescale.multiplier, rescale.shift)


def _clipped(value: Expr, low: int, high: int, dtype: str) -> Expr:
    return tir.Cast(dtype, tir.max(tir.min(value, _i32(high)), _i32(low)))


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


def _over(ib: Any, count: Expr, name: str) -> AbstractContextManager[Any]:
    return ib.for_range(0, count, name)


def _window(
    ib: Any, op: Operator, place: Place, moment: Moment, body: Callable[[Expr, Expr, Expr], None]
) -> Expr:
    """Runs ``body(index of the input pixel, kernel row, kernel column)`` over the window; gives its size."""
    view = op.views[0]
    rows = _taps(op.window, 0, view[0], place.shape_out[0], moment.row)
    columns = _taps(op.window, 1, view[1], place.shape_out[1], moment.column)
    with _over(ib, rows.count, "kh") as kh, _over(ib, columns.count, "kw") as kw:
        body(place.inputs[0].at(rows.position(kh), columns.position(kw)), rows.index(kh), columns.index(kw))
    return rows.count * columns.count


def _convolution(ib: Any, op: Convolution, place: Place, moment: Moment) -> None:
    """Output channel by output channel: bias, window, requantise. Sums go through ``place.sums`` where they run on."""
    x, acc = place.inputs[0].pointer, place.scratch
    weights, scales = place.constants[op.weights], place.constants[op.scales]
    channels_out = place.shape_out[2]
    kh_all, kw_all = op.window.kernel
    inner = op.views[0][2] // op.groups
    read = place.slice_in or inner
    start_in = 0 if place.slice_in is None or op.groups > 1 else moment.slice * place.slice_in
    running = moment.begins is not None
    reduction = running and place.slice_in is None
    output = place.output.at(0, 0) if reduction else place.output.at(moment.row, moment.column)
    count = place.slice_out or channels_out
    with _over(ib, count, "oc") as slot:
        oc = slot if place.slice_out is None else moment.slice * place.slice_out + slot
        sum_at = oc if reduction else (moment.row * place.shape_out[1] + moment.column) * channels_out + oc
        acc[0] = tir.Select(moment.begins, scales[oc * 3], place.sums[sum_at]) if running else scales[oc * 3]
        group = tir.truncdiv(slot, channels_out // op.groups) if op.groups > 1 else 0

        def tap(pixel: Expr, kh: Expr, kw: Expr) -> None:
            if op.groups > 1:
                width, base = inner, group * inner
            else:
                width, base = read, 0
            with _over(ib, width, "ic") as ic:
                at = ((oc * kh_all + kh) * kw_all + kw) * inner + start_in + ic
                value = _i32(x[pixel + base + ic]) - op.zero_in
                acc[0] = acc[0] + value * (_i32(weights[at]) - op.zero_weight)

        if reduction:  # this moment's pixel is one tap of the only window
            tap(place.inputs[0].at(moment.row, moment.column), moment.row, moment.column)
        else:
            _window(ib, op, place, moment, tap)

        def finish() -> None:
            value = _rescaled(acc[0], scales[oc * 3 + 1], scales[oc * 3 + 2]) + op.zero_out
            place.output.pointer[output + slot] = _clipped(value, op.low, op.high, place.dtype_out)

        if not running:
            finish()
            return
        with ib.if_scope(moment.ends):
            finish()
        with ib.else_scope():
            place.sums[sum_at] = acc[0]


def _pool(ib: Any, op: Pool, place: Place, moment: Moment) -> None:
    x, acc = place.inputs[0].pointer, place.scratch
    running = moment.begins is not None
    output = place.output.at(0, 0) if running else place.output.at(moment.row, moment.column)
    count = place.slice_out or place.shape_out[2]
    least = int(np.iinfo(place.dtype_out).min)

    def finish(total: Expr, size: Expr, at: Expr) -> None:
        value = total if op.maximum else tir.truncdiv(total, _i32(size))
        if op.rescale:
            value = _by(op.rescale, value) + op.rescale.zero_out
        place.output.pointer[at] = _clipped(value, op.low, op.high, place.dtype_out)

    with _over(ib, count, "c") as c:
        if running:
            pixel = place.inputs[0].at(moment.row, moment.column)
            acc[0] = tir.Select(moment.begins, 0, _i32(place.sums[c])) + _i32(x[pixel + c])
            with ib.if_scope(moment.ends):
                finish(acc[0], math.prod(op.window.kernel), output + c)
            with ib.else_scope():
                place.sums[c] = tir.Cast(place.sums.dtype, acc[0])
            return
        acc[0] = tir.const(least if op.maximum else 0, "int32")

        def tap(pixel: Expr, _kh: Expr, _kw: Expr) -> None:
            value = _i32(x[pixel + c])
            acc[0] = tir.max(acc[0], value) if op.maximum else acc[0] + value

        size = _window(ib, op, place, moment, tap)
        finish(acc[0], size, output + c)


def _add(ib: Any, op: Add, place: Place, moment: Moment) -> None:
    output = place.output.at(moment.row, moment.column)
    with _over(ib, place.slice_out or place.shape_out[2], "c") as c:
        total: Expr = op.rescales[0].zero_out
        for store, rescale in zip(place.inputs, op.rescales, strict=True):
            total = total + _by(rescale, _i32(store.pointer[store.at(moment.row, moment.column) + c]))
        place.output.pointer[output + c] = _clipped(total, op.low, op.high, place.dtype_out)


def _pad(ib: Any, op: Pad, place: Place, moment: Moment) -> None:
    store, (height, width, _) = place.inputs[0], op.views[0]
    row, column = moment.row - op.window.pad[0], moment.column - op.window.pad[1]
    inside = tir.all(row >= 0, row < height, column >= 0, column < width)
    output = place.output.at(moment.row, moment.column)
    with _over(ib, place.slice_out or place.shape_out[2], "c") as c:
        with ib.if_scope(inside):
            place.output.pointer[output + c] = store.pointer[store.at(row, column) + c]
        with ib.else_scope():
            place.output.pointer[output + c] = tir.const(op.value, place.dtype_out)
