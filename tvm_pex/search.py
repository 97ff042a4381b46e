"""Finds the schedule with the lowest peak: where to cut a graph into segments, and along which axes each runs. Pure.

Dynamic programming over the operators in topological order. The cost of a segment is its peak: whole tensors on its
borders and passing by, its rings and its sums. Of all schedules with the least peak the one with the fewest and
simplest loops is taken: rows before pixels, few segments before many.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tvm_pex.graph import Graph, Operator
from tvm_pex.lifetimes import accumulators, sum_bytes
from tvm_pex.schedule import Schedule, Segment, Unschedulable, make_segment, outside_tensors, sliced_channels

ALL_AXES = ("rows", "pixels", "channels")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Candidate:
    """A segment over operators ``start`` to ``stop`` (excluded) with its peak in bytes and its price in loops."""

    start: int
    stop: int
    peak: int
    price: int
    segment: Segment


def find_schedule(graph: Graph, *, axes: Sequence[str] = ALL_AXES, progress: Progress | None = None) -> Schedule:
    """The schedule of least peak over ``axes``: channels, rows, or rows and pixels. Deterministic.

    ``progress`` is called with (operators done, operators in all).
    """
    count = len(graph.operators)
    found: list[list[Candidate]] = []
    for start in range(count):
        found.append(list(_candidates(graph, start, axes)))
        if progress:
            progress(start + 1, count)
    peak = _least_peak(found, count)
    return Schedule(tuple(c.segment for c in _cheapest(found, count, peak)))


def _candidates(graph: Graph, start: int, axes: Sequence[str]) -> Iterator[Candidate]:
    """Every segment that begins at ``start``."""
    spatial = [axis for axis in axes if axis != "channels"]
    for stop in range(start + 1, len(graph.operators) + 1):
        operators = graph.operators[start:stop]
        # One operator alone has the same loops whatever its axes, and the finest clock tells most about what is dead.
        choices = [spatial] if stop == start + 1 else [spatial[:n] for n in range(len(spatial) + 1)]
        channels = sliced_channels(graph, operators) if "channels" in axes and stop > start + 1 else None
        tiles = [None, *(tile for tile in range(1, channels or 1) if (channels or 1) % tile == 0)]
        for choice, tile in itertools.product(choices, tiles):
            if not choice and not tile and stop > start + 1:
                continue
            try:
                segment = make_segment(graph, operators, choice, tile)
            except Unschedulable:
                return
            price = 1 if stop == start + 1 else 1 + len(operators) * len(choice)
            slices = (channels or 1) // tile if tile else 1
            yield Candidate(start, stop, segment_peak(graph, operators, segment), price * slices, segment)


def segment_peak(graph: Graph, operators: Sequence[Operator], segment: Segment) -> int:
    """Bytes in use while the segment runs: everything that it touches or that passes by, nothing in place."""
    whole = _present(graph, operators)
    rings = sum(r.pixels * r.channels * graph.tensors[r.tensor].item_bytes for r in segment.rings)
    return (
        rings
        + sum(graph.tensors[name].bytes for name in whole)
        + sum(sum_bytes(op) * accumulators(op, graph, segment) for op in operators)
    )


def _present(graph: Graph, operators: Sequence[Operator]) -> set[str]:
    """Whole tensors that exist while ``operators`` run."""
    first = graph.operators.index(operators[0])
    before, after = graph.operators[:first], graph.operators[first + len(operators) :]
    made = set(graph.inputs) | {op.output for op in before}
    needed = {name for op in (*operators, *after) for name in op.inputs} | set(graph.outputs)
    own = outside_tensors(graph, [op.name for op in operators]) & {op.output for op in operators}
    return (made & needed) | own


def _least_peak(found: Sequence[Sequence[Candidate]], count: int) -> int:
    best = [0] + [1 << 62] * count
    for start in range(count):
        for c in found[start]:
            best[c.stop] = min(best[c.stop], max(best[start], c.peak))
    return best[count]


def _cheapest(found: Sequence[Sequence[Candidate]], count: int, peak: int) -> list[Candidate]:
    """The segments of least total price none of which goes above ``peak``."""
    price: list[int] = [0] + [1 << 62] * count
    last: list[Candidate | None] = [None] * (count + 1)
    for start in range(count):
        for c in found[start]:
            if c.peak <= peak and price[start] + c.price < price[c.stop]:
                price[c.stop], last[c.stop] = price[start] + c.price, c
    path: list[Candidate] = []
    while count:
        step = last[count]
        assert step is not None
        path.append(step)
        count = step.start
    return path[::-1]
