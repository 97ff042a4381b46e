"""Random calls of the kernels in C, packed as the compiler packs them, and what they must give, in Python integers."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rounding_model import rescaled

from tvm_pex.graph import Add, Concat, Convolution, Graph, Operator, Rescale, Tensor, Window
from tvm_pex.micro_kernels.packing import packed_constants
from tvm_pex.micro_kernels.selection import parameters_name, with_kernels
from tvm_pex.rounding import SUM_BITS, Rounding
from tvm_pex.scheduling.kernels import WIDER, kernel_of, patch_bytes
from tvm_pex.scheduling.schedule import Ring, Schedule, Segment, Stage

Bytes = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int64]

CASE_BYTES, RESULT_BYTES = 24 << 10, 2 << 10
KERNELS = (
    "pex_pairs", "pex_pairs_patch", "pex_pairs_wide", "pex_pairs_wide_patch", "pex_lanes", "pex_lanes_patch",
    "pex_depthwise", "pex_depthwise_lanes", "pex_add", "pex_sum_int16", "pex_sum_int32",
)  # fmt: skip
_PARTS = ("x", "b", "weights", "parameters", "patch", "y")  # tests/micro_kernels/case.h


@dataclass(frozen=True)
class Part:
    """Bytes that a kernel is given a pointer into, at ``start``; they lie ``odd`` bytes behind a multiple of four."""

    data: Bytes
    start: int = 0
    odd: int = 0


@dataclass(frozen=True)
class Call:
    """A call; ``expected`` are the bytes of the part ``y`` after it."""

    kernel: str
    parts: dict[str, Part]
    expected: Bytes
    row: int = 0
    column: int = 0
    pixels: int = 0
    first: int = 0
    channels: int = 0
    pitch: int = 0

    def as_bytes(self) -> Bytes:
        """A struct call, and the parts."""
        numbers = [
            KERNELS.index(self.kernel),
            self.row,
            self.column,
            self.pixels,
            self.first,
            self.channels,
            self.pitch,
        ]
        head = 4 * (len(numbers) + 3 * len(_PARTS) + 1)
        out = np.zeros(CASE_BYTES, np.int8)
        end = head
        for name in _PARTS:
            part = self.parts.get(name, Part(np.zeros(0, np.int8)))
            at = -(-end // 4) * 4 + part.odd
            end = at + len(part.data)
            assert end <= CASE_BYTES, f"{name} of a {self.kernel} needs {end} bytes"
            out[at:end] = part.data
            numbers += [at, len(part.data), part.start]
        out[:head] = np.array([*numbers, self.parts["y"].odd], "<i4").view(np.int8)
        return out

    def results(self) -> Bytes:
        out = np.zeros(RESULT_BYTES, np.int8)
        at = self.parts["y"].odd
        out[at : at + len(self.expected)] = self.expected
        return out


def random_call(rng: np.random.Generator, rounding: Rounding) -> Call:
    """Nine of ten are convolutions."""
    kind = rng.integers(20)
    if kind == 0:
        return _random_add(rng, rounding)
    if kind == 1:
        return _random_sum(rng)
    while True:
        call = _random_convolution(rng, rounding)
        if call is not None:
            return call


def _some_bytes(rng: np.random.Generator, shape: int | tuple[int, ...]) -> Bytes:
    """Of any kind: spread evenly, near zero, or of the lowest and the highest only."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(-128, 128, shape).astype(np.int8)
    if kind == 1:
        return np.clip(np.round(rng.normal(0, 30, shape)), -128, 127).astype(np.int8)
    return rng.choice(np.array([-128, 127], np.int8), shape)


def _limits(rng: np.random.Generator) -> tuple[int, int]:
    if rng.random() < 0.7:
        return -128, 127
    low, high = sorted(rng.integers(-128, 128, 2).tolist())
    return low, high


def _random_add(rng: np.random.Generator, rounding: Rounding) -> Call:
    count = int(rng.integers(1, 200))
    while True:
        op = _random_addition(rng, count, rounding)
        tensors = {name: Tensor(name, (1, 1, count), "int8") for name in ("a", "b", "y")}
        graph = with_kernels(Graph(tensors, (op,), ("a", "b"), ("y",), rounding=rounding), "cortex-m4")
        if graph.kernels:
            break
    segment = Segment((), (Stage("add", (1, 1), (0, 0), (1, 1)),), (), (1, 1))
    parameters = packed_constants(graph, Schedule((segment,)))[parameters_name(op)]
    a, b = _some_bytes(rng, count), _some_bytes(rng, count)
    bits = SUM_BITS if op.total else 0
    total = sum(
        rescaled((x.astype(np.int64) - r.zero_in) << bits, r.multiplier, r.shift, rounding)
        for x, r in zip((a, b), op.rescales)
    )
    if op.total:
        total = rescaled(total, op.total.multiplier, op.total.shift, rounding)
    expected = np.clip((total + op.rescales[0].zero_out).astype(np.int64), op.low, op.high).astype(np.int8)
    odd = [int(k) for k in rng.integers(0, 4, 3)]
    parts = {
        "x": Part(a, odd=odd[0]),
        "b": Part(b, odd=odd[1]),
        "parameters": Part(parameters.view(np.int8)),
        "y": Part(_some_bytes(rng, count), odd=odd[2]),
    }
    return Call("pex_add", parts, expected, pixels=count)


def _random_addition(rng: np.random.Generator, count: int, rounding: Rounding) -> Add:
    """TFLite gives the operand of the larger scale a half."""
    multipliers = [int(m) for m in rng.integers(1 << 30, 1 << 31, 3)]
    shifts = [int(s) for s in rng.integers(29, 36, 2)]
    if rounding == "tflite":
        multipliers[0], shifts = 1 << 30, [31, int(rng.choice([31, 32, 34, 40, 62]))]
    rescales = tuple(Rescale(m, s, int(rng.integers(-128, 128)), -3) for m, s in zip(multipliers, shifts))
    total = Rescale(multipliers[2], int(rng.integers(45, 54)), 0, -3) if rounding == "tflite" else None
    if rng.random() < 0.5:
        rescales = rescales[::-1]
    return Add("add", ("a", "b"), ((1, 1, count),) * 2, "y", rescales, *_limits(rng), total)


def _random_sum(rng: np.random.Generator) -> Call:
    dtype = rng.choice(["int16", "int32"])
    pixels, channels = int(rng.integers(1, 60)), int(rng.integers(1, 40))
    pitch = channels + int(rng.choice([0, 0, 1, 8]))
    x = _some_bytes(rng, (pixels - 1) * pitch + channels)
    before = rng.integers(-20_000, 20_000, channels).astype(dtype)
    rows = np.lib.stride_tricks.sliding_window_view(x, channels)[::pitch].astype(np.int64)
    expected = (before + rows.sum(axis=0)).astype(dtype).view(np.int8)
    parts = {"x": Part(x, odd=int(rng.integers(4))), "y": Part(before.view(np.int8))}
    return Call(f"pex_sum_{dtype}", parts, expected, pixels=pixels, channels=channels, pitch=pitch)


@dataclass(frozen=True)
class _Stored:
    """How a tensor lies in memory: pixel (r, c) at ((r * width + c) % ring) * pitch + first."""

    pitch: int
    first: int
    ring: int
    width: int

    def at(self, row: int, column: int) -> int:
        return (row * self.width + column) % self.ring * self.pitch + self.first


def _random_convolution(rng: np.random.Generator, rounding: Rounding) -> Call | None:
    """None if there is no kernel for it, or it is too large."""
    depthwise = rng.random() < 0.4
    kernel = tuple(
        int(k) for k in (rng.choice([1, 3, 5, 7]) if rng.random() < 0.7 else rng.integers(1, 9) for _ in "hw")
    )
    if not depthwise and rng.random() < 0.4:
        kernel = (1, 1)
    stride = tuple(int(s) for s in rng.choice([1, 1, 2, 3], 2))
    dilation = tuple(int(d) for d in rng.choice([1, 1, 1, 2], 2))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    size = [int(rng.integers(max(1, r // 2), r + 9)) for r in reach]
    pad = [int(rng.integers(-1, r)) for r in reach]
    out = [(s + p + int(rng.integers(0, r)) - r) // t + 1 for s, p, r, t in zip(size, pad, reach, stride)]
    if min(out) < 1:
        return None
    channels = int(rng.choice([4, 8, 12, 16, 20, 24, 32, 40, 64]))
    if not depthwise and rng.random() < 0.3:
        channels = int(rng.integers(1, 8))
    outputs = (
        channels if depthwise else int(rng.integers(1, 21)) if rng.random() < 0.5 else 4 * int(rng.integers(1, 10))
    )
    window = Window(kernel, stride, dilation, (pad[0], pad[1]))
    shape = (*kernel, 1 if depthwise else channels, outputs)
    if np.prod(shape) > 9000 or size[0] * size[1] * channels > 9000:
        return None
    weights = _some_bytes(rng, shape)
    if rng.random() < 0.5:
        weights = np.maximum(weights, -127)
    zero_in, zero_out = (int(z) for z in rng.choice([-128, 127, *range(-128, 128)], 2))
    low, high = _limits(rng)
    op = Convolution(
        "conv", ("x",), ((size[0], size[1], channels),), "y", window, channels if depthwise else 1, "w", "s",
        zero_in, 0, zero_out, low, high,
    )  # fmt: skip
    return _call(rng, op, (out[0], out[1], outputs), weights, rounding)


def _scales(rng: np.random.Generator, weights: Bytes) -> Integers:
    """Bias, multiplier and shift of each channel, for results of some bits; some channels are near-dead."""
    count = weights.shape[3]
    typical = np.abs(weights.reshape(-1, count).astype(np.float64)).sum(axis=0) ** 0.5 * 60 + 50
    bits = np.ceil(np.log2(typical)).astype(np.int64)
    shift = 31 + np.clip(bits - rng.integers(3, 9, count), 0, 30)
    if rng.random() < 0.15:
        shift = rng.integers(30, 36, count)
    shift = np.where(rng.random(count) < 0.05, rng.integers(55, 63, count), shift)
    bias = rng.integers(-(1 << 14), 1 << 14, count)
    multiplier = rng.integers(1 << 30, 1 << 31, count)
    multiplier = np.where(rng.random(count) < 0.03, 0, multiplier)
    return np.stack([bias, multiplier, shift], axis=1).astype(np.int64)


def _stored(rng: np.random.Generator, shape: tuple[int, int, int], least_ring: int, pitch: int) -> _Stored:
    whole = shape[0] * shape[1]
    ring = whole if rng.random() < 0.4 else min(whole, least_ring + int(rng.integers(0, 6)))
    first = int(rng.integers(0, pitch - shape[2] + 1))
    return _Stored(pitch, first, ring, shape[1])


def _call(
    rng: np.random.Generator, op: Convolution, shape: tuple[int, int, int], weights: Bytes, rounding: Rounding
) -> Call | None:
    """``shape`` is the output's. A random run of pixels of a random row."""
    view = op.views[0]
    scales = _scales(rng, weights)
    row, column = int(rng.integers(shape[0])), int(rng.integers(shape[1]))
    pixels = int(rng.integers(1, shape[1] - column + 1))
    first, last = _pixels_read(op, row, column, pixels)
    depthwise = op.groups > 1
    tile = 4 * int(rng.integers(1, shape[2] // 4 + 1)) if rng.random() < 0.25 and shape[2] % 4 == 0 else None
    if tile and shape[2] % tile:
        tile = None
    inputs = _stored(rng, view, max(1, last - first + 1), view[2] + int(rng.choice([0, 0, 0, 1, 4, 7])))
    written = _stored(rng, shape, 1, shape[2] + int(rng.choice([0, 0, 0, 1, 4, 7])))
    core = str(rng.choice(["cortex-m55", "cortex-m4"]))
    graph, segment = _surroundings(op, shape, inputs, written, tile)
    constants = {"w": weights, "s": scales.astype(np.int32)}
    graph = with_kernels(dataclasses.replace(graph, constants=constants, rounding=rounding), core)
    if op.name in graph.kernels and rng.random() < 0.5:
        kernel = graph.kernels[op.name]
        graph = dataclasses.replace(graph, kernels={**graph.kernels, op.name: WIDER.get(kernel, kernel)})
    kernel = kernel_of(graph, segment, segment.stages[1], op)
    if kernel is None:
        return None
    packed = packed_constants(graph, Schedule((segment,)))
    slices = 0 if tile is None else int(rng.integers(shape[2] // tile))
    block = slices * (tile or 0)
    x, taken = _fill(rng, op, inputs, first, last)
    sums = _sums(op, taken, weights, row, column, pixels)
    channels = slice(block, block + (tile or shape[2]))
    results = rescaled(sums + scales[:, 0], scales[:, 1], scales[:, 2], rounding) + op.zero_out
    results = np.clip(results, int(op.low), int(op.high)).astype(np.int8)[:, channels]
    before = _some_bytes(rng, (pixels - 1) * written.pitch + results.shape[1])
    after = before.copy()
    for pixel in range(pixels):
        after[pixel * written.pitch :][: results.shape[1]] = results[pixel]
    start = inputs.first + (block if depthwise else 0)
    parts = {
        "x": Part(x, start=start, odd=int(rng.integers(4))),
        "weights": Part(packed["w"]),
        "parameters": Part(packed["s"].view(np.int8)),
        "patch": Part(_some_bytes(rng, patch_bytes(op, kernel, segment))),
        "y": Part(before, odd=int(rng.integers(4))),
    }
    return Call(kernel, parts, after, row, column, pixels, block // 4)


def _pixels_read(op: Convolution, row: int, column: int, pixels: int) -> tuple[int, int]:
    """The first and the last pixel of the input that the run reads; nothing is (0, -1)."""
    seen = [r * op.views[0][1] + c for _, r, c, _ in _taps(op, row, column, pixels)]
    return min(seen, default=0), max(seen, default=-1)


def _taps(op: Convolution, row: int, column: int, pixels: int) -> list[tuple[int, int, int, tuple[int, int]]]:
    """Output pixel, input row and column, and window position, of all that lies inside the input."""
    w, (height, width, _) = op.window, op.views[0]
    found = []
    for pixel, i, j in itertools.product(range(pixels), range(w.kernel[0]), range(w.kernel[1])):
        r = row * w.stride[0] - w.pad[0] + i * w.dilation[0]
        c = (column + pixel) * w.stride[1] - w.pad[1] + j * w.dilation[1]
        if 0 <= r < height and 0 <= c < width:
            found.append((pixel, r, c, (i, j)))
    return found


def _fill(rng: np.random.Generator, op: Convolution, stored: _Stored, first: int, last: int) -> tuple[Bytes, Bytes]:
    """The input's memory, and its pixels (height, width, channels), of which those from first to last are in memory."""
    height, width, channels = op.views[0]
    taken = _some_bytes(rng, (height, width, channels))
    memory = _some_bytes(rng, (stored.ring - 1) * stored.pitch + stored.first + channels)
    for position in range(first, last + 1):
        at = stored.at(*divmod(position, width))
        memory[at : at + channels] = taken[divmod(position, width)]
    return memory, taken


def _sums(op: Convolution, x: Bytes, weights: Bytes, row: int, column: int, pixels: int) -> Integers:
    """(pixels, channels), without bias."""
    sums = np.zeros((pixels, weights.shape[3]), np.int64)
    wide, w = x.astype(np.int64) - op.zero_in, weights.astype(np.int64)
    for pixel, r, c, (i, j) in _taps(op, row, column, pixels):
        sums[pixel] += wide[r, c] * w[i, j, 0] if op.groups > 1 else wide[r, c] @ w[i, j]
    return sums


def _surroundings(
    op: Convolution, shape: tuple[int, int, int], inputs: _Stored, written: _Stored, tile: int | None
) -> tuple[Graph, Segment]:
    """A graph and a segment in which the operator's tensors lie like that: rings, and parts of wider tensors."""
    tensors: dict[str, Tensor] = {}
    operators: list[Operator] = []
    rings: list[Ring] = []
    identity = Rescale(1, 0, 0, 0)

    def add(name: str, size: tuple[int, int, int]) -> None:
        tensors[name] = Tensor(name, size, "int8")

    def store(name: str, size: tuple[int, int, int], stored: _Stored) -> None:
        """A Concat writes the tensor's pixels between others, unless they fill the pitch."""
        holder, whole = name, size[0] * size[1]
        if stored.pitch > size[2]:
            widths = (stored.first, size[2], stored.pitch - size[2] - stored.first)
            holder, names = f"{name}.wide", (f"{name}.before", name, f"{name}.behind")
            for other, width in zip(names, widths):
                if other != name:
                    add(other, (*size[:2], width))
            add(holder, (*size[:2], stored.pitch))
            views = tuple((*size[:2], width) for width in widths)
            operators.append(Concat(holder, names, views, holder, (None,) * 3, -128, 127))
            rings.append(Ring(name, 0, size[2]))
        if holder != name or stored.ring < whole:
            rings.append(Ring(holder, stored.ring, stored.pitch))

    add("source", op.views[0])
    add("x", op.views[0])
    add("y", shape)
    operators += [Add("maker", ("source",), (op.views[0],), "x", (identity,), -128, 127), op]
    store("x", op.views[0], inputs)
    store("y", shape, written)
    stages = tuple(Stage(each.name, (1, 1), (0, 0), tensors[each.output].shape[:2]) for each in operators)
    graph = Graph(tensors, tuple(operators), ("source",), ("y",))
    return graph, Segment(("rows",), stages, tuple(rings), (1, 1), tile)
