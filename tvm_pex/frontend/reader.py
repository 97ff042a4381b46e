"""Reads a Relay function: which of its operators Pex can own, and why the others stay with TVM. Relay in, Graph out."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tvm import relay

from tvm_pex.frontend.claim import Claim, Readers
from tvm_pex.frontend.convolution import SUMS
from tvm_pex.frontend.patterns import read_call
from tvm_pex.frontend.pool import REDUCTIONS
from tvm_pex.frontend.values import (
    MOST_PIXELS,
    Unsupported,
    graph_shape,
    is_view,
    op_name,
    require,
    static_shape,
    strip_views,
)
from tvm_pex.graph import Dequantize, Graph, Operator, Shape, Tensor
from tvm_pex.rounding import Rounding


@dataclass(frozen=True)
class Refusal:
    """A Relay call that stays with TVM ("nn.softmax#3"), and the reason as a user understands it."""

    operator: str
    reason: str


@dataclass(frozen=True)
class Coverage:
    """Of ``all`` calls ``owned``."""

    owned: int
    all: int


@dataclass(frozen=True)
class Reading:
    """What ``read_function`` found.

    ``graph``: the operators that Pex can own. Its inputs come from outside (network inputs, results of stock calls);
    its outputs are read outside (by the function's result or by stock calls).
    ``expressions``: for each tensor, the expression of the function whose value it is.
    ``uses``: (tensor, expression) for each expression through which an owned tensor is read outside: the tensor's own,
    or a reshape of it.
    ``calls``: Relay calls of the function, reshapes left out, and how many of them the graph's operators stand for.
    ``undefined_shift_channels``: channels whose requantise shifts too far for stock TVM's C to be defined; here they
    are what the mathematics says, zero.
    """

    graph: Graph
    expressions: dict[str, relay.Expr]
    uses: tuple[tuple[str, relay.Expr], ...]
    refused: tuple[Refusal, ...]
    calls: Coverage
    undefined_shift_channels: int


@dataclass
class _Split:
    """Who runs what: claimed by Pex (in topological order), left to TVM for a reason, read by what is left to TVM.

    ``outside`` includes the function's results, ``fed`` only what calls read that are left to TVM, less its views.
    """

    claims: dict[relay.Expr, Claim] = field(default_factory=dict)
    reasons: dict[relay.Expr, str] = field(default_factory=dict)
    outside: dict[relay.Expr, None] = field(default_factory=dict)
    fed: set[relay.Expr] = field(default_factory=set)


def read_function(func: relay.Function, rounding: Rounding = "tvm") -> Reading:
    """Reads a type-checked function whose parameters are bound as constants; what it cannot own is refused.

    ``rounding``: whose integers the graph gives. It is read as the import of a TFLite file, for "tflite".
    Raises ValueError if the function is not type-checked.
    """
    nodes, sealed = _topological(func.body)
    try:
        func.body.checked_type  # noqa: B018
    except ValueError as error:
        raise ValueError("run relay.transform.InferType first: the function has no types") from error
    split = _split(nodes, sealed, func.body, rounding)
    stock = _stock_names(nodes, split)
    names = _tensor_names(func, split, stock)
    uses = tuple((names[strip_views(e)], e) for e in nodes if e in split.outside and strip_views(e) in split.claims)
    view = "it reshapes what stays with TVM"
    return Reading(
        graph=_graph(split.claims, names, {name for name, _ in uses}, rounding),
        expressions={name: expr for expr, name in names.items()},
        uses=uses,
        refused=tuple(Refusal(name, split.reasons.get(expr, view)) for expr, name in stock.items()),
        calls=_coverage(nodes, split),
        undefined_shift_channels=sum(claim.undefined_shifts for claim in split.claims.values()),
    )


def _coverage(nodes: list[relay.Expr], split: _Split) -> Coverage:
    calls = [expr for expr in nodes if isinstance(expr, relay.Call) and not is_view(expr)]
    return Coverage(sum(expr not in split.reasons for expr in calls), len(calls))


def _topological(body: relay.Expr) -> tuple[list[relay.Expr], set[relay.Expr]]:
    """Every expression under ``body``, operands first, and those inside functions or control flow, which are sealed."""
    order: dict[relay.Expr, None] = {}
    sealed: set[relay.Expr] = set()
    stack = [(body, False)]
    while stack:
        expr, operands_done = stack.pop()
        if expr in order:
            continue
        operands = _operands(expr)
        if operands_done or not operands:
            order[expr] = None
            if _is_sealed(expr):
                relay.analysis.post_order_visit(expr, sealed.add)
        else:
            stack.append((expr, True))
            stack.extend((operand, False) for operand in reversed(operands))
    return list(order), sealed


def _operands(expr: relay.Expr) -> list[relay.Expr]:
    """What ``expr`` reads, as far as Pex follows it."""
    if isinstance(expr, relay.Call):
        return list(expr.args) + ([] if op_name(expr) else [expr.op])
    if isinstance(expr, relay.Tuple):
        return list(expr.fields)
    return [expr.tuple_value] if isinstance(expr, relay.TupleGetItem) else []


def _is_sealed(expr: relay.Expr) -> bool:
    """True for functions, let bindings, conditions, references: Pex neither enters them nor owns what they read."""
    followed = (relay.Call, relay.Tuple, relay.TupleGetItem, relay.Var, relay.Constant, relay.GlobalVar)
    return not isinstance(expr, followed) and not hasattr(expr, "op_type")


def _split(nodes: list[relay.Expr], sealed: set[relay.Expr], body: relay.Expr, rounding: Rounding) -> _Split:
    """Walks from the results to the inputs, so that what a claimed operator absorbs is never asked for itself."""
    counts = Counter(operand for expr in nodes for operand in _operands(expr))
    counts[body] += 1
    readers = Readers(counts, rounding)
    found, inherited = _Split(outside={body: None}), dict[relay.Expr, str]()
    wanted = {body}
    for expr in reversed(nodes):
        if expr not in wanted:
            continue
        if is_view(expr) and expr not in sealed:
            wanted.add(strip_views(expr))
            continue
        try:
            require(expr not in sealed, "it is inside control flow or a function")
            claim = _claim(expr, readers)
            fused = isinstance(claim.operator, Dequantize) and expr in found.fed
            require(not fused, "TVM computes it together with what reads it")
        except Unsupported as refusal:
            _leave(expr, inherited.get(expr, str(refusal)), found, inherited)
            wanted.update(_operands(expr))
        else:
            found.claims[expr] = claim
            wanted.update(strip_views(data) for data in claim.inputs)
    found.claims = dict(reversed(found.claims.items()))
    return found


def _claim(expr: relay.Expr, readers: Readers) -> Claim:
    require(isinstance(expr, relay.Call | relay.TupleGetItem), "it is not a call")
    claim = read_call(expr, readers)
    exact = readers.rounding == "tvm" or claim.dtype != "int16"
    require(exact, "TFLite rounds int16 otherwise: --rounding tflite is for 8 bits")
    fixed = any(isinstance(strip_views(data), relay.Constant) for data in claim.inputs)
    require(not fixed, "its input is a constant")
    reads = max(kernel * extent for kernel, extent in zip(claim.operator.window.kernel, claim.shape))
    require(reads <= MOST_PIXELS, f"its windows read {reads} rows or columns, and schedules are made for {MOST_PIXELS}")
    return claim


_PARTS = (*SUMS, *REDUCTIONS, "cast")
"""What only an operator above it could have taken along: its reason is that one's."""


def _leave(expr: relay.Expr, reason: str, found: _Split, inherited: dict[relay.Expr, str]) -> None:
    """``expr`` stays with TVM, and so do, for the same reason, the parts of the operator that it would have ended."""
    found.outside.update(dict.fromkeys(_operands(expr)))
    if isinstance(expr, relay.Call) or expr in found.fed:
        found.fed.update(strip_views(operand) for operand in _operands(expr))
    if isinstance(expr, relay.Call):
        found.reasons[expr] = reason
        if op_name(expr) in (*_PARTS, "qnn.requantize"):
            inherited.update((data, reason) for data in expr.args[:1] if op_name(data) in _PARTS)
    elif _is_sealed(expr) and not isinstance(expr, relay.Function):
        found.reasons[expr] = "it is control flow"


def _stock_names(nodes: list[relay.Expr], split: _Split) -> dict[relay.Expr, str]:
    """A name for every expression that TVM computes, in topological order."""
    views: set[relay.Expr] = set()
    for expr in split.outside:
        while is_view(expr) and strip_views(expr) not in split.claims:
            views.add(expr)
            expr = expr.args[0]
    stock = [expr for expr in nodes if expr in split.reasons or expr in views]
    return {expr: f"{op_name(expr) or type(expr).__name__}#{index}" for index, expr in enumerate(stock)}


def _tensor_names(func: relay.Function, split: _Split, stock: dict[relay.Expr, str]) -> dict[relay.Expr, str]:
    """A name for every tensor: sources in the order of the function's parameters and of their use, then operators."""
    sources = dict.fromkeys(strip_views(data) for claim in split.claims.values() for data in claim.inputs)
    outer = dict.fromkeys([p for p in func.params if p in sources] + [s for s in sources if s not in split.claims])
    operators = {expr: f"{claim.kind}{index}" for index, (expr, claim) in enumerate(split.claims.items())}
    names: dict[relay.Expr, str] = {}
    for expr in outer:
        name = _source_name(expr, stock)
        while name in operators.values() or name in names.values():
            name += "_"
        names[expr] = name
    return names | operators


def _source_name(expr: relay.Expr, stock: dict[relay.Expr, str]) -> str:
    if isinstance(expr, relay.TupleGetItem):
        return f"{_source_name(expr.tuple_value, stock)}.{expr.index}"
    return str(expr.name_hint) if isinstance(expr, relay.Var) else stock.get(expr, "tuple")


def _graph(claims: dict[relay.Expr, Claim], names: dict[relay.Expr, str], read: set[str], rounding: Rounding) -> Graph:
    sources = [expr for expr in names if expr not in claims]
    tensors = [Tensor(names[e], _source_shape(e), str(e.checked_type.dtype)) for e in sources]
    tensors += [Tensor(names[expr], claim.shape, claim.dtype) for expr, claim in claims.items()]
    constants = {f"{names[e]}.{key}": value for e, claim in claims.items() for key, value in claim.constants.items()}
    return Graph(
        tensors={tensor.name: tensor for tensor in tensors},
        operators=tuple(_named(claim, names[expr], names) for expr, claim in claims.items()),
        inputs=tuple(names[expr] for expr in sources),
        outputs=tuple(names[expr] for expr in claims if names[expr] in read),
        constants=constants,
        rounding=rounding,
    )


def _source_shape(expr: relay.Expr) -> Shape:
    """A source is only bytes to its readers, who know their views; its own shape is used where it has three axes."""
    try:
        return graph_shape(expr)
    except Unsupported:
        return 1, 1, math.prod(static_shape(expr))


def _named(claim: Claim, name: str, names: dict[relay.Expr, str]) -> Operator:
    inputs = tuple(names[strip_views(data)] for data in claim.inputs)
    fields: dict[str, Any] = {key: f"{name}.{key}" for key in claim.constants}
    return dataclasses.replace(claim.operator, name=name, inputs=inputs, output=name, **fields)
