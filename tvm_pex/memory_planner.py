"""Place buffers in one arena: buffers with lifetimes in, offsets and their peak out. Pure integers, no TVM.

Two buffers that are alive at the same step may not overlap, unless a *distance* of theirs says by how much they may
(an operator that works in place). All sizes, distances, offsets and peaks are bytes; steps are positions in the order
of execution. Results depend on the problem alone, never on the clock or on the order in which buffers are listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tvm_pex.packing.exact import search_offsets
from tvm_pex.packing.placement import Packing, lower_bound, pack_quickly, peak_of_offsets

Pair = tuple[str, str]

DEFAULT_EFFORT = 20000


@dataclass(frozen=True)
class Buffer:
    """``bytes`` of memory alive from step ``first`` to step ``last``, both included, at a multiple of ``alignment``."""

    name: str
    bytes: int
    first: int
    last: int
    alignment: int = 1


@dataclass(frozen=True)
class Problem:
    """Buffers and what each pair alive together demands.

    1. ``distances[low, high]`` is the least ``offset(high) - offset(low)`` when ``low`` lies below; ``low.bytes`` if
       absent. It may be smaller than that, zero or negative: ``high`` may then start that far below ``low``.
    2. A pair (a, b) alive together is legal if ``offset(b) - offset(a) >= distance(a, b)`` or
       ``offset(a) - offset(b) >= distance(b, a)``. Other pairs are free.
    3. ``conflicts``, when given, replaces lifetimes as the meaning of "alive together"; a pair counts in both orders.
    4. ``fixed`` buffers have their offset given.
    """

    buffers: tuple[Buffer, ...]
    distances: Mapping[Pair, int] = field(default_factory=dict)
    conflicts: frozenset[Pair] | None = None
    fixed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Offsets by name. ``peak`` is the largest offset + bytes; no plan has one below ``lower_bound``."""

    offsets: Mapping[str, int]
    peak: int
    optimal: bool
    lower_bound: int


def plan_memory(problem: Problem, *, budget: int | None = None, effort: int = DEFAULT_EFFORT) -> Plan:
    """The plan of the lowest peak found.

    ``effort`` bounds the nodes of the exact search; 0 leaves it out, which costs well below a millisecond for ten
    buffers. ``budget`` is a peak that is good enough: the first plan at or below it is returned. ``optimal`` is True
    only where it is proved. Raises ValueError if the problem is malformed.
    """
    check(problem)
    if not problem.buffers:
        return Plan({}, 0, True, 0)
    # The order of the buffers breaks ties below, so it must not be the order in which they were listed.
    buffers = _in_order(problem)
    packing = packing_of(problem, buffers)
    bound = lower_bound(packing)
    goal = bound if budget is None else max(bound, budget)
    offsets = pack_quickly(packing, goal)
    if effort > 0 and peak_of_offsets(packing, offsets) > goal:
        offsets, bound = search_offsets(packing, offsets, bound, goal, effort)
    peak = peak_of_offsets(packing, offsets)
    named = {b.name: at for b, at in zip(buffers, offsets)}
    return Plan({b.name: named[b.name] for b in problem.buffers}, peak, peak <= bound, bound)


def _in_order(problem: Problem) -> list[Buffer]:
    return sorted(problem.buffers, key=lambda b: (-b.bytes, b.first, b.last, b.alignment, b.name))


def without_names(problem: Problem) -> object:
    """Equal for problems of lifetimes that are the same but for their names: ``plan_memory`` gives them one peak."""
    buffers = _in_order(problem)
    index = {b.name: i for i, b in enumerate(buffers)}
    sizes = tuple((b.bytes, b.first, b.last, b.alignment) for b in buffers)
    distances = tuple((index[low], index[high], distance) for (low, high), distance in problem.distances.items())
    pairs = None if problem.conflicts is None else {(index[one], index[other]) for one, other in problem.conflicts}
    return (
        sizes,
        distances,
        None if pairs is None else frozenset(pairs),
        tuple(sorted((index[name], at) for name, at in problem.fixed.items())),
    )


def peak_of(problem: Problem) -> int:
    """The peak that heuristics alone reach: a cheap cost for searches that ask thousands of times."""
    return plan_memory(problem, effort=0).peak


def check(problem: Problem) -> None:
    """Raises ValueError, with the first fault, if the problem is malformed."""
    known = {b.name: b for b in problem.buffers}
    if len(known) != len(problem.buffers):
        names = sorted(b.name for b in problem.buffers)
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two buffers are named {twice!r}")
    for b in problem.buffers:
        if b.bytes < 0:
            raise ValueError(f"buffer {b.name!r} has a negative size: {b.bytes}")
        if b.last < b.first:
            raise ValueError(f"buffer {b.name!r} ends at step {b.last}, before it begins at {b.first}")
        if b.alignment < 1:
            raise ValueError(f"buffer {b.name!r} has an alignment below 1: {b.alignment}")
    for what, pairs in (("distance", problem.distances), ("conflict", problem.conflicts or ())):
        for one, other in pairs:
            if one not in known or other not in known:
                raise ValueError(f"a {what} names an unknown buffer: {(one, other)}")
            if one == other:
                raise ValueError(f"a {what} pairs buffer {one!r} with itself")
    for name, at in problem.fixed.items():
        if name not in known:
            raise ValueError(f"a fixed offset names an unknown buffer: {name!r}")
        if at < 0 or at % known[name].alignment:
            raise ValueError(f"buffer {name!r} cannot be fixed at {at}: alignment {known[name].alignment}")


def packing_of(problem: Problem, buffers: list[Buffer]) -> Packing:
    """The problem in numbers: buffer i is ``buffers[i]``. Raises ValueError if two fixed buffers collide."""
    n, index = len(buffers), {b.name: i for i, b in enumerate(buffers)}
    distances = problem.distances
    special: list[dict[int, tuple[int, int]]] = [{} for _ in buffers]
    together = _alive_pairs(buffers) if problem.conflicts is None else _conflicting(problem.conflicts, index)
    for one, other in distances:
        i, j = index[one], index[other]
        if j in together[i] and j not in special[i]:
            below = distances.get((one, other), buffers[i].bytes)
            above = distances.get((other, one), buffers[j].bytes)
            special[i][j], special[j][i] = (below, above), (above, below)
    packing = Packing(
        size=tuple(b.bytes for b in buffers),
        alignment=tuple(b.alignment for b in buffers),
        fixed=tuple(problem.fixed.get(b.name, -1) for b in buffers),
        span=tuple((b.first, b.last) for b in buffers) if problem.conflicts is None else None,
        together=tuple(together),
        special=tuple(special),
        neighbours=tuple(
            [j for j in sorted(together[i]) if sum(special[i].get(j, (2, 0))) > 1]  # else every offset is legal
            for i in range(n)
        ),
    )
    held = [i for i in range(n) if packing.fixed[i] >= 0]
    for i in held:
        for j in held:
            below, above = special[i].get(j, (packing.size[i], packing.size[j]))
            if j in together[i] and packing.fixed[j] - below < packing.fixed[i] < packing.fixed[j] + above:
                raise ValueError(f"fixed buffers {buffers[i].name!r} and {buffers[j].name!r} overlap")
    return packing


def _alive_pairs(buffers: list[Buffer]) -> list[set[int]]:
    together: list[set[int]] = [set() for _ in buffers]
    alive: list[int] = []
    for i in sorted(range(len(buffers)), key=lambda i: buffers[i].first):
        first = buffers[i].first
        alive = [j for j in alive if buffers[j].last >= first]
        together[i].update(alive)
        for j in alive:
            together[j].add(i)
        alive.append(i)
    return together


def _conflicting(conflicts: frozenset[Pair], index: Mapping[str, int]) -> list[set[int]]:
    together: list[set[int]] = [set() for _ in index]
    for one, other in conflicts:
        together[index[one]].add(index[other])
        together[index[other]].add(index[one])
    return together
