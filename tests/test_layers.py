"""Layer by layer and lower bounds, by hand and on random graphs; pictures of plans as XML."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from random_graphs import GraphMaker, random_graph

from tvm_pex.graph import Window
from tvm_pex.memory_planner import plan_memory
from tvm_pex.report.arena_plot import Panel, arena_svg
from tvm_pex.report.drawing import ticks
from tvm_pex.scheduling.cost import schedule_macs
from tvm_pex.scheduling.layers import layer_bytes, layer_problem, lower_bound
from tvm_pex.scheduling.lifetimes import memory_problem
from tvm_pex.scheduling.search import find_schedule

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("seed", range(4000, 4040))
def test_no_plan_is_below_the_lower_bound(seed: int) -> None:
    graph = random_graph(seed)
    for kept in (frozenset(graph.inputs), frozenset[str]()):
        for axes in (("rows", "pixels", "channels"), ("rows", "pixels"), ("channels",)):
            schedule = find_schedule(graph, axes=axes, kept=kept)
            peak = plan_memory(memory_problem(graph, schedule, kept=kept), effort=300).peak
            assert lower_bound(graph, kept) <= peak


@pytest.mark.parametrize("seed", range(4000, 4040))
def test_layers_of_random_graphs(seed: int) -> None:
    graph = random_graph(seed)
    assert max(layer_bytes(graph).values()) == plan_memory(layer_problem(graph)).lower_bound


def test_layers_by_hand() -> None:
    maker = GraphMaker()
    first = maker.convolution(maker.source("x", (4, 4, 1)), 4)
    second = maker.convolution(first, 2)
    maker.add(maker.convolution(second, 4), first)
    assert max(layer_bytes(maker.graph()).values()) == 64 + 64 + 64
    assert max(layer_bytes(maker.graph(second)).values()) == 64 + 64 + 64 + 32


def test_lower_bound_of_a_chain() -> None:
    maker = GraphMaker()
    wide = maker.convolution(maker.source("x", (8, 10, 1)), 2)
    maker.same(wide, 1, stride=(2, 2))
    graph = maker.graph()
    assert lower_bound(graph, frozenset({"x"})) == 80 + 1  # the input, and a pixel of what it becomes
    assert lower_bound(graph) == 80


def test_a_window_holds_rows_and_pixels() -> None:
    maker = GraphMaker()
    maker.same(maker.convolution(maker.source("x", (8, 10, 1)), 50), 1)
    # Two rows and three pixels of 50 channels; or of one channel, with the input whole and an int32 for each result.
    assert lower_bound(maker.graph()) == min(23 * 50, 23 + 80 + 4 * 80)


def test_a_strip_is_enough_where_windows_share_no_columns() -> None:
    maker = GraphMaker()
    wide = maker.convolution(maker.source("x", (8, 16, 1)), 64)
    maker.convolution(wide, 16, Window(kernel=(2, 2), stride=(2, 2)))
    graph = maker.graph()
    kept = frozenset(graph.inputs)
    schedule = find_schedule(graph, kept=kept)
    assert [segment.strips for segment in schedule.segments] == [8]
    assert schedule_macs(graph, schedule) == graph.macs()
    assert lower_bound(graph, kept) <= plan_memory(memory_problem(graph, schedule, kept=kept)).peak


def test_strips_without_recompute_run_everything_once() -> None:
    """Of 17 columns nothing reads the last one: strips alone would leave it out."""
    maker = GraphMaker()
    wide = maker.convolution(maker.source("x", (8, 17, 1)), 64)
    maker.convolution(wide, 16, Window(kernel=(2, 2), stride=(2, 2)))
    graph = maker.graph()
    assert schedule_macs(graph, find_schedule(graph)) == graph.macs()


def test_a_picture_is_xml_and_names_every_buffer() -> None:
    graph = random_graph(4000)
    problem = layer_problem(graph)
    panel = Panel("<before> & after", "steps", problem, plan_memory(problem))
    picture = arena_svg("title", (panel, panel), ((100, 5000), (50, 7000)))
    root = ElementTree.fromstring(picture.split("\n", 1)[1])
    titles = [element.text or "" for element in root.iter(f"{SVG}title")]
    for buffer in problem.buffers:
        assert sum(title.startswith(f"{buffer.name}: ") for title in titles) == 2
    assert "50 bytes, 7,000 instructions" in titles
    assert arena_svg("title", (panel, panel), ((100, 5000), (50, 7000))) == picture


def test_ticks_are_round() -> None:
    assert ticks(0, 37160) == [0, 10000, 20000, 30000]
    assert ticks(3, 9) == [3, 4, 5, 6, 7, 8, 9]
    assert ticks(0, 1) == [0, 1]
