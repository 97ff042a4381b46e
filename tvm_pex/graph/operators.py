"""Operators on tensors, with their quantisation.

A tensor is three-dimensional, (height, width, channels), batch 1, stored row by row with the channels innermost (NHWC).
Vectors are (1, 1, n). An operator reads each input under a *view*: the same bytes with another (h, w, c), so that
reshapes are not operators and cost nothing.

All integer arithmetic is that of stock TVM (``qnn.requantize`` with rounding UPWARD in 64 bits)::

    rescale(v) = floor((v * multiplier + 2**(shift - 1)) / 2**shift)        # shift == 0: v * multiplier, exactly

or, in a graph whose ``rounding`` is "tflite", that of TFLite's reference kernels: ``rescale`` rounds as
``tvm_pex.rounding`` says, averages round halves away from zero, and sums are rescaled once more.

An operator whose output is float32 works in float32 throughout: its zero points are 0, its Rescales the identity, and
its limits may be infinite. Only Quantize, Dequantize and Gather have floats on one side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm_pex.graph.window import Shape, Window

Limits = tuple[float, float]
"""The lowest and the highest value: whole numbers of an integer type; infinite where a float32 has none."""
VALUES = 256
"""Of 8 bits."""


@dataclass(frozen=True)
class Rescale:
    """``clip(rescale(v - zero_in) + zero_out, low, high)`` for one scale; see the module's formula."""

    multiplier: int
    shift: int
    zero_in: int
    zero_out: int


@dataclass(frozen=True)
class AnyOperator:
    """What all operators have: an output, and ``views``, the shapes under which they read their ``inputs``."""

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str

    @property
    def constants(self) -> tuple[str, ...]:
        """Names of the constants that it reads."""
        return ()


@dataclass(frozen=True)
class PixelOperator(AnyOperator):
    """One whose output pixel reads the pixels at the same place alone."""

    @property
    def window(self) -> Window:
        return Window()


@dataclass(frozen=True)
class Convolution(AnyOperator):
    """Convolution (grouped, depthwise, dense as 1x1 or whole window), bias, requantise per channel, clip.

    ``weights`` names a constant of shape (kernel h, kernel w, channels in / groups, channels out); ``scales`` one of
    shape (channels out, 3), int32: bias, multiplier, shift. Sums are int32 over (x - zero_in) * (w - zero_weight).
    In float32 the sums are the result, and ``scales`` has shape (channels out, 1): bias.
    """

    window: Window
    groups: int
    weights: str
    scales: str
    zero_in: int
    zero_weight: int
    zero_out: int
    low: float
    high: float

    @property
    def constants(self) -> tuple[str, ...]:
        return self.weights, self.scales

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates for an output of ``shape``, counted from the shapes: padding included, as is usual."""
        return round(math.prod(shape) * self.window.mean_taps() * (self.views[0][2] // self.groups))


@dataclass(frozen=True)
class Pool(AnyOperator):
    """Maximum, or average (sum over positions inside the tensor, divided truncating), then optional rescale, clip.

    As TFLite rounds, the average is divided with halves away from zero; with a rescale it is not divided, because the
    rescale does that too: ``rescale(sum of (x - zero_in)) + zero_out``. In float32 the average is not truncated, and
    there is no rescale. ``undivided`` it is the sum.
    """

    window: Window
    maximum: bool
    rescale: Rescale | None
    low: float
    high: float
    undivided: bool = False


@dataclass(frozen=True)
class Add(PixelOperator):
    """``clip(sum_i rescale_i(x_i - zero_in_i) + zero_out, low, high)``; with one input, a clip.

    The inputs' Rescales share one ``zero_out``, counted once. With a ``total``, which TFLite's addition has, it is
    ``clip(total(sum_i rescale_i((x_i - zero_in_i) * 2**20)) + zero_out, low, high)``. Inputs of Add and Binary may have
    one row, column or channel where the output has several: they are repeated.
    """

    rescales: tuple[Rescale, ...]
    low: float
    high: float
    total: Rescale | None = None


@dataclass(frozen=True)
class Binary(PixelOperator):
    """``clip(rescale(f(a, b)) + zero_out, low, high)``, where a and b are the inputs, each by its own Rescale.

    ``function`` is "subtract", "multiply", "maximum" or "minimum". The inputs' own ``zero_out`` count for nothing; a
    ``rescale`` of None changes nothing. As TFLite rounds, what is subtracted has 20 bits more, as in Add.
    """

    function: str
    rescales: tuple[Rescale, Rescale]
    rescale: Rescale | None
    low: float
    high: float


@dataclass(frozen=True)
class Pad(AnyOperator):
    """Copies the input into a larger tensor; ``value`` fills the border.

    ``window.pad`` is what lies before it, rows and columns; ``first`` channels do, too.
    """

    window: Window
    value: float
    first: int = 0


@dataclass(frozen=True)
class Concat(PixelOperator):
    """The channels of the inputs side by side, pixel by pixel.

    An input whose Rescale is None is copied; of the others each becomes ``clip(rescale(x), low, high)``.
    """

    rescales: tuple[Rescale | None, ...]
    low: float
    high: float

    def first_channel(self, position: int) -> int:
        """Where in the output's pixel the channels of the input at ``position`` begin."""
        return sum(view[2] for view in self.views[:position])


@dataclass(frozen=True)
class Slice(AnyOperator):
    """Copies pixels to other places: each output pixel is the one input pixel that ``window`` picks.

    Its channels are those from ``first`` on, every ``step``-th of them. With ``blocks`` an input pixel holds
    ``prod(window.up)`` pixels of the output one after the other, by rows, and each takes its own.
    """

    window: Window
    first: int
    step: int = 1
    blocks: bool = False


@dataclass(frozen=True)
class Patches(AnyOperator):
    """The pixels of each window, by rows, as channels of one pixel. No window reaches beyond the tensor."""

    window: Window


@dataclass(frozen=True)
class Resize(AnyOperator):
    """Linear between the two nearest rows and the two nearest columns, in float32, by TVM's ``coordinates``.

    ``window`` holds those pixels; at the border one of them is the outermost, twice. Of integers each is first
    dequantised, ``(x - zero_in) * scale``, and what comes out is quantised, as by Dequantize and Quantize.

    As TFLite rounds, integers stay integers: positions are those of ``resize_positions``, results round halves away
    from zero. Then ``window`` may hold pixels more, of weight 0.
    """

    window: Window
    coordinates: str
    scale: float
    zero_in: int
    inverse: float
    zero_out: int
    low: float
    high: float


@dataclass(frozen=True)
class Gather(PixelOperator):
    """Copies the entry of a table that each index names: the input's pixel is an index, the output's an entry.

    ``table`` names a constant of shape (entries, channels) and the output's type. An index is int32, or float32 that is
    truncated. One outside the table means the nearest entry, or with ``wrap`` (int32 alone) the entry at the index
    modulo ``entries``, which is never negative.
    """

    table: str
    entries: int
    wrap: bool

    @property
    def constants(self) -> tuple[str, ...]:
        return (self.table,)


@dataclass(frozen=True)
class Lookup(PixelOperator):
    """Any function of one 8-bit value: the entry of a table at the value's byte, which is from 0 to 255.

    ``table`` names a constant of shape (1 or channels, 256) and the output's type: one row for all channels, or its own
    for each.
    """

    table: str

    @property
    def constants(self) -> tuple[str, ...]:
        return (self.table,)


Step = tuple[Any, ...]
"""Of an Apply: a function and its arguments. A float is a constant, a whole number counts values: those of the inputs,
then the results of the steps; -1, -2, ... are the rows of ``vectors``."""


@dataclass(frozen=True)
class Apply(PixelOperator):
    """Functions of float32, one step after the other; the output is what the last gives.

    The functions are those of ``tvm_pex.lowering.kernels.elementwise``. ``vectors`` names a constant of shape (any,
    channels), or is empty. Inputs may be repeated, as an Add's.
    """

    steps: tuple[Step, ...]
    vectors: str

    @property
    def constants(self) -> tuple[str, ...]:
        return (self.vectors,) if self.vectors else ()


@dataclass(frozen=True)
class Quantize(PixelOperator):
    """``clip(round(x * inverse) + zero_out, low, high)`` in float32, halves rounded away from zero.

    ``inverse`` is 1 / scale in float32: stock TVM multiplies by it. TFLite divides by the scale, which a constant named
    ``scale`` holds then: numbers in TVM's C have seven digits. Infinite values saturate.
    """

    inverse: float
    zero_out: int
    low: float
    high: float
    scale: str | None = None

    @property
    def constants(self) -> tuple[str, ...]:
        return (self.scale,) if self.scale else ()


@dataclass(frozen=True)
class Dequantize(PixelOperator):
    """``(x - zero_in) * scale`` in float32; the difference is exact.

    In stock TVM's C the scale has seven digits. TFLite's has all: then a constant named ``exact`` holds it.
    """

    scale: float
    zero_in: int
    exact: str | None = None

    @property
    def constants(self) -> tuple[str, ...]:
        return (self.exact,) if self.exact else ()


Moved = Pad | Concat | Slice | Patches | Gather
Operator = Convolution | Pool | Add | Binary | Moved | Resize | Lookup | Apply | Quantize | Dequantize


def window_on(op: Operator, position: int, shape: Shape) -> Window:
    """Through which ``op``, whose output is of ``shape``, reads its input at ``position``.

    The inputs of an Add, a Binary or an Apply are repeated along rows and columns of which they have but one: stride 0.
    """
    if not isinstance(op, Add | Binary | Apply):
        return op.window
    view = op.views[position]
    return Window(stride=(int(view[0] == shape[0]), int(view[1] == shape[1])))
