"""Finds the schedule: where to cut a graph into segments, and along which axes each runs. Pure.

It is the schedule of the lowest peak or, within a budget, the fastest that fits.

Dynamic programming over the operators in topological order. The cost of a segment is the peak that the memory planner
reaches while it runs, with everything that passes by. Planning every segment would be slow, so segments start with a
floor, a peak that they hardly ever stay below, and only those on a best path get planned, until a best path consists
of planned ones. Of the schedules of least peak the one of least price (``tvm_pex.scheduling.cost``) is taken.

With a budget the limit for a single segment falls, each time below the highest segment, until the cheapest path under
the limit fits as a whole. The limits do not depend on the budget, so that a larger one never gives a slower schedule.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tvm_pex.graph import Graph, Operator
from tvm_pex.memory_planner import plan_memory
from tvm_pex.scheduling.cost import operator_instructions, overhead
from tvm_pex.scheduling.lifetimes import accumulators, memory_problem, segment_problem, sum_bytes
from tvm_pex.scheduling.schedule import Schedule, Segment, Unschedulable, make_segment, outside_tensors, sliced_channels

ALL_AXES = ("rows", "pixels", "channels")

Progress = Callable[[int, int], None]
Cost = tuple[int, int, tuple[int, ...]]  # peak, price, positions of the path's candidates
_NONE = 1 << 62
_SLACK = (0, 2, 5)  # percent above the least peak of single segments where paths are tried
_EFFORT = 300  # nodes of the planner's exact search: enough for a segment of a dozen buffers


@dataclass(frozen=True)
class Candidate:
    """Operators ``start`` to ``stop`` (excluded) as a segment, the least peak to expect, the price in instructions."""

    start: int
    stop: int
    floor: int
    price: int
    segment: Segment


class OverBudget(ValueError):
    """No schedule that was found fits: the best needs ``least_bytes``, while ``operators`` run."""

    def __init__(self, budget: int, least_bytes: int, operators: Sequence[str]) -> None:
        super().__init__(f"{budget} bytes are too few: at least {least_bytes} are needed by {' '.join(operators)}")
        self.budget = budget
        self.least_bytes = least_bytes
        self.operators = tuple(operators)


@dataclass(frozen=True)
class Choice:
    """A schedule, the peak of the whole graph under it, and the instructions that it executes."""

    arena_bytes: int
    instructions: int
    schedule: Schedule


def find_schedule(
    graph: Graph,
    *,
    axes: Sequence[str] = ALL_AXES,
    kept: frozenset[str] = frozenset(),
    budget: int | None = None,
    progress: Progress | None = None,
) -> Schedule:
    """The schedule of least peak over ``axes``: channels, rows, or rows and pixels. Deterministic.

    With a ``budget`` in bytes, the one of fewest instructions whose peak is not above it; raises OverBudget if there is
    none. ``kept`` are inputs that may not be overwritten before the last of them has been read. ``progress`` is called
    with (operators done, operators in all).
    """
    paths = _paths(graph, axes, kept, progress)
    return paths.best() if budget is None else paths.within(budget)


def find_front(
    graph: Graph,
    *,
    axes: Sequence[str] = ALL_AXES,
    kept: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> tuple[Choice, ...]:
    """What falling budgets give, from the fastest schedule down to the least peak; arguments as for find_schedule."""
    return _paths(graph, axes, kept, progress).front()


def _paths(graph: Graph, axes: Sequence[str], kept: frozenset[str], progress: Progress | None) -> _Paths:
    count = len(graph.operators)
    found: list[Candidate] = []
    for start in range(count):
        found += _candidates(graph, start, axes, kept)
        if progress:
            progress(start + 1, count)
    return _Paths(graph, found, kept)


def _candidates(graph: Graph, start: int, axes: Sequence[str], kept: frozenset[str]) -> Iterator[Candidate]:
    """Every segment that begins at ``start``."""
    alone = [operator_instructions(graph, op) for op in graph.operators[start:]]
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
            price = sum(alone[: stop - start]) + overhead(graph, operators, segment)
            yield Candidate(start, stop, floor_of(graph, operators, segment, kept), price, segment)


def floor_of(graph: Graph, operators: Sequence[Operator], segment: Segment, kept: frozenset[str]) -> int:
    """Bytes that a segment needs as a rule: rings and sums, what may not be touched, and one more whole tensor.

    Rings of one pixel are left out: they mostly hold nothing outside their turn.
    """
    first = graph.operators.index(operators[0])
    after = graph.operators[first + len(operators) :]
    own = {op.output for op in operators}
    read = {name for op in operators for name in op.inputs} - own
    needed = {name for op in after for name in op.inputs} | set(graph.outputs)
    made = set(graph.inputs) | {op.output for op in graph.operators[:first]}
    fixed = made & (needed | (kept & read))
    moving = (read - fixed) | (own & outside_tensors(graph, [op.name for op in operators]))
    sizes = {name: graph.tensors[name].bytes for name in fixed | moving}
    inner = sum(
        r.pixels * r.channels * graph.tensors[r.tensor].item_bytes for r in segment.rings if r.pixels > 1
    ) + sum(sum_bytes(op, graph) * accumulators(op, graph, segment) for op in operators)
    largest = max((sizes[name] for name in moving), default=0)
    return sum(sizes[name] for name in fixed) + max(inner, largest)


class _Paths:
    """Paths through the candidates, each of which is planned when a best path first runs through it."""

    def __init__(self, graph: Graph, found: Sequence[Candidate], kept: frozenset[str]) -> None:
        self.graph = graph
        self.found = found
        self.kept = kept
        self.count = len(graph.operators)
        self.peaks = [c.floor for c in found]
        self.planned = [False] * len(found)

    def best(self) -> Schedule:
        """Of the paths at or little above the least peak, the lowest as a whole; then the cheapest."""
        _, _, best = min(self._at_least())
        return self._schedule(best)

    def within(self, budget: int) -> Schedule:
        """The cheapest path that fits as a whole, of those at the least peak and those under falling limits."""
        low = self._at_least()
        falling = next((cost for cost in self._falling() if cost[0] <= budget), None)
        fitting = [cost for cost in (*low, *([falling] if falling else [])) if cost[0] <= budget]
        if not fitting:
            least, _, path = min(low)
            top = max(path, key=lambda k: self.peaks[k])
            raise OverBudget(budget, least, self.found[top].segment.operators)
        return self._schedule(min(fitting, key=lambda cost: (cost[1], cost[0], cost[2]))[2])

    def front(self) -> tuple[Choice, ...]:
        """What no other path beats in both peak and price, the highest peak first."""
        chosen: list[Choice] = []
        for peak, price, path in sorted((*self._at_least(), *self._falling())):
            if not chosen or price < chosen[-1].instructions:
                chosen.append(Choice(peak, price, self._schedule(path)))
        return tuple(chosen[::-1])

    def _at_least(self) -> list[Cost]:
        """The cheapest paths and those of fewest segments at or little above the least peak.

        A tensor between two segments has one place, which each of them alone would choose otherwise: long segments tie
        fewer places together than cheap ones.
        """
        least = max((self.peaks[k] for k in self._settled(self._lowest)), default=0)
        tried: dict[tuple[int, ...], Cost] = {}
        for percent, price in itertools.product(_SLACK, (self._price, self._one)):
            limit = least * (100 + percent) // 100
            path = tuple(self._settled(functools.partial(self._cheapest, limit, price)))
            if path not in tried:
                tried[path] = self._cost(path)
        return list(tried.values())

    def _falling(self) -> Iterator[Cost]:
        """The cheapest path of all, then the cheapest without a segment as high as its highest, and so on."""
        limit = _NONE
        while True:
            path = tuple(self._settled(functools.partial(self._cheapest, limit, self._price)))
            if not path:
                return
            yield self._cost(path)
            limit = max(self.peaks[k] for k in path) - 1

    def _cost(self, path: tuple[int, ...]) -> Cost:
        problem = memory_problem(self.graph, self._schedule(path), kept=self.kept)
        return plan_memory(problem, effort=_EFFORT).peak, sum(self.found[k].price for k in path), path

    def _schedule(self, path: Sequence[int]) -> Schedule:
        return Schedule(tuple(self.found[k].segment for k in path))

    def _price(self, k: int) -> int:
        return self.found[k].price

    def _one(self, k: int) -> int:
        return 1

    def _settled(self, find: Callable[[], list[int]]) -> list[int]:
        """What ``find`` gives once it gives only planned candidates."""
        while True:
            path = find()
            rough = [k for k in path if not self.planned[k]]
            if not rough:
                return path
            for k in rough:
                problem = segment_problem(self.graph, self.found[k].segment, self.kept)
                self.peaks[k], self.planned[k] = plan_memory(problem, effort=_EFFORT).peak, True

    def _lowest(self) -> list[int]:
        """The path whose highest segment is lowest; then the one with the least sum of peaks."""
        cost = [(0, 0)] + [(_NONE, 0)] * self.count
        last = [-1] * (self.count + 1)
        for k, c in enumerate(self.found):
            through = (max(cost[c.start][0], self.peaks[k]), cost[c.start][1] + self.peaks[k])
            if through < cost[c.stop]:
                cost[c.stop], last[c.stop] = through, k
        return self._back(last)

    def _cheapest(self, peak: int, price: Callable[[int], int]) -> list[int]:
        """The path of least price none of whose segments goes above ``peak``; empty if there is none."""
        cost = [0] + [_NONE] * self.count
        last = [-1] * (self.count + 1)
        for k, c in enumerate(self.found):
            through = cost[c.start] + price(k)
            if self.peaks[k] <= peak and cost[c.start] < _NONE and through < cost[c.stop]:
                cost[c.stop], last[c.stop] = through, k
        return self._back(last)

    def _back(self, last: Sequence[int]) -> list[int]:
        path, at = [], self.count
        while at and last[at] >= 0:
            path.append(last[at])
            at = self.found[last[at]].start
        return path[::-1]
