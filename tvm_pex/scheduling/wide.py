"""Faster kernels for memory that a schedule leaves unused. Pure.

Wide kernels copy their input to scratch. While an operator runs whose step is below the schedule's peak, there is room for
it: each operator, the one that gains most first, gets a wide kernel if the plan stays within the limit.
"""

from __future__ import annotations

import dataclasses

from tvm_pex.graph import Graph
from tvm_pex.memory_planner import plan_memory
from tvm_pex.scheduling.cost import schedule_instructions
from tvm_pex.scheduling.kernel_cost import has_wide
from tvm_pex.scheduling.kernels import WIDER
from tvm_pex.scheduling.lifetimes import memory_problem
from tvm_pex.scheduling.schedule import Schedule

_EFFORT = 300


def with_wide_kernels(graph: Graph, schedule: Schedule, kept: frozenset[str], limit: int | None) -> Graph:
    """``graph`` with wide kernels where they gain and fit ``limit`` bytes; None: the peak that it has without."""
    if not graph.core or not has_wide(graph.core):
        return graph

    def peak(graph: Graph) -> int:
        return plan_memory(memory_problem(graph, schedule, kept=kept), effort=_EFFORT).peak

    limit = max(limit or 0, peak(graph))
    price = schedule_instructions(graph, schedule)
    gains = []
    for name, kernel in graph.kernels.items():
        if kernel in WIDER:
            wider = dataclasses.replace(graph, kernels={**graph.kernels, name: WIDER[kernel]})
            gains.append((price - schedule_instructions(wider, schedule), name))
    for gain, name in sorted(gains, key=lambda pair: -pair[0]):
        wider = dataclasses.replace(graph, kernels={**graph.kernels, name: WIDER[graph.kernels[name]]})
        if gain > 0 and peak(wider) <= limit:
            graph = wider
    return graph
