"""Tails: the last operators of a segment, which run by slices of channels at every moment."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from random_graphs import GraphMaker, cut_at_random, tailed_graph, with_any_kernels
from random_networks import tailed_network
from schedule_simulator import fault_of_schedule
from test_accesses import counted
from test_lifetimes import NONE, Program, collisions, values_of, wrong_pairs
from test_random_networks import check_report, expected, run

from tvm_pex.compiler import compile_model
from tvm_pex.graph import Graph
from tvm_pex.memory_planner import plan_memory
from tvm_pex.options import PlanOptions
from tvm_pex.relay_pass import partition
from tvm_pex.scheduling import candidates
from tvm_pex.scheduling.accesses import schedule_accesses
from tvm_pex.scheduling.cost import schedule_macs
from tvm_pex.scheduling.lifetimes import memory_problem
from tvm_pex.scheduling.schedule import Ring, Schedule, check_once, schedule_from_json
from tvm_pex.scheduling.search import find_schedule
from tvm_pex.scheduling.segments import make_segment, tail_of
from tvm_pex.tir_schedule import buffer_name
from tvm_pex.verification.verify import sample_inputs

GRAPHS = 120
KEPT = frozenset({"x"})


def residual() -> Graph:
    """Two 3x3 convolutions beside a 1x1 one that the graph has first, their sum, its average: 32 channels each."""
    maker = GraphMaker()
    first = maker.same(maker.source("x", (24, 3, 4)), 8)
    side = maker.convolution(first, 32)
    maker.global_pool(maker.add(maker.same(maker.same(first, 32), 32), side))
    return maker.graph()


def test_a_residual_s_sum_before_its_average() -> None:
    """The side runs behind the main path, whose moments it shares: three pixels are alive at once, by 16 channels."""
    graph = residual()
    (segment,) = find_schedule(graph, kept=KEPT).segments
    assert segment.operators == ("conv0", "conv2", "conv1", "conv3", "add4", "pool5")
    assert str(segment) == "rows, pixels, channels/16 of 4: conv0 conv2 conv1 conv3 add4 pool5"
    assert segment.rings[2:] == (Ring("conv2", 9, 32), *(Ring(name, 1, 16) for name in ("conv3", "add4")))
    whole = make_segment(graph, graph.operators, ("rows", "pixels"))
    peaks = [plan_memory(memory_problem(graph, Schedule((one,)), kept=KEPT)).peak for one in (whole, segment)]
    assert peaks[0] - peaks[1] == 3 * (32 - 16)


def test_what_may_be_in_a_tail() -> None:
    graph = residual()
    segment = make_segment(graph, graph.operators, ("rows", "pixels"))
    assert tail_of(graph, graph.operators, segment) == {"conv1", "conv3", "add4", "pool5"}
    assert not tail_of(graph, graph.operators[:-1], make_segment(graph, graph.operators[:-1], ("rows",)))
    maker = GraphMaker()
    maker.dense(maker.convolution(maker.source("x", (6, 5, 4)), 8), 8)  # needs all channels for each of its own
    graph = maker.graph()
    assert not tail_of(graph, graph.operators, make_segment(graph, graph.operators, ("rows",)))


def test_tails_survive_json() -> None:
    schedule = find_schedule(residual(), kept=KEPT)
    assert schedule_from_json(schedule.to_json()) == schedule


def test_random_tails() -> None:
    """Every pixel is there when it is read, nothing lies over it, and every access is counted."""
    tails = moved = 0
    for seed in range(GRAPHS):
        graph = with_any_kernels(tailed_graph(seed), seed)
        schedule = cut_at_random(graph, seed)
        told = f"seed {seed}: {schedule}"
        check_once(graph, schedule)
        assert schedule_macs(graph, schedule) == graph.macs() or any(s.strips > 1 for s in schedule.segments)
        assert fault_of_schedule(graph, schedule) is None, told
        problem = memory_problem(graph, schedule, kept=NONE)
        values = values_of(Program(graph, schedule, True, by_steps=False), problem)
        assert not wrong_pairs(problem, values), told
        offsets = plan_memory(problem, effort=0).offsets
        for a, b in combinations(offsets, 2):
            assert offsets[b] - offsets[a] not in collisions(values[a], values[b]), f"{told}: {a} and {b}"
        tails += any(segment.tail for segment in schedule.segments)
        order = [op.name for op in graph.operators]
        moved += any(sorted(s.operators, key=order.index) != list(s.operators) for s in schedule.segments if s.tail)
    assert tails > GRAPHS // 3
    assert moved > GRAPHS // 40


@pytest.mark.parametrize("seed", range(0, GRAPHS, 5))
def test_accesses_of_random_tails(seed: int) -> None:
    graph = tailed_graph(seed)
    schedule = cut_at_random(graph, seed)
    found = Counter({buffer_name(name): count for name, count in schedule_accesses(graph, schedule).items() if count})
    assert found == counted(graph, schedule)


def test_never_above_what_it_was_without_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    lower = 0
    for seed in (5, 6, 7, *range(19, 27)):
        graph = tailed_graph(seed)
        peaks = []
        for tile in (1 << 30, 1):
            monkeypatch.setattr(candidates, "_TILE", tile)
            problem = memory_problem(graph, find_schedule(graph, kept=KEPT), kept=KEPT)
            peaks.append(plan_memory(problem).peak)
        assert peaks[1] <= peaks[0], seed
        lower += peaks[1] < peaks[0]
    assert lower > 1


CORES = (None, "cortex-m4", "cortex-m55", "cortex-m4")


@pytest.mark.parametrize("seed", range(8))
def test_random_network_with_a_tail(seed: int, tmp_path: Path) -> None:
    """Its optimum has one; the compiled C is exact in an arena of that size between guard bytes."""
    network = tailed_network(seed)
    options = PlanOptions(overwrite_input=seed % 3 == 0, core=CORES[seed % 4])
    compiled = compile_model(network.model, options)
    tails = [s.tail for _, schedule in partition(network.model.mod, options).regions for s in schedule.segments]
    assert any(tails), network.description
    check_report(compiled, options)
    samples = sample_inputs(network.model, 4, seed)
    pools = {pool.name: pool.peak_bytes for pool in compiled.pools}
    places = {"input_places": compiled.input_places, "output_places": compiled.output_places}
    actual = run(compiled.build, samples, tmp_path, sanitize=True, pools=pools, **places)
    for one, other in zip(actual, expected(network.model, samples), strict=True):
        assert one.tobytes() == other.tobytes(), network.description
