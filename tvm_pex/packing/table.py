"""One part of a packing as arrays, for the exact searches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tvm_pex.packing.placement import Packing, cover, round_up

Ints = npt.NDArray[np.int64]
FAR = 1 << 60
MIXTURES = 3


class OutOfNodes(Exception):
    """The node limit was reached."""


@dataclass
class Table:
    """Arrays over the buffers of a part, and what the searches have spent (``nodes``) and learnt (``failed``).

    ``above[v, w]`` is the least offset(w) - offset(v) when w lies above, -FAR where v does not constrain w.
    ``load[c, w]`` is what w surely covers within clique c, and ``slack`` what rounding may add to the sum of a clique.
    ``key`` turns offsets into keys, or is None; ``reach[v]`` is the most that v's key pushes another key.
    ``twin[v]`` is an equal buffer to be placed before v, or -1. Each of ``ranks`` is an order of the buffers. ``plain``
    says that each buffer is free and pushes whatever lies above it by one distance of its own, as its size usually is.
    """

    size: Ints
    alignment: Ints
    fixed: Ints
    above: Ints
    load: Ints
    slack: int
    key: Ints | None
    reach: Ints
    twin: list[int]
    ranks: list[Ints]
    masks: list[int]
    nodes: int = 0
    failed: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.aligned = bool((self.alignment > 1).any())
        self.has_twins = any(other >= 0 for other in self.twin)
        keyless = self.key is not None and not self.key.any()
        alike = (self.alignment == self.alignment[0]).all() and (self.fixed < 0).all()
        even = np.where(self.above > -FAR, self.above, self.reach[:, None]) == self.reach[:, None]
        self.plain = bool(keyless and alike and even.all())

    def split(self, rest: Ints) -> Iterator[Ints]:
        """Positions in ``rest`` of buffers that constrain each other, set by set."""
        names = rest.tolist()
        everything = left = sum(1 << v for v in names)
        while left:
            part = todo = left & -left
            while todo and part != left:
                v = todo.bit_length() - 1
                fresh = self.masks[v] & left & ~part
                part |= fresh
                todo = (todo | fresh) & ~(1 << v)
            if part == everything:
                yield np.arange(len(names))
            else:
                yield np.array([k for k, v in enumerate(names) if part >> v & 1])
            left &= ~part


def table_of(packing: Packing, part: list[int]) -> Table:
    n, index = len(part), {i: v for v, i in enumerate(part)}
    size = np.array([packing.size[i] for i in part])
    above = np.full((n, n), -FAR)
    for v, i in enumerate(part):
        for j in packing.neighbours[i]:
            grain = int(np.gcd(packing.alignment[i], packing.alignment[j]))
            above[v, index[j]] = round_up(packing.link(i, j)[0], grain)
    load = _loads(packing, index)
    key = _keys(above)
    reach = np.ones(n, dtype=np.int64)
    if key is not None:
        reach = np.maximum(1, (above + key[None, :] - key[:, None]).max(axis=1))
    fixed = np.array([packing.fixed[i] for i in part])
    alignment = np.array([packing.alignment[i] for i in part])
    return Table(
        size=size,
        alignment=alignment,
        fixed=fixed,
        above=above,
        load=load,
        slack=int((-size % packing.grain).max()),
        key=key,
        reach=reach,
        twin=_twins(size, alignment, fixed, above, load),
        ranks=_ranks(packing, part, load),
        masks=[sum(1 << int(w) for w in np.flatnonzero(row > -FAR)) for row in above],
    )


def _loads(packing: Packing, index: dict[int, int]) -> Ints:
    """A row for each clique of the part."""
    rows = []
    for clique in packing.cliques:
        row = np.zeros(len(index), dtype=np.int64)
        for k, i in enumerate(clique):
            if i in index:
                row[index[i]] = cover(packing, i, [j for j in clique[:k] if j in packing.special[i]])
        if row.any():
            rows.append(row)
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(index))


def _keys(above: Ints) -> Ints | None:
    """The least constants such that each buffer pushes the keys of others by 1 or more; None if there are none."""
    key = np.zeros(len(above), dtype=np.int64)
    gap = np.where(above > -FAR, 1 - above, -FAR)
    for _ in range(len(above) + 1):
        higher = np.maximum(key, (gap + key[:, None]).max(axis=0))
        if (higher == key).all():
            return key
        key = higher
    return None


def _twins(size: Ints, alignment: Ints, fixed: Ints, above: Ints, load: Ints) -> list[int]:
    twin = [-1] * len(size)
    for v in range(1, len(size)):
        for u in range(v - 1, -1, -1):
            if size[u] != size[v]:
                break  # buffers come by decreasing size
            swap = np.arange(len(size))
            swap[[u, v]] = v, u
            same = alignment[u] == alignment[v] and fixed[u] < 0 and fixed[v] < 0
            if same and (above[u] == above[v][swap]).all() and (above[:, u] == above[:, v][swap]).all():
                twin[v] = u
                break
    return twin


def _ranks(packing: Packing, part: list[int], load: Ints) -> list[Ints]:
    """Orders for equal keys: what lives long, is large, or is in a full clique comes first, each in its turn.

    The same with random weights follows (always the same): one unlucky first choice can cost all of the nodes.
    """
    spans = packing.span
    degree = [len(packing.neighbours[i]) for i in part]
    life = np.array(degree if spans is None else [spans[i][1] - spans[i][0] for i in part]) + 1
    size = np.array([packing.size[i] for i in part])
    crowd = np.where(load > 0, load.sum(axis=1, keepdims=True), 0).max(axis=0, initial=0)
    area = size * life
    ways = [(-crowd, -area, -life), (-crowd, -life, -area), (-life, -area, -crowd)]
    rng = random.Random(0)
    for k in range(MIXTURES):
        weight = np.array([rng.randrange(64, 192) for _ in part])
        ways.append((-((crowd, area, life)[k % 3] * weight), -area, -life))
    ranks = []
    for keys in ways:
        rank = np.empty(len(part), dtype=np.int64)
        rank[np.lexsort(keys[::-1])] = np.arange(len(part))
        ranks.append(rank)
    return ranks


def slim(load: Ints) -> Ints:
    """Without the cliques that weigh at most what a clique next to them does: they never decide."""
    load = load[load.any(axis=1)]
    keep = np.ones(len(load), dtype=bool)
    keep[:-1] = (load[:-1] > load[1:]).any(axis=1)
    load = load[keep]
    keep = np.ones(len(load), dtype=bool)
    keep[1:] = (load[1:] > load[:-1]).any(axis=1)
    return load[keep]
