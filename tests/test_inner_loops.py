"""Inner loops of random programs, whose loops are known, however their execution is cut into blocks."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from tvm_pex.microtvm.executed_blocks import Block
from tvm_pex.microtvm.inner_loops import inner_loops

SIZE = 2  # bytes of an instruction
FAR = 10_000  # where the other side of a branch lies
CALLED = 20_000  # a function of two instructions
CALLER = 40_000
SEEDS = 300


@dataclass
class Loop:
    """``tail`` goes back to the body's begin or on; ``holds`` a loop that repeated, or a call.

    With an ``entry``, which jumps to the tail, it is the tail that begins each round.
    """

    entry: int | None
    body: list[Part]
    tail: int
    repeated: bool = False
    holds: bool = False
    executed: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Branch:
    """One side follows ``test``, the other lies far away; each ends in a jump."""

    test: int
    sides: tuple[list[Part], list[Part]]
    jumps: tuple[int, int]


@dataclass(frozen=True)
class Call:
    at: int


Part = int | Loop | Branch | Call


class Program:
    """What a random program executes: ``trace`` has addresses, ``ends`` those at which every block ends."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.near, self.far = 0, FAR
        self.trace: list[int] = []
        self.ends = {CALLED + SIZE}
        self.loops: list[Loop] = []
        parts = [*self.parts(0, False), self.place(False)]
        for _ in range(2):
            self.trace.append(CALLER)
            self.run(parts, ())

    def place(self, far: bool, *, ends: bool = False) -> int:
        address = self.far if far else self.near
        if far:
            self.far += SIZE
        else:
            self.near += SIZE
        if ends:
            self.ends.add(address)
        return address

    def parts(self, depth: int, far: bool) -> list[Part]:
        return [self.part(depth, far) for _ in range(self.random.randrange(5 - depth))]

    def part(self, depth: int, far: bool) -> Part:
        kind = self.random.choice(("plain", "plain", "call", "loop", "loop", "branch"))
        if kind == "call":
            return Call(self.place(far, ends=True))
        if kind == "loop":
            entry = self.place(far, ends=True) if self.random.random() < 0.5 else None
            # Two loops that begin with the same instruction could not be told apart.
            head = [self.place(far)] if entry is None else []
            loop = Loop(entry, [*head, *self.parts(depth + 1, far)], self.place(far, ends=True))
            self.loops.append(loop)
            return loop
        if kind == "branch":
            test = self.place(far, ends=True)
            sides = [(self.parts(depth + 1, side), self.place(side, ends=True)) for side in (far, True)]
            return Branch(test, (sides[0][0], sides[1][0]), (sides[0][1], sides[1][1]))
        return self.place(far)

    def run(self, parts: list[Part], around: tuple[Loop, ...]) -> None:
        for part in parts:
            if isinstance(part, int):
                self.step(part, around)
            elif isinstance(part, Call):
                self.step(part.at, around)
                self.trace += [CALLED, CALLED + SIZE]
                for loop in around:
                    loop.holds = True
            elif isinstance(part, Branch):
                side = self.random.randrange(2)
                self.step(part.test, around)
                self.run(part.sides[side], around)
                self.step(part.jumps[side], around)
            else:
                rounds = self.random.choice((1, 1, 2, 3))
                if part.entry is not None:
                    self.step(part.entry, around)
                    self.step(part.tail, (*around, part))
                    rounds -= 1
                for _ in range(rounds):
                    self.run([*part.body, part.tail], (*around, part))
                if rounds > (part.entry is None):
                    part.repeated = True
                    for loop in around:
                        loop.holds = True

    def step(self, address: int, around: tuple[Loop, ...]) -> None:
        self.trace.append(address)
        for loop in around:
            loop.executed.add(address)

    def inner(self) -> set[int]:
        return {address for loop in self.loops if loop.repeated and not loop.holds for address in loop.executed}

    def blocks(self) -> list[Block]:
        """Cut where there is a branch, where execution goes on elsewhere, and at random."""
        cut: list[tuple[int, ...]] = []
        run: list[int] = []
        for address, after in zip(self.trace, [*self.trace[1:], -1]):
            run.append(address)
            if address in self.ends or after != address + SIZE or self.random.random() < 0.2:
                cut.append(tuple(run))
                run = []
        blocks = {addresses: Block(addresses, addresses[-1] + SIZE) for addresses in cut}
        for addresses, after in pairwise(cut):
            blocks[addresses].followers.add(after[0])
        return list(blocks.values())


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_programs(seed: int) -> None:
    program = Program(seed)
    assert inner_loops(program.blocks(), lambda address: address // CALLED) == program.inner()


def test_programs_have_what_matters() -> None:
    loops = [loop for seed in range(SEEDS) for loop in Program(seed).loops]
    assert sum(loop.repeated and not loop.holds for loop in loops) > 80
    assert sum(loop.repeated and loop.holds for loop in loops) > 80
    assert sum(bool(loop.executed) and not loop.repeated for loop in loops) > 80
