"""How often a schedule reads and writes each of its buffers: loads and stores of the kernels, counted exactly. Pure.

An access is one element, whatever its size. Every operator reads its inputs as ``tvm_pex.lowering.kernels`` does:

1. A convolution reads, for each output pixel and channel, all channels of its group at each window position inside the
   tensor; a pool reads its own channel there; what works element by element reads each element once.
2. Every result is written once. How a tensor is sliced, cut or held in a ring moves reads and writes, but adds none.
3. Running sums are loaded and stored with every pixel of a reduction, or every slice of channels, but not loaded with
   the first and not stored with the last.

What the caller reads and writes of the model's input and output is not counted.
"""

from __future__ import annotations

import functools
import math
from collections import Counter

import numpy as np

from tvm_pex.graph import Convolution, Graph, Operator
from tvm_pex.scheduling.lifetimes import accumulators, closes, sums_name
from tvm_pex.scheduling.schedule import Schedule, Segment, Stage


def schedule_accesses(graph: Graph, schedule: Schedule) -> Counter[str]:
    """Accesses in one inference, by name of tensor (whole or ring) or of sums."""
    operators = {op.name: op for op in graph.operators}
    total: Counter[str] = Counter(dict.fromkeys(graph.tensors, 0))
    for segment in schedule.segments:
        for stage in segment.stages:
            op = operators[stage.operator]
            for name in op.inputs:
                total[name] += _reads(graph, op)
            total[op.output] += math.prod(graph.tensors[op.output].shape)
            if accumulators(op, graph, segment):
                total[sums_name(op.name)] += 2 * _repeats(graph, op, segment, stage)
    return total


def _reads(graph: Graph, op: Operator) -> int:
    """Elements that ``op`` reads of each of its inputs."""
    rows, columns, channels = graph.tensors[op.output].shape
    taps = _taps(op, 0, rows) * _taps(op, 1, columns)
    depth = op.views[0][2] // op.groups if isinstance(op, Convolution) else 1
    return taps * channels * depth


def _taps(op: Operator, axis: int, size_out: int) -> int:
    """Window positions inside the tensor, over all output positions along one axis."""
    w = op.window
    return _taps_inside(op.views[0][axis], size_out, w.kernel[axis], w.stride[axis], w.dilation[axis], w.pad[axis])


@functools.lru_cache(maxsize=4096)
def _taps_inside(size_in: int, size_out: int, kernel: int, stride: int, dilation: int, pad: int) -> int:
    at = np.arange(size_out)[:, None] * stride - pad + np.arange(kernel)[None, :] * dilation
    return int(((at >= 0) & (at < size_in)).sum())


def _repeats(graph: Graph, op: Operator, segment: Segment, stage: Stage) -> int:
    """How often the sums of ``op`` are carried on from one moment, or slice of channels, to the next."""
    shape = graph.tensors[op.output].shape
    if segment.tile and closes(op, segment):
        slices = op.views[0][2] // segment.tile
        return (slices - 1) * math.prod(shape)
    return (math.prod(stage.domain) - 1) * shape[2]
