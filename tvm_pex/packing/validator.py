"""Say what is wrong with a memory plan. Knows the rules of a problem and nothing of how plans are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # types only: a validator that ran the planner's code could share its mistakes
    from tvm_pex.memory_planner import Buffer, Plan, Problem
    from tvm_pex.pools import PoolPlan


def fault_of(problem: Problem, plan: Plan) -> str | None:
    """The first rule that the plan breaks, in one line, or None if it is valid."""
    names = {b.name for b in problem.buffers}
    if names != set(plan.offsets):
        return f"offsets are given for the wrong buffers: {sorted(names ^ set(plan.offsets))}"
    for b in problem.buffers:
        at = plan.offsets[b.name]
        if at < 0:
            return f"{b.name} lies at a negative offset: {at}"
        if at % b.alignment:
            return f"{b.name} lies at {at}, not a multiple of {b.alignment}"
        if problem.fixed.get(b.name, at) != at:
            return f"{b.name} lies at {at}, but is fixed at {problem.fixed[b.name]}"
    for a, b in combinations(problem.buffers, 2):
        if _alive_together(problem, a, b):
            difference = plan.offsets[b.name] - plan.offsets[a.name]
            if difference < _distance(problem, a, b) and -difference < _distance(problem, b, a):
                return f"{a.name} at {plan.offsets[a.name]} and {b.name} at {plan.offsets[b.name]} are too close"
    return _fault_of_claims(problem, plan)


def fault_of_pools(problem: Problem, accesses: Mapping[str, int], pools: Sequence[PoolPlan]) -> str | None:
    """As ``fault_of``, for a problem whose buffers lie in several pools; each pool must hold its plan."""
    placed = [name for pool in pools for name in pool.plan.offsets]
    if sorted(placed) != sorted(b.name for b in problem.buffers):
        return f"the pools hold {sorted(placed)}: not each buffer once"
    for use in pools:
        name, inside = use.pool.name, set(use.plan.offsets)
        part = replace(
            problem,
            buffers=tuple(b for b in problem.buffers if b.name in inside),
            fixed={one: at for one, at in problem.fixed.items() if one in inside},
        )
        fault = fault_of(part, use.plan)
        if fault:
            return f"{name}: {fault}"
        if use.pool.bytes is not None and use.plan.peak > use.pool.bytes:
            return f"{name}: the peak {use.plan.peak} is above its size {use.pool.bytes}"
        if use.accesses != sum(accesses[one] for one in inside):
            return f"{name}: its buffers do not have {use.accesses} accesses"
    return None


def _fault_of_claims(problem: Problem, plan: Plan) -> str | None:
    peak = max((plan.offsets[b.name] + b.bytes for b in problem.buffers), default=0)
    if plan.peak != peak:
        return f"the peak is {peak}, not {plan.peak}"
    if plan.lower_bound > peak:
        return f"the lower bound {plan.lower_bound} is above the peak {peak}"
    if plan.optimal != (plan.lower_bound == peak):
        return f"optimal is {plan.optimal} at a peak of {peak} and a lower bound of {plan.lower_bound}"
    return None


def _alive_together(problem: Problem, a: Buffer, b: Buffer) -> bool:
    if problem.conflicts is not None:
        return (a.name, b.name) in problem.conflicts or (b.name, a.name) in problem.conflicts
    return a.first <= b.last and b.first <= a.last


def _distance(problem: Problem, low: Buffer, high: Buffer) -> int:
    return problem.distances.get((low.name, high.name), low.bytes)
