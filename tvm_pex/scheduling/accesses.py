"""How often a schedule reads and writes each of its buffers: loads and stores of the kernels, counted exactly. Pure.

An access is one element, whatever its size. Every operator reads its inputs as ``tvm_pex.lowering.kernels`` does:

1. A convolution reads, for each output pixel and channel, all channels of its group at each window position inside the
   tensor; a pool reads its own channel there; what works element by element reads each element once.
2. Every result is written once, and read once more by a Concat that copies it. How a tensor is sliced, cut or held in
   a ring moves reads and writes, but adds none; strips repeat those of the columns between them.
3. Running sums are loaded and stored with every pixel of a reduction, or every slice of channels, but not loaded with
   the first and not stored with the last.

4. A kernel in C reads what a convolution over all channels needs once for each block of output channels; with scratch
   it reads that once for each slice, and the scratch for each block. Of others it reads what portable TIR does.

What the caller reads and writes of the model's input and output is not counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Mapping

from tvm_pex.graph import Concat, Convolution, Graph, Operator, Pad, Patches, Resize, Shape, Window, window_on
from tvm_pex.scheduling.kernels import BLOCK, closes, kernel_of, patch_bytes, sums_inputs_apart
from tvm_pex.scheduling.lifetimes import accumulators, patch_name, sums_name
from tvm_pex.scheduling.rings import positions, use_of
from tvm_pex.scheduling.schedule import Schedule, Segment, Stage, written_through
from tvm_pex.scheduling.strips import Columns


def schedule_accesses(graph: Graph, schedule: Schedule) -> Counter[str]:
    """Accesses in one inference, by name of tensor (whole or ring) or of sums."""
    operators = {op.name: op for op in graph.operators}
    total: Counter[str] = Counter(dict.fromkeys(graph.tensors, 0))
    for segment in schedule.segments:
        through = written_through(graph, segment)
        for stage in segment.stages:
            op = operators[stage.operator]
            kernel = kernel_of(graph, segment, stage, op)
            for position, name in enumerate(op.inputs):
                if name in through:
                    continue
                reads = _reads(graph, op, segment, stage, position)
                if kernel and isinstance(op, Convolution) and op.groups == 1:
                    reads, scratch = _by_blocks(graph, segment, op, kernel, reads)
                    if scratch:
                        total[patch_name(op.name)] = scratch
                elif sums_inputs_apart(graph, segment, stage, op):
                    reads += reads // graph.tensors[op.output].shape[2]
                total[name] += reads
            total[_place(op.output, through)] += _writes(graph, op, segment, stage, through)
            if accumulators(op, graph, segment):
                total[sums_name(op.name)] += 2 * _repeats(graph, op, segment, stage)
    return total


def _by_blocks(graph: Graph, segment: Segment, op: Convolution, kernel: str, reads: int) -> tuple[int, int]:
    """What a kernel reads of its input, and accesses of its scratch, where portable TIR reads ``reads``."""
    channels = graph.tensors[op.output].shape[2]
    once, blocks = reads // channels, -(-channels // BLOCK)
    slices = channels // (segment.tile_of(op.name) or channels)
    return (once * slices, once * (slices + blocks)) if patch_bytes(op, kernel, segment) else (once * blocks, 0)


def _place(tensor: str, through: Mapping[str, tuple[Concat, int]]) -> str:
    """The tensor in which ``tensor`` lies: itself, or the output of a Concat."""
    while tensor in through:
        tensor = through[tensor][0].output
    return tensor


def _writes(graph: Graph, op: Operator, segment: Segment, stage: Stage, through: Container[str]) -> int:
    """Elements that ``op`` writes: of a Concat's, not those that lie there already."""
    height, width, channels = graph.tensors[op.output].shape
    if isinstance(op, Concat):
        channels = sum(view[2] for name, view in zip(op.inputs, op.views, strict=True) if name not in through)
    pixels = height * width if segment.strips == 1 else segment.pixels_run(stage, width)
    return pixels * channels


def _reads(graph: Graph, op: Operator, segment: Segment, stage: Stage, position: int) -> int:
    """Elements that ``op`` reads of one of its inputs."""
    rows, width, channels = graph.tensors[op.output].shape
    columns = [range(width)]
    if segment.strips > 1:
        part = Columns(*stage.origin, stage.domain[1])
        columns = [part.within(strip, width) for strip in range(segment.strips)]
    pixels = sum(len(part) for part in columns) * rows
    if isinstance(op, Concat | Pad):
        channels = op.views[position][2]
    if isinstance(op, Concat):
        return pixels * channels
    if isinstance(op, Patches | Resize):  # all pixels of a patch are there; at a border one of the four is read twice
        return pixels * channels * (4 if isinstance(op, Resize) else 1)
    window, view = window_on(op, position, graph.tensors[op.output].shape), op.views[position]
    taps = _taps(window, view, 0, range(rows)) * sum(_taps(window, view, 1, part) for part in columns)
    depth = op.views[0][2] // op.groups if isinstance(op, Convolution) else 1
    return taps * channels * depth


def _taps(w: Window, view: Shape, axis: int, outputs: range) -> int:
    """Window positions inside the tensor, over the output positions along one axis."""
    read = positions(use_of(w, axis, view[axis], outputs.stop))
    return int((read[:, outputs.start :] >= 0).sum())


def _repeats(graph: Graph, op: Operator, segment: Segment, stage: Stage) -> int:
    """How often the sums of ``op`` are carried on from one moment, or slice of channels, to the next."""
    shape = graph.tensors[op.output].shape
    if segment.tile and closes(op, segment):
        slices = op.views[0][2] // segment.tile
        return (slices - 1) * math.prod(shape)
    return (math.prod(stage.domain) - 1) * shape[2]
