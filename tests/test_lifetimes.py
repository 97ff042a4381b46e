"""Memory problems against the bytes themselves: schedules are run event by event to see which byte holds a value when.

A byte holds a value from the kernel call that writes it to the last one that reads it. Two buffers may only lie so that
no address holds two values at once; within one kernel call, what is read and what is written count as held together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from random_graphs import GraphMaker, cut_at_random, random_graph, with_any_kernels
from schedule_simulator import Access, Event, events_of

from tvm_pex.graph import Graph, Slice, Window
from tvm_pex.memory_planner import Buffer, Problem, plan_memory
from tvm_pex.packing.validator import fault_of
from tvm_pex.scheduling.kernels import kernel_of, patch_bytes
from tvm_pex.scheduling.lifetimes import memory_problem, patch_name, sums_name
from tvm_pex.scheduling.schedule import Ring, Schedule
from tvm_pex.scheduling.segments import make_segment

GRAPHS = 600
NONE: frozenset[str] = frozenset()  # no input is kept: all may be overwritten
Numbers = npt.NDArray[np.int64]


@dataclass
class Values:
    """What a buffer holds: for each value its byte, and the first and last time it is held."""

    byte: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    newest: dict[int, int] = field(default_factory=dict)

    def write(self, byte: int, time: int) -> None:
        self.newest[byte] = len(self.byte)
        self.byte.append(byte)
        self.first.append(time)
        self.last.append(time)

    def read(self, byte: int, time: int) -> None:
        self.last[self.newest[byte]] = time

    def keep(self, last: int) -> None:
        """All of it stays until ``last``."""
        self.last = [max(last, end) for end in self.last]

    def table(self) -> tuple[Numbers, Numbers, Numbers]:
        return np.array(self.byte, np.int64), np.array(self.first, np.int64), np.array(self.last, np.int64)


class Program:
    """All values of all buffers of a schedule, in kernel calls or, ``by_steps``, in steps."""

    def __init__(self, graph: Graph, schedule: Schedule, overwrite_input: bool, *, by_steps: bool) -> None:
        self.graph = graph
        self.rings = {ring.tensor: ring for segment in schedule.segments for ring in segment.rings}
        operators = {op.name: op for op in graph.operators}
        self.patched = {
            stage.operator
            for segment in schedule.segments
            for stage in segment.stages
            if patch_bytes(op := operators[stage.operator], kernel_of(graph, segment, stage, op), segment)
        }
        self.values: dict[str, Values] = {}
        for name in graph.inputs:
            for byte in range(graph.tensors[name].bytes):
                self.of(name).write(byte, 0)
        time = 0
        for call, event in enumerate(events_of(graph, schedule)):
            time = event.step if by_steps else call + 1  # inputs were there before the first call
            self.run(event, time)
        for name in graph.outputs:
            self.of(name).keep(time)
        for name in () if overwrite_input else graph.inputs:
            self.of(name).keep(max(self.of(name).last))

    def of(self, name: str) -> Values:
        return self.values.setdefault(name, Values())

    def run(self, event: Event, time: int) -> None:
        for access in event.reads:
            for byte in self.bytes_of(access):
                self.of(access.tensor).read(byte, time)
        if event.op.name in self.patched:  # it holds nothing from one call to the next
            self.of(patch_name(event.op.name)).write(0, time)
        if event.sums:
            sums = self.of(sums_name(event.op.name))
            if not sums.byte:
                sums.write(0, time)
            sums.read(0, time)
        for access in event.writes:
            for byte in self.bytes_of(access):
                self.of(access.tensor).write(byte, time)

    def bytes_of(self, access: Access) -> Iterator[int]:
        ring = self.rings.get(access.tensor)
        elements = access.ring_elements(ring.pixels, ring.channels) if ring else access.elements()
        size = self.graph.tensors[access.tensor].item_bytes
        return (element * size + byte for element in elements for byte in range(size))


def collisions(one: Values, other: Values) -> set[int]:
    """Every offset(other) - offset(one) at which some address holds two values at once."""
    byte, first, last = one.table()
    byte_other, first_other, last_other = other.table()
    together = (first[:, None] <= last_other[None, :]) & (first_other[None, :] <= last[:, None])
    found: Numbers = np.unique((byte[:, None] - byte_other[None, :])[together])
    return set(found.tolist())


def values_of(program: Program, problem: Problem) -> dict[str, Values]:
    """The values by buffer; sums and patches, which the program notes as one byte, fill theirs."""
    values = {}
    for buffer in problem.buffers:
        found = program.of(buffer.name)
        if buffer.name not in program.graph.tensors:
            times = len(found.byte)
            count = [byte for byte in range(buffer.bytes) for _ in range(times)]
            found = Values(count, found.first * buffer.bytes, found.last * buffer.bytes)
        assert max(found.byte, default=0) < buffer.bytes, buffer
        values[buffer.name] = found
    return values


def wrong_pairs(problem: Problem, values: dict[str, Values]) -> list[str]:
    """The pairs of buffers that the problem lets share an address that holds two values."""
    wrong = []
    for a, b in combinations(problem.buffers, 2):
        found = collisions(values[a.name], values[b.name])
        if a.first > b.last or b.first > a.last:
            allowed = found
        else:
            above = problem.distances.get((a.name, b.name), a.bytes)
            below = problem.distances.get((b.name, a.name), b.bytes)
            allowed = {d for d in found if d >= above or -d >= below}
        if allowed:
            wrong.append(f"{a} and {b} at {min(allowed)}..{max(allowed)}")
    return wrong


def loose_pairs(graph: Graph, schedule: Schedule, problem: Problem, values: dict[str, Values]) -> tuple[int, list[str]]:
    """Of the pairs whose distance must be exact, how many there are, and those that could lie closer.

    Exact are distances to a whole tensor that was there before (``high``) from one that grows while that is read.
    """
    segment_of = {name: n for n, segment in enumerate(schedule.segments) for name in segment.operators}
    tiled = {name for segment in schedule.segments if segment.repeats for name in segment.operators}
    rings = {ring.tensor for segment in schedule.segments for ring in segment.rings}
    summed = {stage.operator for segment in schedule.segments for stage in segment.stages if stage.reduction}
    slices = [op for op in graph.operators if isinstance(op, Slice)]
    narrow = {op.name for op in slices if (op.first, op.step, op.blocks) != (0, 1, False)}  # bytes of a pixel die apart
    count, loose = 0, []
    for low in problem.buffers:
        for high in problem.buffers:
            grows = low.name in segment_of and low.name not in tiled | summed
            readers = {op.name for op in graph.consumers().get(high.name, [])}
            before = high.name not in rings and segment_of.get(high.name, -1) < segment_of.get(low.name, -1)
            before &= high.name in graph.tensors and high.name not in graph.outputs and not readers & tiled
            before &= not readers & narrow
            if low != high and grows and before and high.first <= low.last and low.first <= high.last:
                count += 1
                distance = problem.distances.get((low.name, high.name), low.bytes)
                if distance - 1 not in collisions(values[low.name], values[high.name]):
                    loose.append(f"{high.name} only {distance} above {low.name}")
    return count, loose


@pytest.mark.parametrize("overwrite_input", [False, True])
def test_patches_hold_nothing_but_their_operators_turn(overwrite_input: bool) -> None:
    """A kernel may fill its patch at every call; what then lies there is nobody else's, and nothing is kept."""
    patches = 0
    for seed in range(5000, 5000 + GRAPHS // 3):
        graph = with_any_kernels(random_graph(seed), seed)
        schedule = cut_at_random(graph, seed)
        problem = memory_problem(graph, schedule, kept=NONE if overwrite_input else None)
        program = Program(graph, schedule, overwrite_input, by_steps=False)
        patches += len(program.patched)
        values = values_of(program, problem)
        assert set(values) == {buffer.name for buffer in problem.buffers}
        wrong = wrong_pairs(problem, values)
        assert not wrong, f"seed {seed}: {schedule}: {wrong}"
        plan = plan_memory(problem, effort=0)
        for a, b in combinations(plan.offsets, 2):
            distance = plan.offsets[b] - plan.offsets[a]
            assert distance not in collisions(values[a], values[b]), f"seed {seed}: {a} and {b}"
    assert patches > GRAPHS // 5


@pytest.mark.parametrize("overwrite_input", [False, True])
def test_no_address_ever_holds_two_values(overwrite_input: bool) -> None:
    for seed in range(GRAPHS):
        graph = random_graph(seed)
        schedule = cut_at_random(graph, seed)
        problem = memory_problem(graph, schedule, kept=NONE if overwrite_input else None)
        values = values_of(Program(graph, schedule, overwrite_input, by_steps=False), problem)
        assert set(values) == {buffer.name for buffer in problem.buffers}
        wrong = wrong_pairs(problem, values)
        assert not wrong, f"seed {seed}: {schedule}: {wrong}"


def test_distances_are_least() -> None:
    pairs = 0
    for seed in range(GRAPHS):
        graph = random_graph(seed)
        schedule = cut_at_random(graph, seed)
        problem = memory_problem(graph, schedule, kept=NONE)
        values = values_of(Program(graph, schedule, True, by_steps=True), problem)
        count, loose = loose_pairs(graph, schedule, problem, values)
        pairs += count
        assert not loose, f"seed {seed}: {schedule}: {loose}"
    assert pairs > GRAPHS


def test_plans_of_random_schedules_hold_every_value() -> None:
    """As the program runs: each kernel call finds, at the planned addresses, the values that it reads."""
    for seed in range(0, GRAPHS, 4):
        graph = random_graph(seed)
        schedule = cut_at_random(graph, seed)
        problem = memory_problem(graph, schedule, kept=NONE)
        plan = plan_memory(problem, effort=0)
        assert fault_of(problem, plan) is None
        values = values_of(Program(graph, schedule, True, by_steps=False), problem)
        for a, b in combinations(plan.offsets, 2):
            assert plan.offsets[b] - plan.offsets[a] not in collisions(values[a], values[b]), (
                f"seed {seed}: {a} and {b}"
            )


# By hand.


def test_window_works_in_place_but_for_its_halo() -> None:
    """A 3x3 convolution over rows of 5 pixels with 2 channels may write row r once row r - 2 is dead."""
    maker = GraphMaker()
    maker.same(maker.source("x", (6, 5, 2)), 2)
    graph = maker.graph()
    schedule = Schedule((make_segment(graph, graph.operators, ("rows",)),))
    problem = memory_problem(graph, schedule, kept=NONE)
    assert problem.distances["conv0", "x"] == 2 * 5 * 2
    kept = memory_problem(graph, schedule)
    assert ("conv0", "x") not in kept.distances
    assert plan_memory(problem).peak == 60 + 20
    assert plan_memory(kept).peak == 60 + 60


def test_pixels_work_in_place_closer_than_rows() -> None:
    """Along pixels a row and two pixels are still needed: pixel (r - 1, c - 1), its row's rest, row r to c."""
    maker = GraphMaker()
    maker.same(maker.source("x", (6, 5, 2)), 2)
    graph = maker.graph()
    problem = memory_problem(graph, Schedule((make_segment(graph, graph.operators, ("rows", "pixels")),)), kept=NONE)
    assert problem.distances["conv0", "x"] == (5 + 2) * 2


@pytest.mark.parametrize(("axes", "more"), [(("rows",), 3 * 2), (("rows", "pixels"), 2), ((), 3 * 3 * 2)])
def test_shrinking_window_needs_a_moment_of_output_more(axes: tuple[str, ...], more: int) -> None:
    """What is read in a moment is still there when what the moment gives is written: a row, a pixel, or all of it."""
    maker = GraphMaker()
    maker.convolution(maker.source("x", (6, 6, 2)), 2, Window((2, 2), (2, 2)))
    graph = maker.graph()
    problem = memory_problem(graph, Schedule((make_segment(graph, graph.operators, axes),)), kept=NONE)
    assert plan_memory(problem).peak == 6 * 6 * 2 + more


def test_rings_of_one_moment_in_turns_share_their_bytes() -> None:
    """Between pointwise operators a row exists within one step: the ring after next may lie where it was."""
    maker = GraphMaker()
    name = maker.source("x", (4, 5, 2))
    for _ in range(5):
        name = maker.convolution(name, 2)
    graph = maker.graph()
    segment = make_segment(graph, graph.operators, ("rows",))
    assert segment.rings == tuple(Ring(f"conv{k}", 5, 2) for k in range(4))
    problem = memory_problem(graph, Schedule((segment,)))
    assert problem.distances["conv0", "conv2"] == -10
    assert ("conv0", "conv1") not in problem.distances


def test_what_is_written_through_a_ring_takes_its_turn_there() -> None:
    """conv1 writes into the ring of concat3 while conv0's pixel, which it reads, still lives."""
    maker = GraphMaker()
    first = maker.convolution(maker.source("x", (4, 5, 2)), 2)
    joined = maker.concat(maker.convolution(first, 2), maker.convolution(first, 2))
    maker.convolution(maker.convolution(joined, 2), 2)
    graph = maker.graph()
    schedule = Schedule((make_segment(graph, graph.operators, ("rows",)),))
    problem = memory_problem(graph, schedule)
    assert {b.name for b in problem.buffers} == {"x", "conv0", "concat3", "conv4", "conv5"}
    assert ("conv0", "concat3") not in problem.distances
    assert problem.distances["conv0", "conv4"] == -10


def test_a_quantised_tensor_lies_in_its_floats() -> None:
    """A pixel is 8 bytes before and 2 after: the first may be written once a pixel of floats is dead."""
    maker = GraphMaker()
    maker.quantize(maker.source("x", (4, 5, 2), "float32"))
    graph = maker.graph()
    schedule = Schedule((make_segment(graph, graph.operators, ("rows", "pixels")),))
    problem = memory_problem(graph, schedule, kept=NONE)
    assert problem.distances["quantize0", "x"] == 2
    assert plan_memory(problem).peak == 4 * 5 * 8 + 4  # floats lie at multiples of 4
    assert plan_memory(memory_problem(graph, schedule)).peak == 4 * 5 * (8 + 2)


def test_rings_that_wait_for_a_slower_side_share_nothing() -> None:
    """The last operator reads conv6 three rows late, so the rows of conv6 outlive the steps in which they are made."""
    maker = GraphMaker()
    first = maker.convolution(maker.convolution(maker.source("x", (8, 5, 1)), 2), 8)
    slow = maker.same(maker.same(maker.same(first, 1), 1), 1)
    side = maker.convolution(maker.add(first), 1)
    maker.add(slow, side)
    graph = maker.graph()
    schedule = Schedule((make_segment(graph, graph.operators, ("rows",)),))
    assert Ring(side, 4 * 5, 1) in schedule.segments[0].rings
    problem = memory_problem(graph, schedule)
    assert ("conv0", side) not in problem.distances
    values = values_of(Program(graph, schedule, False, by_steps=False), problem)
    assert wrong_pairs(problem, values) == []


def test_inputs_and_outputs_live_as_long_as_the_caller_needs() -> None:
    maker = GraphMaker()
    inner = maker.convolution(maker.source("x", (2, 2, 1)), 1)
    maker.convolution(inner, 1)
    graph = maker.graph(inner)
    segments = tuple(make_segment(graph, [op], ("rows",)) for op in graph.operators)
    spans = {b.name: (b.first, b.last) for b in memory_problem(graph, Schedule(segments)).buffers}
    assert spans == {"x": (0, 1), "conv0": (0, 3), "conv1": (2, 3)}


def test_nothing_to_run_needs_the_input_alone() -> None:
    maker = GraphMaker()
    maker.source("x", (4, 4, 1))
    problem = memory_problem(maker.graph(), Schedule(()))
    assert problem.buffers == (Buffer("x", 16, 0, 0, 1),)
