"""Budgets on random graphs: what is chosen fits, more memory is never slower, and too little is said so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from random_graphs import GraphMaker, random_graph
from schedule_simulator import fault_of_schedule

from tvm_pex.graph import Concat, Graph
from tvm_pex.memory_planner import plan_memory
from tvm_pex.scheduling.candidates import Candidate
from tvm_pex.scheduling.cost import operator_instructions, schedule_instructions, schedule_macs, segment_instructions
from tvm_pex.scheduling.front import together
from tvm_pex.scheduling.lifetimes import memory_problem, segment_problem
from tvm_pex.scheduling.paths import Choice, Paths
from tvm_pex.scheduling.schedule import Schedule, Segment, check_once
from tvm_pex.scheduling.search import OverBudget, find_front, find_schedule
from tvm_pex.scheduling.segments import Unschedulable, make_segment

GRAPHS = range(3000, 3030)


def peak_of(graph: Graph, schedule: Schedule) -> int:
    return plan_memory(memory_problem(graph, schedule, kept=frozenset(graph.inputs)), effort=300).peak


def found(graph: Graph, budget: int | None) -> tuple[int, int]:
    """(peak, instructions) of what the search gives."""
    schedule = find_schedule(graph, kept=frozenset(graph.inputs), budget=budget)
    check_once(graph, schedule)
    return peak_of(graph, schedule), schedule_instructions(graph, schedule)


@pytest.mark.parametrize("seed", GRAPHS[::2])
def test_recompute_is_bounded_and_never_costs_memory(seed: int) -> None:
    graph = random_graph(seed, extent=9)
    kept = frozenset(graph.inputs)
    before = peak_of(graph, find_schedule(graph, kept=kept))
    for factor in (1.1, 1.5):
        schedule = find_schedule(graph, kept=kept, max_overhead=factor)
        check_once(graph, schedule)
        assert fault_of_schedule(graph, schedule) is None
        assert schedule_macs(graph, schedule) <= factor * graph.macs()
        assert peak_of(graph, schedule) <= before


def test_recompute_buys_memory() -> None:
    """Two 3x3 convolutions in a row: rings are as wide as a strip, and two columns beside each border are run twice."""
    maker = GraphMaker()
    maker.convolution(maker.same(maker.same(maker.source("x", (12, 16, 1)), 16), 16), 1)
    graph = maker.graph()
    kept = frozenset(graph.inputs)
    once, twice = (find_schedule(graph, kept=kept, max_overhead=factor) for factor in (1, 1.2))
    assert [segment.strips for segment in twice.segments] == [8]
    first, second, third = (op.macs(graph.tensors[op.output].shape) for op in graph.operators)
    assert schedule_macs(graph, once) == first + second + third
    assert schedule_macs(graph, twice) == first * (16 + 7 * 2) // 16 + second + third
    assert peak_of(graph, twice) < peak_of(graph, once)


def test_much_recompute_is_no_reason_to_find_nothing() -> None:
    """Two ways to run one operator again for millions of times; the cheap one is more than is allowed."""
    maker = GraphMaker()
    maker.convolution(maker.source("x", (2, 2, 1)), 1)
    graph, million = maker.graph(), 10**6
    segment = make_segment(graph, graph.operators, ("rows",))
    found = [Candidate(0, 1, 8, 1 << 40, segment, 5 * million), Candidate(0, 1, 8, 0, segment, 9 * million)]
    paths = Paths(graph, frozenset(), 6 * million, {})
    for candidate in found:
        paths.add(candidate)
    assert [choice.instructions for choice in paths.falling()] == [1 << 40]


def layers(graph: Graph) -> Schedule:
    return Schedule(tuple(make_segment(graph, [op], ("rows", "pixels")) for op in graph.operators))


@pytest.mark.parametrize("seed", GRAPHS)
def test_a_budget_is_kept_and_more_memory_is_never_slower(seed: int) -> None:
    graph = random_graph(seed)
    least, slowest = found(graph, None)
    whole = peak_of(graph, layers(graph))
    before = None
    for budget in sorted({least, *(least + part * (whole - least) // 5 for part in range(6)), 2 * whole}):
        peak, instructions = found(graph, budget)
        assert peak <= budget
        assert instructions <= slowest
        assert before is None or instructions <= before
        before = instructions
    assert before is not None and before <= schedule_instructions(graph, layers(graph))
    if not any(isinstance(op, Concat) for op in graph.operators):  # which together may be spared copies
        assert before == schedule_instructions(graph, layers(graph))


@pytest.mark.parametrize("seed", GRAPHS)
def test_what_cannot_fit_is_told_the_least(seed: int) -> None:
    graph = random_graph(seed)
    least, _ = found(graph, None)
    with pytest.raises(OverBudget) as error:
        found(graph, least - 1)
    assert error.value.least_bytes == least
    assert {op.name for op in graph.operators} >= set(error.value.operators) != set()
    assert found(graph, error.value.least_bytes)[0] <= least


def reordered(seed: int) -> bool:
    """True where the best schedule runs the operators in another order than the graph."""
    graph = random_graph(seed, operators=6)
    schedule = find_schedule(graph, kept=frozenset(graph.inputs))
    return [op for s in schedule.segments for op in s.operators] != [op.name for op in graph.operators]


@pytest.mark.parametrize("seed", [*filter(reordered, range(3000, 3060))][:4])
def test_the_operators_that_need_most_are_told(seed: int) -> None:
    graph = random_graph(seed, operators=6)
    kept = frozenset(graph.inputs)
    schedule = find_schedule(graph, kept=kept)
    order = [op for segment in schedule.segments for op in segment.operators]
    ordered = replace(graph, operators=tuple(sorted(graph.operators, key=lambda op: order.index(op.name))))
    peaks = {s.operators: plan_memory(segment_problem(ordered, s, kept)).peak for s in schedule.segments}
    with pytest.raises(OverBudget) as error:
        find_schedule(graph, kept=kept, budget=1)
    assert peaks[error.value.operators] == max(peaks.values())


@pytest.mark.parametrize("seed", GRAPHS)
def test_the_front_is_what_falling_budgets_give(seed: int) -> None:
    graph = random_graph(seed)
    front = find_front(graph, kept=frozenset(graph.inputs))
    assert [c.arena_bytes for c in front] == sorted({c.arena_bytes for c in front}, reverse=True)
    assert [c.instructions for c in front] == sorted({c.instructions for c in front})
    assert front[-1].arena_bytes == found(graph, None)[0]
    for choice in front:
        assert choice.arena_bytes == peak_of(graph, choice.schedule)
        assert choice.instructions == schedule_instructions(graph, choice.schedule)
        assert found(graph, choice.arena_bytes)[1] == choice.instructions


def test_fronts_of_regions_that_follow_each_other() -> None:
    empty = Schedule(())
    first = (Choice(90, 5, empty), Choice(40, 9, empty))
    second = (Choice(60, 2, empty), Choice(20, 3, empty))
    assert [(p.arena_bytes, p.instructions) for p in together((first, second))] == [(90, 7), (60, 11), (40, 12)]
    assert together(()) == ()


def copies_spared(graph: Graph, segment: Segment) -> int:
    """Of what lies in a Concat's output: a loop's turn, a load and a store for each value."""
    through = [graph.tensors[ring.tensor] for ring in segment.rings if ring.pixels == 0]
    return sum(tensor.bytes // tensor.item_bytes * (6 + 2) for tensor in through)


def test_no_segment_is_cheaper_than_its_operators_alone() -> None:
    """But for the copies that a Concat is spared."""
    dearer = cheaper = 0
    for seed in GRAPHS:
        graph = random_graph(seed)
        for start in range(len(graph.operators)):
            for stop in range(start + 1, len(graph.operators) + 1):
                operators = graph.operators[start:stop]
                alone = sum(operator_instructions(graph, op) for op in operators)
                for axes in ((), ("rows",), ("rows", "pixels")):
                    try:
                        segment = make_segment(graph, operators, axes)
                    except Unschedulable:
                        continue
                    together, spared = segment_instructions(graph, segment), copies_spared(graph, segment)
                    assert together == alone if len(operators) == 1 else together > alone - spared
                    dearer += together > alone
                    cheaper += spared > 0
    assert dearer > 100 and cheaper > 10


def test_instructions_of_one_convolution() -> None:
    maker = GraphMaker()
    maker.convolution(maker.source("x", (2, 3, 4)), 5)
    graph = maker.graph()
    pixels, results, macs = 6, 30, 120
    assert operator_instructions(graph, graph.operators[0]) == pixels * 12 + results * (6 + 8 + 20) + macs * 5


def test_slices_of_channels_repeat_work() -> None:
    maker = GraphMaker()
    maker.convolution(maker.convolution(maker.source("x", (4, 4, 2)), 8), 2)
    graph = maker.graph()
    prices = [segment_instructions(graph, make_segment(graph, graph.operators, (), tile)) for tile in (4, 2, 1)]
    assert sorted(set(prices)) == prices
