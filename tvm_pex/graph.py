"""Operators on tensors, with their quantisation. Pure: no TVM, no schedule.

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

import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from tvm_pex.rounding import Rounding

Shape = tuple[int, int, int]
Pair = tuple[int, int]
Limits = tuple[float, float]
"""The lowest and the highest value: whole numbers of an integer type; infinite where a float32 has none."""
VALUES = 256
"""Of 8 bits."""


@dataclass(frozen=True)
class Tensor:
    """An activation: ``shape`` is (height, width, channels), ``dtype`` a numpy name (int8, uint8, int32, float32)."""

    name: str
    shape: Shape
    dtype: str

    @property
    def item_bytes(self) -> int:
        return int(np.dtype(self.dtype).itemsize)

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.item_bytes


@dataclass(frozen=True)
class Window:
    """What a sliding operator sees: output row r reads input rows ``r * stride - pad + k * dilation``, k < kernel.

    Every field but ``mirror`` is (rows, columns). ``pad`` is what lies before the tensor (top, left), below 0 where it
    begins later; what lies behind it follows from the output's shape. Positions outside the tensor are skipped: they
    hold the input's zero point.

    Where the output has more rows than the input, these rows lie ``up`` positions apart: r reads row i of the input
    where one of its positions is ``i * up``, and between the rows there is nothing. Such a window is not dilated.

    With ``mirror`` (and ``up`` 1) a position outside the tensor is the one as far inside: 0 counts from the border
    between both, so that the outermost row comes twice, 1 from the outermost row.
    """

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pad: Pair = (0, 0)
    up: Pair = (1, 1)
    mirror: int | None = None

    def reach(self, axis: int) -> int:
        """Distance from the first to the last position that a window touches."""
        return (self.kernel[axis] - 1) * self.dilation[axis]

    def covers(self, shape: Shape) -> bool:
        """True when the first window spans the whole tensor, so that its sums can be taken as pixels come."""
        return self == Window(kernel=shape[:2], stride=self.stride)

    def mean_taps(self) -> Fraction:
        """Positions of the input that an output reads, on average and inside: fewer than the kernel's with ``up``."""
        return Fraction(math.prod(self.kernel), math.prod(self.up))


@dataclass(frozen=True)
class Rescale:
    """``clip(rescale(v - zero_in) + zero_out, low, high)`` for one scale; see the module's formula."""

    multiplier: int
    shift: int
    zero_in: int
    zero_out: int


@dataclass(frozen=True)
class Convolution:
    """Convolution (grouped, depthwise, dense as 1x1 or whole window), bias, requantise per channel, clip.

    ``weights`` names a constant of shape (kernel h, kernel w, channels in / groups, channels out); ``scales`` one of
    shape (channels out, 3), int32: bias, multiplier, shift. Sums are int32 over (x - zero_in) * (w - zero_weight).
    In float32 the sums are the result, and ``scales`` has shape (channels out, 1): bias.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
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
class Pool:
    """Maximum, or average (sum over positions inside the tensor, divided truncating), then optional rescale, clip.

    As TFLite rounds, the average is divided with halves away from zero; with a rescale it is not divided, because the
    rescale does that too: ``rescale(sum of (x - zero_in)) + zero_out``. In float32 the average is not truncated, and
    there is no rescale. ``undivided`` it is the sum.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    window: Window
    maximum: bool
    rescale: Rescale | None
    low: float
    high: float
    undivided: bool = False


@dataclass(frozen=True)
class Add:
    """``clip(sum_i rescale_i(x_i - zero_in_i) + zero_out, low, high)``; with one input, a clip.

    The inputs' Rescales share one ``zero_out``, counted once. With a ``total``, which TFLite's addition has, it is
    ``clip(total(sum_i rescale_i((x_i - zero_in_i) * 2**20)) + zero_out, low, high)``. Inputs of Add and Binary may have
    one row, column or channel where the output has several: they are repeated.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    rescales: tuple[Rescale, ...]
    low: float
    high: float
    total: Rescale | None = None

    @property
    def window(self) -> Window:
        return Window()


@dataclass(frozen=True)
class Binary:
    """``clip(rescale(f(a, b)) + zero_out, low, high)``, where a and b are the inputs, each by its own Rescale.

    ``function`` is "subtract", "multiply", "maximum" or "minimum". The inputs' own ``zero_out`` count for nothing; a
    ``rescale`` of None changes nothing.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    function: str
    rescales: tuple[Rescale, Rescale]
    rescale: Rescale | None
    low: float
    high: float

    @property
    def window(self) -> Window:
        return Window()


@dataclass(frozen=True)
class Pad:
    """Copies the input into a larger tensor; ``value`` fills the border.

    ``window.pad`` is what lies before it, rows and columns; ``first`` channels do, too.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    window: Window
    value: float
    first: int = 0


@dataclass(frozen=True)
class Concat:
    """The channels of the inputs side by side, pixel by pixel.

    An input whose Rescale is None is copied; of the others each becomes ``clip(rescale(x), low, high)``.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    rescales: tuple[Rescale | None, ...]
    low: float
    high: float

    @property
    def window(self) -> Window:
        return Window()

    def first_channel(self, position: int) -> int:
        """Where in the output's pixel the channels of the input at ``position`` begin."""
        return sum(view[2] for view in self.views[:position])


@dataclass(frozen=True)
class Slice:
    """Copies pixels to other places: each output pixel is the one input pixel that ``window`` picks.

    Its channels are those from ``first`` on, every ``step``-th of them. With ``blocks`` an input pixel holds
    ``prod(window.up)`` pixels of the output one after the other, by rows, and each takes its own.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    window: Window
    first: int
    step: int = 1
    blocks: bool = False


@dataclass(frozen=True)
class Patches:
    """The pixels of each window, by rows, as channels of one pixel. No window reaches beyond the tensor."""

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    window: Window


@dataclass(frozen=True)
class Resize:
    """Linear between the two nearest rows and the two nearest columns, in float32, by TVM's ``coordinates``.

    ``window`` holds those pixels; at the border one of them is the outermost, twice. Of integers each is first
    dequantised, ``(x - zero_in) * scale``, and what comes out is quantised, as by Dequantize and Quantize.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    window: Window
    coordinates: str
    scale: float
    zero_in: int
    inverse: float
    zero_out: int
    low: float
    high: float


@dataclass(frozen=True)
class Gather:
    """Copies the entry of a table that each index names: the input's pixel is an index, the output's an entry.

    ``table`` names a constant of shape (entries, channels) and the output's type. An index is int32, or float32 that is
    truncated. One outside the table means the nearest entry, or with ``wrap`` (int32 alone) the entry at the index
    modulo ``entries``, which is never negative.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    table: str
    entries: int
    wrap: bool

    @property
    def window(self) -> Window:
        return Window()

    @property
    def constants(self) -> tuple[str, ...]:
        return (self.table,)


@dataclass(frozen=True)
class Lookup:
    """Any function of one 8-bit value: the entry of a table at the value's byte, which is from 0 to 255.

    ``table`` names a constant of shape (1 or channels, 256) and the output's type: one row for all channels, or its own
    for each.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    table: str

    @property
    def window(self) -> Window:
        return Window()

    @property
    def constants(self) -> tuple[str, ...]:
        return (self.table,)


Step = tuple[Any, ...]
"""Of an Apply: a function and its arguments. A float is a constant, a whole number counts values: those of the inputs,
then the results of the steps; -1, -2, ... are the rows of ``vectors``."""


@dataclass(frozen=True)
class Apply:
    """Functions of float32, one step after the other; the output is what the last gives.

    The functions are those of ``tvm_pex.lowering.kernels.elementwise``. ``vectors`` names a constant of shape (any,
    channels), or is empty. Inputs may be repeated, as an Add's.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    steps: tuple[Step, ...]
    vectors: str

    @property
    def window(self) -> Window:
        return Window()

    @property
    def constants(self) -> tuple[str, ...]:
        return (self.vectors,) if self.vectors else ()


@dataclass(frozen=True)
class Quantize:
    """``clip(round(x * inverse) + zero_out, low, high)`` in float32, halves rounded away from zero.

    ``inverse`` is 1 / scale in float32: stock TVM multiplies by it. TFLite divides by the scale, which a constant named
    ``scale`` holds then: numbers in TVM's C have seven digits. Infinite values saturate.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    inverse: float
    zero_out: int
    low: float
    high: float
    scale: str | None = None

    @property
    def constants(self) -> tuple[str, ...]:
        return (self.scale,) if self.scale else ()

    @property
    def window(self) -> Window:
        return Window()


@dataclass(frozen=True)
class Dequantize:
    """``(x - zero_in) * scale`` in float32; the difference is exact.

    In stock TVM's C the scale has seven digits. TFLite's has all: then a constant named ``exact`` holds it.
    """

    name: str
    inputs: tuple[str, ...]
    views: tuple[Shape, ...]
    output: str
    scale: float
    zero_in: int
    exact: str | None = None

    @property
    def constants(self) -> tuple[str, ...]:
        return (self.exact,) if self.exact else ()

    @property
    def window(self) -> Window:
        return Window()


Moved = Pad | Concat | Slice | Patches | Gather
Operator = Convolution | Pool | Add | Binary | Moved | Resize | Lookup | Apply | Quantize | Dequantize
_KINDS: dict[str, type[Operator]] = {kind.__name__: kind for kind in get_args(Operator)}


def window_on(op: Operator, position: int, shape: Shape) -> Window:
    """Through which ``op``, whose output is of ``shape``, reads its input at ``position``.

    The inputs of an Add, a Binary or an Apply are repeated along rows and columns of which they have but one: stride 0.
    """
    if not isinstance(op, Add | Binary | Apply):
        return op.window
    view = op.views[position]
    return Window(stride=(int(view[0] == shape[0]), int(view[1] == shape[1])))


def constants_of(op: Operator) -> tuple[str, ...]:
    """Names of the constants that ``op`` reads."""
    owners = Convolution | Gather | Lookup | Apply | Quantize | Dequantize
    return op.constants if isinstance(op, owners) else ()


@dataclass(frozen=True)
class Graph:
    """Operators in topological order, the tensors they read and write, and the constants by name.

    ``streamed`` are inputs that are never whole in memory: the caller hands in row after row while the program runs.
    The first operator, and no other, reads such an input, each pixel once: it has the Window of one pixel.
    ``handed_out`` are outputs that are never whole either: the caller takes each row when it is made.
    ``kernels`` names, by operator, kernels in C (``tvm_pex.scheduling.kernels``), packed for ``core``; the others run
    as portable TIR. ``rounding``: whose integers the operators give.
    """

    tensors: Mapping[str, Tensor]
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    streamed: tuple[str, ...] = ()
    handed_out: tuple[str, ...] = ()

    kernels: Mapping[str, str] = field(default_factory=dict)
    core: str = ""
    rounding: Rounding = "tvm"

    @property
    def outside(self) -> frozenset[str]:
        """Tensors of which the caller holds the present row, and the program nothing."""
        return frozenset((*self.streamed, *self.handed_out))

    @property
    def arrival(self) -> Operator | None:
        """The operator that takes the rows of the streamed input as they come; None where no input is streamed."""
        return self.operators[0] if self.streamed else None

    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return self.macs_of(self.operators)

    def macs_of(self, operators: Sequence[Operator]) -> int:
        """Multiply-accumulates of some of the operators."""
        return sum(op.macs(self.tensors[op.output].shape) for op in operators if isinstance(op, Convolution))

    def consumers(self) -> dict[str, list[Operator]]:
        """For each tensor, the operators that read it, in order."""
        out: dict[str, list[Operator]] = {name: [] for name in self.tensors}
        for op in self.operators:
            for name in dict.fromkeys(op.inputs):
                out[name].append(op)
        return out

    @functools.cached_property
    def readers(self) -> Mapping[str, frozenset[str]]:
        """For each tensor, the names of the operators that read it."""
        return {name: frozenset(op.name for op in readers) for name, readers in self.consumers().items()}

    def to_json(self) -> str:
        """Everything but the constants' values, in one line, so that it can ride on a Relay attribute."""
        record = {
            "tensors": [dataclasses.astuple(t) for t in self.tensors.values()],
            "operators": [[type(op).__name__, dataclasses.asdict(op)] for op in self.operators],
            "inputs": self.inputs,
            "outputs": self.outputs,
            "constants": list(self.constants),
            "streamed": self.streamed,
            "handed_out": self.handed_out,
            "kernels": dict(self.kernels),
            "core": self.core,
            "rounding": self.rounding,
        }
        return json.dumps(record, separators=(",", ":"))


def subgraph(graph: Graph, operators: Sequence[Operator]) -> Graph:
    """The part of ``graph`` that consists of ``operators``, with its borders as inputs and outputs."""
    made = {op.output for op in operators}
    inside = {op.name for op in operators}
    read_elsewhere = {n for op in graph.operators if op.name not in inside for n in op.inputs} | set(graph.outputs)
    inputs = dict.fromkeys(name for op in operators for name in op.inputs if name not in made)
    outputs = [op.output for op in operators if op.output in read_elsewhere]
    constants = [name for op in operators for name in constants_of(op)]
    return Graph(
        tensors={name: graph.tensors[name] for name in (*inputs, *(op.output for op in operators))},
        operators=tuple(operators),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        constants={name: graph.constants[name] for name in constants},
        streamed=tuple(name for name in inputs if name in graph.streamed),
        handed_out=tuple(name for name in outputs if name in graph.handed_out),
        kernels={name: kernel for name, kernel in graph.kernels.items() if name in inside},
        core=graph.core,
        rounding=graph.rounding,
    )


def graph_from_json(text: str) -> Graph:
    """Reads what ``Graph.to_json`` wrote; constants come back as empty arrays, by name and in order."""
    record = json.loads(text)
    tensors = [Tensor(name, (h, w, c), dtype) for name, (h, w, c), dtype in record["tensors"]]
    return Graph(
        tensors={t.name: t for t in tensors},
        operators=tuple(_operator(kind, fields) for kind, fields in record["operators"]),
        inputs=tuple(record["inputs"]),
        outputs=tuple(record["outputs"]),
        constants={name: np.empty(0, np.int8) for name in record["constants"]},
        streamed=tuple(record["streamed"]),
        handed_out=tuple(record["handed_out"]),
        kernels=record["kernels"],
        core=record["core"],
        rounding=record["rounding"],
    )


def _operator(kind: str, fields: dict[str, Any]) -> Operator:
    values = {key: _frozen(value) for key, value in fields.items()}
    if "window" in values:
        values["window"] = Window(**values["window"])
    for key in ("rescale", "total"):
        if values.get(key):
            values[key] = Rescale(**values[key])
    if "rescales" in values:
        values["rescales"] = tuple(r and Rescale(**r) for r in values["rescales"])
    return _KINDS[kind](**values)


def _frozen(value: Any) -> Any:
    """JSON has lists only; dataclasses here hold tuples."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value
