"""The loops over a window's positions, clipped to the tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tir

from tvm_pex.graph import Operator, Window
from tvm_pex.lowering.kernels.place import Expr, Moment, Place


@dataclass(frozen=True)
class _Taps:
    """The window positions along one axis that lie inside the tensor: ``count`` of them.

    The one with number ``tap`` is at ``start + tap * step`` of the tensor and ``first + tap * every`` of the window.
    """

    count: Expr
    start: Expr
    step: int
    first: Expr
    every: int

    def position(self, tap: Expr) -> Expr:
        return self.start + tap * self.step

    def index(self, tap: Expr) -> Expr:
        return self.first + tap * self.every


def _taps(window: Window, axis: int, size_in: int, size_out: int, output: Expr) -> _Taps:
    kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    pad, up = window.pad[axis], window.up[axis]
    origin = output * stride - pad
    if up > 1:
        start = tir.truncdiv(tir.max(origin, 0) + (up - 1), up)
        behind = tir.min(tir.truncdiv(tir.max(origin + window.reach(axis) + up, 0), up), size_in)
        return _Taps(tir.max(behind - start, 0), start, 1, start * up - origin, up)
    first: Expr = 0
    if pad > 0:
        first = tir.truncdiv(tir.max(pad - output * stride, 0) + (dilation - 1), dilation)
    stop: Expr = kernel
    if (size_out - 1) * stride - pad + window.reach(axis) > size_in - 1:
        stop = tir.min(kernel, tir.truncdiv(tir.max(size_in - origin, 0) + (dilation - 1), dilation))
    return _Taps(stop - first, origin + first * dilation, dilation, first, 1)


def picked(window: Window, axis: int, size_in: int, output: Expr) -> tuple[Expr, Expr]:
    """The position of the one that the window picks along an axis, and how many positions of ``up`` it lies back."""
    up, mirror = window.up[axis], window.mirror
    at = output * window.stride[axis] - window.pad[axis]
    if mirror is not None:
        at = tir.Select(at < 0, mirror - 1 - at, at)
        at = tir.Select(at >= size_in, 2 * size_in - 1 - mirror - at, at)
    if up == 1:
        return at, 0
    last = at + window.reach(axis)
    return tir.truncdiv(last, up), tir.truncmod(last, up)


def for_window(ib: Any, op: Operator, place: Place, moment: Moment, body: Callable[[Expr, Expr, Expr], None]) -> Expr:
    """Runs ``body(index of the input pixel, kernel row, kernel column)`` over the window; gives its size."""
    view = op.views[0]
    rows = _taps(op.window, 0, view[0], place.shape_out[0], moment.row)
    columns = _taps(op.window, 1, view[1], place.shape_out[1], moment.column)
    with ib.for_range(0, rows.count, "kh") as kh, ib.for_range(0, columns.count, "kw") as kw:
        body(place.inputs[0].at(rows.position(kh), columns.position(kw)), rows.index(kh), columns.index(kw))
    return rows.count * columns.count
