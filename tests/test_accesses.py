"""Accesses by formula are those that the lowered loops make, on random graphs under random schedules."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from random_graphs import cut_at_random, random_graph
from tir_accesses import count_accesses
from tvm import tir

from tvm_pex.graph import Convolution, Gather, Graph, Lookup
from tvm_pex.scheduling.accesses import schedule_accesses
from tvm_pex.scheduling.lifetimes import accumulators
from tvm_pex.scheduling.schedule import Schedule
from tvm_pex.tir_schedule import buffer_name, lower_region


def counted(graph: Graph, schedule: Schedule) -> Counter[str]:
    """What the loops do, without constants and the accumulators that stay in registers."""
    elements = {name: math.prod(tensor.shape) for name, tensor in graph.tensors.items()}
    for op in graph.operators:
        if isinstance(op, Convolution):
            channels = graph.tensors[op.output].shape[2]
            elements[op.weights] = math.prod(op.window.kernel) * (op.views[0][2] // op.groups) * channels
            elements[op.scales] = 3 * channels
        elif isinstance(op, Lookup):
            elements[op.table] = 256 * graph.tensors[op.output].shape[2]
        elif isinstance(op, Gather):
            elements[op.table] = op.entries * graph.tensors[op.output].shape[2]
    dtypes = {name: tensor.dtype for name, tensor in graph.tensors.items()}

    def declared(name: str) -> Any:
        dtype = dtypes.get(name, "int32" if ".scales" in name else "int8")
        return tir.decl_buffer((elements[name],), dtype, buffer_name(name))

    buffers = [declared(name) for name in (*graph.inputs, *graph.constants)]
    results = [declared(name) for name in graph.outputs]
    total = count_accesses(lower_region(graph, schedule, buffers, results))
    constants = {buffer_name(name) for name in graph.constants}
    return Counter(
        {
            name.removesuffix("_flat"): count
            for name, count in total.items()
            if name.removesuffix("_flat") not in constants and not name.startswith("pex_acc_")
        }
    )


def tiled(seed: int) -> bool:
    return any(segment.tile for segment in cut_at_random(random_graph(seed), seed).segments)


SEEDS = [*range(4000, 4030), *filter(tiled, range(4030, 4300))]


def with_zero_points(graph: Graph) -> Graph:
    """The same with weights as those of uint8 networks."""
    operators = [replace(op, zero_weight=7) if isinstance(op, Convolution) else op for op in graph.operators]
    return replace(graph, operators=tuple(operators))


@pytest.mark.parametrize("seed", SEEDS)
def test_accesses_are_those_of_the_loops(seed: int) -> None:
    graph = random_graph(seed)
    if seed % 3 == 0:
        graph = with_zero_points(graph)
    schedule = cut_at_random(graph, seed)
    found = Counter({buffer_name(name): count for name, count in schedule_accesses(graph, schedule).items() if count})
    assert found == counted(graph, schedule)


def test_schedules_have_all_kinds_of_sums() -> None:
    """So that the test above sees them."""
    sums: Counter[tuple[bool, bool]] = Counter()
    for seed in SEEDS:
        graph = random_graph(seed)
        operators = {op.name: op for op in graph.operators}
        for segment in cut_at_random(graph, seed).segments:
            for stage in segment.stages:
                if accumulators(operators[stage.operator], graph, segment):
                    sums[bool(segment.tile), stage.reduction] += 1
    assert min(sums[True, False], sums[False, True], sums[True, True]) >= 1, sums
