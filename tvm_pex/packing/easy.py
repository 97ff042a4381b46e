"""Buffers that fit in somewhere wherever the others lie: they are no part of the search. Pure integers, no TVM.

The rule is that of a vertex with fewer neighbours than colours (Kempe 1879), with offsets as the colours.
"""

from __future__ import annotations

from tvm_pex.packing.placement import Packing


def easy_buffers(packing: Packing, limit: int) -> list[int]:
    """Buffers in an order in which they can be left out, each for all that are left; those are the hard ones.

    Once the hard ones lie below ``limit``, so does each of these, placed last first at the least offset that is free.
    """
    places = [(limit - size) // grain + 1 for size, grain in zip(packing.size, packing.alignment)]
    left = {i for i, at in enumerate(packing.fixed) if at < 0}
    lost = [sum(_lost(packing, i, j) for j in packing.neighbours[i]) for i in range(len(packing.size))]
    easy: list[int] = []
    todo = sorted(left)
    while todo:
        i = todo.pop()
        if i in left and lost[i] < places[i]:
            left.remove(i)
            easy.append(i)
            for j in packing.neighbours[i]:
                lost[j] -= _lost(packing, j, i)
                todo.append(j)
    return easy


def _lost(packing: Packing, i: int, j: int) -> int:
    """The most offsets of i that j takes, wherever it lies."""
    below, above = packing.link(i, j)
    return max(0, -(-(below + above - 1) // packing.alignment[i]))
