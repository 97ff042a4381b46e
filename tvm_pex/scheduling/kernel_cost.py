"""The price of the kernels in C: instructions that a stage executes which runs by one. Pure.

The constants belong to the C in ``tvm_pex/micro_kernels/sources``, compiled by gcc 12 with -O2, and were fitted to counts
of the emulator. Of a pair of numbers the first counts for one pixel, the second for two that are computed at once.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from tvm_pex.graph import Convolution, Graph, Operator
from tvm_pex.scheduling.kernels import ADD, BLOCK, DEPTHWISE, LANES_PATCH, PAIRS_PATCH, SUM, WIDE, WIDE_PATCH, depth
from tvm_pex.scheduling.schedule import Segment, Stage

One = tuple[float, float]

_WIDENED = 1.8  # instructions to widen a byte


@dataclass(frozen=True)
class Prices:
    """Instructions of a core."""

    call: float  # of a kernel: arguments, registers saved, the first window
    line: float  # of a window: one of its rows, found
    position: float  # one of its positions, found alone
    pixel: One  # a window moved on
    block: One  # four output channels: their bias, their requantise, the loop
    run: One  # a row or a position of the window, for four output channels
    word: One  # four inputs for four output channels
    tap: One  # depthwise: one position for four channels
    byte: float  # copied to a patch
    wide: One | None  # two pixels by a wide kernel: four channels, four inputs of them; none: the core has no such kernels
    add: float  # one element
    sum: float  # one element


_M3 = Prices(110, 25, 14, (30, 20), (75, 120), (16, 20), (42, 62), (14, 24), 2.5, None, 12, 4)
_M4 = Prices(110, 25, 14, (30, 20), (62, 124), (14, 28), (20, 40), (12, 20), 2.5, (100, 28), 12, 4)
_M55 = Prices(110, 25, 14, (30, 20), (45, 90), (14, 28), (3, 6), (4, 8), 1, None, 4, 1)
CORES = {"cortex-m3": _M3, "cortex-m4": _M4, "cortex-m7": _M4, "cortex-m33": _M4, "cortex-m55": _M55}


def kernel_instructions(graph: Graph, segment: Segment, stage: Stage, op: Operator, kernel: str) -> int:
    """Instructions of all calls of ``kernel`` in one run of ``segment``."""
    prices = CORES[graph.core]
    channels = graph.tensors[op.output].shape[2]
    slices = channels // segment.tile if segment.tile else 1
    rows, columns = stage.domain
    run = segment.run if "pixels" in segment.axes else columns
    calls = slices * rows * -(-columns // run)
    elements = rows * columns * channels
    if kernel == ADD:
        return int(calls * prices.call + elements * prices.add)
    if kernel == SUM:
        return int(calls * prices.call + elements * prices.sum)
    assert isinstance(op, Convolution)
    each = _pixel_instructions(op, kernel, prices, -(-channels // slices // BLOCK))
    alone, singly, by_two = _pixels(op, stage, run)
    windows = alone * math.prod(op.window.kernel) * prices.position
    windows += calls * (prices.call + op.window.kernel[0] * prices.line)
    return int(windows + slices * (alone * each[0] + singly * each[1] + by_two * each[2]))


def has_wide(core: str) -> bool:
    """True if wide kernels are faster on ``core``."""
    return CORES[core].wide is not None


@functools.lru_cache(maxsize=4096)
def _pixel_instructions(op: Convolution, kernel: str, prices: Prices, blocks: int) -> tuple[float, float, float]:
    """Of a pixel by single positions, of one by rows of the window, of each of two by rows of the window."""
    rows, columns = op.window.kernel
    if kernel == DEPTHWISE:
        work = [blocks * (prices.block[k] + rows * columns * prices.tap[k]) for k in (0, 1)]
        return prices.pixel[0] + work[0], prices.pixel[0] + work[0], (prices.pixel[1] + work[1]) / 2
    words = depth(op) // BLOCK
    if kernel in (WIDE, WIDE_PATCH):
        assert prices.wide, "a wide kernel was chosen for a core without"
        once = prices.pixel[0] + depth(op) * (_WIDENED + (prices.byte if kernel == WIDE_PATCH else 0))
        once += blocks * (prices.wide[0] + words * prices.wide[1]) / 2
        return once, once, once
    if kernel in (PAIRS_PATCH, LANES_PATCH):
        copied = prices.pixel[0] + depth(op) * prices.byte
        work = [blocks * (prices.block[k] + prices.run[k] + words * prices.word[k]) for k in (0, 1)]
        return copied + work[0], copied + work[0], copied + work[1] / 2
    by_position = prices.block[0] + rows * columns * prices.run[0] + words * prices.word[0]
    by_row = [prices.block[k] + rows * prices.run[k] + words * prices.word[k] for k in (0, 1)]
    return (
        prices.pixel[0] + blocks * by_position,
        prices.pixel[0] + blocks * by_row[0],
        (prices.pixel[1] + blocks * by_row[1]) / 2,
    )


def _pixels(op: Convolution, stage: Stage, run: int) -> tuple[int, int, int]:
    """How many of the stage's pixels have windows beyond the tensor's columns, are run singly, are run by two."""
    rows, columns = stage.domain
    alone = singly = by_two = 0
    for first in range(0, columns, run):
        inside = sum(_inside(op, column) for column in range(first, min(first + run, columns)))
        alone += min(run, columns - first) - inside
        singly += inside % 2
        by_two += inside - inside % 2
    return rows * alone, rows * singly, rows * by_two


def _inside(op: Convolution, column: int) -> bool:
    window = op.window
    left = column * window.stride[1] - window.pad[1]
    return left >= 0 and left + window.reach(1) < op.views[0][1]
