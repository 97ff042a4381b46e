"""The price of a schedule: instructions that it executes, by a small model of its loops and kernels. Pure, no TVM.

The price of a segment is that of its stages. A stage that runs by a kernel in C costs its calls and the kernel's own
loops (``tvm_pex.scheduling.kernel_cost``). One that is portable TIR costs ``operator_instructions``, as if it ran alone
on whole tensors, plus what running it with others costs; its constants count instructions of a Thumb-2 core for the C
that TVM makes of ``tvm_pex.lowering.kernels``. Both ask, where several stages run together, whether they are due.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tvm_pex.graph import (
    Add,
    Apply,
    Binary,
    Concat,
    Convolution,
    Dequantize,
    Graph,
    Lookup,
    Operator,
    Pool,
    Quantize,
    Resize,
)
from tvm_pex.scheduling.kernel_cost import kernel_instructions
from tvm_pex.scheduling.kernels import closes, kernel_of
from tvm_pex.scheduling.schedule import Schedule, Segment, Stage, written_through

PIXEL = 12  # the loop over pixels, and the address of the result
CHANNEL = 6  # the loop over channels, bias or neutral element, the store of one result
TAP = 8  # one window position for one channel: its loop, its addresses
MAC = 5  # two loads, a multiply-accumulate, the innermost loop
POOL_TAP = 4  # one window position of a pool for one channel: its loop, a load, a sum or comparison
REQUANTISE = 20  # a 64-bit product, its rounding shift, the zero point, the clip
DIVIDE = 6  # of an average
COPY = 2  # a load and a store
LOOKUP = 5  # the loop, two loads, a store
LERP = 60  # four pixels, three means, in floats
STEP = 20  # a function of floats: few are sums and products, most are calls of the C library
ENCODE = 30  # between floats and 8-bit integers: a product, its rounding, the zero point, the clip
GUARD = 3  # is the operator due at this moment? compare the row, compare the pixel, branch
STRIDED = 3  # the same with a stride: a remainder and a quotient for each axis
RING = 4  # one remainder: quotient, product, difference, and the divisor
SUMS = 4  # a running sum: its address, its load and its store, is it the first or the last?


def schedule_instructions(graph: Graph, schedule: Schedule) -> int:
    """Instructions of one inference of the operators of ``graph``."""
    return sum(segment_instructions(graph, segment) for segment in schedule.segments)


def segment_instructions(graph: Graph, segment: Segment) -> int:
    """Instructions of one run of ``segment``."""
    operators = {op.name: op for op in graph.operators}
    return priced(graph, [operators[name] for name in segment.operators], segment)


def priced(graph: Graph, operators: Sequence[Operator], segment: Segment) -> int:
    """``segment_instructions`` of ``operators``, those of the segment's stages."""
    return sum(stages_instructions(graph, operators, segment))


def operator_instructions(graph: Graph, op: Operator) -> int:
    """Instructions of one operator alone, on whole tensors. Windows count in full, also over padding."""
    height, width, channels = graph.tensors[op.output].shape
    results = height * width * channels
    instructions = height * width * PIXEL + results * CHANNEL
    if isinstance(op, Convolution):
        taps = results * op.window.mean_taps()
        return instructions + round(taps * TAP) + results * REQUANTISE + op.macs((height, width, channels)) * MAC
    if isinstance(op, Pool):
        each = math.prod(op.window.kernel) * POOL_TAP + (0 if op.maximum else DIVIDE)
        return instructions + results * (each + (REQUANTISE if op.rescale else 0))
    if isinstance(op, Add):
        return instructions + results * sum(REQUANTISE if r.shift else COPY for r in op.rescales)
    if isinstance(op, Binary):
        requantises = sum(1 for r in (*op.rescales, op.rescale) if r and r.shift)
        return height * width * PIXEL + results * (requantises * REQUANTISE or CHANNEL)
    if isinstance(op, Concat):
        moves = [view[2] * (REQUANTISE if r else COPY) for view, r in zip(op.views, op.rescales, strict=True)]
        return instructions + height * width * sum(moves)
    if isinstance(op, Apply):
        return instructions + results * (COPY + STEP * len(op.steps))
    if isinstance(op, Lookup):
        return height * width * PIXEL + results * LOOKUP
    if isinstance(op, Quantize | Dequantize):
        return instructions + results * ENCODE
    if isinstance(op, Resize):
        return instructions + results * (LERP + 2 * ENCODE)
    return instructions + results * COPY


def segment_macs(graph: Graph, operators: Sequence[Operator], segment: Segment) -> int:
    """Multiply-accumulates that ``segment`` runs: for every stage its pixels times what one of them costs."""
    total = 0
    for op, stage in zip(operators, segment.stages, strict=True):
        if isinstance(op, Convolution):
            # A reduction's pixel is one of the input: one tap of its only window.
            taps = 1 if stage.reduction else op.window.mean_taps()
            _, width, channels = graph.tensors[op.output].shape
            total += round(segment.pixels_run(stage, width) * taps * channels * (op.views[0][2] // op.groups))
    return total


def schedule_macs(graph: Graph, schedule: Schedule) -> int:
    """Multiply-accumulates of one inference of the operators of ``graph``, as the loops run them."""
    operators = {op.name: op for op in graph.operators}
    return sum(segment_macs(graph, [operators[n] for n in s.operators], s) for s in schedule.segments)


def stages_instructions(graph: Graph, operators: Sequence[Operator], segment: Segment) -> list[int]:
    """Instructions of each stage of ``segment``, by its operator."""
    slices = _slices(graph, operators, segment)
    wraps = {ring.tensor: RING for ring in segment.rings if _wraps(graph, ring.tensor, ring.pixels)}
    through = written_through(graph, segment)
    nests = segment.strips if segment.tail else slices * segment.strips
    guards = 0 if len(operators) == 1 else nests * segment.extent[0] * segment.extent[1]
    found = []
    for op, stage in zip(operators, segment.stages, strict=True):
        kernel = kernel_of(graph, segment, stage, op)
        if kernel:
            price = kernel_instructions(graph, segment, stage, op, kernel)
        else:
            price = operator_instructions(graph, op)
            if len(operators) > 1 or segment.tile:
                times = slices if op.name in segment.sliced else 1
                price += _beside_others(graph, op, stage, segment, times, wraps)
        if not segment.tail or op.name not in segment.sliced[1:]:  # the tail has one for all
            price += guards * _guard(stage)
        price -= sum(_copies(graph, name) for name, (concat, _) in through.items() if concat is op)
        found.append(price)
    return found


def _beside_others(
    graph: Graph,
    op: Operator,
    stage: Stage,
    segment: Segment,
    slices: int,
    wraps: Mapping[str, int],
) -> int:
    """What portable TIR costs more in ``segment`` than alone.

    1. Reading and writing a ring wraps around: a remainder for each pixel made, and for each position of a window.
    2. A slice of channels repeats the loops over pixels and, where it closes, those over windows; its sums are loaded
       and stored once more with each slice.
    3. A reduction over pixels that come one by one loads and stores a running sum for each.
    4. Strips compute the columns between them in both.
    """
    height, width, channels = graph.tensors[op.output].shape
    pixels, results = height * width, height * width * channels
    taps = 1 if stage.reduction else math.ceil(op.window.mean_taps())
    run = segment.pixels_run(stage, width)
    reads = run * channels * taps
    total = 0
    if segment.strips > 1:
        total += operator_instructions(graph, op) * (run - pixels) // pixels
        pixels = run
    total += slices * pixels * wraps.get(op.output, 0)
    total += run * taps * sum(wraps.get(name, 0) for name in op.inputs)
    total += (slices - 1) * pixels * PIXEL
    if stage.reduction:
        total += math.prod(stage.domain) * (PIXEL + channels * SUMS)
    if closes(op, segment):
        total += slices * results * SUMS + (slices - 1) * (reads * TAP + results * CHANNEL)
    return total


def _slices(graph: Graph, operators: Sequence[Operator], segment: Segment) -> int:
    """Of channels; all that is sliced has as many."""
    return graph.tensors[operators[-segment.tail].output].shape[2] // segment.tile if segment.tile else 1


def _copies(graph: Graph, tensor: str) -> int:
    height, width, channels = graph.tensors[tensor].shape
    return height * width * channels * (CHANNEL + COPY)


def _guard(stage: Stage) -> int:
    return GUARD + sum(STRIDED for stride in stage.stride if stride > 1)


def _wraps(graph: Graph, tensor: str, pixels: int) -> bool:
    """True unless the ring holds the whole tensor or a single pixel, whose place is known."""
    height, width, _ = graph.tensors[tensor].shape
    return 1 < pixels < height * width
