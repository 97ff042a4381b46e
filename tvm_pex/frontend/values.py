"""What Relay expressions say about shapes, types and constants, or why Pex cannot own what says it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relay, tir

from tvm_pex.graph import Limits, Shape

Array = npt.NDArray[Any]

MOST_PIXELS = 1 << 21  # the search knows a time for each; a microcontroller has room for fewer
_VIEWS = ("reshape", "squeeze", "expand_dims", "nn.batch_flatten")


class Unsupported(Exception):
    """Raised with the reason, in a user's words, why an operator stays with TVM. Never leaves the reader."""


def require(condition: bool, reason: str) -> None:
    """Raises Unsupported(reason) unless ``condition`` holds."""
    if not condition:
        raise Unsupported(reason)


def op_name(expr: relay.Expr) -> str:
    """The Relay operator that ``expr`` calls, or an empty string if it calls none."""
    is_call = isinstance(expr, relay.Call) and hasattr(expr.op, "name") and not isinstance(expr.op, relay.GlobalVar)
    return str(expr.op.name) if is_call else ""


def static_shape(expr: relay.Expr) -> tuple[int, ...]:
    """The shape of a tensor-typed expression."""
    kind = expr.checked_type
    require(hasattr(kind, "shape"), "its value is a tuple, not a tensor")
    require(all(isinstance(n, tir.IntImm) for n in kind.shape), "its shape is not known before it runs")
    return tuple(int(n) for n in kind.shape)


def element_dtype(expr: relay.Expr) -> str:
    """The type of a tensor's elements, one that Pex works on: int8, uint8, int16 or float32."""
    return "float32" if is_float(expr) else integer_dtype(expr)


def is_float(expr: relay.Expr) -> bool:
    """True for a tensor of float32."""
    return hasattr(expr.checked_type, "dtype") and str(expr.checked_type.dtype) == "float32"


def is_byte(expr: relay.Expr) -> bool:
    """True for a tensor of int8 or uint8: of so few values that a table holds all results."""
    return hasattr(expr.checked_type, "dtype") and str(expr.checked_type.dtype) in ("int8", "uint8")


def integer_dtype(expr: relay.Expr) -> str:
    """The type of a tensor's elements, int8, uint8 or int16."""
    dtype = str(expr.checked_type.dtype) if hasattr(expr.checked_type, "dtype") else "a tuple"
    require(dtype in ("int8", "uint8", "int16"), f"it works on {dtype}, not on int8, uint8 or int16")
    return dtype


def farthest(dtype: str, zero: int) -> int:
    """The largest magnitude of a value's difference to a zero point."""
    low, high = dtype_range(dtype)
    return int(max(zero - low, high - zero))


def dtype_range(dtype: str) -> Limits:
    """The lowest and the highest value of an integer type; a float has none."""
    if dtype == "float32":
        return -math.inf, math.inf
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def graph_shape(expr: relay.Expr) -> Shape:
    """(height, width, channels) of a batch-1 tensor: (1,h,w,c), (1,l,c) as l rows, (1,n) and (n,) as one pixel."""
    return shape_in_graph(static_shape(expr))


def shape_in_graph(shape: tuple[int, ...]) -> Shape:
    """``graph_shape`` of a tensor of ``shape``."""
    require(all(extent > 0 for extent in shape), "its tensor is empty")
    pixels = math.prod(shape[:-1])
    require(pixels <= MOST_PIXELS, f"its tensor has {pixels} pixels, and schedules are made for up to {MOST_PIXELS}")
    require(len(shape) < 2 or shape[0] == 1, f"its batch is {shape[0] if shape else 0}, not 1")
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    if len(shape) == 3:
        return shape[1], 1, shape[2]
    return 1, 1, math.prod(shape)


def image_shape(expr: relay.Expr) -> Shape:
    """(height, width, channels) of a tensor that must have been (1, height, width, channels)."""
    require(len(static_shape(expr)) == 4, "its tensor does not have four dimensions")
    return graph_shape(expr)


def constant(expr: relay.Expr, what: str) -> Array:
    """The value of a constant, which ``what`` names."""
    require(isinstance(expr, relay.Constant), f"its {what} is not constant (bind the parameters first)")
    return np.asarray(expr.data.numpy())


def scalar(expr: relay.Expr, what: str) -> float:
    """The value of a constant with one element; exact for float32 and for integers."""
    value = constant(expr, what)
    require(value.size == 1, f"its {what} has {value.size} values, not one")
    return float(value.reshape(()))


def integer(expr: relay.Expr, what: str) -> int:
    """The value of a constant with one, integral, element."""
    value = scalar(expr, what)
    require(value.is_integer(), f"its {what} is {value}, not an integer")
    return int(value)


def is_view(expr: relay.Expr) -> bool:
    """True for calls whose value is their argument's bytes under another shape."""
    name = op_name(expr)
    if name == "transpose":
        return _keeps_order(expr)
    return name in _VIEWS


def strip_views(expr: relay.Expr) -> relay.Expr:
    """The expression whose bytes ``expr`` shows."""
    while is_view(expr):
        expr = expr.args[0]
    return expr


def _keeps_order(call: relay.Call) -> bool:
    """True for a transpose that moves axes of length 1 only."""
    shape = call.args[0].checked_type.shape
    if not all(isinstance(n, tir.IntImm) for n in shape):
        return False
    axes = [int(a) % len(shape) for a in call.attrs.axes] if call.attrs.axes else list(range(len(shape)))[::-1]
    long = [a for a in axes if int(shape[a]) > 1]
    return long == sorted(long)
