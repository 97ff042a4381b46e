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


def for_window(ib: Any, op: Operator, place: Place, moment: Moment, body: Callable[[Expr, Expr, Expr], None]) -> Expr:
    """Runs ``body(index of the input pixel, kernel row, kernel column)`` over the window; gives its size."""
    view = op.views[0]
    rows = _taps(op.window, 0, view[0], place.shape_out[0], moment.row)
    columns = _taps(op.window, 1, view[1], place.shape_out[1], moment.column)
    with ib.for_range(0, rows.count, "kh") as kh, ib.for_range(0, columns.count, "kw") as kw:
        body(place.inputs[0].at(rows.position(kh), columns.position(kw)), rows.index(kh), columns.index(kw))
    return rows.count * columns.count
