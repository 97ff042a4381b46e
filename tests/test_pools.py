"""Several memory pools: literal problems, brute force over all assignments, broken plans."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph
from test_memory_planner import any_problem, least_peak

from tvm_pex.memory_planner import Buffer, Plan, Problem, plan_memory
from tvm_pex.packing.validator import fault_of_pools
from tvm_pex.pools import ARENA, MemoryPool, PoolPlan, PoolsTooSmall, access_cost, assign, part_of, plan_pools
from tvm_pex.scheduling.accesses import schedule_accesses
from tvm_pex.scheduling.cost import schedule_instructions
from tvm_pex.scheduling.lifetimes import memory_problem
from tvm_pex.scheduling.pooled import find_pooled_schedule
from tvm_pex.scheduling.schedule import Schedule, check_once
from tvm_pex.scheduling.search import find_front

FAST, SLOW = MemoryPool("sram", 10, 1), MemoryPool("psram", 100, 4)
BUFFERS = (Buffer("hot", 8, 0, 3), Buffer("warm", 6, 0, 1), Buffer("cold", 7, 2, 3))


def names(problem: Problem, accesses: dict[str, int], *pools: MemoryPool) -> list[list[str]]:
    placed = plan_pools(problem, accesses, pools)
    assert fault_of_pools(problem, accesses, placed) is None
    return [sorted(used.plan.offsets) for used in placed]


def test_what_is_hot_lies_in_the_fast_pool() -> None:
    problem = Problem(BUFFERS)
    assert names(problem, {"hot": 90, "warm": 50, "cold": 10}, FAST, SLOW) == [["hot"], ["cold", "warm"]]
    # One place for two buffers that are never alive together.
    assert names(problem, {"hot": 90, "warm": 50, "cold": 41}, FAST, SLOW) == [["cold", "warm"], ["hot"]]
    roomy = replace(FAST, bytes=15)
    assert names(problem, {"hot": 9, "warm": 5, "cold": 1}, roomy, SLOW) == [["cold", "hot", "warm"], []]


def test_costs_decide_which_pool_is_fast_not_their_order() -> None:
    problem, accesses = Problem(BUFFERS), {"hot": 90, "warm": 50, "cold": 10}
    assert names(problem, accesses, SLOW, FAST) == [["cold", "warm"], ["hot"]]
    assert names(problem, accesses, FAST, MemoryPool("mid", 6, 2), SLOW) == [["hot"], ["warm"], ["cold"]]


def test_in_place_counts_inside_a_pool() -> None:
    buffers = (Buffer("in", 10, 0, 1), Buffer("out", 10, 1, 2))
    accesses = {"in": 1, "out": 1}
    assert names(Problem(buffers), accesses, FAST, SLOW) == [["in"], ["out"]]
    assert names(Problem(buffers, {("out", "in"): 0}), accesses, FAST, SLOW) == [["in", "out"], []]


def test_one_arena_is_a_pool_without_a_size() -> None:
    problem = any_problem(random.Random(1), 12)
    (used,) = plan_pools(problem, dict.fromkeys((b.name for b in problem.buffers), 1), (ARENA,))
    assert (used.problem, used.plan) == (problem, plan_memory(problem))


def test_pools_that_are_too_small() -> None:
    with pytest.raises(PoolsTooSmall):
        plan_pools(Problem(BUFFERS), {"hot": 1, "warm": 1, "cold": 1}, (FAST, replace(SLOW, bytes=5)))


# Brute force ---------------------------------------------------------------------------------------------------------


def least_cost(problem: Problem, accesses: dict[str, int], pools: tuple[MemoryPool, ...]) -> int | None:
    """Over all assignments whose parts fit, tried byte by byte."""
    known: dict[frozenset[str], int] = {frozenset(): 0}
    best = None
    for chosen in product(range(len(pools)), repeat=len(problem.buffers)):
        members = tuple(
            frozenset(b.name for b, k in zip(problem.buffers, chosen) if k == pool) for pool in range(len(pools))
        )
        cost = access_cost(accesses, pools, members)
        if best is not None and cost >= best:
            continue
        for part in members:
            if part not in known:
                known[part] = least_peak(part_of(problem, part))
        if all(pool.bytes is not None and known[part] <= pool.bytes for pool, part in zip(pools, members)):
            best = cost
    return best


def drawn(seed: int) -> tuple[Problem, dict[str, int], tuple[MemoryPool, ...]]:
    rng = random.Random(seed)
    problem = any_problem(
        rng,
        rng.randrange(2, 7),
        distances=rng.choice((0, 0.3)),
        lowest=rng.choice((0, -8)),
        aligned=seed % 2 == 0,
        conflicts=seed % 5 == 0,
    )
    accesses = {b.name: rng.randrange(20) for b in problem.buffers}
    pools = tuple(MemoryPool(f"p{k}", rng.randrange(1, 16), rng.randrange(6)) for k in range(rng.randrange(2, 4)))
    return problem, accesses, pools


def test_equals_brute_force() -> None:
    spread = impossible = 0
    for seed in range(120):
        problem, accesses, pools = drawn(seed)
        least = least_cost(problem, accesses, pools)
        if least is None:
            impossible += 1
            with pytest.raises(PoolsTooSmall):
                plan_pools(problem, accesses, pools)
            continue
        placed = plan_pools(problem, accesses, pools)
        assert (seed, fault_of_pools(problem, accesses, placed)) == (seed, None)
        assert (seed, sum(used.pool.cost * used.accesses for used in placed)) == (seed, least)
        spread += sum(bool(used.plan.offsets) for used in placed) > 1
    assert spread > 30 and impossible > 10, (spread, impossible)


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 18))
def test_plans_are_valid_and_do_not_depend_on_the_order(rng: random.Random, count: int) -> None:
    problem = any_problem(rng, count, distances=0.1, lowest=-50, aligned=True, largest=100)
    accesses = {b.name: rng.randrange(1000) for b in problem.buffers}
    pools = (MemoryPool("fast", rng.randrange(1, 200), 1), MemoryPool("slow", 100 * count, 5))
    members = assign(problem, accesses, pools, tries=40)
    shuffled = replace(problem, buffers=tuple(rng.sample(problem.buffers, count)))
    assert assign(shuffled, accesses, pools, tries=40) == members
    placed = plan_pools(problem, accesses, pools)
    assert fault_of_pools(problem, accesses, placed) is None
    assert sum(used.pool.cost * used.accesses for used in placed) <= access_cost(accesses, pools, members)


# Schedules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3000, 3008))
def test_the_schedule_of_least_instructions_and_accesses(seed: int) -> None:
    graph = random_graph(seed)
    kept = frozenset(graph.inputs)
    front = find_front(graph, kept=kept)
    fast = random.Random(seed).randrange(1, front[-1].arena_bytes + 1)
    pools = (MemoryPool("fast", fast, 1), MemoryPool("slow", front[0].arena_bytes, 50))

    def price(schedule: Schedule) -> int:
        accesses = schedule_accesses(graph, schedule)
        placed = plan_pools(memory_problem(graph, schedule, kept=kept), accesses, pools)
        return schedule_instructions(graph, schedule) + sum(used.pool.cost * used.accesses for used in placed)

    chosen = find_pooled_schedule(graph, pools, kept=kept)
    check_once(graph, chosen)
    assert price(chosen) == min(price(choice.schedule) for choice in front)
    with pytest.raises(PoolsTooSmall):
        find_pooled_schedule(graph, (replace(ARENA, bytes=graph.tensors[graph.inputs[0]].bytes - 1),), kept=kept)


# The validator -------------------------------------------------------------------------------------------------------

PROBLEM = Problem((Buffer("a", 8, 0, 1, 4), Buffer("b", 6, 1, 2)))
ACCESSES = {"a": 5, "b": 7}
IN_FAST = PoolPlan(FAST, part_of(PROBLEM, frozenset("a")), Plan({"a": 0}, 8, True, 8), 5)
IN_SLOW = PoolPlan(SLOW, part_of(PROBLEM, frozenset("b")), Plan({"b": 0}, 6, True, 6), 7)
TOGETHER = PoolPlan(SLOW, PROBLEM, Plan({"a": 0, "b": 7}, 13, False, 8), 12)


@pytest.mark.parametrize(
    ("pools", "reason"),
    [
        ((IN_FAST, IN_SLOW), None),
        ((IN_FAST,), "the pools hold ['a']: not each buffer once"),
        ((IN_FAST, IN_SLOW, IN_FAST), "the pools hold ['a', 'a', 'b']: not each buffer once"),
        ((replace(IN_FAST, plan=Plan({"a": 4}, 12, False, 8)), IN_SLOW), "sram: the peak 12 is above its size 10"),
        ((replace(IN_FAST, plan=Plan({"a": 2}, 10, False, 8)), IN_SLOW), "sram: a lies at 2, not a multiple of 4"),
        ((replace(IN_FAST, accesses=6), IN_SLOW), "sram: its buffers do not have 6 accesses"),
        ((TOGETHER,), "psram: a at 0 and b at 7 are too close"),
    ],
)
def test_the_validator_says_why(pools: tuple[PoolPlan, ...], reason: str | None) -> None:
    assert fault_of_pools(PROBLEM, ACCESSES, pools) == reason
