"""Random networks, compiled and run in an arena of exactly their size, give the bytes of a reference.

Every fifth network may hold operators that stay with TVM and is compared with what stock TVM builds of it; the others
must be owned whole and are compared with tests/interpreter.py, which takes a hundredth of the time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interpreter import run_graph
from random_networks import RandomNetwork, random_network

from tvm_pex._tvm import relay
from tvm_pex.compiler import CompiledModel, compile_model, memory_front
from tvm_pex.frontend.reader import read_function
from tvm_pex.frontend.tflite_model import Model
from tvm_pex.lowering.aot import CBuild
from tvm_pex.microtvm.bare_metal.build import in_one_arena
from tvm_pex.microtvm.boards import BOARDS
from tvm_pex.options import PlanOptions
from tvm_pex.packing.validator import fault_of_pools
from tvm_pex.verification.firmware import Task, run_firmware
from tvm_pex.verification.host_run.run import compile_host, run_host
from tvm_pex.verification.verify import reference_build, sample_inputs

NETWORKS, WIDE = 320, 10
RUNS = 4
FLAGS = ("-std=gnu99", "-O0", "-ffp-contract=off", "-w")  # compiling takes longer than running
AXES: tuple[tuple[str, ...], ...] = (
    ("rows",), ("rows", "pixels"), ("channels",), ("rows", "pixels", "channels"), (),
)  # fmt: skip
CORES = (None, "cortex-m4", "cortex-m55", "cortex-m3")
Outputs = list[np.ndarray[Any, Any]]

logging.getLogger("te_compiler").setLevel(logging.ERROR)


def options_of(network: RandomNetwork, *, stock: bool) -> PlanOptions:
    """All by lot. A budget lies between the least memory and the fastest's: without what stock operators need."""
    rng = np.random.default_rng([network.seed, 2])
    axes, core = AXES[rng.integers(len(AXES))], CORES[rng.integers(len(CORES))]
    options = PlanOptions(axes, bool(rng.random() < 0.5), max_overhead=float(rng.choice([1, 1, 1.5])), core=core)
    if rng.random() < 0.4 and not stock:
        points = memory_front(network.model, options)
        least, most = points[-1].arena_bytes, points[0].arena_bytes
        options = replace(options, ram=least + int((most - least) * rng.random()))
    return options


def run(build: CBuild, samples: Mapping[str, Any], folder: Path, *, sanitize: bool = False, **place: Any) -> Outputs:
    """All runs of each output; whatever is written outside its place fails, and what a sanitizer finds."""
    program = compile_host(build, folder, flags=FLAGS, sanitize=sanitize)
    result = run_host(program, samples, **place)
    assert result.guard_intact, result.guard_faults
    return [result.outputs[port.name] for port in build.outputs]


def expected(model: Model, samples: Mapping[str, Any]) -> Outputs:
    """What the interpreter gives for each output; every operator of the model must be owned."""
    main = model.mod["main"]
    reading = read_function(main)
    assert not reading.refused, reading.refused
    names = {expr: name for name, expr in reading.uses}
    results = list(main.body.fields) if isinstance(main.body, relay.Tuple) else [main.body]
    runs = []
    for index in range(RUNS):
        values = run_graph(reading.graph, {name: samples[name][index] for name in reading.graph.inputs})
        runs.append([values[names[expr]].reshape(port.shape) for expr, port in zip(results, model.outputs)])
    return [np.stack(output) for output in zip(*runs)]


def check_report(compiled: CompiledModel, options: PlanOptions) -> None:
    report, max_overhead = compiled.report, options.max_overhead
    assert options.ram is None or compiled.arena_bytes <= options.ram, (compiled.arena_bytes, options.ram)
    executed, once = report["executed_macs"], report["macs"]
    assert executed <= max_overhead * once if max_overhead > 1 else executed == once, (executed, once)
    memory = compiled.memory
    fault = fault_of_pools(memory.problem, memory.accesses, memory.pools)
    assert fault is None, fault
    assert compiled.build.workspace_bytes <= compiled.arena_bytes
    if not report["refused"] and options.ram is None:
        limit = -(-report["layer_by_layer_bytes"] // 4) * 4  # floats do not lie anywhere
        assert compiled.arena_bytes <= limit, (compiled.arena_bytes, limit)


def with_odd_floats(samples: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Floats that are no index: many that lie half between two steps, some far outside, some infinite."""
    rng, found = np.random.default_rng(seed), dict(samples)
    for name, values in samples.items():
        if values.dtype == np.float32 and (values % 1).any():
            odd = [np.inf, -np.inf, 3e38, -3e38, 0.0, -0.0, 1e-40, 0.5]
            shape = values.shape[1:]
            runs = [rng.integers(-1024, 1024, shape) / 128, rng.integers(-1024, 1024, shape) / 32]
            runs += [rng.uniform(-40, 40, shape), rng.choice(odd, shape)]
            found[name] = np.stack(runs).astype(np.float32)
    return found


def check(network: RandomNetwork, folder: Path, *, stock: bool, sanitize: bool = False) -> None:
    model = network.model
    options = options_of(network, stock=stock)
    told = f"seed {network.seed}, stock={stock}, {options}: {network.description}"
    try:
        compiled = compile_model(model, options)
        check_report(compiled, options)
        samples = with_odd_floats(sample_inputs(model, RUNS, network.seed), network.seed)
        places = {"input_places": compiled.input_places, "output_places": compiled.output_places}
        pools = {pool.name: pool.peak_bytes for pool in compiled.pools}
        actual = run(compiled.build, samples, folder / "pex", sanitize=sanitize, pools=pools, **places)
        if stock:
            reference, _ = reference_build(model, without=())
            wanted = run(reference, samples, folder / "stock", pools={"arena": reference.workspace_bytes})
            ports = sum(port.bytes for port in (*reference.inputs, *reference.outputs))
            limit = reference.workspace_bytes + ports
            assert options.ram or compiled.arena_bytes <= limit, (compiled.arena_bytes, limit)
        else:
            wanted = expected(model, samples)
    except Exception as error:  # the seed must not get lost, whatever broke
        raise AssertionError(f"{told}: {error}") from error
    for index, (one, other) in enumerate(zip(actual, wanted, strict=True)):
        assert one.tobytes() == other.tobytes(), f"{told}: output {index} differs"


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_random_network(seed: int, tmp_path: Path) -> None:
    stock, sanitize = seed % 5 == 0, seed % 5 == 1  # stock C may shift too far: the sanitizer is for ours
    check(random_network(seed, stock=stock), tmp_path, stock=stock, sanitize=sanitize)


@pytest.mark.parametrize("seed", range(WIDE))
def test_random_network_of_int16(seed: int, tmp_path: Path) -> None:
    stock = seed % 4 == 0
    check(random_network(seed, stock=stock, wide=True), tmp_path, stock=stock, sanitize=not stock)


@pytest.mark.parametrize("seed", range(1000, 1005))
@pytest.mark.parametrize("board", ["mps2-an385", "mps2-an386", "mps3-an547"])
def test_random_network_as_firmware(board: str, seed: int) -> None:
    """Where the kernels are other code than here."""
    network = random_network(seed)
    model, device = network.model, BOARDS[board]
    options = replace(options_of(network, stock=True), core=device.cpu)
    compiled = compile_model(model, options)
    samples = with_odd_floats(sample_inputs(model, RUNS, seed), seed)
    wanted = dict(zip([port.name for port in compiled.build.outputs], expected(model, samples), strict=True))
    places = compiled.input_places, compiled.output_places
    task = Task(device, device, samples, wanted)
    report = run_firmware(in_one_arena(compiled.build, compiled.pool_bytes, *places), task)
    assert report.exact, f"{board}, seed {seed}, {options}: {network.description}"


def test_networks_are_reproducible() -> None:
    one, other = random_network(7), random_network(7)
    assert one.description == other.description
    assert relay.analysis.free_vars(one.model.mod["main"].body)[0].name_hint == "x"
    assert one.model.mod["main"].astext() == other.model.mod["main"].astext()
