"""The segments that a search may choose from: runs of neighbours in an order, in every way to run them. Pure.

Planning each would be slow, so each has a *floor*, a peak that it hardly ever stays below: rings and sums, what may not
be touched, and one more whole tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tvm_pex.graph import Graph, Operator
from tvm_pex.scheduling.cost import priced, segment_macs
from tvm_pex.scheduling.kernels import BLOCK
from tvm_pex.scheduling.lifetimes import accumulators, sum_bytes
from tvm_pex.scheduling.schedule import Segment
from tvm_pex.scheduling.segments import (
    Unschedulable,
    make_segment,
    sliced_channels,
    tail_of,
    whole_outputs,
    with_tail,
)
from tvm_pex.scheduling.spreading import StepTooLong, bounded_segment
from tvm_pex.scheduling.steps import segment_steps, worst_of

_RUNS = (1, 2, 4, 8)
_TILE = 16  # channels of a tail, or a few more: less would save a few bytes more, and cost a call for each slice
_STRIPS = (2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Candidate:
    """Operators ``start`` to ``stop`` (excluded) as a segment, the least peak to expect, the price in instructions.

    ``again`` are the multiply-accumulates that it runs a second time.
    """

    start: int
    stop: int
    floor: int
    price: int
    segment: Segment
    again: int = 0


def candidates(
    graph: Graph,
    start: int,
    stops: range,
    *,
    axes: Sequence[str],
    kept: frozenset[str],
    allowed: int,
    max_step: int | None,
    limit: int | None = None,
) -> Iterator[Candidate]:
    """Every segment from ``start`` to one of ``stops`` that runs at most ``allowed`` multiply-accumulates again.

    Where rows are handed out as they are made, all runs with the rows that come. None follows once the rings and sums
    of each way to run the operators take more than ``limit`` bytes: with more operators they take no less.
    """
    if graph.handed_out:
        stops = range(len(graph.operators), len(graph.operators) + 1) if stops.start == 1 else stops[:0]
    for stop in stops:
        operators = graph.operators[start:stop]
        try:
            if operators[0] == graph.arrival:
                segments = _segments_of_rows(graph, operators, axes, max_step)
            else:
                segments = _segments(graph, operators, axes, allowed)
        except StepTooLong:
            if len(operators) == 1:
                raise
            return
        except Unschedulable:
            return
        inner = [inner_bytes(graph, operators, segment) for segment in segments]
        if limit is not None and min(inner, default=0) > limit:
            return
        named = {op.name: op for op in operators}
        once, (fixed, moving) = graph.macs_of(operators), around(graph, start, stop, kept)
        for segment, own in zip(segments, inner):
            order = [named[name] for name in segment.operators]
            floor = fixed + max(own, moving)
            again = segment_macs(graph, order, segment) - once
            if again <= allowed and (allowed or not again):  # strips may also leave out what nothing reads
                yield Candidate(start, stop, floor, priced(graph, order, segment), segment, again)


def _segments(graph: Graph, operators: Sequence[Operator], axes: Sequence[str], allowed: int) -> list[Segment]:
    """The ways to run ``operators`` together: axes, slices of channels, strips. Raises Unschedulable if there is none.

    What does not go together for its axes does not with more operators either.
    """
    spatial = [axis for axis in axes if axis != "channels"]
    if len(operators) == 1:  # the finest clock tells most about what is dead; whole rows are the fastest, by kernels
        make_alone = functools.partial(make_segment, graph, operators)
        if len(spatial) < 2:
            return [make_alone(spatial)]
        runs = _runs(graph, operators)
        rows = [make_alone(spatial[:1])] if operators[0].name in graph.kernels else []
        return [*(make_alone(spatial, run=run) for run in runs), *rows]
    sliced = "channels" in axes
    channels = sliced_channels(graph, operators) if sliced else None
    tiles = [tile for tile in range(1, channels or 1) if (channels or 1) % tile == 0]
    make = functools.partial(make_segment, graph, operators)
    segments = []
    for count in range(len(spatial) + 1):
        choice = spatial[:count]
        once = [make(choice)] if choice else []
        if count > 1:
            once += [make(choice, run=run) for run in _runs(graph, operators)[1:]]
        segments += once
        segments += _with_tails(graph, operators, once) if sliced else []
        segments += [make(choice, tile) for tile in tiles]
        if choice and (allowed or _side_by_side(operators)):
            segments += _in_strips(make, choice, allowed)
    return segments


def _segments_of_rows(
    graph: Graph, operators: Sequence[Operator], axes: Sequence[str], max_step: int | None
) -> list[Segment]:
    """The ways to run ``operators`` with rows that the caller hands in: along rows, and the nest runs only once.

    Raises Unschedulable, which is StepTooLong where more than ``max_step`` instructions lie between two rows.
    """
    spatial = [axis for axis in axes if axis != "channels"]
    choices = [(spatial[:1], 1)]
    if len(spatial) > 1:
        choices += [(spatial, run) for run in _runs(graph, operators)]
    if max_step is None:
        once = [make_segment(graph, operators, choice, run=run) for choice, run in choices]
        return [*once, *(_with_tails(graph, operators, once) if "channels" in axes else [])]
    found, shortest = list[Segment](), list[StepTooLong]()
    for choice, run in choices:
        try:
            found.append(bounded_segment(graph, operators, choice, max_step, run))
        except StepTooLong as error:
            shortest.append(error)
    if not found:
        raise min(shortest, key=lambda error: error.instructions)
    tailed = _with_tails(graph, operators, found) if "channels" in axes else ()
    return [*found, *(segment for segment in tailed if worst_of(segment_steps(graph, segment)) <= max_step)]


def _with_tails(graph: Graph, operators: Sequence[Operator], segments: Sequence[Segment]) -> Iterator[Segment]:
    """Those that can have a tail, with one."""
    channels = graph.tensors[operators[-1].output].shape[2]
    tile = next((tile for tile in range(_TILE, channels, BLOCK) if channels % tile == 0), None)
    for segment in segments if tile else ():
        names = tail_of(graph, operators, segment)
        if names and tile:
            yield with_tail(graph, segment, names, tile)


def _runs(graph: Graph, operators: Sequence[Operator]) -> list[int]:
    """Pixels to compute at a moment: more than one where kernels gain by it, less than whole rows."""
    widest = max(graph.tensors[op.output].shape[1] for op in operators)
    fast = any(op.name in graph.kernels for op in operators)
    return [run for run in _RUNS if run == 1 or (fast and run < widest)]


def _side_by_side(operators: Sequence[Operator]) -> bool:
    """True where strips of columns can save memory and yet compute nothing twice: no two windows share a column."""
    made = {op.output for op in operators}
    windows = [op.window for op in operators if made.intersection(op.inputs)]
    apart = all((w.reach(1) - w.pad[1] - w.stride[1]) // w.up[1] < -(w.pad[1] // w.up[1]) for w in windows)
    return apart and any(window.kernel != (1, 1) for window in windows)


def _in_strips(make: Callable[..., Segment], choice: list[str], allowed: int) -> Iterator[Segment]:
    for strips in _STRIPS:
        try:
            segment = make(choice, strips=strips)
        except Unschedulable:
            return
        if not allowed and any(stage.domain[1] > stage.origin[0] for stage in segment.stages):
            return  # strips that overlap
        if segment.strips == strips:  # else it is one with fewer
            yield segment


def around(graph: Graph, start: int, stop: int, kept: frozenset[str]) -> tuple[int, int]:
    """Bytes of the whole tensors that may not be touched while operators ``start`` to ``stop`` run together.

    And those of the largest of the others that are whole: what they read for the last time, and what they make.
    """
    operators, after = graph.operators[start:stop], graph.operators[stop:]
    own = {op.output for op in operators}
    read = {name for op in operators for name in op.inputs} - own
    needed = {name for op in after for name in op.inputs} | set(graph.outputs)
    made = set(graph.inputs) | {op.output for op in graph.operators[:start]}
    fixed = made & (needed | (kept & read))
    moving = (read - fixed) | whole_outputs(graph, operators)
    fixed_bytes = sum(graph.tensors[name].bytes for name in fixed - graph.outside)
    return fixed_bytes, max((graph.tensors[name].bytes for name in moving - graph.outside), default=0)


def inner_bytes(graph: Graph, operators: Sequence[Operator], segment: Segment) -> int:
    """Of rings and sums. Rings of one pixel, or one run, are left out: they mostly hold nothing outside their turn."""
    rings = (r for r in segment.rings if r.pixels > segment.run)
    return sum(r.pixels * r.channels * graph.tensors[r.tensor].item_bytes for r in rings) + sum(
        sum_bytes(op, graph) * accumulators(op, graph, segment) for op in operators
    )
