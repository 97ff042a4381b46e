"""Paths through candidates: the lowest, the cheapest below a limit, by dynamic programming. Pure.

A path is a sequence of candidates that runs each operator once; its peak, as far as it is known here, is that of its
highest segment. The memory planner tells a segment's peak only when a best path first runs through it, until a best
path consists of planned ones; before, its floor stands in.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tvm_pex.graph import Graph
from tvm_pex.memory_planner import Problem, plan_memory, without_names
from tvm_pex.scheduling.candidates import Candidate
from tvm_pex.scheduling.lifetimes import memory_problem, segment_problem
from tvm_pex.scheduling.schedule import Schedule

NONE = 1 << 100  # above any price, however dear recompute is made
EFFORT = 300  # nodes of the planner's exact search: enough for a segment of a dozen buffers
_EFFORT_WHOLE = 6000  # for the graph as a whole: few bytes too many would let a slower schedule win
_SLACK = (0, 2, 5)  # percent above the least peak of single segments where paths are tried
_WEIGHTS = (0, 16, 256, 1 << 40)  # instructions that a path is charged for a multiply-accumulate that it runs again


@dataclass(frozen=True)
class Choice:
    """A schedule, the peak of the whole graph under it, and the instructions that it executes."""

    arena_bytes: int
    instructions: int
    schedule: Schedule


def undominated(found: Sequence[Choice]) -> tuple[Choice, ...]:
    """Those that no other beats in both, from the fastest down to the least peak."""
    chosen: list[Choice] = []
    for choice in sorted(found, key=lambda choice: (choice.arena_bytes, choice.instructions)):
        if not chosen or choice.instructions < chosen[-1].instructions:
            chosen.append(choice)
    return tuple(chosen[::-1])


class Paths:
    """Paths through the candidates, each of which is planned when a best path first runs through it.

    ``known`` are peaks of problems that were planned: networks repeat their blocks.
    """

    def __init__(self, graph: Graph, kept: frozenset[str], allowed: int, known: dict[object, int]) -> None:
        self.known = known
        self.graph = graph
        self.kept = kept
        self.allowed = allowed
        self.count = len(graph.operators)
        self.found: list[Candidate] = []
        self.from_start: list[list[int]] = [[] for _ in range(self.count)]
        self.peaks: list[int] = []
        self.planned: list[bool] = []

    def add(self, candidate: Candidate) -> None:
        self.from_start[candidate.start].append(len(self.found))
        self.found.append(candidate)
        self.peaks.append(candidate.floor)
        self.planned.append(False)

    def at_least(self, known: int | None = None) -> list[Choice]:
        """The cheapest paths and those of fewest segments at or little above the least peak; recompute or none.

        A tensor between two segments has one place, which each of them alone would choose otherwise: long segments tie
        fewer places together than cheap ones. Only where a schedule's peak is ``known``, paths are left out of which a
        single segment needs more than that, or than one of these does.
        """
        tried: dict[tuple[int, ...], Choice] = {}
        for allowed in sorted({0, self.allowed}):
            least = self._least_limit(allowed)
            for percent, price in itertools.product(_SLACK, (self._price, self._one)):
                path = self._cheapest_allowed(least * (100 + percent) // 100, price, allowed)
                if path in tried or (known is not None and self._top(path) > known):
                    continue
                tried[path] = self._choice(path)
                if known is not None:
                    known = min(known, tried[path].arena_bytes)
        return list(tried.values())

    def highest_of_interest(self) -> int:
        """No segment of a path that ``at_least`` tries has a higher peak, however many more candidates there are."""
        return self._least_limit(0) * (100 + max(_SLACK)) // 100

    def restless(self) -> list[int]:
        """Positions of the operators that cannot run alone below the least peak known."""
        least = self._least_limit(self.allowed)
        alone = dict.fromkeys(range(self.count), NONE)
        for c, peak in zip(self.found, self.peaks):
            if c.stop == c.start + 1:
                alone[c.start] = min(alone[c.start], peak)
        return [position for position, peak in alone.items() if peak >= least]

    def falling(self) -> Iterator[Choice]:
        """The cheapest path of all, then the cheapest without a segment as high as its highest, and so on."""
        limit = NONE
        while path := self._cheapest_allowed(limit, self._price, self.allowed):
            yield self._choice(path)
            limit = self._top(path) - 1

    def _choice(self, path: tuple[int, ...]) -> Choice:
        schedule = Schedule(tuple(self.found[k].segment for k in path))
        peak = self._peak(memory_problem(self.graph, schedule, kept=self.kept), _EFFORT_WHOLE)
        return Choice(peak, sum(self.found[k].price for k in path), schedule)

    def _peak(self, problem: Problem, effort: int) -> int:
        same = effort, without_names(problem)
        if same not in self.known:
            self.known[same] = plan_memory(problem, effort=effort).peak
        return self.known[same]

    def _least_limit(self, allowed: int) -> int:
        """The lowest peak of single segments that a path keeps to which runs no more again than is allowed."""
        path = self._settled(self._lowest)
        low = self._top(path)
        if self._again(path) <= allowed:
            return low
        high = self._top(self._settled(functools.partial(self._cheapest, NONE, self._once_more)))
        while low < high:
            limit = (low + high) // 2
            path = self._settled(functools.partial(self._cheapest, limit, self._once_more))
            if path and self._again(path) <= allowed:
                high = self._top(path)
            else:
                low = limit + 1
        return high

    def _cheapest_allowed(self, limit: int, price: Callable[[int], int], allowed: int) -> tuple[int, ...]:
        """The cheapest path under the limit; recompute is made dearer until no more is run again than is allowed."""
        for weight in _WEIGHTS:
            path = tuple(self._settled(functools.partial(self._cheapest, limit, self._charged(price, weight))))
            if self._again(path) <= allowed:
                return path
        return ()

    def _charged(self, price: Callable[[int], int], weight: int) -> Callable[[int], int]:
        return lambda k: price(k) + weight * self.found[k].again

    def _top(self, path: Sequence[int]) -> int:
        return max((self.peaks[k] for k in path), default=0)

    def _again(self, path: Sequence[int]) -> int:
        return sum(self.found[k].again for k in path)

    def _once_more(self, k: int) -> int:
        return self.found[k].again

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
                self.peaks[k], self.planned[k] = self._peak(problem, EFFORT), True

    def _lowest(self) -> list[int]:
        """The path whose highest segment is lowest; of those, one that runs least again."""
        cost = [(0, 0)] + [(NONE, 0)] * self.count
        last = [-1] * (self.count + 1)
        for k in itertools.chain.from_iterable(self.from_start):
            c = self.found[k]
            through = (max(cost[c.start][0], self.peaks[k]), cost[c.start][1] + c.again)
            if through < cost[c.stop]:
                cost[c.stop], last[c.stop] = through, k
        return self._back(last)

    def _cheapest(self, peak: int, price: Callable[[int], int]) -> list[int]:
        """The path of least price none of whose segments goes above ``peak``; empty if there is none."""
        cost = [0] + [NONE] * self.count
        last = [-1] * (self.count + 1)
        for k in itertools.chain.from_iterable(self.from_start):
            c = self.found[k]
            through = cost[c.start] + price(k)
            if self.peaks[k] <= peak and cost[c.start] < NONE and through < cost[c.stop]:
                cost[c.stop], last[c.stop] = through, k
        return self._back(last)

    def _back(self, last: Sequence[int]) -> list[int]:
        path, at = [], self.count
        while at and last[at] >= 0:
            path.append(last[at])
            at = self.found[last[at]].start
        return path[::-1]
