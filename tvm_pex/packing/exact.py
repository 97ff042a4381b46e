"""Exact search for a lower peak: is there a placement at or below a limit?

Take any placement and let every buffer sink until something stops it. List the result by *key*: offset plus a constant
of the buffer, chosen such that a buffer is only ever stopped by buffers of a smaller key (zero for all buffers unless
some may start below what they lie on). So it is enough to place buffers in the order of keys, each at the least offset
that the buffers before it allow. The search does that, and turns back as soon as

1. a buffer no longer fits below the limit, or the buffers of a clique together do not,
2. a buffer left out fits wholly below what is placed next (the same placement is met with that buffer placed before),
3. the same rest was met before at the same heights.

Buffers that no longer constrain each other are searched apart, each set in an order of its own: what is hardest depends
on what is left. Where no such constants exist, ``pairs`` decides pair by pair who lies below. Where a table is
``plain``, the search of ``postpone`` takes turns with this one: each is soon done with what the other gives up.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np

from tvm_pex.packing.easy import easy_buffers
from tvm_pex.packing.pairs import decide_pairs
from tvm_pex.packing.placement import Packing, lowest, parts_among, place_among
from tvm_pex.packing.postpone import Postponement
from tvm_pex.packing.table import FAR, MIXED, ORDERS, Flags, Ints, Order, OutOfNodes, Table, slim, table_of

LARGEST_PART = 600
_FRAMES = 2 * LARGEST_PART  # of Python's stack: two functions for each buffer of a part


def search_offsets(packing: Packing, offsets: list[int], bound: int, goal: int, effort: int) -> tuple[list[int], int]:
    """Better offsets, if any are found within ``effort`` nodes, and the lower bound as far as it is proved.

    Looks for a peak of ``goal``, below which there is nothing to gain.
    """
    offsets = list(offsets)

    def peak_of(part: list[int]) -> int:
        return max(offsets[i] + packing.size[i] for i in part)

    # Whatever is left out changes all orders. Without special distances that is luck; with them it gains far more often
    # than it loses, and buffers of no weight around a region cannot change what is found for it.
    easy = easy_buffers(packing, goal) if any(packing.special) else []
    hard = sorted(set(range(len(offsets))).difference(easy))
    for part in sorted(parts_among(packing, hard), key=peak_of, reverse=True):
        if peak_of(part) > goal and len(part) <= LARGEST_PART and effort > 0:
            table = table_of(packing, part)
            with _deeper_stack():
                best, proved = improve(table, np.array([offsets[i] for i in part]), goal, effort)
            effort -= table.nodes
            bound = max(bound, proved)
            for i, at in zip(part, best.tolist()):
                offsets[i] = at
        goal = max(goal, peak_of(part))  # nothing is gained by placing the other parts any lower
    for i in easy:
        offsets[i] = -1
    return place_among(packing, offsets, easy[::-1], lowest), bound


@contextmanager
def _deeper_stack() -> Iterator[None]:
    """Lets a search go as deep as the largest part needs, however deep its caller is already."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(usual + _FRAMES)
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)


def improve(table: Table, best: Ints, goal: int, effort: int) -> tuple[Ints, int]:
    """The best offsets found for a part, and the lower bound proved for it (0 if none)."""
    proved, doubtful = 0, goal - 1  # limits up to doubtful were given up, those below proved for good
    peak = int((best + table.size).max())
    tries = 0
    while peak - 1 > doubtful and table.nodes < effort:
        # First the goal itself, often met; then whether the best is optimal, often so; then the middle.
        limit = max(doubtful + 1, (goal, peak - 1, (doubtful + peak) // 2)[min(tries, 2)])
        found, complete = fit(table, limit, max(1, (effort - table.nodes) // 2))
        tries += 1
        if found is not None:
            best, peak = found, int((found + table.size).max())
        else:
            doubtful = limit
            proved = limit + 1 if complete else proved
    return best, proved


def fit(table: Table, limit: int, effort: int) -> tuple[Ints | None, bool]:
    """(offsets, True) with a peak of at most ``limit``; (None, True) if there are none; (None, False) if unknown."""
    end = table.nodes + effort
    # Large problems without special distances want long runs of few orders; others are done early by one of many.
    orders, allowance, growth = (ORDERS, 8, 4) if table.plain else ((*ORDERS, *MIXED), 2, 2)
    allowance *= len(table.size)
    while table.nodes < end:
        for order in orders:
            try:
                until = min(end, table.nodes + allowance)
                if table.key is None:
                    return decide_pairs(table, limit, end), True
                return Descent(table, limit, order, until, table.key).run(), True
            except OutOfNodes:
                pass
            if table.plain:
                try:  # it is done early or never, and its nodes are dearer
                    return Postponement(table, limit, order, min(end, table.nodes + allowance // 4)).run(), True
                except OutOfNodes:
                    pass
        allowance *= growth
    return None, False


class Descent:
    """One depth-first search below a limit; of two buffers of equal key the first by ``order`` is placed first."""

    def __init__(self, table: Table, limit: int, order: Order, until: int, key: Ints) -> None:
        self.table, self.limit, self.order, self.until, self.key = table, limit, order, until, key
        self.at = np.zeros_like(table.size)

    def run(self) -> Ints | None:
        table = self.table
        low = np.maximum(table.fixed, 0)
        everything = np.arange(len(table.size))
        falling = np.argsort(-low, kind="stable")
        if (low + table.size > self.limit).any() or self._crowded(table.load[:, falling], low[falling]):
            return None
        rank = table.rank(self.order, everything, table.load)
        return self.at if self._fill(everything, table.load, low, rank, np.zeros_like(low, dtype=np.bool_)) else None

    def _fill(self, rest: Ints, load: Ints, low: Ints, rank: Ints, waiting: Flags) -> bool:
        """Place the buffers ``rest``, which lie at their ``low`` or above, those ``waiting`` above it.

        ``load`` is the table's, for the cliques that matter and the buffers in ``rest``.
        """
        table = self.table
        own = self.key[rest]
        keys = low + own
        tops = np.where(table.fixed[rest] < 0, keys + table.reach[rest], FAR)
        # All of the rest will lie at the next key or above, and nothing that fits wholly below it may be left over.
        room = self.limit + table.slack - int(load.sum(axis=1).max(initial=0)) + int(own.max())
        candidates = np.flatnonzero(~waiting & (keys < tops.min()) & (keys <= room))
        if not len(candidates):
            return False
        state = blake2b(rest.tobytes() + np.where(waiting, -1, low).tobytes(), digest_size=16)
        state.update(int(tops[waiting].min(initial=FAR)).to_bytes(8, "little"))
        known = state.digest()
        if table.failed.get(known, -1) >= self.limit:
            return False
        members = set(rest.tolist()) if table.has_twins else set()
        for k in candidates[np.lexsort((rank[candidates], keys[candidates]))].tolist():
            if table.twin[rest[k]] not in members:
                done, lifted = self._place(k, rest, load, low, rank, waiting)
                if done:
                    return True
                if not lifted:
                    break  # with this buffer here the others have all the room they had without it
        table.failed[known] = self.limit
        return False

    def _place(self, k: int, rest: Ints, load: Ints, low: Ints, rank: Ints, waiting: Flags) -> tuple[bool, bool]:
        """Place ``rest[k]`` at its low: whether that leads to a placement, and whether it lifts another buffer."""
        table, v = self.table, int(rest[k])
        if table.nodes >= self.until:
            raise OutOfNodes
        table.nodes += 1
        self.at[v] = at = int(low[k])
        if len(rest) == 1:
            return True, False
        others = np.concatenate((np.arange(k), np.arange(k + 1, len(rest))))
        rest, earlier = rest[others], rank[others] < rank[k]
        pushed = at + table.above[v, rest]
        if table.aligned:
            pushed = -(-pushed // table.alignment[rest]) * table.alignment[rest]
        raised = np.maximum(low[others], pushed)
        lifted = raised > low[others]
        lifts = bool(lifted.any())
        key, own = at + int(self.key[v]), self.key[rest]
        # What could have lain here or below, and was passed over, will be lifted yet.
        waiting = waiting[others] & ~lifted | (raised + own < key) | ((raised + own == key) & earlier)
        floor = np.maximum(raised, key - own)
        late = np.flatnonzero(waiting)
        if len(late):
            # A buffer that was passed over will lie on another one of the rest.
            lift = table.above[np.ix_(rest, rest[late])]
            lift = np.where(lift > -FAR, lift + floor[:, None], FAR).min(axis=0)
            floor[late] = np.maximum(floor[late], lift)
        held = table.fixed[rest]
        if (floor + table.size[rest] > self.limit).any() or ((held >= 0) & (floor > held)).any():
            return False, lifts
        falling = np.argsort(-floor, kind="stable")
        if self._crowded(load[:, others[falling]], floor[falling]):
            return False, lifts
        rank = rank[others]
        for columns in table.split(rest):
            few, own_load = rest[columns], slim(load[:, others[columns]])
            own_rank = rank[columns] if len(few) == len(rest) else table.rank(self.order, few, own_load)
            if not self._fill(few, own_load, raised[columns], own_rank, waiting[columns]):
                return False, lifts
        return True, lifts

    def _crowded(self, load: Ints, floor: Ints) -> bool:
        """Whether the buffers of a clique that lie at some height or above reach beyond the limit.

        ``floor`` falls, and the columns of ``load`` follow it.
        """
        heights = load.cumsum(axis=1)
        heights += floor
        return int(heights.max(initial=0)) > self.limit + self.table.slack
