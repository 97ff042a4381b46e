"""Graphs as JSON, without their constants' values."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

import numpy as np

from tvm_pex.graph.network import Graph
from tvm_pex.graph.operators import Operator, Rescale
from tvm_pex.graph.window import Tensor, Window

_KINDS: dict[str, type[Operator]] = {kind.__name__: kind for kind in get_args(Operator)}


def graph_to_json(graph: Graph) -> str:
    """Everything but the constants' values, in one line, so that it can ride on a Relay attribute."""
    record = {
        "tensors": [dataclasses.astuple(t) for t in graph.tensors.values()],
        "operators": [[type(op).__name__, dataclasses.asdict(op)] for op in graph.operators],
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "constants": list(graph.constants),
        "streamed": graph.streamed,
        "handed_out": graph.handed_out,
        "kernels": dict(graph.kernels),
        "core": graph.core,
        "rounding": graph.rounding,
    }
    return json.dumps(record, separators=(",", ":"))


def graph_from_json(text: str) -> Graph:
    """Reads what ``graph_to_json`` wrote; constants come back as empty arrays, by name and in order."""
    record = json.loads(text)
    tensors = [Tensor(name, (h, w, c), dtype) for name, (h, w, c), dtype in record["tensors"]]
    return Graph(
        tensors={t.name: t for t in tensors},
        operators=tuple(_operator(kind, fields) for kind, fields in record["operators"]),
        inputs=tuple(record["inputs"]),
        outputs=tuple(record["outputs"]),
        constants={name: np.empty(0, np.int8) for name in record["constants"]},
        streamed=tuple(record["streamed"]),
        handed_out=tuple(record["handed_out"]),
        kernels=record["kernels"],
        core=record["core"],
        rounding=record["rounding"],
    )


def _operator(kind: str, fields: dict[str, Any]) -> Operator:
    values = {key: _frozen(value) for key, value in fields.items()}
    if "window" in values:
        values["window"] = Window(**values["window"])
    for key in ("rescale", "total"):
        if values.get(key):
            values[key] = Rescale(**values[key])
    if "rescales" in values:
        values["rescales"] = tuple(r and Rescale(**r) for r in values["rescales"])
    return _KINDS[kind](**values)


def _frozen(value: Any) -> Any:
    """JSON has lists only; dataclasses here hold tuples."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value
