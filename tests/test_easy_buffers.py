"""Buffers that the planner leaves out of its search fit in wherever it has put the others."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from test_memory_planner import FLAVOURS, any_problem, least_peak

from tvm_pex.memory_planner import Buffer, Plan, Problem, packing_of, plan_memory
from tvm_pex.packing.easy import easy_buffers
from tvm_pex.packing.placement import Choice, Link, Packing, lowest, place, place_among
from tvm_pex.packing.validator import fault_of


def packed(problem: Problem) -> Packing:
    return packing_of(problem, list(problem.buffers))


def test_a_small_neighbour_is_easy_and_a_large_one_is_not() -> None:
    """Beside 6 of 10 bytes, 1 byte loses 6 of its 10 offsets; 4 bytes lose 9 of 7."""
    buffers = (Buffer("wide", 6, 0, 1), Buffer("wider", 6, 3, 4), Buffer("small", 1, 1, 2), Buffer("large", 4, 3, 3))
    assert easy_buffers(packed(Problem(buffers)), 10) == [2, 0]
    assert easy_buffers(packed(Problem(buffers, fixed={"small": 0})), 10) == []


def test_alignment_leaves_fewer_offsets() -> None:
    buffers = (Buffer("wide", 6, 0, 1), Buffer("small", 1, 1, 1, 4))
    packing = packed(Problem(buffers, fixed={"wide": 0}))
    assert easy_buffers(packing, 12) == [1]  # 0, 4 and 8, of which 6 bytes take two at most
    assert easy_buffers(packing, 8) == []


def anywhere(rng: random.Random, limit: int) -> Choice:
    """Any offset below the limit that is free, or the limit, where there is none."""

    def choose(forbidden: list[Link], alignment: int, own: int, top: int) -> int:
        free = [
            at for at in range(0, limit - own + 1, alignment) if not any(start < at < end for start, end in forbidden)
        ]
        return rng.choice(free) if free else limit

    return choose


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_they_fit_in_wherever_the_others_lie(flavour: str) -> None:
    left_out = 0
    for seed in range(150):
        rng = random.Random(seed)
        problem = FLAVOURS[flavour](rng)
        packing, limit = packed(problem), least_peak(problem) + rng.randrange(6)
        easy = easy_buffers(packing, limit)
        hard = [i for i in range(len(packing.size)) if i not in easy]
        rng.shuffle(hard)
        for _ in range(5):
            offsets = place(packing, hard, anywhere(rng, limit))
            if all(offsets[i] + packing.size[i] <= limit for i in hard):
                offsets = place_among(packing, offsets, easy[::-1], lowest)
                named = {b.name: at for b, at in zip(problem.buffers, offsets, strict=True)}
                peak = max(at + size for at, size in zip(offsets, packing.size, strict=True))
                assert (seed, fault_of(problem, Plan(named, peak, False, 0))) == (seed, None)
                assert peak <= limit, seed
                left_out += bool(hard) * len(easy)
    assert left_out > 100


def test_easy_buffers_around_a_region_do_not_change_its_plan() -> None:
    """A network's stock operators before and after a region add a few bytes, which fit in anywhere."""
    searched = 0
    for seed in range(60):
        region = any_problem(random.Random(seed), 14, distances=0.2, lowest=-40, largest=60)
        around = (Buffer("before", 1, 0, 0), Buffer("after", 1, 10, 20), Buffer("last", 2, 12, 20))
        whole = replace(region, buffers=(*region.buffers, *around))
        alone = plan_memory(region, effort=400)
        easy = easy_buffers(packed(whole), alone.lower_bound)
        if {14, 15, 16} <= set(easy):
            assert plan_memory(whole, effort=400).peak == alone.peak, seed
            searched += alone.peak != plan_memory(region, effort=0).peak
    assert searched > 10
