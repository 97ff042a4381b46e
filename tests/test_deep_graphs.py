"""In deep graphs not every segment is looked at: what is left out would not have been taken."""

from __future__ import annotations

import pytest
from random_graphs import GraphMaker, random_graph

from tvm_pex.graph import Graph, Window
from tvm_pex.memory_planner import Buffer, Problem, plan_memory, without_names
from tvm_pex.scheduling import search
from tvm_pex.scheduling.search import OverBudget, find_front, find_schedule


def bottlenecks(count: int, extent: int = 8, channels: int = 4) -> Graph:
    """``count`` times expand, depthwise, project, add."""
    maker = GraphMaker()
    tensor = maker.source("x", (extent, extent, channels))
    for _ in range(count):
        wide = maker.convolution(tensor, 6 * channels)
        wide = maker.convolution(wide, 6 * channels, Window((3, 3), pad=(1, 1)), (1, 1), depthwise=True)
        tensor = maker.add(tensor, maker.convolution(wide, channels))
    return maker.graph()


@pytest.mark.parametrize("seed", range(4300, 4310))
def test_the_same_schedule_as_of_all_segments(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(seed, operators=10)
    kept = frozenset(graph.inputs)
    budgets = [None, *(choice.arena_bytes for choice in find_front(graph, kept=kept)), 1]

    def schedules() -> list[object]:
        found: list[object] = []
        for budget in budgets:
            try:
                found.append(find_schedule(graph, kept=kept, budget=budget))
            except OverBudget as error:
                found.append(error.least_bytes)
        return found

    every = schedules()
    monkeypatch.setattr(search, "_DEEP", 0)
    monkeypatch.setattr(search, "_SHORT", 3)
    assert schedules() == every


def test_as_many_segments_for_each_operator_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_DEEP", 16)
    monkeypatch.setattr(search, "_SHORT", 4)
    made: list[int] = []
    original = search._Paths

    def counted(*arguments: object) -> object:
        made.append(len(arguments[1]))  # type: ignore[arg-type]
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "_Paths", counted)
    for count in (8, 16):
        find_schedule(bottlenecks(count))
    _, few, _, many = made  # the short ones before each
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
