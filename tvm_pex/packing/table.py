"""One part of a packing as arrays, for the exact searches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tvm_pex.packing.placement import Packing, cover, round_up

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
FAR = 1 << 60


class OutOfNodes(Exception):
    """The node limit was reached."""


MIXTURES = 3


@dataclass(frozen=True)
class Order:
    """Of two buffers the larger one comes first, by the first of three measures in which they differ.

    They are the bytes of the fullest clique that holds the buffer (crowd), its steps (life), and its bytes times those
    (area). With a ``mixture`` the first measure is multiplied by random weights, always the same.
    """

    measures: tuple[str, str, str]
    mixture: int | None = None


ORDERS = (
    Order(("crowd", "area", "life")),
    Order(("crowd", "life", "area")),
    Order(("life", "area", "crowd")),
)
"""Each is soon done with problems on which the others spend all of their nodes."""
MIXED = (
    Order(("crowd", "area", "life"), 0),
    Order(("area", "life", "crowd"), 1),
    Order(("life", "area", "crowd"), 2),
)
"""One unlucky first choice can cost all of the nodes."""


@dataclass
class Table:
    """Arrays over the buffers of a part, and what the searches have spent (``nodes``) and learnt (``failed``).

    ``above[v, w]`` is the least offset(w) - offset(v) when w lies above, -FAR where v does not constrain w.
    ``load[c, w]`` is what w surely covers within clique c, and ``slack`` what rounding may add to the sum of a clique.
    ``key`` turns offsets into keys, or is None; ``reach[v]`` is the most that v's key pushes another key.
    ``twin[v]`` is an equal buffer to be placed before v, or -1. ``life[v]`` is in steps, or as many buffers as v meets
    where steps are unknown. ``plain`` says that each buffer is free and pushes whatever lies above it by one distance
    of its own, as its size usually is.
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
    life: Ints
    masks: list[int]
    nodes: int = 0
    failed: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.aligned = bool((self.alignment > 1).any())
        self.has_twins = any(other >= 0 for other in self.twin)
        rng = random.Random(0)
        self.weights = [np.array([rng.randrange(64, 192) for _ in self.size]) for _ in range(MIXTURES)]
        self.eldest = np.arange(len(self.size))
        for v, u in enumerate(self.twin):
            self.eldest[v] = self.eldest[u] if u >= 0 else v
        keyless = self.key is not None and not self.key.any()
        alike = (self.alignment == self.alignment[0]).all() and (self.fixed < 0).all()
        even = np.where(self.above > -FAR, self.above, self.reach[:, None]) == self.reach[:, None]
        self.plain = bool(keyless and alike and even.all())

    def rank(self, order: Order, rest: Ints, load: Ints) -> Ints:
        """The places of the buffers ``rest`` in an order, ``load`` being that of what is still to be placed."""
        life = self.life[rest]
        crowd = np.where(load > 0, load.sum(axis=1, keepdims=True), 0).max(axis=0, initial=0)
        measures = {"crowd": crowd, "life": life, "area": self.size[rest] * life}
        first, *others = (measures[name] for name in order.measures)
        if order.mixture is not None:
            first = first * self.weights[order.mixture][rest]
        rank = np.empty_like(rest)
        rank[np.lexsort([-measure for measure in (*others[::-1], first)])] = np.arange(len(rest))
        if self.has_twins:  # the eldest gets the first of the places of its equals, none of which comes before it
            family = self.eldest[rest]
            rank[np.argsort(family, kind="stable")] = rank[np.lexsort((rank, family))]
        return rank

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
        for j in index.keys() & packing.neighbours[i]:
            grain = int(np.gcd(packing.alignment[i], packing.alignment[j]))
            above[v, index[j]] = round_up(packing.link(i, j)[0], grain)
    load = _loads(packing, index)
    key = _keys(above)
    reach = np.ones(n, dtype=np.int64)
    if key is not None:
        reach = np.maximum(1, (above + key[None, :] - key[:, None]).max(axis=1))
    fixed = np.array([packing.fixed[i] for i in part])
    alignment = np.array([packing.alignment[i] for i in part])
    twin = _twins(size, alignment, fixed, above, load)
    return Table(
        size=size,
        alignment=alignment,
        fixed=fixed,
        above=above,
        load=load,
        slack=int((-size % packing.grain).max()),
        key=key,
        reach=reach,
        twin=twin,
        life=_lives(packing, part),
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


def _lives(packing: Packing, part: list[int]) -> Ints:
    if packing.span is None:
        members = set(part)
        return np.array([len(members.intersection(packing.neighbours[i])) for i in part])
    return np.array([packing.span[i][1] - packing.span[i][0] + 1 for i in part])


def slim(load: Ints) -> Ints:
    """Without the cliques that weigh at most what a clique next to them does: they never decide."""
    load = load[load.any(axis=1)]
    keep = np.ones(len(load), dtype=bool)
    keep[:-1] = (load[:-1] > load[1:]).any(axis=1)
    load = load[keep]
    keep = np.ones(len(load), dtype=bool)
    keep[1:] = (load[1:] > load[:-1]).any(axis=1)
    return load[keep]
