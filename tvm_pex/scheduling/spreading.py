"""Spreads the work of a streamed input's segment over the steps, so that no row takes longer than the caller can wait.

Behind a stride of 2 an operator has a row to compute with every other row of the input, behind four of them with every
sixteenth, and without delay all of them have one with the same. An operator may run later by as many rows of the input
as lie between two of its own: what it reads is then kept longer, and nothing else changes. Operators are taken in
topological order, each at the least delay with which the steps so far stay below the limit. Pure integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm_pex.graph import Graph, Operator
from tvm_pex.scheduling.cost import stages_instructions
from tvm_pex.scheduling.schedule import Segment, Stage
from tvm_pex.scheduling.segments import Unschedulable, make_segment, row_waits
from tvm_pex.scheduling.steps import arrival_stage, segment_steps, worst_of


class StepTooLong(Unschedulable):
    """A step of the operators' least schedule takes ``instructions``, which are too many."""

    def __init__(self, limit: int, instructions: int) -> None:
        super().__init__(f"a step takes {instructions} instructions, more than {limit}")
        self.limit = limit
        self.instructions = instructions


def bounded_segment(
    graph: Graph, operators: Sequence[Operator], axes: Sequence[str], limit: int, run: int = 1
) -> Segment:
    """As make_segment, with no step above ``limit`` instructions but the last. Raises Unschedulable, or StepTooLong."""
    segment = make_segment(graph, operators, axes, run=run)
    worst = worst_of(segment_steps(graph, segment))
    if worst <= limit:
        return segment
    delays = _spread_delays(graph, operators, segment, limit)
    spread = make_segment(graph, operators, axes, run=run, row_delays=delays)
    worst = min(worst, worst_of(segment_steps(graph, spread)))
    if worst > limit:
        raise StepTooLong(limit, round(worst))
    return spread


def _spread_delays(graph: Graph, operators: Sequence[Operator], segment: Segment, limit: int) -> list[int]:
    """Each stage's delay along rows."""
    arrival, waits = arrival_stage(graph, segment), row_waits(graph, operators)
    unit = arrival.stride[0]
    period = math.lcm(unit, *(stage.stride[0] for stage in segment.stages))
    prices = stages_instructions(graph, operators, segment)
    costs = [price / stage.domain[0] for price, stage in zip(prices, segment.stages)]
    loads = [0.0] * (period // unit)
    delays: list[int] = []
    for stage, cost, before in zip(segment.stages, costs, waits):
        least = max([stage.delay[0], *(delays[p] + wait for p, wait in before)])
        choices = [least + shift for shift in range(0, stage.stride[0], unit)]
        busy = [
            max(loads[at] + cost for at in _steps(stage, choice - arrival.delay[0], unit, period)) for choice in choices
        ]
        best = next((k for k, load in enumerate(busy) if load <= limit), busy.index(min(busy)))
        for at in _steps(stage, choices[best] - arrival.delay[0], unit, period):
            loads[at] += cost
        delays.append(choices[best])
    return delays


def _steps(stage: Stage, delay: int, unit: int, period: int) -> list[int]:
    """The steps of a period in which the stage has a row."""
    return [(delay + row) % period // unit for row in range(0, period, stage.stride[0])]
