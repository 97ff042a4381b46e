"""Orders in which the operators of a graph may run: a chain has one, branches have many. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm_pex.graph import Graph, Operator

Order = tuple[Operator, ...]


def operator_orders(graph: Graph) -> list[Order]:
    """A few topological orders that differ, the graph's own first: segments are runs of neighbours in one of them.

    1. as the graph has them;
    2. always the operator that leaves the fewest bytes alive;
    3. always one that reads what was made last, so that a branch is finished before the next begins;
    4. always one that reads what was made longest ago, so that branches go side by side.

    What takes the rows of a streamed input comes first in each.
    """
    orders = [
        graph.operators,
        _order(graph, _Alive(graph)),
        _order(graph, lambda done, op: -_newest(done, op)),
        _order(graph, lambda done, op: _newest(done, op)),
    ]
    return list(dict.fromkeys(orders))


def _order(graph: Graph, rank: Callable[[Sequence[Operator], Operator], int]) -> Order:
    """Of the operators that may run next, the one of least rank; of equals, the first in the graph."""
    first = 1 if graph.arrival else 0
    done, rest = list(graph.operators[:first]), list(graph.operators[first:])
    made = {*graph.inputs, *(op.output for op in done)}
    while rest:
        ready = [op for op in rest if made.issuperset(op.inputs)]
        best = min(ready, key=lambda op: rank(done, op))
        rest.remove(best)
        done.append(best)
        made.add(best.output)
    return tuple(done)


def _newest(done: Sequence[Operator], op: Operator) -> int:
    """When the youngest of what ``op`` reads was made; -1 for one that reads inputs alone."""
    return max((k for k, other in enumerate(done) if other.output in op.inputs), default=-1)


class _Alive:
    """Bytes that are still to be read once an operator has run."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.consumers = graph.consumers()

    def __call__(self, done: Sequence[Operator], op: Operator) -> int:
        ran = {other.name for other in done} | {op.name}
        made = [*self.graph.inputs, *(other.output for other in done), op.output]
        return sum(self.graph.tensors[name].bytes for name in made if self._needed(name, ran))

    def _needed(self, name: str, ran: set[str]) -> bool:
        return name in self.graph.outputs or any(reader.name not in ran for reader in self.consumers[name])
