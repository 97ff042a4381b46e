"""Reads connected element-wise calls on float32 as one Apply.

1. A call belongs to the chain if it has the result's shape and all its readers belong there: nothing is computed twice.
2. Its operands are calls of the chain, other tensors, which become inputs, or constants, of one value or of one for
   each channel.
3. Every call is one of ``STEPS``; others, and views, give inputs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from tvm import relay

from tvm_pex.frontend.arithmetic import views_in
from tvm_pex.frontend.claim import NAMELESS, Claim, Readers
from tvm_pex.frontend.values import Array, graph_shape, is_float, op_name, require, static_shape
from tvm_pex.graph import Apply, Step

STEPS = {
    "add": "add", "subtract": "subtract", "multiply": "multiply", "divide": "divide", "power": "power",
    "maximum": "maximum", "minimum": "minimum", "clip": "clip", "nn.relu": "maximum", "nn.leaky_relu": "leaky",
    "nn.prelu": "leaky", "sigmoid": "sigmoid", "tanh": "tanh", "exp": "exp", "log": "log", "sqrt": "sqrt",
    "rsqrt": "rsqrt", "erf": "erf", "sin": "sin", "cos": "cos", "negative": "negative",
}  # fmt: skip
"""The function of an Apply's step for each Relay operator that gives one."""


def read_apply(call: relay.Call, readers: Readers) -> Claim:
    """The chain that ends with ``call``. Raises Unsupported."""
    chain = _Chain(call, _calls(call, readers))
    inputs = tuple(chain.numbers)
    for expr in inputs:
        require(is_float(expr), "it does not read float32")
    require(bool(inputs), "it reads constants alone")
    operator = Apply(NAMELESS, (), views_in(call, inputs), NAMELESS, chain.steps(), NAMELESS)
    constants = {"vectors": np.stack(chain.vectors)} if chain.vectors else {}
    return Claim("apply", operator, inputs, graph_shape(call), "float32", constants)


def _calls(end: relay.Call, readers: Readers) -> list[relay.Call]:
    """Those of the chain, operands last."""
    shape, reads = static_shape(end), Counter[relay.Expr]()
    calls = [end]
    for call in calls:
        for operand in call.args:
            reads[operand] += 1
            alike = op_name(operand) in STEPS and is_float(operand) and static_shape(operand) == shape
            if alike and reads[operand] == readers[operand]:
                calls.append(operand)
    return calls


@dataclass
class _Chain:
    """Numbers of the values: inputs first, then steps; vectors of constants count from -1 down."""

    end: relay.Call
    calls: list[relay.Call]
    numbers: dict[relay.Expr, int] = field(init=False)
    vectors: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        operands = dict.fromkeys(operand for call in reversed(self.calls) for operand in call.args)
        inside = set(self.calls)
        inputs = [expr for expr in operands if expr not in inside and not isinstance(expr, relay.Constant)]
        self.numbers = {expr: number for number, expr in enumerate(inputs)}

    def steps(self) -> tuple[Step, ...]:
        """One for each call, operands first."""
        numbers, made = dict(self.numbers), list[Step]()
        for call in reversed(self.calls):
            arguments = [
                self._constant(operand) if isinstance(operand, relay.Constant) else numbers[operand]
                for operand in call.args
            ]
            made.append((STEPS[op_name(call)], *arguments, *_attributes(call)))
            numbers[call] = len(numbers)
        return tuple(made)

    def _constant(self, expr: relay.Constant) -> float | int:
        value, channels = np.asarray(expr.data.numpy()), static_shape(self.end)[-1]
        require(value.dtype == np.float32, f"it computes with {value.dtype}")
        if value.size == 1:
            return float(value.reshape(()))
        by_channel = value.size == channels == graph_shape(self.end)[2] == value.shape[-1]
        require(by_channel, "one of its operands is a constant that differs between pixels")
        self.vectors.append(value.reshape(-1))
        return -len(self.vectors)


def _attributes(call: relay.Call) -> tuple[float, ...]:
    name = op_name(call)
    if name == "clip":
        return float(call.attrs.a_min), float(call.attrs.a_max)
    if name == "nn.prelu":
        last = len(static_shape(call)) - 1
        require(int(call.attrs.axis) in (-1, last), "its slopes are not per channel")
    if name == "nn.leaky_relu":
        return (float(call.attrs.alpha),)
    return (0.0,) if name == "nn.relu" else ()
