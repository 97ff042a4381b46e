"""Schedules of graphs whose input comes by rows: what is held, when each row is worked on, what a step costs."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from random_graphs import GraphMaker, cut_at_random, random_graph, streamed
from schedule_simulator import Event, events_of, fault_of_schedule
from test_lifetimes import NONE, Program, collisions, values_of, wrong_pairs

from tvm_pex.graph import Graph, Window, graph_from_json, graph_to_json
from tvm_pex.memory_planner import plan_memory
from tvm_pex.packing.validator import fault_of
from tvm_pex.scheduling.cost import schedule_instructions, stages_instructions
from tvm_pex.scheduling.layers import layer_problem, lower_bound
from tvm_pex.scheduling.lifetimes import memory_problem
from tvm_pex.scheduling.orders import operator_orders
from tvm_pex.scheduling.schedule import Schedule, check_once
from tvm_pex.scheduling.search import find_schedule
from tvm_pex.scheduling.segments import Unschedulable, make_segment
from tvm_pex.scheduling.spreading import StepTooLong, bounded_segment
from tvm_pex.scheduling.steps import Steps, segment_steps, steps_of, worst_of

GRAPHS = 300


def graphs(count: int, operators: int = 8) -> list[tuple[int, Graph]]:
    found = [(seed, streamed(random_graph(seed, operators))) for seed in range(count)]
    return [(seed, graph) for seed, graph in found if graph is not None]


def camera(*layers: str) -> Graph:
    """A chain over 12 x 4 pixels: "same", "half" (stride 2) or "global" (pool)."""
    maker = GraphMaker()
    at = maker.source("x", (12, 4, 3))
    for layer in layers:
        if layer == "global":
            at = maker.global_pool(at)
        else:
            at = maker.same(at, 4, stride=(2, 2) if layer == "half" else (1, 1))
    graph = streamed(maker.graph())
    assert graph is not None
    return graph


def test_the_input_is_nowhere_and_its_ring_is_a_tensors() -> None:
    graph = camera("same", "half", "global")
    schedule = Schedule((make_segment(graph, graph.operators, ("rows",)),))
    problem = memory_problem(graph, schedule)
    assert [(b.name, b.bytes) for b in problem.buffers] == [
        ("pool2", 4),
        ("arrival", 3 * 4 * 3),
        ("conv0", 3 * 4 * 4),
        ("conv1", 1 * 2 * 4),
        ("pool2.sums", 4 * 2),
    ]
    assert [b.name for b in layer_problem(graph).buffers] == ["conv0", "conv1", "pool2", "arrival"]
    assert lower_bound(graph) < graph.tensors["x"].bytes


def test_an_input_that_is_needed_again_is_whole() -> None:
    maker = GraphMaker()
    source = maker.source("x", (6, 5, 2))
    pooled = maker.convolution(maker.global_pool(source), 5 * 6 * 2)
    maker.tensors[pooled] = replace(maker.tensors[pooled], shape=(6, 5, 2))
    maker.add(source, pooled)
    graph = streamed(maker.graph())
    assert graph is not None
    first, *_ = find_schedule(graph).segments
    assert "arrival" not in {ring.tensor for ring in first.rings}
    assert next(b for b in memory_problem(graph, find_schedule(graph)).buffers if b.name == "arrival").bytes == 60


def test_the_arrival_is_first_in_every_order_and_survives_json() -> None:
    for _, graph in graphs(60):
        assert all(order[0] == graph.arrival for order in operator_orders(graph))
        back = graph_from_json(graph_to_json(graph))
        assert (back.streamed, back.arrival) == (graph.streamed, graph.operators[0])


def test_random_schedules_work() -> None:
    for seed, graph in graphs(GRAPHS):
        schedule = cut_at_random(graph, seed)
        assert fault_of_schedule(graph, schedule) is None, f"seed {seed}: {schedule}"


def test_rows_come_in_order() -> None:
    for seed, graph in graphs(GRAPHS):
        arrivals = [e.domain for e in events_of(graph, cut_at_random(graph, seed)) if e.op == graph.arrival]
        height, width, _ = graph.tensors["arrival"].shape
        assert arrivals == [(row, column) for row in range(height) for column in range(width)], f"seed {seed}"


def test_steps_are_what_runs_between_two_rows() -> None:
    """Each row of an operator counts for the newest row of the input that has come when it runs, or for the first."""
    for seed, graph in graphs(GRAPHS):
        segment = cut_at_random(graph, seed).segments[0]
        newest, rows = 0, set[tuple[str, int, int]]()
        came = {
            e.step // segment.extent[1]: e.domain[0] for e in events_of(graph, Schedule((segment,))) if is_arrival(e)
        }
        for event in sorted(events_of(graph, Schedule((segment,))), key=lambda event: event.step):
            newest = max(newest, came.get(event.step // segment.extent[1], 0))
            rows.add((event.op.name, event.domain[0], newest))
        prices = stages_instructions(graph, graph.operators[: len(segment.stages)], segment)
        each = {s.operator: price / s.domain[0] for s, price in zip(segment.stages, prices, strict=True)}
        for row, step in enumerate(segment_steps(graph, segment)):
            assert step == pytest.approx(sum(each[name] for name, _, at in rows if at == row)), (
                f"seed {seed}, row {row}"
            )


def is_arrival(event: Event) -> bool:
    return event.op.name == "arrival"


def test_no_address_ever_holds_two_values() -> None:
    for seed, graph in graphs(GRAPHS):
        schedule = cut_at_random(graph, seed)
        problem = memory_problem(graph, schedule, kept=NONE)
        assert "x" not in {buffer.name for buffer in problem.buffers if graph.streamed == ("x",)}
        values = values_of(Program(graph, schedule, True, by_steps=False), problem)
        wrong = wrong_pairs(problem, values)
        assert not wrong, f"seed {seed}: {schedule}: {wrong}"
        plan = plan_memory(problem, effort=0)
        assert fault_of(problem, plan) is None
        for a, b in combinations(plan.offsets, 2):
            assert plan.offsets[b] - plan.offsets[a] not in collisions(values[a], values[b]), f"seed {seed}"


def test_found_schedules_take_rows_once_and_are_no_worse_than_layer_by_layer() -> None:
    for seed, graph in graphs(40, operators=5):
        schedule = find_schedule(graph)
        check_once(graph, schedule)
        first = schedule.segments[0]
        assert first.operators[0] == "arrival" and "rows" in first.axes and not first.repeats, f"seed {seed}"
        assert fault_of_schedule(graph, schedule) is None, f"seed {seed}: {schedule}"
        peak = plan_memory(memory_problem(graph, schedule, kept=NONE)).peak
        assert lower_bound(graph) <= peak, f"seed {seed}"
        assert peak <= plan_memory(layer_problem(graph)).peak, f"seed {seed}"


def test_steps_are_all_instructions() -> None:
    for seed, graph in graphs(100):
        schedule = cut_at_random(graph, seed)
        steps = segment_steps(graph, schedule.segments[0])
        whole = schedule_instructions(graph, Schedule(schedule.segments[:1]))
        assert sum(steps) == pytest.approx(whole), f"seed {seed}"
        total = steps_of(graph, schedule, after=7)
        assert sum(total.instructions) == pytest.approx(schedule_instructions(graph, schedule) + 7, abs=len(steps))


def test_steps_of_a_strided_chain() -> None:
    """Row 2r of conv0 comes with row 2r + 1 of x, so conv1 works with every other row: those steps are dear."""
    graph = camera("same", "half")
    (segment,) = Schedule((make_segment(graph, graph.operators, ("rows",)),)).segments
    assert [(s.stride[0], s.delay[0]) for s in segment.stages] == [(1, 0), (1, 1), (2, 3)]
    steps = steps_of(graph, Schedule((segment,)))
    assert len(steps.instructions) == 12
    between = steps.instructions[:-1]
    assert between[0] < between[1] == between[2] < between[3] == between[5] == steps.worst
    assert steps.mean == sum(between) // 11
    assert steps.last > steps.worst  # conv0's last row and conv1's, which wait for the padding


def halves() -> tuple[Graph, list[float]]:
    """Four 3x3 convolutions of stride 2 over 64 rows: and the instructions of a row of each, the arrival's first."""
    maker = GraphMaker()
    at = maker.source("x", (64, 4, 3))
    for _ in range(4):
        at = maker.same(at, 4, stride=(2, 1))
    graph = streamed(maker.graph())
    assert graph is not None
    segment = make_segment(graph, graph.operators, ("rows",))
    prices = stages_instructions(graph, graph.operators, segment)
    return graph, [price / stage.domain[0] for stage, price in zip(segment.stages, prices, strict=True)]


def test_operators_behind_strides_take_turns() -> None:
    """Without a limit all four have a row in one step; with one they take turns, of 2, 4, 8 and 16 steps each."""
    graph, (arrival, *rows) = halves()
    free = make_segment(graph, graph.operators, ("rows",))
    together = max(segment_steps(graph, free)[:-1])
    assert together == pytest.approx(arrival + sum(rows))
    limit = round(1.02 * (arrival + max(rows)))
    spread = bounded_segment(graph, graph.operators, ("rows",), limit)
    assert max(segment_steps(graph, spread)[:-1]) <= limit
    assert fault_of_schedule(graph, Schedule((spread,))) is None
    assert [s.stride for s in spread.stages] == [s.stride for s in free.stages]
    assert sum(r.pixels for r in spread.rings) >= sum(r.pixels for r in free.rings)
    assert bounded_segment(graph, graph.operators, ("rows",), round(together) + 1) == free
    with pytest.raises(StepTooLong) as caught:
        bounded_segment(graph, graph.operators, ("rows",), round(arrival))
    assert arrival < caught.value.instructions <= limit


def test_random_graphs_with_a_limit_work() -> None:
    bounded = 0
    for seed, graph in graphs(400):
        try:
            free = make_segment(graph, graph.operators, ("rows",))
            limit = round(worst_of(segment_steps(graph, free)) * 4 / 5)
            segment = bounded_segment(graph, graph.operators, ("rows",), limit)
        except Unschedulable:
            continue
        bounded += 1
        schedule = Schedule((segment,))
        assert fault_of_schedule(graph, schedule) is None, f"seed {seed}: {schedule}"
        assert worst_of(segment_steps(graph, segment)) <= limit
        problem = memory_problem(graph, schedule, kept=NONE)
        wrong = wrong_pairs(problem, values_of(Program(graph, schedule, True, by_steps=False), problem))
        assert not wrong, f"seed {seed}: {schedule}: {wrong}"
    assert bounded > 5


def test_worst_and_mean_leave_the_last_step_out() -> None:
    steps = Steps((10, 30, 20, 999))
    assert (steps.worst, steps.mean, steps.last) == (30, 20, 999)


def test_a_window_of_all_rows_holds_all_rows() -> None:
    maker = GraphMaker()
    maker.convolution(maker.source("x", (5, 3, 2)), 2, Window((5, 3)), depthwise=True)  # which is not summed up
    graph = streamed(maker.graph())
    assert graph is not None
    assert plan_memory(memory_problem(graph, find_schedule(graph))).peak == 5 * 3 * 2 + 2
