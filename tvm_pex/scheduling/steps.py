"""What a program executes between two rows of its streamed input. Pure.

Step r is what the call that brings row r runs: the moments of the first segment from the one at which row r is due to
the one before row r + 1 is, and in the last step all that comes after. Instructions are those of
``tvm_pex.scheduling.cost``, those of a stage spread evenly over its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm_pex.graph import Graph
from tvm_pex.scheduling.cost import segment_instructions, stages_instructions
from tvm_pex.scheduling.schedule import Schedule, Segment, Stage


@dataclass(frozen=True)
class Steps:
    """Instructions of each step. ``last``, after which no row comes, is no part of ``worst`` and ``mean``."""

    instructions: tuple[int, ...]

    @property
    def worst(self) -> int:
        return round(worst_of(self.instructions))

    @property
    def mean(self) -> int:
        return sum(self.instructions[:-1]) // (len(self.instructions) - 1)

    @property
    def last(self) -> int:
        return self.instructions[-1]


def worst_of(steps: Sequence[float]) -> float:
    """The most between two rows."""
    return max(steps[:-1])


def arrival_stage(graph: Graph, segment: Segment) -> Stage:
    """The stage that takes the rows of the streamed input, in the segment that has it."""
    assert graph.arrival is not None
    return next(stage for stage in segment.stages if stage.operator == graph.arrival.name)


def steps_of(graph: Graph, schedule: Schedule, after: int = 0) -> Steps:
    """The steps of a program that begins with ``schedule`` of ``graph``; ``after`` are instructions of what follows."""
    first, *others = schedule.segments
    steps = segment_steps(graph, first)
    steps[-1] += sum(segment_instructions(graph, segment) for segment in others) + after
    return Steps(tuple(round(step) for step in steps))


def segment_steps(graph: Graph, segment: Segment) -> list[float]:
    """Instructions of the segment that takes the streamed input, by the row that comes."""
    arrival = arrival_stage(graph, segment)
    rows = arrival.domain[0]
    operators = {op.name: op for op in graph.operators}
    prices = stages_instructions(graph, [operators[name] for name in segment.operators], segment)
    steps = [0.0] * rows
    for stage, price in zip(segment.stages, prices, strict=True):
        for row in range(stage.domain[0]):
            steps[_step_at(arrival, stage.time(0, row))] += price / stage.domain[0]
    return steps


def _step_at(arrival: Stage, time: int) -> int:
    """The row whose call runs moment ``time``."""
    return min(max((time - arrival.delay[0]) // arrival.stride[0], 0), arrival.domain[0] - 1)
