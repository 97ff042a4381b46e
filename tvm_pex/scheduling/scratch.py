"""Kernels that need scratch, for memory that a schedule leaves unused. Pure.

Some kernels copy what they read: all that work on a patch, and the wide ones, which are the faster. While an operator
runs whose step is below the schedule's peak, there is room for that: each operator, the one that gains most first, gets
such a kernel if the plan stays within a limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tvm_pex.graph import Graph
from tvm_pex.memory_planner import DEFAULT_EFFORT, plan_memory
from tvm_pex.scheduling.cost import schedule_instructions
from tvm_pex.scheduling.kernel_prices import has_wide
from tvm_pex.scheduling.kernels import PATCHES, WIDER
from tvm_pex.scheduling.layers import layer_bytes
from tvm_pex.scheduling.lifetimes import memory_problem
from tvm_pex.scheduling.paths import Choice, undominated
from tvm_pex.scheduling.schedule import Schedule

_EFFORT = 300
_SLACK = 2  # percent of the least memory that a patch may cost: without one an operator runs as portable TIR


def without_scratch(graph: Graph) -> Graph:
    """``graph`` less the kernels that work on a patch."""
    kernels = {name: kernel for name, kernel in graph.kernels.items() if kernel not in PATCHES}
    return dataclasses.replace(graph, kernels=kernels)


def with_scratch(
    graph: Graph, kernels: Mapping[str, str], schedule: Schedule, kept: frozenset[str], limit: int | None
) -> Graph:
    """``graph`` with those of ``kernels`` that it lacks, and with wide ones, where they gain and fit ``limit`` bytes.

    Without a limit they may raise the least peak by ``_SLACK`` percent, and never above what the operators need layer
    by layer. Each is tried with little effort of the planner; if the whole turns out too high, all wide ones go, and if
    that does not help, the patches.
    """
    if limit is not None:
        return _with_more(graph, kernels, schedule, kept, limit)[-1]
    least, whole = peak_of(graph, schedule, kept, DEFAULT_EFFORT), max(layer_bytes(graph).values())
    slack = max(least, min(least * (100 + _SLACK) // 100, whole))
    choices = _with_more(graph, kernels, schedule, kept, max(slack, peak_of(graph, schedule, kept)))
    fitting = (found for found in reversed(choices) if peak_of(found, schedule, kept, DEFAULT_EFFORT) <= slack)
    return next(fitting, graph)


def _with_more(
    graph: Graph, kernels: Mapping[str, str], schedule: Schedule, kept: frozenset[str], limit: int
) -> list[Graph]:
    """``graph``, with patches, and with wide kernels, too."""
    patches = {name: kernel for name, kernel in kernels.items() if name not in graph.kernels}
    patched = _upgraded(graph, patches, schedule, kept, limit)
    if not has_wide(graph.core):
        return [graph, patched]
    wide = {name: WIDER[kernel] for name, kernel in patched.kernels.items() if kernel in WIDER}
    return [graph, patched, _upgraded(patched, wide, schedule, kept, limit)]


def front_with_scratch(
    graph: Graph, kernels: Mapping[str, str], front: Sequence[Choice], kept: frozenset[str]
) -> tuple[Choice, ...]:
    """Each of a ``front`` of ``graph`` with those of ``kernels`` that fit its peak; the last as without a limit."""
    found = []
    for choice in front:
        limit = None if choice is front[-1] else choice.arena_bytes
        better = with_scratch(graph, kernels, choice.schedule, kept, limit)
        peak = peak_of(better, choice.schedule, kept, _EFFORT if limit else DEFAULT_EFFORT)
        price = schedule_instructions(better, choice.schedule)
        found.append(Choice(peak, price, choice.schedule))
    return undominated(found)


def _upgraded(graph: Graph, kernels: Mapping[str, str], schedule: Schedule, kept: frozenset[str], limit: int) -> Graph:
    price = schedule_instructions(graph, schedule)
    gains = {
        name: price - schedule_instructions(_with(graph, name, kernel), schedule) for name, kernel in kernels.items()
    }
    for name in sorted(kernels, key=lambda name: -gains[name]):
        better = _with(graph, name, kernels[name])
        if gains[name] > 0 and peak_of(better, schedule, kept) <= limit:
            graph = better
    return graph


def _with(graph: Graph, name: str, kernel: str) -> Graph:
    return dataclasses.replace(graph, kernels={**graph.kernels, name: kernel})


def peak_of(graph: Graph, schedule: Schedule, kept: frozenset[str], effort: int = _EFFORT) -> int:
    """Bytes of arena, scratch included. ``kept`` inputs are not overwritten before the last of them was read."""
    return plan_memory(memory_problem(graph, schedule, kept=kept), effort=effort).peak
