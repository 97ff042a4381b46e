"""Successive windows of one stream of rows: which tensors move on with them, and where the rest begins. Relay only.

A window of rows begins ``hop`` rows after the one before. A tensor *moves on* if its rows for the next window are those
for this one, some rows further, with new ones at the end. Rules:

1. The input moves on by ``hop`` rows.
2. So does what a convolution, a pool, an addition, a concatenation or a change of type makes of tensors that move on,
   as long as no window of it reaches beyond the tensor above or below, it has more rows than one, and its stride goes
   into the hop. Padding would have to hold other rows for each window; slices and pads name rows by number.
3. The *cut* is the last such tensor that alone leads to the result. What comes before it is run once for each row, what
   comes after it once for each window.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.reader import Reading, read_function
from tvm_pex.frontend.tflite_model import Model, Port
from tvm_pex.frontend.transposes import drop_transposes
from tvm_pex.graph import Add, Binary, Concat, Convolution, Dequantize, Graph, Lookup, Operator, Pool, Quantize
from tvm_pex.rounding import Rounding

_SLIDING = Convolution | Pool | Add | Binary | Concat | Lookup | Quantize | Dequantize
WINDOW = "pex_window"


class NothingMovesOn(ValueError):
    """Windows of the network share nothing; the message is one line that says why."""


@dataclass(frozen=True)
class Split:
    """A network in two: ``before`` the cut, for any number of rows, and ``after`` it, for one window.

    ``rows`` of the input are a window; of the cut ``cut_rows`` are, a new one for each ``stride`` rows of the input.
    ``moving`` are the operators before the cut, ``fixed`` those after it; ``reason`` says why the first of these is.
    """

    model: Model
    hop: int
    rows: int
    cut_rows: int
    stride: int
    moving: tuple[str, ...]
    fixed: tuple[str, ...]
    reason: str
    after: Model
    _cut: Any

    def before(self, rows: int) -> Model:
        """The part before the cut, with so many rows of input."""
        main, port = self.model.mod["main"], self.model.inputs[0]
        shape = (port.shape[0], rows, *port.shape[2:])
        parameter = relay.var(port.name, shape=shape, dtype=port.dtype)
        body = _Replacer({main.params[0]: parameter}).of(self._cut)
        mod = relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function([parameter], body)))
        kind = mod["main"].ret_type
        made = Port(WINDOW, tuple(int(size) for size in kind.shape), str(kind.dtype))
        return Model(self.model.name, mod, (dataclasses.replace(port, shape=shape),), (made,))


def split_windows(model: Model, hop: int, rounding: Rounding = "tvm") -> Split:
    """Raises NothingMovesOn."""
    mod = drop_transposes(relay.transform.InferType()(model.mod))
    model = dataclasses.replace(model, mod=mod)
    if len(model.inputs) != 1:
        raise NothingMovesOn(f"it has {len(model.inputs)} inputs")
    reading = read_function(mod["main"], rounding)
    graph = reading.graph
    if not graph.inputs or graph.tensors[graph.inputs[0]].shape != model.inputs[0].shape[1:]:
        raise NothingMovesOn("its input has no rows that an operator of ours reads")
    rows = graph.tensors[graph.inputs[0]].shape[0]
    if not 0 < hop <= rows:
        raise NothingMovesOn(f"a window has {rows} rows: a hop has 1 to {rows}")
    strides, reasons = _moving(graph, hop)
    position = _cut(graph, strides, reading)
    if position is None:
        first = graph.operators[0].name
        raise NothingMovesOn(f"nothing before {first} is left to keep: {reasons.get(first, 'it is read again later')}")
    moving = _needed_for(graph, position)
    cut = graph.operators[position].output
    fixed = tuple(op.name for op in graph.operators if op.name not in moving)
    reason = next((reasons[name] for name in fixed if name in reasons), "TVM runs it, or the caller reads it")
    expr = reading.expressions[cut]
    return Split(
        model, hop, rows, graph.tensors[cut].shape[0], strides[cut], moving, fixed, reason, _after(model, expr), expr
    )


def _moving(graph: Graph, hop: int) -> tuple[dict[str, int], dict[str, str]]:
    """The stride of each tensor that moves on, in rows of the input, and why other operators' tensors do not."""
    strides, reasons = {graph.inputs[0]: 1}, dict[str, str]()
    for op in graph.operators:
        reason = _why_not(graph, op, strides, hop)
        if reason:
            reasons[op.name] = reason
        else:
            strides[op.output] = strides[op.inputs[0]] * op.window.stride[0]
    return strides, reasons


def _why_not(graph: Graph, op: Operator, strides: dict[str, int], hop: int) -> str | None:
    if any(name not in strides for name in op.inputs):
        return "what it reads is computed anew for each window"
    if not isinstance(op, _SLIDING):
        return "it names rows by number"
    if any(view != graph.tensors[name].shape for name, view in zip(op.inputs, op.views, strict=True)):
        return "it reads its input under another shape"
    rows, made = op.views[0][0], graph.tensors[op.output].shape[0]
    if made == 1:
        return "it needs all rows at once"
    if op.window.pad[0] > 0 or (made - 1) * op.window.stride[0] - op.window.pad[0] + op.window.reach(0) > rows - 1:
        return "it pads rows"
    if len({strides[name] for name in op.inputs}) > 1:
        return "its inputs differ in stride"
    stride = strides[op.inputs[0]] * op.window.stride[0]
    return f"its rows are {stride} apart, and the hop is {hop}" if hop % stride else None


def _needed_for(graph: Graph, position: int) -> tuple[str, ...]:
    """The operators that make the output of the one at ``position``."""
    wanted, names = {graph.operators[position].output}, list[str]()
    for op in reversed(graph.operators[: position + 1]):
        if op.output in wanted:
            names.append(op.name)
            wanted.update(op.inputs)
    return tuple(reversed(names))


def _cut(graph: Graph, strides: dict[str, int], reading: Reading) -> int | None:
    """Position of the last operator whose output moves on and is all that the rest reads of what comes before it."""
    read_outside = {name for name, _ in reading.uses}
    for position in reversed(range(len(graph.operators))):
        op = graph.operators[position]
        if op.output not in strides:
            continue
        before = set(_needed_for(graph, position))
        hidden = {graph.inputs[0], *(o.output for o in graph.operators if o.name in before)} - {op.output}
        rest = [o for o in graph.operators if o.name not in before]
        if not hidden & ({name for o in rest for name in o.inputs} | read_outside):
            return position
    return None


class _Replacer(relay.ExprMutator):  # type: ignore[misc]
    """Puts other expressions in the place of some."""

    def __init__(self, others: dict[Any, Any]) -> None:
        super().__init__()
        self.memo_map.update(others)

    def of(self, expr: Any) -> Any:
        relay.analysis.post_order_visit(expr, self.visit)  # operands first: else the recursion is a network deep
        return self.visit(expr)


def _after(model: Model, cut: Any) -> Model:
    """The part after the cut: its input is a window of the cut's rows."""
    main = model.mod["main"]
    kind = cut.checked_type
    window = relay.var(WINDOW, kind)
    body = _Replacer({cut: window}).of(main.body)
    mod = relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function([window], body)))
    port = Port(WINDOW, tuple(int(size) for size in kind.shape), str(kind.dtype))
    return Model(model.name, mod, (port,), model.outputs)
