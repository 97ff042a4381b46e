"""Networks over time, whose convolutions see a row where pads and additions see a column."""

from __future__ import annotations

from typing import Any

import pytest
from interpreter import run_graph
from relay_forms import add, convolution, random, source, typed

from tvm_pex._tvm import relay
from tvm_pex.frontend.columns import as_columns
from tvm_pex.frontend.reader import read_function
from tvm_pex.graph import Convolution, Graph
from tvm_pex.scheduling.segments import Unschedulable, make_segment

LENGTH, CHANNELS = 12, 4


def causal(data: Any, dilation: int, seed: int) -> Any:
    """Conv1D of Keras with causal padding: a pad of (time, channels), a convolution over one row."""
    padded = relay.nn.pad(data, ((0, 0), (2 * dilation, 0), (0, 0)), -5.0)
    row = relay.reshape(padded, (1, 1, LENGTH + 2 * dilation, CHANNELS))
    weights = random(1, 3, CHANNELS, CHANNELS, seed=seed)
    result = convolution(row, weights, seed=seed, dilation=(1, dilation))
    return relay.reshape(result, (1, LENGTH, CHANNELS))


def network() -> Graph:
    x = causal(source(1, LENGTH, CHANNELS), 1, 1)
    return read_function(typed(add(x, causal(x, 2, 2)))).graph


def test_all_see_columns() -> None:
    rows, columns = network(), as_columns(network())
    with pytest.raises(Unschedulable, match="under another shape"):
        make_segment(rows, rows.operators, ("rows",))
    assert all(view[1] == 1 for op in columns.operators for view in op.views)
    windows = [op.window for op in columns.operators if isinstance(op, Convolution)]
    assert [(w.kernel, w.dilation) for w in windows] == [((3, 1), (1, 1)), ((3, 1), (2, 1))]
    (segment,) = [make_segment(columns, columns.operators, ("rows",))]
    assert segment.extent[0] < LENGTH + 4 + 2 * 3


def test_the_bytes_are_the_same() -> None:
    x = random(LENGTH, CHANNELS, seed=3)
    graph = network()
    before, after = run_graph(graph, {"x": x}), run_graph(as_columns(graph), {"x": x})
    assert all(before[name].tobytes() == after[name].tobytes() for name in graph.tensors)


def test_nothing_is_turned_without_a_column() -> None:
    row = convolution(source(1, 1, LENGTH, CHANNELS), random(1, 3, CHANNELS, CHANNELS))
    graph = read_function(typed(convolution(row, random(1, 3, CHANNELS, CHANNELS, seed=2)))).graph
    assert as_columns(graph) is graph


def test_what_has_rows_and_columns_is_left() -> None:
    """A window of all rows gives a row; what reads that is turned, the window is not."""
    flat = convolution(source(1, 3, LENGTH, CHANNELS), random(3, 1, CHANNELS, CHANNELS))
    after = causal(relay.reshape(flat, (1, LENGTH, CHANNELS)), 1, 1)
    first, *others = as_columns(read_function(typed(after)).graph).operators
    assert first.views == ((3, LENGTH, CHANNELS),)
    assert all(view[1] == 1 for op in others for view in op.views)
