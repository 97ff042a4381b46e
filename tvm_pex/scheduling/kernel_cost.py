"""Instructions that a stage executes which runs by a kernel in C. Pure.

What is counted follows the C in ``tvm_pex/micro_kernels/sources``: calls, windows found, blocks of four channels, words
of four inputs; ``kernel_prices`` says what each costs.
"""

from __future__ import annotations

import math

from tvm_pex.graph import Add, Convolution, Graph, Operator
from tvm_pex.scheduling.kernel_pixels import Taken, grouped, taken
from tvm_pex.scheduling.kernel_prices import CORES, PLAIN, Blocks, Prices
from tvm_pex.scheduling.kernels import (
    BLOCK,
    DEPTHWISE,
    DEPTHWISE_LANES,
    LANES,
    LANES_BLOCK,
    LANES_PATCH,
    PAIRS,
    PAIRS_PATCH,
    WIDE,
    WIDE_PATCH,
    depth,
)
from tvm_pex.scheduling.schedule import Segment, Stage

_VECTOR = 16  # bytes
_SHORT = 64  # bytes of an input that pex_lanes keeps in registers
_INT8 = (-128, 127)
_LEAST_SHIFT = 33  # pex_requantise.h


def kernel_instructions(graph: Graph, segment: Segment, stage: Stage, op: Operator, kernel: str) -> int:
    """Instructions of all calls of ``kernel`` in one run of ``segment``."""
    prices = CORES[graph.core]
    outputs = graph.tensors[op.output].shape[2]
    channels = segment.tile_of(op.name) or outputs
    rows, columns = stage.domain
    run = min(segment.run, columns) if "pixels" in segment.axes else columns
    calls: float = rows * math.ceil(columns / run)
    if isinstance(op, Convolution):
        if run > 1:  # what the output's ring parts are two calls
            calls += rows * columns * _ends(graph, segment, op.output) * (run - 1) / run
        ends = _ends(graph, segment, op.inputs[0])
        total = calls * prices.call + rows * _row(op, kernel, prices, channels, columns, run, ends, _special(graph, op))
    else:
        stores = (*op.inputs, op.output) if isinstance(op, Add) else op.inputs
        apart = any(_ends(graph, segment, name) for name in stores) or (isinstance(op, Add) and channels < outputs)
        calls = rows * columns if apart else calls
        of = prices.add if isinstance(op, Add) else prices.sum
        total = calls * (of.call + channels * of.channel) + channels * (rows * columns * of.element + of.average)
    return int(outputs // channels * total)


def _ends(graph: Graph, segment: Segment, tensor: str) -> float:
    """How many ends of its ring a pixel of ``tensor`` meets where they part rows: 0 where they do not."""
    pixels = next((ring.pixels for ring in segment.rings if ring.tensor == tensor), 0)
    height, width, _ = graph.tensors[tensor].shape
    parts = pixels % width and pixels < height * width and not pixels == segment.run > 1
    return 1 / pixels if parts else 0


def _special(graph: Graph, op: Convolution) -> bool:
    """True if results do not have all 8 bits, or sums are shifted to the left."""
    whole = op.low <= _INT8[0] and op.high >= _INT8[1]
    return not whole or bool(graph.constants[op.scales][:, 2].min() < _LEAST_SHIFT)


def _row(
    op: Convolution, kernel: str, prices: Prices, channels: int, columns: int, run: int, ends: float, special: bool
) -> float:
    """Of one row of results, without the calls. ``ends``: see _ends, of the input."""
    blocks = math.ceil(channels / BLOCK)
    if kernel == DEPTHWISE_LANES:
        return _depthwise_lanes(op, prices, channels, columns, run, ends, special)
    extra = columns * blocks * prices.special if special and kernel not in (LANES, LANES_PATCH) else 0
    if kernel == DEPTHWISE:
        return extra + _depthwise(op, prices, channels, columns, 1 if special else run, ends)
    if kernel in (PAIRS_PATCH, WIDE_PATCH, LANES_PATCH):
        return extra + _patches(op, kernel, prices, blocks, columns, run, ends)
    if kernel == WIDE:
        pairs = _pairs(columns, run)
        pixels = taken(op.window, op.views[0][1], columns, run, 1, False)
        alone = (columns - 2 * pairs) * blocks * _block(prices.single, op.window.kernel[0], depth(op) / BLOCK)
        return extra + _found(op, prices, pixels, 1, ends) + alone + pairs * _widened(op, prices, blocks)
    return extra + _direct(op, kernel, prices, blocks, columns, run, ends)


def _block(prices: Blocks, runs: float, inputs: float) -> float:
    return prices.block + runs * prices.run + inputs * prices.inputs


def _pairs(columns: int, run: int) -> int:
    """How many times two pixels are computed at once in one row: never across calls."""
    return columns // run * (run // 2) + columns % run // 2


def _parted(op: Convolution, ends: float) -> float:
    """The share of windows inside the tensor that the ring's end parts, which are found by position."""
    return min(1.0, op.window.kernel[0] * op.window.reach(1) * ends)


def _found(op: Convolution, prices: Prices, pixels: Taken, count: int, ends: float) -> float:
    """Finding the windows of a row, of which ``count`` are computed at once."""
    rows, columns = op.window.kernel
    of, inside = prices.finding, pixels.single + count * pixels.at_once
    found = pixels.found + inside * rows * op.window.stride[1] * ends
    alone = pixels.single_by_position + 3 * pixels.at_once_by_position + _parted(op, ends) * inside
    moved = pixels.single + pixels.at_once + pixels.single_by_position + pixels.at_once_by_position
    return found * (of.window + rows * of.line) + alone * rows * columns * of.position + moved * of.pixel


def _direct(op: Convolution, kernel: str, prices: Prices, blocks: int, columns: int, run: int, ends: float) -> float:
    """Windows that are read where they lie."""
    rows, positions, size = op.window.kernel[0], math.prod(op.window.kernel), depth(op)
    single, count, unit = prices.single, 2 if prices.widen is None else 1, BLOCK
    if kernel == LANES:
        single, count, unit = (prices.single, 3, _VECTOR) if prices.lanes else (PLAIN, 1, BLOCK)
        if prices.short and rows == 1 and size <= _SHORT:
            single, count = prices.short, 1
    if op.window.dilation[1] > 1 and op.window.kernel[1] > 1:  # positions that do not lie side by side
        pixels = Taken(columns, 0, 0, 0, columns)
    else:
        pixels = taken(op.window, op.views[0][1], columns, run, count, kernel == PAIRS and count > 1)
    by_row, by_position = (
        [_block(of, runs, runs * math.ceil(size / runs / unit)) for of in (single, prices.at_once)]
        for runs in (rows, positions)
    )
    parted = _parted(op, ends)
    return _found(op, prices, pixels, count, ends) + blocks * (
        pixels.single * (by_row[0] + parted * (by_position[0] - by_row[0]))
        + pixels.at_once * (by_row[1] + parted * (by_position[1] - by_row[1]))
        + pixels.single_by_position * by_position[0]
        + pixels.at_once_by_position * by_position[1]
    )


def _widened(op: Convolution, prices: Prices, blocks: int) -> float:
    """Two pixels by a wide kernel, whose windows have been found."""
    assert prices.widen is not None, "a wide kernel was chosen for a core without"
    return 2 * depth(op) * prices.widen + blocks * _block(prices.at_once, 1, depth(op) / BLOCK)


def _patches(op: Convolution, kernel: str, prices: Prices, blocks: int, columns: int, run: int, ends: float) -> float:
    """Windows that are copied."""
    (rows, across), channels, inputs = op.window.kernel, op.views[0][2], depth(op)
    copying, unit = prices.copying, _VECTOR if prices.lanes else BLOCK

    def copied(count: int) -> float:
        if prices.lanes:
            return math.ceil(count / unit) * copying.inputs
        return count // unit * copying.inputs + count % unit * copying.byte

    pixels = taken(op.window, op.views[0][1], columns, run, 1, False)
    alone = pixels.single_by_position if op.window.dilation[1] == 1 else columns
    apart = alone + _parted(op, ends) * (columns - alone)
    total = columns * copying.pixel + (columns - apart) * rows * (copying.line + copied(across * channels))
    total += apart * rows * across * (copying.position + copied(channels))
    if kernel == LANES_PATCH:
        single = PLAIN
        if prices.lanes:
            single = prices.short if prices.short and inputs <= _SHORT else prices.single
        return total + columns * blocks * _block(single, 1, math.ceil(inputs / unit))
    pairs = _pairs(columns, run) if kernel == WIDE_PATCH or prices.widen is None else 0
    one, two = (blocks * _block(of, 1, inputs / BLOCK) for of in (prices.single, prices.at_once))
    if kernel == WIDE_PATCH:
        two = _widened(op, prices, blocks)
    return total + pairs * two + (columns - 2 * pairs) * one


def _depthwise(op: Convolution, prices: Prices, channels: int, columns: int, run: int, ends: float) -> float:
    window, of, find = op.window, prices.depthwise, prices.finding
    rows, positions, blocks = window.kernel[0], math.prod(window.kernel), channels // BLOCK
    pixels = grouped(window, op.views[0][1], columns, run)
    strided = window.stride[1] > 1  # groups that a ring's end may not part
    fours = pixels.fours * (1 - min(1.0, 27 * ends) if strided else 1)
    single = pixels.single + 4 * (pixels.fours - fours)
    parted = _parted(op, ends) * single
    alone = pixels.single_by_position + parted
    return (
        fours * (of.group + channels * (of.strided if strided else of.four))
        + pixels.threes * (of.group + channels * of.three)
        + (single - parted + alone) * (find.window + rows * find.line + blocks * of.block)
        + (single - parted) * blocks * positions * of.tap
        + alone * positions * (find.position + blocks * of.position)
    )


def _depthwise_lanes(
    op: Convolution, prices: Prices, channels: int, columns: int, run: int, ends: float, special: bool
) -> float:
    """Sixteen channels at a time."""
    assert prices.lanes, "vectors were chosen for a core without"
    pixels = taken(op.window, op.views[0][1], columns, run, 1, False)
    groups, twos = math.ceil(channels / LANES_BLOCK), math.ceil(math.prod(op.window.kernel) / 2)
    fast = 0.0 if special or op.window.kernel != (3, 3) else pixels.single * (1 - _parted(op, ends))
    other = prices.lanes.run + twos * prices.lanes.inputs
    return _found(op, prices, pixels, 1, ends) + groups * (fast * prices.lanes.block + (columns - fast) * other)
