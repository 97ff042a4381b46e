"""Which instructions lie in inner loops: in a loop, as the executed branches form it, without a loop or a call in it.

A loop whose branch back was never taken is none. It is the instructions that count, not the blocks into which the
emulator cuts them, nor how often they ran in a row: the first iteration is in the loop, and so is one that has a branch
of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from tvm_pex.microtvm.executed_blocks import Block


@dataclass(frozen=True)
class _Flow:
    """From each instruction to those that came next in the same function, behind a call to where it returned to.

    ``calls`` and ``entries`` are where a function was left for another one that came back, and where one began.
    """

    next: dict[int, set[int]] = field(default_factory=dict)
    calls: set[int] = field(default_factory=set)
    entries: set[int] = field(default_factory=set)


def inner_loops(blocks: Iterable[Block], function: Callable[[int], object]) -> set[int]:
    """The addresses of the instructions in inner loops; ``function`` tells of which function an address is."""
    flow = _flow(blocks, function)
    previous: dict[int, set[int]] = {address: set() for address in flow.next}
    for address, following in flow.next.items():
        for one in following:
            previous[one].add(address)
    inner: set[int] = set()
    pending = list(_cycles(flow.next, flow.next))
    while pending:
        loop = pending.pop()
        # No cycle that lies deeper in the loop passes where the loop is entered.
        heads = {address for address in loop if address in flow.entries or not previous[address] <= loop}
        heads = heads or {min(loop)}
        deeper = list(_cycles(flow.next, loop - heads))
        if not deeper and loop.isdisjoint(flow.calls):
            inner |= loop
        pending += deeper
    return inner


def _flow(blocks: Iterable[Block], function: Callable[[int], object]) -> _Flow:
    flow = _Flow()
    left: dict[int, int] = {}
    entered: set[int] = set()
    for block in blocks:
        for address in block.addresses:
            flow.next.setdefault(address, set())
        for address, following in pairwise(block.addresses):
            flow.next[address].add(following)
        last = block.addresses[-1]
        for follower in block.followers:
            if function(last) == function(follower):
                flow.next.setdefault(follower, set())
                flow.next[last].add(follower)
            else:
                left[last] = block.end
                entered.add(follower)
    for address, end in left.items():
        if end in entered and function(address) == function(end) and end in flow.next:
            flow.next[address].add(end)
            flow.calls.add(address)
    flow.entries.update(entered - {left[address] for address in flow.calls})
    return flow


def _cycles(following: Mapping[int, Collection[int]], among: Collection[int]) -> Iterator[set[int]]:
    """The largest sets inside ``among`` of which each reaches all, and the only one itself (Tarjan's algorithm)."""
    order: dict[int, int] = {}
    lowest: dict[int, int] = {}
    open_ones: dict[int, None] = {}
    for root in among:
        path = [] if root in order else [(root, iter(following[root]))]
        while path:
            node, rest = path[-1]
            if node not in order:
                order[node] = lowest[node] = len(order)
                open_ones[node] = None
            new = None
            for one in rest:
                if one in open_ones:
                    lowest[node] = min(lowest[node], order[one])
                elif one in among and one not in order:
                    new = one
                    break
            if new is not None:
                path.append((new, iter(following[new])))
                continue
            path.pop()
            if path:
                lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[node])
            if lowest[node] == order[node]:
                found = set()
                while node not in found:
                    found.add(open_ones.popitem()[0])
                if len(found) > 1 or node in following[node]:
                    yield found
