"""Strips of columns: which columns each operator of a segment computes in each strip. Pure integers.

A segment with ``strips`` runs its whole loop nest once for each strip of its results' columns, so that its rings are as
wide as a strip, not as the tensor. Columns beside a strip that windows reach are computed in both strips: that is
recompute, paid for with ``max_overhead``. Where windows share no columns there are none.

In strip s an operator computes the columns ``step * s + first`` to ``step * s + first + count - 1`` of its output, as
far as the tensor has them. From the operators that read it, ::

    step_p = step * stride / up,  first_p = (first * stride - pad) / up,  last_p = (last * stride - pad + reach) / up

rounded inwards, and what leaves the segment is at least the strip's share, the columns ``step * s`` to
``step * (s + 1) - 1``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tvm_pex.graph import Window


@dataclass(frozen=True)
class Columns:
    """The columns of one operator in each strip; see the module's formula."""

    step: int
    first: int
    count: int

    def within(self, strip: int, width: int) -> range:
        """Those that a tensor of ``width`` has."""
        start = self.step * strip + self.first
        return range(max(start, 0), max(start, 0, min(start + self.count, width)))


@dataclass(frozen=True)
class Sliding:
    """What decides an operator's columns: its window, its time between two columns, the width of a result that leaves
    the segment (0 for one that does not), and the positions of the operators that read it."""

    window: Window
    stride: int
    whole: int
    readers: Sequence[int]


def strip_columns(operators: Sequence[Sliding], strips: int) -> tuple[int, list[Columns]]:
    """The number of strips, at most ``strips``, and the columns of each operator, which are in topological order."""
    grain = math.lcm(*(op.stride for op in operators))
    reach = max(op.whole * op.stride for op in operators)
    period = -(-reach // (strips * grain)) * grain
    spans: dict[int, tuple[int, int]] = {}
    for k in reversed(range(len(operators))):
        op = operators[k]
        needs = [_needed(operators[c].window, spans[c]) for c in op.readers]
        if op.whole or not needs:
            needs.append((0, period // op.stride - 1))
        spans[k] = min(first for first, _ in needs), max(last for _, last in needs)
    columns = [
        Columns(period // op.stride, spans[k][0], spans[k][1] - spans[k][0] + 1) for k, op in enumerate(operators)
    ]
    return -(-reach // period), columns


def _needed(window: Window, span: tuple[int, int]) -> tuple[int, int]:
    first, last = (index * window.stride[1] - window.pad[1] for index in span)
    return -(-first // window.up[1]), (last + window.reach(1)) // window.up[1]
