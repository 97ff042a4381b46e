"""A Claim is what the reader of one Relay operator answers; here too is what several such readers need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tvm import relay

from tvm_pex.frontend.fixed_point import IDENTITY, fixed_point, tflite_fixed_point
from tvm_pex.frontend.values import (
    Array,
    Unsupported,
    dtype_range,
    element_dtype,
    graph_shape,
    integer,
    op_name,
    require,
    scalar,
    static_shape,
)
from tvm_pex.graph import Operator, Pair, Rescale, Shape
from tvm_pex.rounding import Rounding


@dataclass(frozen=True)
class Readers:
    """For each expression, by how many arguments and results it is read; and whose integers Pex is to give."""

    counts: Mapping[relay.Expr, int]
    rounding: Rounding = "tvm"

    def __getitem__(self, expr: relay.Expr) -> int:
        return self.counts[expr]


NAMELESS = ""
"""Stands for names in a Claim's operator."""


@dataclass(frozen=True)
class Claim:
    """An operator that Pex can own, without names yet: of kind ``kind``, reading ``inputs``, writing ``shape``.

    ``constants`` hold what the operator's fields of the same name will name; ``undefined_shifts`` counts the channels
    whose rescale stock TVM leaves undefined.
    """

    kind: str
    operator: Operator
    inputs: tuple[relay.Expr, ...]
    shape: Shape
    dtype: str
    constants: Mapping[str, Array] = field(default_factory=dict)
    undefined_shifts: int = 0


def requantise_arguments(
    call: relay.Call,
) -> tuple[relay.Expr, relay.Expr, relay.Expr, relay.Expr, relay.Expr]:
    """(data, scale in, zero in, scale out, zero out) of a qnn.requantize that rounds as Pex does."""
    require(str(call.attrs.rounding) in ("None", "UPWARD"), f"its rounding is {call.attrs.rounding}")
    require(str(call.attrs.compute_dtype) in ("None", "int64"), f"it computes in {call.attrs.compute_dtype}")
    data, scale_in, zero_in, scale_out, zero_out = call.args
    return data, scale_in, zero_in, scale_out, zero_out


def used_once(expr: relay.Expr, readers: Readers) -> relay.Expr:
    """``expr``, which must have one reader, because fusing it into that one would compute it again for the others."""
    require(readers[expr] == 1, f"its {op_name(expr)} is read by another operator too")
    return expr


def strip_pads(data: relay.Expr, legal: Callable[[float], bool]) -> tuple[relay.Expr, Pair]:
    """Looks through each nn.pad whose value is ``legal``: what they pad, and by how many (rows, columns) before it."""
    rows = columns = 0
    while op_name(data) == "nn.pad":
        try:
            before, first, value = pad_attributes(data)
        except Unsupported:
            break
        if first or not legal(value) or graph_shape(data)[2] != graph_shape(data.args[0])[2]:
            break
        data, rows, columns = data.args[0], rows + before[0], columns + before[1]
    return data, (rows, columns)


def tensor_rescale(
    scale_in: relay.Expr,
    zero_in: relay.Expr,
    scale_out: relay.Expr,
    zero_out: relay.Expr,
    *,
    rounding: Rounding = "tvm",
) -> tuple[Rescale, int]:
    """One scale for a whole tensor, and 1 if stock TVM leaves its shift undefined."""
    scales = scalar(scale_in, "input scale"), scalar(scale_out, "output scale")
    with unsupported_scales():
        if rounding == "tvm":
            fixed = fixed_point(*scales, per_channel=False)
        else:
            fixed = IDENTITY if scales[0] == scales[1] else tflite_fixed_point(scales[0] / scales[1])
    zeros = integer(zero_in, "input zero point"), integer(zero_out, "output zero point")
    return Rescale(fixed.multiplier, fixed.shift, *zeros), int(fixed.undefined)


@contextmanager
def unsupported_scales() -> Iterator[None]:
    """Scales that have no multiplier and shift raise Unsupported."""
    try:
        yield
    except (ValueError, ZeroDivisionError) as error:
        raise Unsupported(str(error)) from error


def pad_attributes(call: relay.Call) -> tuple[Pair, int, float]:
    """The rows and columns, and the channels, before the tensor, and the value, of an nn.pad."""
    require(str(call.attrs.pad_mode) == "constant", f"its pad_mode is {call.attrs.pad_mode}")
    dtype = element_dtype(call)
    low, high = dtype_range(dtype)
    value = scalar(call.args[1], "pad value") if dtype == "float32" else integer(call.args[1], "pad value")
    require(low <= value <= high, f"its pad value {value} does not fit its type")
    rows, columns, channels = before_after(call)
    require(all(n >= 0 for n in (*rows, *columns, *channels)), "it cuts off what it should pad")
    return (rows[0], columns[0]), channels[0], value


def before_after(call: relay.Call) -> tuple[Pair, Pair, Pair]:
    """How many rows, columns and channels a padding adds before and after its tensor."""
    rank = len(static_shape(call))
    require(rank in (3, 4), f"its tensor has {rank} dimensions")
    widths = [pair(width) for width in call.attrs.pad_width]
    require(widths[0] == (0, 0), "it pads the batch")
    return widths[1], widths[2] if rank == 4 else (0, 0), widths[-1]


def pair(values: list[int] | tuple[int, ...]) -> Pair:
    """(rows, columns) of a Relay attribute with two values."""
    rows, columns = (int(v) for v in values)
    return rows, columns


def sides(padding: list[int] | tuple[int, ...]) -> tuple[int, ...]:
    """(top, left, bottom, right) of a Relay padding with one, two or four values."""
    values = tuple(int(v) for v in padding)
    return {1: values * 4, 2: values * 2}.get(len(values), values)
