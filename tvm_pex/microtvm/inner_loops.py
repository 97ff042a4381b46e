"""Which instructions lie in inner loops: in a loop, as the executed branches form it, without a loop or a call in it.

A loop whose branch back was never taken is none; two that begin with the same instruction are one. It is the
instructions that count, not the blocks into which the emulator cuts them, nor how often they ran in a row: the first
iteration is in the loop, and so is the side of a branch in it, wherever the compiler put that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from tvm_pex.microtvm.executed_blocks import Block


@dataclass(frozen=True)
class _Flow:
    """From each instruction to those that came next in its function, from a call to where it came back.

    ``calls`` are those that left the function for another one, which came back.
    """

    next: dict[int, set[int]] = field(default_factory=dict)
    calls: set[int] = field(default_factory=set)


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
        # Where it is entered; a function may begin with a loop. No cycle that lies deeper in the loop comes there.
        heads = {address for address in loop if not previous[address] <= loop} or {min(loop)}
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
        if end in entered and end in flow.next and function(address) == function(end):
            flow.next[address].add(end)
            flow.calls.add(address)
    return flow


def _cycles(following: Mapping[int, Collection[int]], among: Collection[int]) -> Iterator[set[int]]:
    """The largest sets inside ``among`` in which each reaches each, itself included (Tarjan's algorithm)."""
    order: dict[int, int] = {}
    lowest: dict[int, int] = {}
    unfinished: dict[int, None] = {}
    for root in among:
        path = [] if root in order else [(root, iter(following[root]))]
        while path:
            node, rest = path[-1]
            if node not in order:
                order[node] = lowest[node] = len(order)
                unfinished[node] = None
            for one in rest:
                if one in unfinished:
                    lowest[node] = min(lowest[node], order[one])
                elif one in among and one not in order:
                    path.append((one, iter(following[one])))
                    break
            else:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[node])
                if lowest[node] == order[node]:
                    found = set()
                    while node not in found:
                        found.add(unfinished.popitem()[0])
                    if len(found) > 1 or node in following[node]:
                        yield found
