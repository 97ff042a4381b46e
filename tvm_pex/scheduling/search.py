"""Finds the schedule: where to cut a graph into segments, and along which axes each runs. Pure.

It is the schedule of the lowest peak or, within a budget, the fastest that fits.

Dynamic programming over the operators in topological order (``tvm_pex.scheduling.paths``). The cost of a segment is
the peak that the memory planner reaches while it runs, with everything that passes by. Of the schedules of least peak
the one of least price (``tvm_pex.scheduling.cost``) is taken.

With a budget the limit for a single segment falls, each time below the highest segment, until the cheapest path under
the limit fits as a whole. The limits do not depend on the budget, so that a larger one never gives a slower schedule.

Where recompute is allowed, or strips need none, segments may also run by strips, and a path must keep to the
multiply-accumulates allowed.

Segments of few operators come first (``tvm_pex.scheduling.candidates``). They tell how much memory is of interest, and
so where longer ones could do better.

The order of the operators decides what may go together: where a graph has branches, several orders are tried.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

from tvm_pex.graph import Graph
from tvm_pex.memory_planner import plan_memory
from tvm_pex.scheduling.candidates import Candidate, candidates
from tvm_pex.scheduling.lifetimes import segment_problem
from tvm_pex.scheduling.orders import operator_orders
from tvm_pex.scheduling.paths import EFFORT, NONE, Choice, Paths, undominated
from tvm_pex.scheduling.schedule import Schedule, Segment

ALL_AXES = ("rows", "pixels", "channels")

Progress = Callable[[int, int], None]
_SHORT = 10  # operators of the segments that tell how much memory is of interest
_CALM = 32  # operators that run alone as well: a segment that begins or ends with so many is not looked at


class OverBudget(ValueError):
    """No schedule that was found fits: the best needs ``least_bytes``, while ``operators`` run."""

    def __init__(self, budget: int, least_bytes: int, operators: Sequence[str]) -> None:
        super().__init__(f"{budget} bytes are too few: at least {least_bytes} are needed by {' '.join(operators)}")
        self.budget = budget
        self.least_bytes = least_bytes
        self.operators = tuple(operators)


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
        known = min((choice.arena_bytes for choice in low), default=NONE)
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


def _highest(graph: Graph, schedule: Schedule, kept: frozenset[str]) -> Segment:
    """The segment that needs most."""
    operators = {op.name: op for op in graph.operators}
    order = tuple(operators[name] for segment in schedule.segments for name in segment.operators)
    ordered = dataclasses.replace(graph, operators=order)
    return max(schedule.segments, key=lambda s: plan_memory(segment_problem(ordered, s, kept), effort=EFFORT).peak)


def _all_paths(
    graph: Graph,
    axes: Sequence[str],
    kept: frozenset[str],
    max_overhead: float,
    max_step: int | None,
    progress: Progress | None,
    budget: int | None = None,
) -> list[Paths]:
    """The paths of each order of the operators.

    Only segments are made that ``find_schedule`` can take within ``budget``; without one, in ``find_front``, those that
    take more memory than any of least peak are made, too.
    """
    allowed = int((max_overhead - 1) * graph.macs())
    orders, count = operator_orders(graph), len(graph.operators)
    made, peaks = list[Paths](), dict[object, int]()
    for number, order in enumerate(orders):
        ordered = dataclasses.replace(graph, operators=order)
        find = functools.partial(candidates, ordered, axes=axes, kept=kept, allowed=allowed, max_step=max_step)
        paths, without = (Paths(ordered, kept, allowed, peaks) for _ in range(2))
        for start in range(count):
            _add(find(start, range(start + 1, min(start + _SHORT, count) + 1)), paths, without)
            if progress:
                progress(number * count + start + 1, len(orders) * count)
        _add_longer(paths, without, find, budget)
        made.append(paths)
        if len(without.found) < len(paths.found):  # segments that are lower one by one may fit together worse
            made.append(without)
    return made


def _add(found: Iterator[Candidate], paths: Paths, without: Paths) -> None:
    """To ``paths``, and what has no tail to those ``without``."""
    for candidate in found:
        paths.add(candidate)
        if not candidate.segment.tail:
            without.add(candidate)


def _add_longer(paths: Paths, without: Paths, find: Callable[..., Iterator[Candidate]], budget: int | None) -> None:
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
