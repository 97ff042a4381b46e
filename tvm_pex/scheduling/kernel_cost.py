"""The price of the kernels in C: instructions that a stage executes which runs by one. Pure.

What is counted follows the C in ``tvm_pex/micro_kernels/sources``: calls, windows found, pixels alone and by two,
blocks of four channels, words of four inputs (with vectors: sixteen). What each costs on a core was fitted to the
emulator's counts of the operators of real networks under several schedules, compiled by gcc 12 with -O2: least squares
of relative errors, no price below 0.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

from tvm_pex.graph import Convolution, Graph, Operator
from tvm_pex.scheduling.kernels import (
    ADD,
    BLOCK,
    DEPTHWISE,
    DEPTHWISE_LANES,
    LANES,
    LANES_BLOCK,
    LANES_PATCH,
    PAIRS_PATCH,
    SUM,
    WIDE,
    WIDE_PATCH,
    depth,
)
from tvm_pex.scheduling.schedule import Segment, Stage

_VECTOR = 16  # inputs


@dataclass(frozen=True)
class Prices:
    """Instructions of a core. Of a pair of numbers the first counts for one pixel, the second for two at once."""

    call: float  # of a convolution: arguments, registers saved, the loop over pixels
    window: float  # found; its rows and positions are
    line: float
    position: float
    block: tuple[float, float]  # four output channels: their bias, their requantise, the loop
    run: tuple[float, float]  # a row or a position of the window, for four output channels
    word: tuple[float, float]  # inputs for four output channels
    byte: float  # copied to a patch
    tap: float  # depthwise: one position for a block of channels
    four: float  # depthwise 3 x 3, on Thumb-2: a channel of four pixels
    three: float  # of three
    add: tuple[float, float]  # a call, an element
    sum: tuple[float, float]
    wide: tuple[float, float, float] | None = None  # four channels of two pixels, a word of both, an input widened


_M3 = Prices(
    call=137, window=0, line=85, position=71, block=(65, 70), run=(0, 0), word=(37.5, 58), byte=10.6, tap=17.4,
    four=120, three=105, add=(37, 12.7), sum=(482, 7.8),
)  # fmt: skip
_M4 = Prices(
    call=117, window=0, line=101, position=69, block=(62.6, 96.2), run=(1.6, 0), word=(17.3, 34), byte=11.5, tap=14.3,
    four=120, three=105, add=(37, 12.7), sum=(472, 7.9), wide=(80.6, 27.3, 1.08),
)  # fmt: skip
_M55 = Prices(
    call=222, window=38, line=0, position=78, block=(0, 0), run=(8.8, 0), word=(10.9, 0), byte=3.3, tap=14.1,
    four=120, three=105, add=(35, 2.7), sum=(0, 1.2),
)  # fmt: skip
CORES = {"cortex-m3": _M3, "cortex-m4": _M4, "cortex-m7": _M4, "cortex-m33": _M4, "cortex-m55": _M55}


def has_wide(core: str) -> bool:
    """True if wide kernels are faster on ``core``."""
    return CORES[core].wide is not None


def kernel_instructions(graph: Graph, segment: Segment, stage: Stage, op: Operator, kernel: str) -> int:
    """Instructions of all calls of ``kernel`` in one run of ``segment``."""
    prices = CORES[graph.core]
    channels = graph.tensors[op.output].shape[2]
    slices = channels // segment.tile if segment.tile else 1
    rows, columns = stage.domain
    run = segment.run if "pixels" in segment.axes else columns
    calls = slices * rows * -(-columns // run)
    if kernel in (ADD, SUM):
        read = (*op.inputs, op.output) if kernel == ADD else op.inputs
        call, element = prices.add if kernel == ADD else prices.sum
        calls = slices * rows * columns if _part(graph, segment, read, run) else calls
        return int(calls * call + rows * columns * channels * element)
    assert isinstance(op, Convolution)
    each = _row_instructions(op, kernel, prices, columns, run, channels // slices)
    return int(calls * prices.call + slices * rows * each)


def _part(graph: Graph, segment: Segment, tensors: Iterable[str], run: int) -> bool:
    """True if the pixels of a run may lie at both ends of a ring, so that each is a call."""
    pixels = {ring.tensor: ring.pixels for ring in segment.rings}
    lengths = [(pixels[name], graph.tensors[name].shape[1]) for name in tensors if name in pixels]
    return run > 1 and any(length % width and length != run for length, width in lengths)


@functools.lru_cache(maxsize=16384)
def _row_instructions(op: Convolution, kernel: str, prices: Prices, columns: int, run: int, channels: int) -> float:
    """A row of ``columns`` output pixels by runs, less the calls."""
    total = 0.0
    for first in range(0, columns, run):
        pixels = range(first, min(first + run, columns))
        inside = sum(_inside(op, column) for column in pixels)
        if kernel in (DEPTHWISE, DEPTHWISE_LANES):
            total += _depthwise(op, kernel, prices, len(pixels), inside, channels)
        elif kernel in (LANES, LANES_PATCH):
            total += _by_vectors(op, kernel, prices, len(pixels), inside, channels)
        else:
            total += _by_pairs(op, kernel, prices, len(pixels), inside, channels)
    return total


def _inside(op: Convolution, column: int) -> bool:
    window = op.window
    left = column * window.stride[1] - window.pad[1]
    return left >= 0 and left + window.reach(1) < op.views[0][1]


def _found(op: Convolution, prices: Prices, windows: int, alone: int) -> float:
    """``windows`` by their rows, ``alone`` by single positions."""
    rows, columns = op.window.kernel
    by_row, by_position = prices.window + rows * prices.line, prices.window + rows * columns * prices.position
    return windows * by_row + alone * by_position


def _by_pairs(op: Convolution, kernel: str, prices: Prices, pixels: int, inside: int, channels: int) -> float:
    rows, columns = op.window.kernel
    blocks, words = -(-channels // BLOCK), depth(op) // BLOCK
    two, one, total = pixels // 2, pixels % 2, 0.0
    if kernel in (PAIRS_PATCH, WIDE_PATCH):
        runs = 1.0
        total += pixels * (prices.window + depth(op) * prices.byte)
    else:
        alone = pixels - inside
        runs = (inside * rows + alone * rows * columns) / pixels
        total += _found(op, prices, inside, alone)
    single = prices.block[0] + runs * prices.run[0] + words * prices.word[0]
    pair = prices.block[1] + runs * prices.run[1] + words * prices.word[1]
    if kernel in (WIDE, WIDE_PATCH):
        assert prices.wide, "a wide kernel was chosen for a core without"
        pair = prices.wide[0] + words * prices.wide[1]
        total += 2 * two * depth(op) * prices.wide[2]
    return total + blocks * (one * single + two * pair)


def _by_vectors(op: Convolution, kernel: str, prices: Prices, pixels: int, inside: int, channels: int) -> float:
    rows, columns = op.window.kernel
    blocks, inputs = -(-channels // BLOCK), op.views[0][2]
    if kernel == LANES_PATCH:
        vectors = -(-depth(op) // _VECTOR)
        copied = prices.window + depth(op) * prices.byte
        return pixels * (copied + blocks * (prices.block[0] + prices.run[0] + vectors * prices.word[0]))
    alone = pixels - inside
    by_row = rows * (prices.run[0] + -(-columns * inputs // _VECTOR) * prices.word[0])
    by_position = rows * columns * (prices.run[0] + -(-inputs // _VECTOR) * prices.word[0])
    work = pixels * prices.block[0] + inside * by_row + alone * by_position
    return _found(op, prices, inside, alone) + blocks * work


def _depthwise(op: Convolution, kernel: str, prices: Prices, pixels: int, inside: int, channels: int) -> float:
    rows, columns = op.window.kernel
    total, left = 0.0, pixels
    if kernel == DEPTHWISE and (rows, columns) == (3, 3) and op.window.dilation[1] == 1:
        fours = (pixels if op.window.stride[1] == 1 else inside) // 4 if op.window.stride[1] <= 2 else 0
        left -= 4 * fours
        threes = 1 if op.window.stride[1] == 1 and left == 3 else 0
        left -= 3 * threes
        found = prices.window + 3 * 6 * prices.position / 2
        total += fours * (found + channels * prices.four) + threes * (found + channels * prices.three)
    blocks = -(-channels // (LANES_BLOCK if kernel == DEPTHWISE_LANES else BLOCK))
    alone = min(left, pixels - inside)
    total += _found(op, prices, left - alone, alone)
    return total + left * blocks * (prices.block[0] + rows * columns * prices.tap)
