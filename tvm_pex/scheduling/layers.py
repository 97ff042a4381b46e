"""What a graph needs layer by layer, each operator on whole tensors, and what no schedule can do without. Pure.

A *lower bound* holds for every schedule that computes nothing twice, whatever its cuts, axes and tiles. It is low where
much has to be kept beside an operator, and tight where the model's input is the largest of what has to be kept.
"""

from __future__ import annotations

from dataclasses import replace

from tvm_pex.graph import Convolution, Graph, Operator, Pair, Window
from tvm_pex.memory_planner import Buffer, Problem
from tvm_pex.scheduling.rings import Reader, ring_pixels, use_of, wait


def layer_problem(graph: Graph) -> Problem:
    """Whole tensors, a step for each operator: inputs live to their last reader, outputs to the end, none in place.

    Inputs that nothing reads are left out, and streamed ones, whose rows lie in what their reader makes.
    """
    end = max(len(graph.operators) - 1, 0)
    first = dict.fromkeys(graph.inputs, 0) | {op.output: step for step, op in enumerate(graph.operators)}
    last = dict(first)
    for step, op in enumerate(graph.operators):
        last.update(dict.fromkeys(op.inputs, step))
    last.update(dict.fromkeys(graph.outputs, end))
    read = {name for op in graph.operators for name in op.inputs} | {op.output for op in graph.operators}
    used = [t for t in graph.tensors.values() if t.name in (read | set(graph.outputs)) - graph.outside]
    return Problem(tuple(Buffer(t.name, t.bytes, first[t.name], last[t.name]) for t in used))


def layer_bytes(graph: Graph) -> dict[str, int]:
    """Bytes alive while each operator runs, layer by layer."""
    buffers = layer_problem(graph).buffers
    return {
        op.name: sum(b.bytes for b in buffers if b.first <= step <= b.last) for step, op in enumerate(graph.operators)
    }


def lower_bound(graph: Graph, kept: frozenset[str] = frozenset()) -> int:
    """No schedule of ``graph`` without recompute has a lower peak. ``kept`` inputs are whole until they have been read.

    1. The inputs are there together when it starts, but for streamed ones, the outputs when it ends.
    2. An operator with a window holds the rows and pixels that pixels still to come will read, of a strip of columns
       where windows side by side share none.
    3. Slices of channels make that smaller, but run over and over a tensor that stays whole meanwhile, and what sums
       over them keeps an int32 for each of its results.
    4. While a kept input is read for the last time, it is there beside the result's pixel, or its slice.
    """
    tensors = graph.tensors
    ends = [
        sum(tensors[name].bytes for name in names if name not in graph.outside)
        for names in (graph.inputs, graph.outputs)
    ]
    above: dict[str, int] = {name: tensors[name].bytes for name in graph.inputs}
    for op in graph.operators:  # the smallest tensor that ``op.output`` is made of
        above[op.output] = min(min(above[name], tensors[name].bytes) for name in op.inputs)
    held = [_held(graph, op, above) for op in graph.operators if op != graph.arrival]
    beside = [
        sum(tensors[name].bytes for name in set(op.inputs) & kept) + tensors[op.output].item_bytes
        for op in graph.operators
    ]
    return max([*ends, *held, *beside], default=0)


def _held(graph: Graph, op: Operator, above: dict[str, int]) -> int:
    """Bytes that ``op`` needs of its first input, by pixels or by slices of channels."""
    tensor, view = graph.tensors[op.inputs[0]], op.views[0]
    if view != tensor.shape:
        return 0
    if op.window.kernel == view[:2]:  # may take pixels as they come
        return 0
    if op.window.up != (1, 1) or op.window.mirror is not None:  # no bound is known that holds for strips of these
        return 0
    shape = graph.tensors[op.output].shape
    pixels = _pixels(op.window, (view[0], view[1]), (shape[0], shape[1]))
    narrow = op.window.reach(1) + 1  # columns of a strip that gives one column
    if narrow <= min(op.window.stride[1], view[1]):  # windows side by side share none: strips compute nothing twice
        alone = replace(op.window, pad=(op.window.pad[0], 0))
        pixels = min(pixels, _pixels(alone, (view[0], narrow), (shape[0], 1)))
    sliced = pixels * tensor.item_bytes + above[tensor.name]
    if isinstance(op, Convolution) and op.groups == 1:
        sliced += 4 * shape[0] * shape[1] * shape[2]
    return min(pixels * view[2] * tensor.item_bytes, sliced)


def _pixels(window: Window, size_in: Pair, size_out: Pair) -> int:
    """The fewest pixels of a tensor of ``size_in`` (rows, columns) that ``window`` needs at once, as they come."""
    use = [use_of(window, a, size_in[a], size_out[a]) for a in (0, 1)]
    waits = [wait(use[a], 1, window.stride[a]) for a in (0, 1)]
    reader: Reader = (window.stride, (waits[0], waits[1]), use[0], use[1])
    return ring_pixels(size_in, (1, 1), (reader,))
