"""Kernels in C that operators may run by, and where in a schedule they do. Pure.

``Graph.kernels`` says which kernel an operator has; the segment has the last word: strips, sums over slices of channels
and slices that are no multiple of 4 channels run as portable TIR.
"""

from __future__ import annotations

import math

from tvm_pex.graph import Convolution, Graph, Operator, Pool
from tvm_pex.scheduling.schedule import Segment, Stage

PAIRS, PAIRS_PATCH = "pex_pairs", "pex_pairs_patch"
WIDE, WIDE_PATCH = "pex_pairs_wide", "pex_pairs_wide_patch"
LANES, LANES_PATCH = "pex_lanes", "pex_lanes_patch"
DEPTHWISE, DEPTHWISE_LANES, ADD, SUM = "pex_depthwise", "pex_depthwise_lanes", "pex_add", "pex_sum"
PATCHES = (PAIRS_PATCH, LANES_PATCH)
WIDER = {PAIRS: WIDE, PAIRS_PATCH: WIDE_PATCH}
"""Faster kernels of the same packing, which need scratch."""
BLOCK = 4  # output channels that a kernel computes at once
LANES_BLOCK = 16  # those of DEPTHWISE_LANES


def kernel_of(graph: Graph, segment: Segment, stage: Stage, op: Operator) -> str | None:
    """The kernel by which ``op`` runs in ``segment``; None where it is TIR."""
    kernel = graph.kernels.get(op.name)
    if kernel is None or segment.strips > 1:
        return None
    if isinstance(op, Pool):
        return kernel if stage.reduction else None
    if isinstance(op, Convolution) and (stage.reduction or closes(op, segment)):
        return None
    tile = segment.tile_of(op.name) or 0
    if kernel == DEPTHWISE_LANES and tile % LANES_BLOCK:
        kernel = DEPTHWISE
    return kernel if tile % BLOCK == 0 else None


def closes(op: Operator, segment: Segment) -> bool:
    """True for the convolution that sums over the slices of channels of a tiled segment; a tail has none."""
    sliced = {ring.tensor for ring in segment.rings} if segment.tile and not segment.tail else set()
    return isinstance(op, Convolution) and op.groups == 1 and op.inputs[0] in sliced


def patch_bytes(op: Operator, kernel: str | None, segment: Segment) -> int:
    """Bytes of a kernel's scratch: see pex_kernels.h."""
    pairs = 1 if "pixels" in segment.axes and segment.run == 1 else 2
    windows = {PAIRS_PATCH: pairs, LANES_PATCH: 1, WIDE: 4, WIDE_PATCH: 5}.get(kernel or "", 0)
    return windows * depth(op) if windows and isinstance(op, Convolution) else 0


def depth(op: Convolution) -> int:
    """Inputs of one result, to a multiple of 4."""
    return rounded_up(math.prod(op.window.kernel) * (op.views[0][2] // op.groups))


def rounded_up(count: int) -> int:
    """The next multiple of a block."""
    return -(-count // BLOCK) * BLOCK


MOST_INPUTS = 4096
"""Of a window, so that sums of products of two 8-bit values are far below 32 bits."""


def sums_inputs_apart(graph: Graph, segment: Segment, stage: Stage, op: Operator) -> bool:
    """True for a convolution in TIR, of 8 bits, that takes its weights' zero point times the sum of its inputs.

    That is the same for all output channels. Not by slices of them, nor where sums are kept for other moments.
    """
    if not isinstance(op, Convolution) or op.zero_weight == 0 or op.groups > 1 or segment.tile or stage.reduction:
        return False
    narrow = graph.tensors[op.inputs[0]].item_bytes == 1
    return narrow and math.prod(op.window.kernel) * op.views[0][2] <= MOST_INPUTS


def is_depthwise(op: Convolution, graph: Graph) -> bool:
    """True if each output channel is made of the input channel of its number alone."""
    return op.groups == op.views[0][2] == graph.tensors[op.output].shape[2]
