"""Exact search for a lower peak: is there a placement at or below a limit?

Take any placement and let every buffer sink until something stops it. List the result by *key*: offset plus a constant
of the buffer, chosen such that a buffer is only ever stopped by buffers of a smaller key (zero for all buffers unless
some may start below what they lie on). So it is enough to place buffers in the order of keys, each at the least offset
that the buffers before it allow. The search does that, and turns back as soon as

1. a buffer no longer fits below the limit, or the buffers of a clique together do not,
2. a buffer left out fits wholly below what is placed next (the same placement is met with that buffer placed before),
3. the same rest was met before at the same heights.

Buffers that no longer constrain each other are searched apart. Where no such constants exist, ``packing_pairs``
decides pair by pair who lies below.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from tvm_pex.packing import Packing
from tvm_pex.packing_pairs import decide_pairs
from tvm_pex.packing_table import FAR, Ints, OutOfNodes, Table, table_of

LARGEST_PART = 600  # the search is as deep as a part has buffers, and Python's stack has an end


def search_offsets(
    packing: Packing, offsets: list[int], bound: int, goal: int, effort: int
) -> tuple[list[int], int]:
    """Better offsets, if any are found within ``effort`` nodes, and the lower bound as far as it is proved.

    Looks for a peak of ``goal``, below which there is nothing to gain.
    """
    offsets = list(offsets)

    def peak_of(part: list[int]) -> int:
        return max(offsets[i] + packing.size[i] for i in part)

    for part in sorted(packing.parts, key=peak_of, reverse=True):
        if peak_of(part) > goal and len(part) <= LARGEST_PART and effort > 0:
            table = table_of(packing, part)
            best, proved = improve(table, np.array([offsets[i] for i in part]), goal, effort)
            effort -= table.nodes
            bound = max(bound, proved)
            for i, at in zip(part, best.tolist()):
                offsets[i] = at
        goal = max(goal, peak_of(part))  # nothing is gained by placing the other parts any lower
    return offsets, bound


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
    end, allowance = table.nodes + effort, 2 * len(table.size)
    while table.nodes < end:
        for rank in table.ranks:
            try:
                until = min(end, table.nodes + allowance)
                if table.key is None:
                    return decide_pairs(table, limit, end), True
                return Descent(table, limit, rank, until, table.key).run(), True
            except OutOfNodes:
                pass
        allowance *= 2
    return None, False


class Descent:
    """One depth-first search below a limit; ``rank`` says which of two buffers of equal key is placed first."""

    def __init__(self, table: Table, limit: int, rank: Ints, until: int, key: Ints) -> None:
        self.table, self.limit, self.rank, self.until, self.key = table, limit, rank, until, key
        self.at = np.zeros_like(table.size)

    def run(self) -> Ints | None:
        table = self.table
        low = np.maximum(table.fixed, 0)
        everything = np.arange(len(table.size))
        cliques = np.arange(len(table.load))
        if self._hopeless(everything, cliques, low):
            return None
        return self.at if self._fill(everything, cliques, low, -FAR, -1) else None

    def _fill(self, rest: Ints, cliques: Ints, low: Ints, last_key: int, last_rank: int) -> bool:
        """Place the buffers ``rest``, which lie at ``low`` or above, after the given key and rank."""
        table = self.table
        if table.nodes >= self.until:
            raise OutOfNodes
        table.nodes += 1
        keys, ranks = low[rest] + self.key[rest], self.rank[rest]
        # A buffer that was passed over stays out until another one lifts it.
        waiting = (keys < last_key) | ((keys == last_key) & (ranks < last_rank))
        tops = np.where(table.fixed[rest] < 0, keys + table.reach[rest], FAR)
        ceiling = int(tops.min())
        candidates = np.flatnonzero(~waiting & (keys < ceiling))
        if not len(candidates):
            return False
        passed = int(tops[waiting].min(initial=FAR))
        state = blake2b(rest.tobytes() + np.where(waiting, -1, low[rest]).tobytes(), digest_size=16)
        state.update(passed.to_bytes(8, "little"))
        known = state.digest()
        if table.failed.get(known, -1) >= self.limit:
            return False
        members = set(rest.tolist()) if table.has_twins else set()
        for k in candidates[np.lexsort((ranks[candidates], keys[candidates]))].tolist():
            if table.twin[rest[k]] not in members:
                done, lifted = self._place(rest, k, cliques, low)
                if done:
                    return True
                if not lifted:
                    break  # with this buffer here the others have all the room they had without it
        table.failed[known] = self.limit
        return False

    def _place(self, rest: Ints, k: int, cliques: Ints, low: Ints) -> tuple[bool, bool]:
        """Place ``rest[k]`` at its low: whether that leads to a placement, and whether it lifts another buffer."""
        table, v = self.table, int(rest[k])
        self.at[v] = at = int(low[v])
        rest = np.delete(rest, k)
        if not len(rest):
            return True, False
        pushed = at + table.above[v]
        if table.aligned:
            pushed = -(-pushed // table.alignment) * table.alignment
        lifts = pushed[rest] > low[rest]
        if not lifts.any():
            raised = low
        elif (lifts & (table.fixed[rest] >= 0)).any():
            return False, True
        else:
            raised = np.maximum(low, pushed)
        key, rank = at + int(self.key[v]), int(self.rank[v])
        if self._hopeless(rest, cliques, np.maximum(raised, key - self.key)):
            return False, bool(lifts.any())
        for part in table.split(rest):
            held = cliques if len(part) == len(rest) else cliques[table.load[np.ix_(cliques, part)].any(axis=1)]
            if not self._fill(part, held, raised, key, rank):
                return False, bool(lifts.any())
        return True, bool(lifts.any())

    def _hopeless(self, rest: Ints, cliques: Ints, low: Ints) -> bool:
        """Whether a buffer, or those of a clique that lie at some height or above, reach beyond the limit."""
        table = self.table
        floor = low[rest]
        if (floor + table.size[rest] > self.limit).any() or ((low > table.fixed) & (table.fixed >= 0))[rest].any():
            return True
        falling = np.argsort(-floor, kind="stable")
        heights = table.load[np.ix_(cliques, rest[falling])].cumsum(axis=1)
        heights += floor[falling]
        return bool(heights.size) and int(heights.max()) > self.limit + table.slack
