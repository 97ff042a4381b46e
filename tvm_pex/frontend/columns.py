"""Tensors of one row beside others of one column: networks over time have both, and then nothing goes together. Pure.

TVM's TFLite importer gives a one-dimensional convolution as one over a single row, (1, time, channels), and whatever
stands between, a pad or an addition, as an operator on (time, channels), which are rows. The bytes are the same. Rules:

1. A tensor that one operator reads or writes as a column is a column for all.
2. An operator that sees it as a row is turned: rows become columns, also of its window and its weights, and so do all
   other tensors that it sees. It can be if it sees nothing that has both rows and columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from tvm_pex.graph import Convolution, Graph, Operator, Pair, Shape, Window


def as_columns(graph: Graph) -> Graph:
    """``graph`` with operators turned, or as it is."""
    turned = _to_turn(graph)
    if not turned:
        return graph
    tensors, constants = dict(graph.tensors), dict(graph.constants)
    for op in graph.operators:
        if op.name in turned:
            tensors[op.output] = dataclasses.replace(tensors[op.output], shape=_swapped(tensors[op.output].shape))
            if isinstance(op, Convolution):
                constants[op.weights] = constants[op.weights].swapaxes(0, 1)
    operators = tuple(_turned(op) if op.name in turned else op for op in graph.operators)
    return dataclasses.replace(graph, tensors=tensors, operators=operators, constants=constants)


def _to_turn(graph: Graph) -> set[str]:
    """Names of the operators to turn: from each column on, up and down the graph, until nothing changes."""
    columns = {name for op in graph.operators for name, shape in _seen(graph, op) if _is_column(shape)}
    turned, before = set[str](), -1
    while len(turned) > before:
        before = len(turned)
        for op in (*graph.operators, *reversed(graph.operators)):
            seen = list(_seen(graph, op))
            line = all(1 in shape[:2] for _, shape in seen)
            if op.name not in turned and line and any(name in columns and _is_row(shape) for name, shape in seen):
                turned.add(op.name)
                columns.update(name for name, shape in seen if _is_row(shape))
    return turned


def _seen(graph: Graph, op: Operator) -> Iterator[tuple[str, Shape]]:
    yield from zip(op.inputs, op.views, strict=True)
    yield op.output, graph.tensors[op.output].shape


def _is_column(shape: Shape) -> bool:
    return shape[0] > 1 == shape[1]


def _is_row(shape: Shape) -> bool:
    return shape[1] > 1 == shape[0]


def _swapped(shape: Shape) -> Shape:
    return shape[1], shape[0], shape[2]


def _turned(op: Operator) -> Operator:
    changes: dict[str, Any] = {"views": tuple(_swapped(view) for view in op.views)}
    if "window" in {field.name for field in dataclasses.fields(op)}:
        w = op.window
        changes["window"] = Window(
            _back(w.kernel), _back(w.stride), _back(w.dilation), _back(w.pad), _back(w.up), w.mirror
        )
    turned: Operator = dataclasses.replace(op, **changes)
    return turned


def _back(pair: Pair) -> Pair:
    return pair[1], pair[0]
