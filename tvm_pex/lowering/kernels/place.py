"""What a kernel is told: where its tensors lie, which pixel is due, and the arithmetic that kernels share."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from tvm import tir

from tvm_pex.graph import Add, Binary, Concat, Convolution, Pool, Rescale, Shape
from tvm_pex.rounding import LARGEST_WITHOUT_NUDGE, NUDGE, Rounding

Expr = Any  # tir.PrimExpr, or a Python int


@dataclass(frozen=True)
class Store:
    """Where a tensor lives: a flat TIR buffer, its pointer, and the ring position of pixel (row, column).

    ``width`` and ``channels`` are those of the view; ``channels`` of a sliced tensor count one slice. ``pixels`` is the
    ring's length, None for a whole tensor; ``base`` the channel of the stored pixel where the tensor, or the present
    slice of it, begins; ``first`` the column of the tensor at which the store's columns begin.
    """

    buffer: Any
    pointer: Any
    width: int
    channels: int
    pixels: int | None = None
    base: Expr = 0
    first: Expr = 0

    @property
    def wraps(self) -> bool:
        """True if pixels of one row may lie at both ends of the ring."""
        return self.pixels is not None and self.width > 0 and self.pixels % self.width != 0

    def position(self, row: Expr, column: Expr) -> Expr:
        """The pixel's place in the ring, if there is one of pixels."""
        return tir.truncmod(row * self.width + column - self.first, self.pixels)

    def at(self, row: Expr, column: Expr) -> Expr:
        """Index of the pixel's first channel, or of the slice's."""
        if self.wraps or (self.pixels and not self.width):
            return self.position(row, column) * self.channels + self.base
        column = column - self.first
        if self.pixels is not None:
            row = tir.truncmod(row, self.pixels // self.width) if self.pixels > self.width else 0
        return (row * self.width + column) * self.channels + self.base


@dataclass(frozen=True)
class Running:
    """Sums that outlive a moment, a TIR buffer and its pointer: they begin with the bias or 0, and become the output.

    A ``reduction`` adds one input pixel at a moment and gives one output pixel; else slices of channels are added up.
    ``first`` is the place of the present slice among the sums of a reduction.
    """

    buffer: Any
    sums: Any
    begins: Expr
    ends: Expr
    reduction: bool
    first: Expr = 0


@dataclass(frozen=True)
class Moment:
    """The pixel to compute (for a reduction, of the input) and the number of the slice of channels."""

    row: Expr
    column: Expr
    slice: Expr = 0
    running: Running | None = None


@dataclass(frozen=True)
class Place:
    """Everything a kernel may touch. ``scratch`` are two int32 or float32 that the C compiler keeps in registers.

    The scratch's type is the one in which the kernel computes. ``constants`` are pointers by name, ``buffers`` the TIR
    buffers behind them.

    ``slice_in`` and ``slice_out`` are channels of a slice where the input or the output is taken by slices.
    With ``inputs_apart`` a convolution sums its inputs apart (``sums_inputs_apart``).
    ``written`` are the inputs, by position, that lie in the output already. A ``kernel`` in C computes whole runs of
    pixels; some copy windows to a ``patch``, a TIR buffer. ``rounding`` is the graph's.
    """

    inputs: tuple[Store, ...]
    output: Store
    shape_out: Shape
    dtype_out: str
    constants: dict[str, Any]
    buffers: dict[str, Any]
    scratch: Any
    slice_in: int | None = None
    slice_out: int | None = None
    written: frozenset[int] = frozenset()
    kernel: str | None = None
    patch: Any = None
    rounding: Rounding = "tvm"
    inputs_apart: bool = False

    @property
    def dtype(self) -> str:
        """The type in which the kernel computes."""
        return str(self.scratch.dtype)

    def wide(self, value: Expr) -> Expr:
        """``value`` in the type in which the kernel computes."""
        return cast(self.dtype, value)


def loop_name(operator: str, loop: str) -> str:
    """Of a loop's variable: in the C it tells whose work is done there."""
    return re.sub(r"\W", "_", f"{operator}_{loop}")


def cast(dtype: str, value: Expr) -> Expr:
    return tir.Cast(dtype, value) if isinstance(value, tir.PrimExpr) else tir.const(value, dtype)


def rescaled(value: Expr, multiplier: Expr, shift: Expr, rounding: Rounding) -> Expr:
    """``rescale`` of tvm_pex.rounding for a shift from 1 on, in 64 bits, as int32."""
    wide = tir.Cast("int64", value) * tir.Cast("int64", cast("int32", multiplier))
    bits = tir.Cast("int64", cast("int32", shift))
    half = tir.shift_left(tir.const(1, "int64"), bits - 1)
    if rounding == "tflite":
        half = half + _nudge(value, shift)
    return tir.Cast("int32", tir.shift_right(wide + half, bits))


def _nudge(value: Expr, shift: Expr) -> Expr:
    """What TFLite's rounding adds to a half."""
    nudge = tir.Select(value < 0, tir.const(-NUDGE, "int64"), tir.const(NUDGE, "int64"))
    return tir.Select(cast("int32", shift) > LARGEST_WITHOUT_NUDGE, nudge, tir.const(0, "int64"))


def rescaled_by(rescale: Rescale, value: Expr, rounding: Rounding) -> Expr:
    """The rescaled difference to ``zero_in``, without ``zero_out``."""
    value = value - rescale.zero_in
    return value if rescale.shift == 0 else rescaled(value, rescale.multiplier, rescale.shift, rounding)


def clipped(op: Convolution | Pool | Add | Binary | Concat, place: Place, value: Expr) -> Expr:
    """The value within the operator's limits, in the output's type."""
    if math.isfinite(op.high):
        value = tir.min(value, place.wide(op.high))
    if math.isfinite(op.low):
        value = tir.max(value, place.wide(op.low))
    return tir.Cast(place.dtype_out, value)
