"""The memory planner: literal problems with literal solutions, brute force, known optima, and broken plans."""

from __future__ import annotations

from tvm_pex.memory_planner import Buffer, Problem, plan_memory
from tvm_pex.plan_validator import fault_of


def test_buffers_alive_together_lie_side_by_side() -> None:
    problem = Problem((Buffer("a", 4, 0, 1), Buffer("b", 3, 1, 2), Buffer("c", 4, 2, 3)))
    plan = plan_memory(problem)
    assert dict(plan.offsets) == {"a": 0, "b": 4, "c": 0}
    assert (plan.peak, plan.optimal, plan.lower_bound) == (7, True, 7)
    assert fault_of(problem, plan) is None
