"""A planning problem as numbers: which buffers may not overlap, how low the peak can be, and quick placements.

A *clique* is a set of buffers that are all alive together; a *part* is a set of buffers that no other buffer
constrains, so parts are placed one by one. A *link* (below, above) between buffers i and j says that i lies legally at
or below ``offset(j) - below`` and at or above ``offset(j) + above``: the open interval between is forbidden to i.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd

Link = tuple[int, int]
Order = list[int]
ROUNDS_OF_REPAIR = 6


@dataclass(frozen=True)
class Packing:
    """Buffers are numbers; sizes and offsets are bytes.

    ``fixed`` is -1 where the offset is free. ``span`` is (first step, last step), or None if only conflicts are known.
    ``together[i]`` are the buffers alive with i, ``neighbours[i]`` those of them that constrain i at all, and
    ``special[i]`` holds i's links other than the usual (size[i], size[j]).
    """

    size: tuple[int, ...]
    alignment: tuple[int, ...]
    fixed: tuple[int, ...]
    span: tuple[Link, ...] | None
    together: tuple[set[int], ...]
    special: tuple[Mapping[int, Link], ...]
    neighbours: tuple[list[int], ...]

    def link(self, i: int, j: int) -> Link:
        return self.special[i].get(j) or (self.size[i], self.size[j])

    @cached_property
    def grain(self) -> int:
        """Every offset is a multiple of this."""
        return gcd(*self.alignment)

    @cached_property
    def cliques(self) -> list[list[int]]:
        """The largest sets alive together, as far as they are easily found; every one found is a clique."""
        return _cliques_of_spans(self) if self.span is not None else _cliques_of_conflicts(self)

    @cached_property
    def parts(self) -> list[list[int]]:
        return parts_among(self, range(len(self.size)))


def parts_among(packing: Packing, members: Iterable[int]) -> list[list[int]]:
    """Those buffers, in sets that do not constrain each other."""
    parts, left = [], dict.fromkeys(members)
    while left:
        part = [next(iter(left))]
        del left[part[0]]
        for i in part:  # grows while it is walked
            for j in packing.neighbours[i]:
                if j in left:
                    del left[j]
                    part.append(j)
        parts.append(sorted(part))
    return parts


def peak_of_offsets(packing: Packing, offsets: Sequence[int]) -> int:
    return max(at + size for at, size in zip(offsets, packing.size))


def round_up(value: int, grain: int) -> int:
    return -(-value // grain) * grain


# Bounds --------------------------------------------------------------------------------------------------------------


def lower_bound(packing: Packing) -> int:
    """A peak that no placement beats: the bytes that the buffers of one clique cover, whichever of them overlap."""
    bound = max(max(at, 0) + size for at, size in zip(packing.fixed, packing.size))
    grain = packing.grain
    for clique in packing.cliques:
        covered, slack = 0, 0
        for k, i in enumerate(clique):
            special = packing.special[i]
            covered += cover(packing, i, [j for j in clique[:k] if j in special] if special else ())
            slack = max(slack, -packing.size[i] % grain)
        # Rounding up counts the gap above the topmost buffer too, which is not part of the peak.
        bound = max(bound, covered - slack)
    return bound


def cover(packing: Packing, i: int, larger: Iterable[int]) -> int:
    """Bytes that buffer i surely covers beside the buffers ``larger``, with which it may overlap.

    Summed over a clique, each buffer beside those before it, this is at most the number of bytes in use: two buffers
    overlap at most by ``_overlap``, and never if they have the usual link.
    """
    size = round_up(packing.size[i], packing.grain)
    return max(0, size - sum(_overlap(packing, i, j) for j in larger))


def _overlap(packing: Packing, i: int, j: int) -> int:
    """The most bytes that i and j can share."""
    grain = packing.grain
    a, b = round_up(packing.size[i], grain), round_up(packing.size[j], grain)
    below, above = (round_up(d, grain) for d in packing.link(i, j))
    # i inside j, or j inside i, shares min(a, b). Each byte that a link pushes i out of there costs one.
    pushed = max(0, min(above - max(0, b - a), below - max(0, a - b)))
    return max(0, min(a, b) - pushed)


def _cliques_of_spans(packing: Packing) -> list[list[int]]:
    assert packing.span is not None
    span = packing.span
    cliques: list[list[int]] = []
    alive: list[int] = []
    for i in sorted(range(len(span)), key=lambda i: span[i][0]):
        still = [j for j in alive if span[j][1] >= span[i][0]]
        if len(still) < len(alive):  # else the coming clique contains this one
            cliques.append(sorted(alive))
        alive = [*still, i]
    cliques.append(sorted(alive))
    return cliques


def _cliques_of_conflicts(packing: Packing) -> list[list[int]]:
    """Maximum cardinality search: finds every largest clique if the conflicts come from lifetimes (a chordal graph)."""
    together, n = packing.together, len(packing.size)
    marks, visited, cliques = [0] * n, [False] * n, list[list[int]]()
    for _ in range(n):
        i = max((i for i in range(n) if not visited[i]), key=lambda i: (marks[i], -i))
        visited[i] = True
        clique = [i]
        for j in sorted(together[i]):
            if not visited[j]:
                marks[j] += 1
            elif all(j in together[k] for k in clique):
                clique.append(j)
        cliques.append(sorted(clique))
    sets = [set(c) for c in cliques]
    return [c for k, c in enumerate(cliques) if not any(sets[k] < other for other in sets)]


# Quick placements ----------------------------------------------------------------------------------------------------


def pack_quickly(packing: Packing, goal: int) -> list[int]:
    """Offsets of a good placement, by several greedy orders; a part is left as soon as its peak is at most ``goal``."""
    offsets = [-1] * len(packing.size)
    for part in packing.parts:
        best, least = None, -1
        for at in _attempts(packing, part):
            peak = max(at[i] + packing.size[i] for i in part)
            if best is None or peak < least:
                best, least = at, peak
            if least <= goal:
                break
        assert best is not None
        for i in part:
            offsets[i] = best[i]
    return offsets


def _attempts(packing: Packing, part: list[int]) -> Iterable[list[int]]:
    orders = _orders(packing, part)
    best, least = orders[0], -1
    for order in orders:
        at = place(packing, order, lowest)
        yield at
        peak = max(at[i] + packing.size[i] for i in part)
        if least < 0 or peak < least:
            best, least = order, peak
    for order in orders:
        yield place(packing, order, tightest)
    for order in orders[:2]:
        yield place(packing, order, topmost)
    for _ in range(ROUNDS_OF_REPAIR):
        at = place(packing, best, lowest)
        peak = max(at[i] + packing.size[i] for i in part)
        late = {i for i in part if at[i] + packing.size[i] == peak}
        best = [i for i in best if i in late] + [i for i in best if i not in late]
        yield place(packing, best, lowest)


def _orders(packing: Packing, part: list[int]) -> list[Order]:
    """The part's buffers from hardest to easiest, by several meanings of hard."""
    size, degree = packing.size, [len(n) for n in packing.neighbours]
    span = packing.span or [(0, d) for d in degree]
    life = [last - first + 1 for first, last in span]
    crowd = [0] * len(size)  # bytes of the fullest clique that holds the buffer
    for clique in packing.cliques:
        held = sum(size[i] for i in clique)
        for i in clique:
            crowd[i] = max(crowd[i], held)
    keys: list[Callable[[int], tuple[int, ...]]] = [
        lambda i: (-size[i], -degree[i]),
        lambda i: (-degree[i], -size[i]),
        lambda i: (-size[i] * life[i], -size[i]),
        lambda i: (-crowd[i], -size[i], -life[i]),
        lambda i: (-life[i], -size[i]),
        lambda i: (-crowd[i], -size[i] * life[i]),
        lambda i: (span[i][0], -size[i]),
    ]
    orders = [_lower_first(packing, sorted(part, key=key)) for key in keys]
    return [order for k, order in enumerate(orders) if order not in orders[:k]]


def _lower_first(packing: Packing, order: Order) -> Order:
    """The order with each buffer right after those that it may overlap from above: they must be there to be used."""
    if not any(packing.special[i] for i in order):
        return order
    done: dict[int, None] = {}
    inside = set(order)
    for first in order:
        path = {} if first in done else {first: iter(packing.special[first].items())}  # no recursion: chains are long
        while path:
            i, links = next(reversed(path.items()))
            for j, (_, above) in links:
                if above < packing.size[j] and j in inside and j not in done and j not in path:
                    path[j] = iter(packing.special[j].items())
                    break
            else:
                del path[i]
                done[i] = None
    return list(done)


Choice = Callable[[list[Link], int, int, int], int]


def place(packing: Packing, order: Order, choose: Choice) -> list[int]:
    """Each buffer of the order in turn where ``choose`` puts it among those before it. Others stay at -1."""
    at = [-1] * len(packing.size)
    for i in order:
        at[i] = packing.fixed[i]
    return place_among(packing, at, order, choose)


def place_among(packing: Packing, at: list[int], order: Order, choose: Choice) -> list[int]:
    """The offsets ``at`` with those of the order that are -1 set in turn, each where ``choose`` puts it."""
    size, neighbours, specials = packing.size, packing.neighbours, packing.special
    at, top = list(at), 0
    for i in order:
        if at[i] < 0:
            own, special = size[i], specials[i]
            if special:
                forbidden = []
                for j in neighbours[i]:
                    if at[j] >= 0:
                        below, above = special.get(j) or (own, size[j])
                        forbidden.append((at[j] - below, at[j] + above))
            else:
                forbidden = [(at[j] - own, at[j] + size[j]) for j in neighbours[i] if at[j] >= 0]
            forbidden.sort()
            at[i] = choose(forbidden, packing.alignment[i], own, top)
        top = max(top, at[i] + size[i])
    return at


def lowest(forbidden: list[Link], alignment: int, own: int, top: int) -> int:
    """The least offset outside the sorted open intervals."""
    at = 0
    for start, end in forbidden:
        if at <= start:
            break
        if at < end:
            at = -(-end // alignment) * alignment
    return at


def tightest(forbidden: list[Link], alignment: int, own: int, top: int) -> int:
    """The offset in the narrowest gap that does not raise the peak ``top``; the least offset if there is none."""
    at, best, narrowest = 0, -1, -1
    for start, end in forbidden:
        if at <= start and at + own <= top and (best < 0 or start - at < narrowest):
            best, narrowest = at, start - at
        if at < end:
            at = -(-end // alignment) * alignment
    if best >= 0:
        return best
    return lowest(forbidden, alignment, own, top)


def topmost(forbidden: list[Link], alignment: int, own: int, top: int) -> int:
    """The least offset above all of the intervals."""
    return max(0, -(-max((end for _, end in forbidden), default=0) // alignment) * alignment)
