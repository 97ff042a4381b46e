"""Several memories, small and fast ones beside large and slow ones: which buffer lies in which, and where. Pure.

Every access to a pool costs as much as the pool says. Buffers are assigned to pools such that each pool's plan fits its
size and the sum of ``accesses * cost`` is the least found: what is large and cold goes to the slow memory. Buffers in
different pools never meet; inside a pool all rules of ``memory_planner.Problem`` hold.

1. Some greedy orders, the hottest bytes first: each buffer goes to the cheapest pool where it fits beside the others.
2. Moves to a cheaper pool, alone or in exchange for a buffer that matters less, as long as one helps.
3. An exact search over all assignments, as far as a number of tries reaches: all of them for a dozen buffers.

Like the planner's, results depend on the problem alone, never on the clock or on the order of the buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tvm_pex.memory_planner import Buffer, Plan, Problem, plan_memory

DEFAULT_TRIES = 1500  # questions to the planner whether buffers fit together, beside those of the greedy orders
_EFFORT = 300  # nodes of the planner's exact search for each question
_NODES = 50000  # of the exact search over assignments: answers that are known cost no try
_DEEPEST = 400  # buffers that it takes: Python's stack has an end

Members = tuple[frozenset[str], ...]


@dataclass(frozen=True)
class MemoryPool:
    """A memory of ``bytes`` (None: as large as it has to be), whose every access costs ``cost`` instructions."""

    name: str
    bytes: int | None
    cost: int

    def holds(self, peak: int) -> bool:
        return self.bytes is None or peak <= self.bytes


ARENA = MemoryPool("arena", None, 1)
"""The only pool where none is asked for."""


@dataclass(frozen=True)
class PoolUse:
    """What a report says of a pool: its size, how much of it is used, and the accesses to it in one inference."""

    name: str
    bytes: int | None
    peak_bytes: int
    cost: int
    accesses: int


@dataclass(frozen=True)
class Place:
    """An ``offset`` in bytes from the first byte of ``pool``."""

    pool: str
    offset: int


@dataclass(frozen=True)
class PoolPlan:
    """A pool, the part of the problem that lies in it, its plan, and the accesses to it."""

    pool: MemoryPool
    problem: Problem
    plan: Plan
    accesses: int

    def by_time(self) -> list[Buffer]:
        """Its buffers as they begin, those that begin together from below."""
        return sorted(self.problem.buffers, key=lambda b: (b.first, self.plan.offsets[b.name], b.name))

    @property
    def use(self) -> PoolUse:
        return PoolUse(self.pool.name, self.pool.bytes, self.plan.peak, self.pool.cost, self.accesses)


class PoolsTooSmall(ValueError):
    """No assignment was found that fits."""


def plan_pools(problem: Problem, accesses: Mapping[str, int], pools: Sequence[MemoryPool]) -> tuple[PoolPlan, ...]:
    """A plan for each of ``pools``, in their order. Raises PoolsTooSmall, and ValueError for a malformed problem.

    ``accesses`` has the number of each buffer by name.
    """
    members = assign(problem, accesses, pools)
    return tuple(_pool_plan(problem, accesses, pool, names) for pool, names in zip(pools, members, strict=True))


def assign(
    problem: Problem, accesses: Mapping[str, int], pools: Sequence[MemoryPool], *, tries: int = DEFAULT_TRIES
) -> Members:
    """The names of the buffers in each of ``pools``; arguments and errors as for plan_pools."""
    cheapest = min(pools, key=lambda pool: pool.cost)
    everything = frozenset(b.name for b in problem.buffers)
    if cheapest.bytes is None or fitting_plan(problem, cheapest, _EFFORT):
        return tuple(everything if pool is cheapest else frozenset() for pool in pools)
    order = sorted(range(len(pools)), key=lambda k: (pools[k].cost, k))
    found = _Search(problem, accesses, [pools[k] for k in order], tries).run()
    return tuple(found[order.index(k)] for k in range(len(pools)))


def capacity(pools: Sequence[MemoryPool]) -> int:
    """Bytes of all pools together; each has a size."""
    return sum(pool.bytes for pool in pools if pool.bytes is not None)


def access_cost(accesses: Mapping[str, int], pools: Sequence[MemoryPool], members: Members) -> int:
    """The sum that an assignment is judged by."""
    return sum(pool.cost * accesses[name] for pool, names in zip(pools, members, strict=True) for name in names)


def part_of(problem: Problem, names: frozenset[str]) -> Problem:
    """The problem of some of its buffers."""
    return Problem(
        tuple(b for b in problem.buffers if b.name in names),
        {pair: at for pair, at in problem.distances.items() if names.issuperset(pair)},
        None if problem.conflicts is None else frozenset(p for p in problem.conflicts if names.issuperset(p)),
        {name: at for name, at in problem.fixed.items() if name in names},
    )


def fitting_plan(part: Problem, pool: MemoryPool, effort: int) -> Plan | None:
    """The first plan found within the pool, if there is one."""
    plan = plan_memory(part, budget=pool.bytes, effort=0)
    if effort and not pool.holds(plan.peak) and pool.holds(plan.lower_bound):
        plan = plan_memory(part, budget=pool.bytes, effort=effort)
    return plan if pool.holds(plan.peak) else None


def _pool_plan(problem: Problem, accesses: Mapping[str, int], pool: MemoryPool, names: frozenset[str]) -> PoolPlan:
    part = part_of(problem, names)
    plan = plan_memory(part)
    if not pool.holds(plan.peak):  # a search for the least may give up where one for the size does not
        fitting = fitting_plan(part, pool, _EFFORT)
        assert fitting is not None, "it was found when the buffers were assigned"
        plan = fitting
    return PoolPlan(pool, part, plan, sum(accesses[name] for name in names))


_ORDERS: tuple[Callable[[Buffer, int], tuple[float, ...]], ...] = (
    lambda b, count: (-count / max(b.bytes, 1), b.bytes),
    lambda b, count: (-count, b.bytes),
    lambda b, count: (-b.bytes, -count),
)
"""From the first buffer to be placed to the last: hot bytes, hot buffers, large buffers."""


class _Search:
    """One assignment problem. Pools are numbers here, the cheapest first."""

    def __init__(self, problem: Problem, accesses: Mapping[str, int], pools: Sequence[MemoryPool], tries: int) -> None:
        self.problem, self.accesses, self.pools, self.tries = problem, accesses, pools, tries
        self.left, self.nodes = 0, _NODES
        self.known: dict[tuple[int, frozenset[str]], bool] = {}
        self.best: Members | None = None
        self.least = 0

    def run(self) -> Members:
        for key in _ORDERS:
            order = sorted(self.problem.buffers, key=lambda b: (*key(b, self.accesses[b.name]), b.name))
            self._offer(self._fill([b.name for b in order]))
        self.left = self.tries
        while self.best and (better := next(self._exchanges(self.best), None)):
            self._offer(better)
        if len(self.problem.buffers) <= _DEEPEST:
            hottest = sorted((b.name for b in self.problem.buffers), key=lambda name: (-self.accesses[name], name))
            self._descend(hottest, tuple(frozenset() for _ in self.pools), 0)
        if self.best is None:
            raise PoolsTooSmall
        return self.best

    def _offer(self, members: Members | None) -> None:
        """Keep the assignment if it is the best so far."""
        if members is not None:
            cost = access_cost(self.accesses, self.pools, members)
            if self.best is None or cost < self.least:
                self.best, self.least = members, cost

    def _fits(self, pool: int, names: frozenset[str]) -> bool:
        if (pool, names) not in self.known:
            self.left -= 1
            self.known[pool, names] = fitting_plan(part_of(self.problem, names), self.pools[pool], _EFFORT) is not None
        return self.known[pool, names]

    def _fill(self, order: Sequence[str]) -> Members | None:
        """Each buffer of the order in the cheapest pool where it fits beside those before it."""
        members: Members = tuple(frozenset() for _ in self.pools)
        for name in order:
            k = next((k for k, held in enumerate(members) if self._fits(k, held | {name})), None)
            if k is None:
                return None
            members = _with(members, {k: members[k] | {name}})
        return members

    def _exchanges(self, members: Members) -> Iterator[Members]:
        """Cheaper assignments: the hottest spilled buffer first, in the place of nothing or of the coldest buffer."""
        spilled = [(self.accesses[name], name, k) for k, held in enumerate(members) if k for name in held]
        for count, name, k in sorted(spilled, key=lambda item: (-item[0], item[1])):
            for cheaper in (c for c in range(k) if self.pools[c].cost < self.pools[k].cost):
                colder = [other for other in members[cheaper] if self.accesses[other] < count]
                for out in (set(), *({c} for c in sorted(colder, key=lambda c: (self.accesses[c], c)))):
                    if self.left <= 0:
                        return
                    moved = {cheaper: members[cheaper] - out | {name}, k: members[k] - {name} | out}
                    if all(self._fits(at, names) for at, names in moved.items()):
                        yield _with(members, moved)

    def _descend(self, rest: Sequence[str], members: Members, cost: int) -> None:
        """Every assignment of the buffers ``rest`` that can still be better than the best, until tries run out."""
        if not rest:
            self._offer(members)
            return
        bound = cost + self.pools[0].cost * sum(self.accesses[name] for name in rest)
        self.nodes -= 1
        if min(self.left, self.nodes) <= 0 or (self.best is not None and bound >= self.least):
            return
        name = rest[0]
        for k, pool in enumerate(self.pools):
            if self._fits(k, members[k] | {name}):
                placed = _with(members, {k: members[k] | {name}})
                self._descend(rest[1:], placed, cost + pool.cost * self.accesses[name])


def _with(members: Members, changed: Mapping[int, frozenset[str]]) -> Members:
    return tuple(changed.get(k, held) for k, held in enumerate(members))
