"""What memory costs in instructions: the front of schedules that no other beats in both. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm_pex.scheduling.paths import Choice


@dataclass(frozen=True)
class Point:
    """Bytes of arena and instructions of one way to run the operators that are not left to stock TVM."""

    arena_bytes: int
    instructions: int


def together(fronts: Sequence[Sequence[Choice]]) -> tuple[Point, ...]:
    """The front of regions that run one after the other, each at its cheapest within the same budget.

    From the fastest down to the least memory, as each of ``fronts``.
    """
    points: list[Point] = []
    for budget in sorted({choice.arena_bytes for front in fronts for choice in front}):
        chosen = [[choice for choice in front if choice.arena_bytes <= budget][:1] for front in fronts]
        if all(chosen):
            price = sum(choice.instructions for (choice,) in chosen)
            if not points or price < points[-1].instructions:
                points.append(Point(budget, price))
    return tuple(points[::-1])
