"""The schedule for several memory pools: the fastest when every access costs what its buffer's pool says. Pure.

Cheap schedules hold more and so leave more of it to slow memory. Candidates are what falling budgets give, from the
fastest schedule down to the least memory; each is assigned to the pools, and of those that fit the one with the least
sum of instructions and of accesses times cost is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm_pex.graph import Graph
from tvm_pex.pools import MemoryPool, PoolsTooSmall, access_cost, assign
from tvm_pex.scheduling.accesses import schedule_accesses
from tvm_pex.scheduling.lifetimes import memory_problem
from tvm_pex.scheduling.schedule import Schedule
from tvm_pex.scheduling.search import ALL_AXES, Progress, find_front

_TRIES = 100  # for each candidate: enough to rank them


def find_pooled_schedule(
    graph: Graph,
    pools: Sequence[MemoryPool],
    *,
    axes: Sequence[str] = ALL_AXES,
    kept: frozenset[str] = frozenset(),
    max_overhead: float = 1.0,
    max_step: int | None = None,
    progress: Progress | None = None,
) -> Schedule:
    """Arguments as for find_schedule. Raises PoolsTooSmall if nothing fits."""
    best: tuple[int, Schedule] | None = None
    front = find_front(graph, axes=axes, kept=kept, max_overhead=max_overhead, max_step=max_step, progress=progress)
    for choice in front:
        accesses = schedule_accesses(graph, choice.schedule)
        floor = choice.instructions + min(pool.cost for pool in pools) * accesses.total()
        if best and floor >= best[0]:
            continue
        try:
            members = assign(memory_problem(graph, choice.schedule, kept=kept), accesses, pools, tries=_TRIES)
        except PoolsTooSmall:
            continue
        price = choice.instructions + access_cost(accesses, pools, members)
        if best is None or price < best[0]:
            best = price, choice.schedule
    if best is None:
        raise PoolsTooSmall
    return best[1]
