"""Networks: operators in an order, with the tensors and constants that they read and write."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from tvm_pex.graph.operators import Convolution, Operator
from tvm_pex.graph.window import Tensor
from tvm_pex.rounding import Rounding


@dataclass(frozen=True)
class Graph:
    """Operators in topological order, the tensors they read and write, and the constants by name.

    ``streamed`` are inputs that are never whole in memory: the caller hands in row after row while the program runs.
    The first operator, and no other, reads such an input, each pixel once: it has the Window of one pixel.
    ``handed_out`` are outputs that are never whole either: the caller takes each row when it is made.
    ``kernels`` names, by operator, kernels in C (``tvm_pex.scheduling.kernels``), packed for ``core``; the others run
    as portable TIR. ``rounding``: whose integers the operators give.
    """

    tensors: Mapping[str, Tensor]
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    streamed: tuple[str, ...] = ()
    handed_out: tuple[str, ...] = ()

    kernels: Mapping[str, str] = field(default_factory=dict)
    core: str = ""
    rounding: Rounding = "tvm"

    @property
    def outside(self) -> frozenset[str]:
        """Tensors of which the caller holds the present row, and the program nothing."""
        return frozenset((*self.streamed, *self.handed_out))

    @property
    def arrival(self) -> Operator | None:
        """The operator that takes the rows of the streamed input as they come; None where no input is streamed."""
        return self.operators[0] if self.streamed else None

    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return self.macs_of(self.operators)

    def macs_of(self, operators: Sequence[Operator]) -> int:
        """Multiply-accumulates of some of the operators."""
        return sum(op.macs(self.tensors[op.output].shape) for op in operators if isinstance(op, Convolution))

    def consumers(self) -> dict[str, list[Operator]]:
        """For each tensor, the operators that read it, in order."""
        out: dict[str, list[Operator]] = {name: [] for name in self.tensors}
        for op in self.operators:
            for name in dict.fromkeys(op.inputs):
                out[name].append(op)
        return out

    @functools.cached_property
    def readers(self) -> Mapping[str, frozenset[str]]:
        """For each tensor, the names of the operators that read it."""
        return {name: frozenset(op.name for op in readers) for name, readers in self.consumers().items()}


def subgraph(graph: Graph, operators: Sequence[Operator]) -> Graph:
    """The part of ``graph`` that consists of ``operators``, with its borders as inputs and outputs."""
    made = {op.output for op in operators}
    inside = {op.name for op in operators}
    read_elsewhere = {n for op in graph.operators if op.name not in inside for n in op.inputs} | set(graph.outputs)
    inputs = dict.fromkeys(name for op in operators for name in op.inputs if name not in made)
    outputs = [op.output for op in operators if op.output in read_elsewhere]
    constants = [name for op in operators for name in op.constants]
    return Graph(
        tensors={name: graph.tensors[name] for name in (*inputs, *(op.output for op in operators))},
        operators=tuple(operators),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        constants={name: graph.constants[name] for name in constants},
        streamed=tuple(name for name in inputs if name in graph.streamed),
        handed_out=tuple(name for name in outputs if name in graph.handed_out),
        kernels={name: kernel for name, kernel in graph.kernels.items() if name in inside},
        core=graph.core,
        rounding=graph.rounding,
    )
