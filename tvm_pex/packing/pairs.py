"""The exact search for problems without keys: decide, pair by pair, which buffer lies below the other."""

from __future__ import annotations

import numpy as np

from tvm_pex.packing.table import FAR, Ints, OutOfNodes, Table

LARGEST_PART = 40  # the search may be as deep as there are pairs, and Python's stack has an end


def decide_pairs(table: Table, limit: int, until: int) -> Ints | None:
    """Offsets with a peak of at most ``limit``, or None if there are none. Raises OutOfNodes."""
    if len(table.size) > LARGEST_PART:
        table.nodes = until
        raise OutOfNodes
    return _decide(table, np.full_like(table.above, -FAR), np.maximum(table.fixed, 0), limit, until)


def _decide(table: Table, decided: Ints, low: Ints, limit: int, until: int) -> Ints | None:
    """``decided[v, w]`` is ``above[v, w]`` where v was chosen to lie below w; offsets are ``low`` or more."""
    if table.nodes >= until:
        raise OutOfNodes
    table.nodes += 1
    settled = _settle(table, decided, low, limit)
    if settled is None:
        return None
    higher = settled[None, :] - settled[:, None]
    missing = np.where(table.above > -FAR, np.minimum(table.above - higher, table.above.T + higher), 0)
    if (missing <= 0).all():
        return settled
    v, w = (int(k) for k in np.unravel_index(int(missing.argmax()), missing.shape))
    if table.above[v, w] - higher[v, w] > table.above[w, v] + higher[v, w]:
        v, w = w, v
    for below, over in ((v, w), (w, v)):
        branch = decided.copy()
        branch[below, over] = table.above[below, over]
        found = _decide(table, branch, settled, limit, until)
        if found is not None:
            return found
    return None


def _settle(table: Table, decided: Ints, low: Ints, limit: int) -> Ints | None:
    """The least offsets that respect what is decided, or None if they reach beyond the limit or move a fixed buffer."""
    while True:
        pushed: Ints = (low[:, None] + decided).max(axis=0)
        pushed = np.maximum(low, -(-pushed // table.alignment) * table.alignment)
        if (pushed + table.size > limit).any() or (pushed[table.fixed >= 0] > table.fixed[table.fixed >= 0]).any():
            return None
        if (pushed == low).all():
            return pushed
        low = pushed
