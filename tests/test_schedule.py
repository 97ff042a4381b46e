"""Schedules: clocks and rings of small chains by hand, then random graphs run moment by moment on sets of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from random_graphs import GraphMaker, cut_at_random, random_graph
from schedule_simulator import fault_of_schedule

from tvm_pex.graph import Convolution, Graph, Window, graph_from_json, graph_to_json
from tvm_pex.memory_planner import plan_memory
from tvm_pex.scheduling.lifetimes import memory_problem
from tvm_pex.scheduling.orders import operator_orders
from tvm_pex.scheduling.rings import last_reader, positions, ring_pixels, use_of, wait
from tvm_pex.scheduling.schedule import Ring, Schedule, Segment, check_once, schedule_from_json, written_through
from tvm_pex.scheduling.search import find_schedule
from tvm_pex.scheduling.segments import Unschedulable, make_segment, sliced_channels

ROWS, PIXELS = ("rows",), ("rows", "pixels")
GRAPHS = 400


def segment_of(graph: Graph, axes: Sequence[str]) -> Segment:
    """The whole graph in one segment."""
    return make_segment(graph, graph.operators, axes)


def clocks(segment: Segment, axis: int = 0) -> list[tuple[int, int]]:
    return [(stage.stride[axis], stage.delay[axis]) for stage in segment.stages]


def rings(segment: Segment) -> list[int]:
    return [ring.pixels for ring in segment.rings]


# Literal examples. In each, time t and rows r: operator k computes row r at stride * r + delay.


def chain() -> Graph:
    """3x3, 1x1, 3x3 over 8 x 10 pixels."""
    maker = GraphMaker()
    wide = maker.same(maker.source("x", (8, 10, 3)), 4)
    maker.same(maker.convolution(wide, 6), 2)
    return maker.graph()


def test_chain_by_rows() -> None:
    segment = segment_of(chain(), ROWS)
    assert clocks(segment) == [(1, 0), (1, 0), (1, 1)]  # the last needs the row below
    assert rings(segment) == [1 * 10, 3 * 10]
    assert segment.extent == (9, 1)


def test_chain_by_pixels() -> None:
    segment = segment_of(chain(), PIXELS)
    assert clocks(segment, 1) == [(1, 0), (1, 0), (1, 1)]
    assert rings(segment) == [1, 2 * 10 + 3]
    assert segment.extent == (9, 11)


def test_residual_keeps_the_rows_that_its_slower_side_needs() -> None:
    maker = GraphMaker()
    first = maker.convolution(maker.source("x", (8, 10, 3)), 4)
    slow = maker.same(maker.same(first, 4), 4)
    maker.add(first, slow)
    segment = segment_of(maker.graph(), ROWS)
    assert clocks(segment) == [(1, 0), (1, 1), (1, 2), (1, 2)]
    assert rings(segment) == [3 * 10, 3 * 10, 1 * 10]


def test_shortcut_of_its_own_waits_for_the_slower_side() -> None:
    maker = GraphMaker()
    first = maker.convolution(maker.source("x", (8, 10, 3)), 4)
    slow = maker.same(maker.same(first, 4), 2)
    maker.add(maker.convolution(first, 2), slow)
    segment = segment_of(maker.graph(), ROWS)
    assert [stage.operator for stage in segment.stages] == ["conv0", "conv1", "conv2", "conv3", "add4"]
    assert clocks(segment) == [(1, 0), (1, 1), (1, 2), (1, 2), (1, 2)]  # conv3 could run at 0, and keep 3 rows more
    assert rings(segment) == [3 * 10, 3 * 10, 1 * 10, 1 * 10]


def test_stride_two_halves_the_clock_of_what_follows() -> None:
    maker = GraphMaker()
    fine = maker.same(maker.source("x", (8, 8, 3)), 4)
    coarse = maker.same(fine, 4, stride=(2, 2))
    maker.same(coarse, 4)
    segment = segment_of(maker.graph(), ROWS)
    assert clocks(segment) == [(1, 0), (2, 2), (2, 4)]
    assert rings(segment) == [3 * 8, 3 * 4]
    assert segment.extent == (2 * 3 + 4 + 1, 1)


def test_window_of_one_row_tensor_waits_for_nothing() -> None:
    maker = GraphMaker()
    maker.same(maker.convolution(maker.source("x", (1, 6, 2)), 2), 2, kernel=(7, 3))
    segment = segment_of(maker.graph(), ROWS)
    assert clocks(segment) == [(1, 0), (1, 0)]
    assert rings(segment) == [6]


def test_reduction_takes_rows_as_they_come() -> None:
    maker = GraphMaker()
    maker.global_pool(maker.same(maker.source("x", (8, 10, 3)), 4))
    graph = maker.graph()
    segment = segment_of(graph, ROWS)
    assert clocks(segment) == [(1, 0), (1, 0)]
    assert [stage.reduction for stage in segment.stages] == [False, True]
    assert segment.stages[1].domain == (8, 10)
    assert rings(segment) == [10]
    assert rings(segment_of(graph, PIXELS)) == [1]


def test_reduction_of_a_whole_tensor_sums_at_once() -> None:
    maker = GraphMaker()
    maker.global_pool(maker.source("x", (8, 10, 3)))
    (stage,) = segment_of(maker.graph(), PIXELS).stages
    assert not stage.reduction
    assert stage.domain == (1, 1)


def test_padding_behind_gives_a_window_that_covers_everything_company() -> None:
    maker = GraphMaker()
    wide = maker.convolution(maker.source("x", (2, 2, 3)), 4)
    maker.same(wide, 4, kernel=(2, 2))  # padded behind alone: 2 x 2 windows
    segment = segment_of(maker.graph(), ROWS)
    assert [stage.reduction for stage in segment.stages] == [False, False]
    assert segment.stages[1].domain == (2, 2)


def test_branches_are_written_right_into_what_joins_them() -> None:
    maker = GraphMaker()
    source = maker.source("x", (6, 5, 2))
    joined = maker.concat(maker.convolution(source, 3), maker.same(source, 2))
    maker.same(joined, 1)
    segment = segment_of(maker.graph(), ROWS)
    assert clocks(segment) == [(1, 0), (1, 0), (1, 0), (1, 1)]
    assert segment.rings == (Ring("conv0", 0, 3), Ring("conv1", 0, 2), Ring("concat2", 3 * 5, 5))
    assert set(written_through(maker.graph(), segment)) == {"conv0", "conv1"}


def test_the_faster_branch_waits_to_be_written_right_there() -> None:
    """The point convolution could run a row before the other branch; then it would need a ring of two rows."""
    maker = GraphMaker()
    first = maker.convolution(maker.source("x", (6, 5, 2)), 4)
    maker.concat(maker.convolution(first, 3), maker.same(first, 2))
    segment = segment_of(maker.graph(), ROWS)
    assert clocks(segment) == [(1, 0), (1, 1), (1, 1), (1, 1)]
    assert rings(segment) == [3 * 5, 0, 0]


def test_a_join_in_a_join_is_written_through_both() -> None:
    maker = GraphMaker()
    source = maker.source("x", (6, 5, 2))
    inner = maker.concat(maker.convolution(source, 3), maker.convolution(source, 2))
    maker.concat(maker.convolution(source, 1), inner)
    segment = segment_of(maker.graph(), ROWS)
    assert [(r.tensor, r.pixels) for r in segment.rings] == [("conv0", 0), ("conv1", 0), ("concat2", 0), ("conv3", 0)]


def test_what_a_join_must_change_or_share_keeps_its_ring() -> None:
    maker = GraphMaker()
    source = maker.source("x", (6, 5, 2))
    rescaled, shared, twice = (maker.convolution(source, 2) for _ in range(3))
    maker.concat(rescaled, shared, twice, twice, rescaled=[rescaled])
    maker.convolution(shared, 1)
    assert rings(segment_of(maker.graph(), PIXELS)) == [1, 1, 1]


def test_slice_waits_for_its_first_row_and_skips_rows() -> None:
    maker = GraphMaker()
    wide = maker.convolution(maker.source("x", (8, 6, 2)), 4)
    maker.part(wide, (3, 1, 2), (2, 4, 2), (2, 1))
    segment = segment_of(maker.graph(), ROWS)
    assert clocks(segment) == [(1, 0), (2, 3)]
    assert rings(segment) == [6]
    assert fault_of_schedule(maker.graph(), Schedule((segment,))) is None


def test_tensors_read_outside_are_no_rings() -> None:
    maker = GraphMaker()
    inner = maker.same(maker.source("x", (8, 10, 3)), 4)
    maker.same(inner, 2)
    assert segment_of(maker.graph(inner), ROWS).rings == ()


def test_unscheduled_where_paths_differ_in_stride() -> None:
    maker = GraphMaker()
    first = maker.convolution(maker.source("x", (1, 1, 2)), 2)
    maker.add(maker.same(first, 2, stride=(2, 2)), maker.convolution(first, 2))
    with pytest.raises(Unschedulable, match="differ in stride"):
        segment_of(maker.graph(), ROWS)


def test_unscheduled_where_a_sum_is_needed_inside() -> None:
    maker = GraphMaker()
    wide = maker.convolution(maker.source("x", (4, 4, 2)), 2)
    maker.convolution(maker.global_pool(wide), 2)
    with pytest.raises(Unschedulable, match="needs the whole of pool1"):
        segment_of(maker.graph(), ROWS)


def test_unscheduled_where_a_tensor_is_read_under_another_shape() -> None:
    maker = GraphMaker()
    flat = maker.convolution(maker.source("x", (4, 2, 2)), 2)
    name = maker.convolution(flat, 3)
    reshaped = Convolution("conv1", (flat,), ((1, 1, 16),), name, Window(), 1, "w", "s", 0, 0, 0, -128, 127)
    graph = maker.graph()
    graph = Graph(graph.tensors, (graph.operators[0], reshaped), graph.inputs, graph.outputs)
    with pytest.raises(Unschedulable, match="conv1 reads conv0 under another shape"):
        segment_of(graph, ROWS)


def test_last_reader() -> None:
    # Output o reads inputs 2o - 1, 2o, 2o + 1.
    assert last_reader(use_of(Window((3, 3), (2, 2), pad=(1, 1)), 0, 7, 4)).tolist() == [0, 1, 1, 2, 2, 3, 3]
    # Stride 3 with a window of 1 leaves inputs unread.
    assert last_reader(use_of(Window(stride=(3, 3)), 0, 5, 2)).tolist() == [0, -1, -1, 1, -1]


def test_positions_apart_and_mirrored() -> None:
    doubled = use_of(Window((3, 3), pad=(1, 1), up=(2, 2)), 0, 3, 6)  # outputs read one row, two rows, one row, ...
    assert positions(doubled).tolist() == [[-1, 0, -1, 1, -1, 2], [0, -1, 1, -1, 2, -1], [-1, 1, -1, 2, -1, -1]]
    assert last_reader(doubled).tolist() == [1, 3, 5]
    reflected = use_of(Window(pad=(2, 2), mirror=1), 0, 3, 7)
    assert positions(reflected).tolist() == [[2, 1, 0, 1, 2, 1, 0]]
    symmetric = use_of(Window(pad=(2, 2), mirror=0), 0, 3, 7)
    assert positions(symmetric).tolist() == [[1, 0, 0, 1, 2, 2, 1]]


def test_a_decoder_keeps_the_clock_of_its_finest_rows() -> None:
    """Down by 2, up by 2, beside what came down: one segment, in which the rows below have every second moment."""
    maker = GraphMaker()
    skip = maker.same(maker.source("x", (8, 8, 2)), 2)
    low = maker.same(maker.pool(skip, Window((2, 2), (2, 2)), maximum=True), 4)
    up = maker.nearest(low, (2, 2))
    last = maker.same(maker.concat(up, skip), 2)
    graph = maker.graph()
    segment = segment_of(graph, ROWS)
    stages = {stage.operator: stage for stage in segment.stages}
    assert [stages[name].stride[0] for name in (skip, low, up, last)] == [1, 2, 1, 1]
    assert stages[up].delay == stages[low].delay  # a row of the two below each of its own
    assert {ring.tensor: ring.pixels // 8 for ring in segment.rings}[skip] == 4  # rows, until the concat wants them
    assert fault_of_schedule(graph, Schedule((segment,))) is None


def test_strips_of_a_decoder() -> None:
    """Columns that two strips compute, counted in columns of tensors that have half as many."""
    maker = GraphMaker()
    low = maker.same(maker.source("x", (5, 8, 2)), 2)
    maker.same(maker.same(maker.nearest(low, (2, 2)), 2), 2, (5, 5))
    graph = maker.graph()
    segment = make_segment(graph, graph.operators, ("rows", "pixels"), strips=2)
    assert [stage.origin for stage in segment.stages] == [(4, -2), (8, -3), (8, -2), (8, 0)]
    assert fault_of_schedule(graph, Schedule((segment,))) is None


def test_clocks_that_share_too_few_moments() -> None:
    maker = GraphMaker()
    maker.nearest(maker.same(maker.source("x", (8, 8, 2)), 2), (15, 1), (8, 1))
    with pytest.raises(Unschedulable, match="a clock that is too fine"):
        segment_of(maker.graph(), ROWS)


def test_wait() -> None:
    same = use_of(Window((3, 3), pad=(1, 1)), 0, 9, 9)
    assert wait(same, 1, 1) == 1  # its first row sees two
    assert wait(same, 2, 2, 4) == 2  # of a row by runs of 4 it sees two runs
    padded = use_of(Window(pad=(2, 2)), 0, 5, 9)
    assert wait(padded, 1, 1) == -2  # two rows of border come first
    assert wait(use_of(Window((2, 2), pad=(1, 1), up=(2, 2)), 0, 4, 8), 2, 1) == 0  # each row twice
    assert wait(use_of(Window((3, 3), pad=(1, 1), up=(2, 2)), 0, 4, 8), 2, 1) == 1  # every second sees the next one
    assert wait(use_of(Window(pad=(2, 2), mirror=1), 0, 5, 9), 1, 1) == 2  # the first row is the third one


def test_sliced_channels() -> None:
    maker = GraphMaker()
    wide = maker.convolution(maker.source("x", (5, 5, 2)), 6)
    deep = maker.convolution(wide, 6, Window((3, 3)), depthwise=True)
    maker.convolution(deep, 2)
    graph = maker.graph()
    assert sliced_channels(graph, graph.operators) == 6
    assert sliced_channels(graph, graph.operators[:2]) == 6
    assert sliced_channels(graph, graph.operators[2:]) == 2
    longer = GraphMaker()
    longer.convolution(longer.convolution(longer.convolution(longer.source("x", (5, 5, 2)), 4), 4), 4)
    assert sliced_channels(longer.graph(), longer.graph().operators) is None  # two sums over slices
    kept = maker.graph("depthwise1")
    assert sliced_channels(kept, kept.operators) is None  # the last would sum what is whole


def test_schedules_survive_json() -> None:
    for seed in range(2000, 2010):
        graph = random_graph(seed)
        schedule = find_schedule(graph)
        assert schedule_from_json(schedule.to_json()) == schedule
        again = graph_from_json(graph_to_json(graph))
        assert (again.operators, again.tensors) == (graph.operators, graph.tensors)
        assert (again.inputs, again.outputs, list(again.constants)) == (
            graph.inputs,
            graph.outputs,
            list(graph.constants),
        )


def test_check_once() -> None:
    graph = chain()
    segments = [make_segment(graph, [op], ROWS) for op in graph.operators]
    check_once(graph, Schedule(tuple(segments)))
    with pytest.raises(ValueError, match="each operator once"):
        check_once(graph, Schedule(tuple(segments[:2])))
    with pytest.raises(ValueError, match="conv1 runs before conv0"):
        check_once(graph, Schedule((segments[1], segments[0], segments[2])))


def test_branches_run_one_after_the_other_where_that_saves_memory() -> None:
    maker = GraphMaker()
    x = maker.source("x", (1, 1, 4))
    one, other = maker.convolution(x, 100), maker.convolution(x, 90)
    maker.add(maker.convolution(one, 1), maker.convolution(other, 1))
    graph = maker.graph()
    schedule = find_schedule(graph, axes=PIXELS)
    assert [name for s in schedule.segments for name in s.operators] != [op.name for op in graph.operators]
    check_once(graph, schedule)
    assert plan_memory(memory_problem(graph, schedule)).peak == 4 + 100 + 1


# Random graphs.


def test_orders_are_topological() -> None:
    several = 0
    for seed in range(GRAPHS):
        graph = random_graph(seed)
        orders = operator_orders(graph)
        assert orders[0] == graph.operators
        assert len(set(orders)) == len(orders)
        several += len(orders) > 1
        for order in orders:
            check_once(graph, Schedule(tuple(make_segment(graph, [op], ROWS) for op in order)))
    assert several > GRAPHS // 4


@pytest.mark.parametrize("part", range(4))
def test_random_schedules_work_and_their_rings_are_least(part: int) -> None:
    long = 0
    for seed in range(part, GRAPHS, 4):
        graph = random_graph(seed)
        schedule = cut_at_random(graph, seed)
        check_once(graph, schedule)
        fault = fault_of_schedule(graph, schedule)
        assert fault is None, f"seed {seed}: {schedule}: {fault}"
        for segment in schedule.segments:
            for ring in segment.rings:
                step = 1 if "pixels" in segment.axes else graph.tensors[ring.tensor].shape[1]
                if ring.pixels == segment.run:  # a run, which has its own place for each of its pixels
                    continue
                shorter = ring.pixels - step
                long += shorter > 0
                if shorter > 0 and segment.axes != ("channels",) and segment.strips == 1:  # else for any slice or strip
                    fault = fault_of_schedule(graph, schedule, {ring.tensor: shorter})
                    assert fault is not None, f"seed {seed}: {schedule}: {ring} could be shorter by {step}"
    assert long > GRAPHS // 16


@pytest.mark.parametrize("axes", [ROWS, PIXELS, ("channels",), ("rows", "pixels", "channels")])
def test_found_schedules_work(axes: tuple[str, ...]) -> None:
    for seed in range(1000, 1040):
        graph = random_graph(seed)
        schedule = find_schedule(graph, axes=axes)
        check_once(graph, schedule)
        fault = fault_of_schedule(graph, schedule)
        assert fault is None, f"seed {seed}: {schedule}: {fault}"


def test_ring_pixels_of_one_reader() -> None:
    use = use_of(Window((3, 3), pad=(1, 1)), 0, 6, 6)  # 3 positions, padded by one on each side
    assert ring_pixels((6, 6), (1, 1), (((1, 1), (1, 1), use, use),)) == 2 * 6 + 3
    assert ring_pixels((6, 6), (1, 0), (((1, 0), (1, 0), use, use),)) == 3 * 6
    skips = use_of(Window((2, 2), dilation=(2, 2), pad=(1, 1)), 0, 2, 1)  # reads position 1 of 2
    assert ring_pixels((6, 2), (1, 0), (((1, 0), (1, 0), use, skips),)) == 3 * 2
    assert math.prod((6, 6)) == ring_pixels((6, 6), (1, 0), (((1, 0), (9, 0), use, use),))
