"""Not every segment is looked at: what is left out would not have been taken."""

from __future__ import annotations

import pytest
from random_graphs import GraphMaker, random_graph

from tvm_pex.graph import Graph, Window
from tvm_pex.memory_planner import Buffer, Problem, plan_memory, without_names
from tvm_pex.scheduling import search
from tvm_pex.scheduling.cost import schedule_instructions
from tvm_pex.scheduling.lifetimes import memory_problem
from tvm_pex.scheduling.schedule import Schedule
from tvm_pex.scheduling.search import ALL_AXES, find_front, find_schedule


def bottlenecks(count: int, extent: int = 8, channels: int = 4) -> Graph:
    """``count`` times expand, depthwise, project, add."""
    maker = GraphMaker()
    tensor = maker.source("x", (extent, extent, channels))
    for _ in range(count):
        wide = maker.convolution(tensor, 6 * channels)
        wide = maker.convolution(wide, 6 * channels, Window((3, 3), pad=(1, 1)), (1, 1), depthwise=True)
        tensor = maker.add(tensor, maker.convolution(wide, channels))
    return maker.graph()


def peak(graph: Graph, schedule: Schedule) -> int:
    return plan_memory(memory_problem(graph, schedule, kept=frozenset(graph.inputs))).peak


@pytest.mark.parametrize("seed", [4300, *range(4302, 4310)])  # 4301 takes half a minute
def test_no_worse_than_of_all_segments(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes more memory than any schedule of least peak, or than the budget, would not have been taken."""
    graph = random_graph(seed, operators=10)
    kept = frozenset(graph.inputs)
    budgets = [choice.arena_bytes for choice in find_front(graph, kept=kept)]

    def figures() -> list[int]:
        least = peak(graph, find_schedule(graph, kept=kept))
        schedules = [find_schedule(graph, kept=kept, budget=budget) for budget in budgets]
        return [least, *(schedule_instructions(graph, schedule) for schedule in schedules)]

    every = figures()
    monkeypatch.setattr(search, "_SHORT", 3)
    assert all(fewer <= all_ for fewer, all_ in zip(figures(), every, strict=True))


@pytest.mark.parametrize("seed", range(4310, 4322))
def test_calm_operators_need_no_long_segments(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(seed, operators=12)
    monkeypatch.setattr(search, "_SHORT", 12)
    every = find_schedule(graph, kept=frozenset(graph.inputs))
    monkeypatch.setattr(search, "_SHORT", 3)
    monkeypatch.setattr(search, "_CALM", 6)
    assert peak(graph, find_schedule(graph, kept=frozenset(graph.inputs))) <= peak(graph, every)


def test_long_segments_between_operators_that_cannot_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four large tensors in a row, between small ones: only a segment over all of them holds none of them whole."""
    maker = GraphMaker()
    tensor = maker.source("x", (16, 16, 2))
    for channels in (2, 2, 2, 24, 24, 24, 24, 2, 2, 2, 2, 2):
        tensor = maker.convolution(tensor, channels)
    graph = maker.graph()
    monkeypatch.setattr(search, "_SHORT", 2)
    monkeypatch.setattr(search, "_CALM", 2)
    schedule = find_schedule(graph)
    large = [op.name for op in graph.operators if graph.tensors[op.output].shape[2] == 24]
    assert any(set(large) < set(segment.operators) for segment in schedule.segments)
    assert max(len(segment.operators) for segment in schedule.segments) < len(large) + 2 + 2 * 2


def test_as_many_segments_for_each_operator_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_SHORT", 4)
    monkeypatch.setattr(search, "_CALM", 4)
    few, many = (
        sum(
            len(paths.found) for paths in search._all_paths(bottlenecks(count), ALL_AXES, frozenset(), 1, None, None, 0)
        )
        for count in (8, 16)
    )
    assert many < 2.2 * few


def test_problems_without_their_names() -> None:
    one = Problem((Buffer("a", 4, 0, 2), Buffer("b", 2, 1, 3), Buffer("c", 2, 1, 3)), {("a", "b"): 1})
    other = Problem((Buffer("z", 2, 1, 3), Buffer("y", 2, 1, 3), Buffer("x", 4, 0, 2)), {("x", "y"): 1})
    assert without_names(one) == without_names(other)
    assert plan_memory(one).peak == plan_memory(other).peak
    for different in (
        Problem(one.buffers),
        Problem(one.buffers, {("a", "b"): 2}),
        Problem(one.buffers, one.distances, fixed={"a": 0}),
        Problem(one.buffers, one.distances, conflicts=frozenset({("a", "b")})),
        Problem((*one.buffers[:2], Buffer("c", 2, 1, 4)), one.distances),
    ):
        assert without_names(different) != without_names(one)
