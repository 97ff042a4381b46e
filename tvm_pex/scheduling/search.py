"""Finds the schedule: where to cut a graph into segments, and along which axes each runs. Pure.

It is the schedule of the lowest peak or, within a budget, the fastest that fits.

Dynamic programming over the operators in topological order. The cost of a segment is the peak that the memory planner
reaches while it runs, with everything that passes by. Planning every segment would be slow, so segments start with a
floor, a peak that they hardly ever stay below (rings and sums, what may not be touched, and one more whole tensor), and
only those on a best path get planned, until a best path consists of planned ones. Of the schedules of least peak the
one of least price (``tvm_pex.scheduling.cost``) is taken.

With a budget the limit for a single segment falls, each time below the highest segment, until the cheapest path under
the limit fits as a whole. The limits do not depend on the budget, so that a larger one never gives a slower schedule.

Where recompute is allowed, or strips need none, segments may also run by strips, and a path must keep to the
multiply-accumulates allowed.

The order of the operators decides what may go together: where a graph has branches, several orders are tried.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tvm_pex.graph import Graph, Operator
from tvm_pex.memory_planner import Problem, plan_memory, without_names
from tvm_pex.scheduling.cost import priced, segment_macs
from tvm_pex.scheduling.kernels import BLOCK
from tvm_pex.scheduling.lifetimes import accumulators, memory_problem, segment_problem, sum_bytes
from tvm_pex.scheduling.orders import operator_orders
from tvm_pex.scheduling.schedule import Schedule, Segment
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

ALL_AXES = ("rows", "pixels", "channels")

Progress = Callable[[int, int], None]
_NONE = 1 << 100  # above any price, however dear recompute is made
_SLACK = (0, 2, 5)  # percent above the least peak of single segments where paths are tried
_RUNS = (1, 2, 4, 8)
_TILE = 16  # channels of a tail, or a few more: less would save a few bytes more, and cost a call for each slice
_STRIPS = (2, 3, 4, 6, 8)
_WEIGHTS = (0, 16, 256, 1 << 40)  # instructions that a path is charged for a multiply-accumulate that it runs again
_SHORT = 10  # operators of the segments that tell how much memory is of interest
_CALM = 24  # operators that run alone as well: a segment that begins or ends with so many is not looked at
_EFFORT = 300  # nodes of the planner's exact search: enough for a segment of a dozen buffers
_EFFORT_WHOLE = 2000  # for the graph as a whole: few bytes too many would let a slower schedule win


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
    max_overhead: float = 1.0,
    max_step: int | None = None,
    progress: Progress | None = None,
) -> Schedule:
    """The schedule of least peak over ``axes``: channels, rows, or rows and pixels. Deterministic.

    With a ``budget`` in bytes, the one of fewest instructions whose peak is not above it; raises OverBudget if there is
    none. ``kept`` are inputs that may not be overwritten before the last of them has been read. Up to ``max_overhead``
    times the graph's multiply-accumulates may be run. With a streamed input no more than ``max_step`` instructions run
    between two rows; raises StepTooLong where taking a row alone takes more. ``progress`` is called with (operators
    done, operators in all).
    """
    orders = _all_paths(graph, axes, kept, max_overhead, max_step, progress, budget or 0)
    low = list[Choice]()
    for paths in orders:
        known = min((choice.arena_bytes for choice in low), default=_NONE)
        low += paths.at_least(known if budget is None else None)
    least = min(low, key=lambda choice: (choice.arena_bytes, choice.instructions))
    if budget is None:
        return least.schedule
    fitting = [choice for choice in low if choice.arena_bytes <= budget]
    for paths in orders:
        fitting += itertools.islice((c for c in paths.falling() if c.arena_bytes <= budget), 1)
    if not fitting:
        raise OverBudget(budget, least.arena_bytes, _highest(graph, least.schedule, kept).operators)
    return min(fitting, key=lambda choice: (choice.instructions, choice.arena_bytes)).schedule


def find_front(
    graph: Graph,
    *,
    axes: Sequence[str] = ALL_AXES,
    kept: frozenset[str] = frozenset(),
    max_overhead: float = 1.0,
    max_step: int | None = None,
    progress: Progress | None = None,
) -> tuple[Choice, ...]:
    """What falling budgets give, from the fastest schedule down to the least peak; arguments as for find_schedule."""
    found: list[Choice] = []
    for paths in _all_paths(graph, axes, kept, max_overhead, max_step, progress):
        found += [*paths.at_least(), *paths.falling()]
    return undominated(found)


def undominated(found: Sequence[Choice]) -> tuple[Choice, ...]:
    """Those that no other beats in both, from the fastest down to the least peak."""
    chosen: list[Choice] = []
    for choice in sorted(found, key=lambda choice: (choice.arena_bytes, choice.instructions)):
        if not chosen or choice.instructions < chosen[-1].instructions:
            chosen.append(choice)
    return tuple(chosen[::-1])


def _highest(graph: Graph, schedule: Schedule, kept: frozenset[str]) -> Segment:
    """The segment that needs most."""
    operators = {op.name: op for op in graph.operators}
    order = tuple(operators[name] for segment in schedule.segments for name in segment.operators)
    ordered = dataclasses.replace(graph, operators=order)
    return max(schedule.segments, key=lambda s: plan_memory(segment_problem(ordered, s, kept), effort=_EFFORT).peak)


def _all_paths(
    graph: Graph,
    axes: Sequence[str],
    kept: frozenset[str],
    max_overhead: float,
    max_step: int | None,
    progress: Progress | None,
    budget: int | None = None,
) -> list[_Paths]:
    """The paths of each order of the operators.

    Only segments are made that ``find_schedule`` can take within ``budget``; without one, in ``find_front``, those that
    take more memory than any of least peak are made, too.
    """
    allowed = int((max_overhead - 1) * graph.macs())
    orders, count = operator_orders(graph), len(graph.operators)
    made, peaks = list[_Paths](), dict[object, int]()
    for number, order in enumerate(orders):
        ordered = dataclasses.replace(graph, operators=order)
        find = functools.partial(_candidates, ordered, axes=axes, kept=kept, allowed=allowed, max_step=max_step)
        paths, without = (_Paths(ordered, kept, allowed, peaks) for _ in range(2))
        for start in range(count):
            _add(find(start, range(start + 1, min(start + _SHORT, count) + 1)), paths, without)
            if progress:
                progress(number * count + start + 1, len(orders) * count)
        _add_longer(paths, without, find, budget)
        made.append(paths)
        if len(without.found) < len(paths.found):  # segments that are lower one by one may fit together worse
            made.append(without)
    return made


def _add(found: Iterator[Candidate], paths: _Paths, without: _Paths) -> None:
    """To ``paths``, and what has no tail to those ``without``."""
    for candidate in found:
        paths.add(candidate)
        if not candidate.segment.tail:
            without.add(candidate)


def _add_longer(paths: _Paths, without: _Paths, find: Callable[..., Iterator[Candidate]], budget: int | None) -> None:
    """Adds segments of more than ``_SHORT`` operators, where they can lower the peak.

    An operator is calm if it can run alone below the least peak known. A segment that begins or ends with ``_CALM``
    of them is not needed: a shorter one leaves them to others. Each lower peak leaves fewer operators calm, so
    this goes on until nothing is added.
    """
    count = paths.count
    tried = [min(start + _SHORT, count) for start in range(count)]
    while True:
        restless = paths.restless()
        limit = None if budget is None else max(without.highest_of_interest(), budget)
        before = list(tried)
        for start in range(count):
            farthest = min(_farthest(restless, start), count)
            if farthest > tried[start]:
                _add(find(start, range(tried[start] + 1, farthest + 1), limit=limit), paths, without)
                tried[start] = farthest
        if tried == before:
            return


def _farthest(restless: Sequence[int], start: int) -> int:
    """Where segments from ``start`` need not go on: with ``_CALM`` calm operators at their end, or at their start."""
    end = start
    for position in restless:
        if position >= end + _CALM:
            break
        end = max(end, position + 1)
    return end + _CALM


def _candidates(
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


class _Paths:
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
        alone = dict.fromkeys(range(self.count), _NONE)
        for c, peak in zip(self.found, self.peaks):
            if c.stop == c.start + 1:
                alone[c.start] = min(alone[c.start], peak)
        return [position for position, peak in alone.items() if peak >= least]

    def falling(self) -> Iterator[Choice]:
        """The cheapest path of all, then the cheapest without a segment as high as its highest, and so on."""
        limit = _NONE
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
        high = self._top(self._settled(functools.partial(self._cheapest, _NONE, self._once_more)))
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
                self.peaks[k], self.planned[k] = self._peak(problem, _EFFORT), True

    def _lowest(self) -> list[int]:
        """The path whose highest segment is lowest; of those, one that runs least again."""
        cost = [(0, 0)] + [(_NONE, 0)] * self.count
        last = [-1] * (self.count + 1)
        for k in itertools.chain.from_iterable(self.from_start):
            c = self.found[k]
            through = (max(cost[c.start][0], self.peaks[k]), cost[c.start][1] + c.again)
            if through < cost[c.stop]:
                cost[c.stop], last[c.stop] = through, k
        return self._back(last)

    def _cheapest(self, peak: int, price: Callable[[int], int]) -> list[int]:
        """The path of least price none of whose segments goes above ``peak``; empty if there is none."""
        cost = [0] + [_NONE] * self.count
        last = [-1] * (self.count + 1)
        for k in itertools.chain.from_iterable(self.from_start):
            c = self.found[k]
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
