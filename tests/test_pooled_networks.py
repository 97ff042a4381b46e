"""Networks in several memory pools, each of exactly its peak between guard bytes, give the bytes of a reference."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from model_files import OWN, shared_model
from random_networks import random_network
from test_random_networks import RUNS, expected, run

from tvm_pex.compiler import CompiledModel, compile_model
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.memory_planner import plan_memory
from tvm_pex.options import PlanOptions
from tvm_pex.packing.validator import fault_of_pools
from tvm_pex.pools import MemoryPool, part_of
from tvm_pex.scheduling.search import OverBudget
from tvm_pex.verification.verify import reference_build, sample_inputs, verify


def drawn_pools(seed: int, least: int) -> tuple[MemoryPool, ...]:
    """Two or three, of which the dearest holds all; in any order."""
    rng = random.Random(seed)
    sizes = [rng.randrange(1, max(least, 2)) for _ in range(rng.choice((1, 1, 2)))]
    costs = sorted(rng.sample(range(20), len(sizes) + 1))
    pools = [MemoryPool(f"pool{cost}", size, cost) for size, cost in zip([*sizes, 4 * least], costs)]
    return tuple(rng.sample(pools, len(pools)))


def check_pools(compiled: CompiledModel) -> None:
    """Nothing above its size, and no buffer in a dearer pool than one that has room for it."""
    memory = compiled.memory
    assert compiled.report["executed_macs"] == compiled.report["macs"]
    assert fault_of_pools(memory.problem, memory.accesses, memory.pools) is None
    assert compiled.arena_bytes == sum(pool.peak_bytes for pool in compiled.pools)
    for dear in memory.pools:
        for cheap in memory.pools:
            if cheap.pool.cost >= dear.pool.cost:
                continue
            for name in dear.plan.offsets:
                together = part_of(memory.problem, frozenset({name, *cheap.plan.offsets}))
                room = plan_memory(together, budget=cheap.pool.bytes, effort=300).peak
                assert memory.accesses[name] == 0 or not cheap.pool.holds(room), (name, cheap.pool)


@pytest.mark.parametrize("seed", range(700, 722))
def test_random_network(seed: int, tmp_path: Path) -> None:
    stock = seed % 6 == 0
    model = random_network(seed, stock=stock).model
    pools = drawn_pools(seed, compile_model(model).arena_bytes)
    compiled = compile_model(model, PlanOptions(overwrite_input=seed % 2 == 1, pools=pools))
    check_pools(compiled)
    samples = sample_inputs(model, RUNS, seed)
    exact = {pool.name: pool.peak_bytes for pool in compiled.pools}
    places = {"input_places": compiled.input_places, "output_places": compiled.output_places}
    actual = run(compiled.build, samples, tmp_path / "pex", pools=exact, **places)
    if stock:
        reference, _ = reference_build(model, without=())
        wanted = run(reference, samples, tmp_path / "stock", pools={"arena": reference.workspace_bytes})
    else:
        wanted = expected(model, samples)
    assert [output.tobytes() for output in actual] == [output.tobytes() for output in wanted]


@pytest.fixture(scope="module")
def alone() -> CompiledModel:
    return compile_model(load_model(OWN))


def test_own_model(alone: CompiledModel) -> None:
    model = alone.model
    compiled = compile_model(model, PlanOptions(pools=(MemoryPool("sram", 4096, 1), MemoryPool("psram", 65536, 8))))
    check_pools(compiled)
    sram, psram = compiled.pools
    assert sram.accesses / sram.peak_bytes > 4 * psram.accesses / psram.peak_bytes
    assert sram.accesses + psram.accesses >= alone.pools[0].accesses
    result = verify(model, compiled, inputs=4, sanitize=True)
    assert result.passed, result
    assert result.pools == compiled.pools


def test_a_fast_pool_that_holds_all(alone: CompiledModel) -> None:
    pools = (MemoryPool("psram", 1 << 20, 8), MemoryPool("sram", 1 << 20, 1))
    compiled = compile_model(alone.model, PlanOptions(pools=pools))
    assert compiled.pools[0].peak_bytes == 0
    assert {place.pool for place in compiled.input_places.values()} == {"sram"}
    assert "void* psram;\n  void* sram;" in compiled.build.files["codegen/host/include/tvmgen_default.h"]


def test_pools_that_are_too_small(alone: CompiledModel) -> None:
    with pytest.raises(OverBudget) as error:
        compile_model(alone.model, PlanOptions(pools=(MemoryPool("a", 3000, 1), MemoryPool("b", 6000, 2))))
    assert (error.value.budget, error.value.least_bytes) == (9000, alone.arena_bytes)
    assert "conv0" in error.value.operators


def test_shared_model() -> None:
    model = load_model(shared_model("person_detect"))
    compiled = compile_model(model, PlanOptions(pools=(MemoryPool("sram", 8192, 1), MemoryPool("psram", 65536, 8))))
    check_pools(compiled)
    result = verify(model, compiled, inputs=6)
    assert result.passed, result
