"""Makes the rows of one input come one after the other: what takes them, or why they cannot. Relay in, Reading out.

Before::

    fn (%x) { ...every operator that reads %x... }

After::

    fn (%x) { %0 = copy(%x); ...the same operators, which read %0... }

Rules:

1. The input is the largest that has more than one row, in its own shape or as what reads it sees it.
2. ``copy`` is the *arrival*: it reads each pixel of a row when the row is there, and what it makes is a tensor like any
   other, held in a ring, or whole where something needs all of it.
3. An input that nothing but a quantise or a requantise reads needs no copy: that operator takes the rows, so that a
   float32 input is held in 8 bits.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.reader import Reading, read_function
from tvm_pex.frontend.values import Unsupported, graph_shape, is_view, op_name, static_shape
from tvm_pex.graph import Add, Graph, Lookup, Operator, Quantize
from tvm_pex.rounding import Rounding

_BY_ITSELF = ("qnn.quantize", "qnn.requantize")


class NotStreamable(ValueError):
    """No input can come by rows; the message is one line that says why."""


def stream_input(mod: Any, rounding: Rounding = "tvm") -> tuple[Any, Reading]:
    """``mod``, type-checked, whose ``main`` has an arrival, and what Pex can own of it: ``Graph.streamed`` is set.

    Raises NotStreamable.
    """
    main = mod["main"]
    parameter = _chosen(main)
    name = str(parameter.name_hint)
    source, readers = _read_as(main, parameter)
    if len(readers) == 1 and op_name(readers[0]) in _BY_ITSELF:
        reading = read_function(main, rounding)
        arrival = _arrival(reading, parameter)
        if isinstance(arrival, Quantize | Lookup | Add):
            return mod, _with_arrival(reading, parameter, arrival)
    mod = _with_copy(mod, source)
    reading = read_function(mod["main"], rounding)
    arrival = _arrival(reading, parameter)
    if arrival is None:
        reason = next((r.reason for r in reading.refused if r.operator.startswith("copy#")), "nothing reads it")
        raise NotStreamable(f"input {name} cannot come by rows: {reason}")
    return mod, _with_arrival(reading, parameter, arrival)


def _chosen(main: Any) -> Any:
    """The largest input that has rows."""
    rows = {parameter: _rows(_read_as(main, parameter)[0]) for parameter in main.params}
    several = [parameter for parameter in main.params if rows[parameter] > 1]
    if not several:
        told = ", ".join(f"{parameter.name_hint} has one row" for parameter in main.params)
        raise NotStreamable(f"no input can come by rows: {told}")
    return max(several, key=_bytes)


def _bytes(expr: Any) -> int:
    return math.prod(static_shape(expr)) * int(np.dtype(str(expr.checked_type.dtype)).itemsize)


def _rows(expr: Any) -> int:
    try:
        return graph_shape(expr)[0]
    except Unsupported:
        return 1


def _read_as(main: Any, parameter: Any) -> tuple[Any, list[Any]]:
    """The parameter, or the last view of it that alone is read and has rows, and the calls that read that."""
    readers: dict[Any, list[Any]] = {}

    def visit(expr: Any) -> None:
        for operand in _operands(expr):
            readers.setdefault(operand, []).append(expr)

    relay.analysis.post_order_visit(main, visit)
    expr = found = parameter
    while len(readers.get(expr, ())) == 1 and is_view(readers[expr][0]):
        (expr,) = readers[expr]
        found = expr if _rows(expr) > 1 else found
    return found, readers.get(found, [])


def _operands(expr: Any) -> list[Any]:
    if isinstance(expr, relay.Call):
        return list(expr.args)
    if isinstance(expr, relay.Function):
        return [expr.body]
    return list(expr.fields) if isinstance(expr, relay.Tuple) else []


class _Copier(relay.ExprMutator):  # type: ignore[misc]
    """Puts a copy of ``source`` where ``source`` was read."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.source = source

    def visit(self, expr: Any) -> Any:
        if expr == self.source and expr not in self.memo_map:
            self.memo_map[expr] = relay.copy(expr)
        return super().visit(expr)


def _with_copy(mod: Any, source: Any) -> Any:
    main = mod["main"]
    copier = _Copier(source)
    relay.analysis.post_order_visit(main.body, copier.visit)  # operands first: else the recursion is a network deep
    main = relay.Function(main.params, copier.visit(main.body), main.ret_type, main.type_params, main.attrs)
    mod = tvm.IRModule({**dict(mod.functions.items()), mod.get_global_var("main"): main}, mod.type_definitions)
    return relay.transform.InferType()(mod)


def _arrival(reading: Reading, parameter: Any) -> Operator | None:
    """The operator that reads the input."""
    name = _tensor(reading, parameter)
    return next((op for op in reading.graph.operators if name in op.inputs), None)


def _tensor(reading: Reading, parameter: Any) -> str | None:
    return next((name for name, expr in reading.expressions.items() if expr == parameter), None)


def _with_arrival(reading: Reading, parameter: Any, arrival: Operator) -> Reading:
    others = tuple(op for op in reading.graph.operators if op != arrival)
    streamed = _tensor(reading, parameter)
    assert streamed is not None
    graph: Graph = dataclasses.replace(reading.graph, operators=(arrival, *others), streamed=(streamed,))
    return dataclasses.replace(reading, graph=graph)
