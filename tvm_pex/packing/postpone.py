"""A second exact search, for tables that are ``plain``: place a buffer where it has sunk to, or postpone it.

In a placement of the least sum of offsets every buffer lies at its *low*, the least offset that those below it allow. A
buffer below which no other one of the rest fits is at its low now, or will be lifted by one of the rest: two branches.
Unlike the search by keys this may take the buffers in any order: of the lowest, the one where least room is left.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from tvm_pex.packing.table import FAR, Flags, Ints, Order, OutOfNodes, Table, slim

ROUNDS_OF_LIFTING = 2


class Postponement:
    """One depth-first search below a limit; of two buffers as low and as hard the first by ``order`` comes first."""

    def __init__(self, table: Table, limit: int, order: Order, until: int) -> None:
        self.table, self.limit, self.until = table, limit, until
        self.rank = table.rank(order, np.arange(len(table.size)), table.load)
        self.at = np.zeros_like(table.size)

    def run(self) -> Ints | None:
        everything = np.arange(len(self.at))
        nothing = np.zeros(len(self.at), dtype=np.bool_)
        return self.at if self._fill(everything, self.table.load, np.zeros_like(self.at), nothing) else None

    def _fill(self, rest: Ints, load: Ints, low: Ints, postponed: Flags) -> bool:
        """Place the buffers ``rest``, of which the ``postponed`` lie above their ``low``.

        ``load`` is the table's, for the cliques that matter and the buffers in ``rest``.
        """
        table = self.table
        known = blake2b(rest.tobytes() + low.tobytes() + postponed.tobytes(), digest_size=16).digest()
        if table.failed.get(known, -1) >= self.limit:
            return False
        above = table.above[np.ix_(rest, rest)]
        ready = low < np.where(above > -FAR, low[:, None] + above, FAR).min(axis=0)  # nothing fits below
        while True:
            candidates = np.flatnonzero(ready & ~postponed)
            room = self._room(rest, load, self._floor(above, low, postponed))
            if room is None or not len(candidates):
                break
            tight = np.where(load[:, candidates] > 0, room[:, None], FAR).min(axis=0, initial=FAR)
            k = int(candidates[np.lexsort((self.rank[rest[candidates]], tight, low[candidates]))[0]])
            done, lifts = self._place(rest, k, load, low, postponed)
            if done:
                return True
            if not lifts:
                break  # with this buffer here the others have all the room they had without it
            postponed = postponed.copy()
            postponed[k] = True
        table.failed[known] = self.limit
        return False

    def _floor(self, above: Ints, low: Ints, postponed: Flags) -> Ints:
        """Offsets that the buffers reach at least: a postponed one will lie on another one of the rest."""
        floor, late = low.copy(), np.flatnonzero(postponed)
        if len(late):
            onto = above[:, late]
            for _ in range(ROUNDS_OF_LIFTING):
                lift = np.where(onto > -FAR, onto + floor[:, None], FAR).min(axis=0)
                floor[late] = np.maximum(floor[late], lift)
        return floor

    def _room(self, rest: Ints, load: Ints, floor: Ints) -> Ints | None:
        """What each clique may still waste if its buffers lie at ``floor`` or above; None if they do not fit."""
        if (floor + self.table.size[rest] > self.limit).any():
            return None
        falling = np.argsort(-floor, kind="stable")
        sorted_load = load[:, falling]
        heights = sorted_load.cumsum(axis=1) + np.where(sorted_load > 0, floor[falling], 0)
        room: Ints = self.limit + self.table.slack - heights.max(axis=1)
        return None if (room < 0).any() else room

    def _place(self, rest: Ints, k: int, load: Ints, low: Ints, postponed: Flags) -> tuple[bool, bool]:
        """Place ``rest[k]`` at its low: whether that leads to a placement, and whether it lifts another buffer."""
        table, v = self.table, int(rest[k])
        if table.nodes >= self.until:
            raise OutOfNodes
        table.nodes += 1
        self.at[v] = low[k]
        others = np.delete(np.arange(len(rest)), k)
        rest, load = rest[others], load[:, others]
        raised = np.maximum(low[others], low[k] + table.above[v, rest])
        lifted = raised > low[others]
        waiting = postponed[others] & ~lifted
        for part in table.split(rest):
            if not self._fill(rest[part], slim(load[:, part]), raised[part], waiting[part]):
                return False, bool(lifted.any())
        return True, bool(lifted.any())
