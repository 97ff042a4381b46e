"""The main job: a model to its schedule, its plan and its C.

``compile_model`` is the pipeline, to be read like a table of contents: partition, build with our planner, report.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, replace
from typing import Any

from tvm_pex.frontend.quantized_io import leave_quantisation
from tvm_pex.frontend.tflite_model import Model
from tvm_pex.graph import Graph
from tvm_pex.lowering.aot import CBuild, build_c
from tvm_pex.lowering.usmp import ALGORITHM, ModelMemory, ModelPlan, Span
from tvm_pex.options import PlanOptions
from tvm_pex.relay_pass import Partition, partition, read_module, split_regions
from tvm_pex.scheduling.cost import schedule_instructions, schedule_macs
from tvm_pex.scheduling.front import Point, together
from tvm_pex.scheduling.layers import layer_bytes, lower_bound
from tvm_pex.scheduling.lifetimes import layer_by_layer_bytes
from tvm_pex.scheduling.schedule import check_once
from tvm_pex.scheduling.search import OverBudget, Progress, find_front

_ATTEMPTS = 4  # at schedules that leave enough to what runs beside them


@dataclass(frozen=True)
class CompiledModel:
    """C of a whole model with its arena.

    ``model`` is what it computes: the model that was asked for, with ``quantized_io`` less its borders.
    ``input_offsets`` and ``output_offsets`` map a port's name to its place in the arena, in bytes. ``report`` has the
    keys of ``tvm-pex plan --json``. ``relay`` is the text of the module that became C, constants left out.
    """

    build: CBuild
    arena_bytes: int
    input_offsets: dict[str, int]
    output_offsets: dict[str, int]
    memory: ModelPlan
    report: dict[str, Any]
    model: Model
    graph: Graph
    relay: str


def compile_model(
    model: Model, options: PlanOptions = PlanOptions(), progress: Progress | None = None
) -> CompiledModel:
    """Finds the schedule, plans every byte and generates the C. Deterministic.

    Raises OverBudget, with the least arena and the operators that need it, if nothing fits ``options.ram``. A region
    does not know what stock operators and other regions need beside it: where that is too much, it has to do with less.
    """
    started = time.perf_counter()
    if options.quantized_io:
        model = leave_quantisation(model)
    budget = options.ram
    for _ in range(_ATTEMPTS if budget is not None else 0):
        assert budget is not None and options.ram is not None
        try:
            compiled = _compiled(model, options, budget, progress, started)
        except OverBudget:
            break
        if compiled.arena_bytes <= options.ram:
            return compiled
        budget -= compiled.arena_bytes - options.ram
    least = _compiled(model, options, None, progress, started)
    if options.ram is not None and least.arena_bytes > options.ram:
        highest = max(least.report["segments"], key=lambda segment: segment["peak_bytes"])
        raise OverBudget(options.ram, least.arena_bytes, highest["operators"])
    return least


def memory_front(model: Model, options: PlanOptions, progress: Progress | None = None) -> tuple[Point, ...]:
    """What less memory costs in instructions, from the fastest schedule down to the least memory.

    Without the scratch of stock operators: nothing is built.
    """
    if options.quantized_io:
        model = leave_quantisation(model)
    _, reading, kept = read_module(model.mod, options.overwrite_input)
    regions = split_regions(reading)
    find = functools.partial(
        find_front, axes=options.axes, kept=kept, max_overhead=options.max_overhead, progress=progress
    )
    return together([find(graph) for graph in regions])


def _compiled(
    model: Model, options: PlanOptions, budget: int | None, progress: Progress | None, started: float
) -> CompiledModel:
    cut = partition(model.mod, replace(options, ram=budget), progress)
    for graph, schedule in cut.regions:
        check_once(graph, schedule)
    watcher = ModelMemory(options.overwrite_input)
    # TVM's storage rewrite would merge our buffers behind the planner's back.
    build = build_c(cut.mod, planner=ALGORITHM, instruments=[watcher], config={"tir.disable_storage_rewrite": True})
    memory = watcher.plan
    assert memory is not None, "TVM did not plan memory"
    inputs = _offsets(build.inputs, memory.inputs, memory)
    outputs = _offsets(build.outputs, memory.outputs, memory)
    seconds = time.perf_counter() - started
    report = _report(model, cut, memory, inputs | outputs, seconds)
    graph, relay = cut.reading.graph, str(cut.mod)
    return CompiledModel(build, memory.plan.peak, inputs, outputs, memory, report, model, graph, relay)


def _offsets(ports: Any, names: tuple[str | None, ...], memory: ModelPlan) -> dict[str, int]:
    return {port.name: memory.plan.offsets[name] for port, name in zip(ports, names, strict=True) if name is not None}


def _report(model: Model, cut: Partition, memory: ModelPlan, ports: dict[str, int], seconds: float) -> dict[str, Any]:
    sizes = {buffer.name: buffer.bytes for buffer in memory.problem.buffers}
    input_bytes = sum(sizes[name] for name in memory.inputs if name is not None)
    output_bytes = sum(sizes[name] for name in memory.outputs if name is not None)
    return {
        "model": model.name,
        "input_bytes": input_bytes,
        "output_bytes": output_bytes,
        "layer_by_layer_bytes": model.layer_by_layer_bytes or layer_by_layer_bytes(cut.reading.graph),
        "arena_bytes": memory.plan.peak,
        "arena_without_io_bytes": memory.plan.peak - input_bytes - output_bytes,
        "lower_bound_bytes": max(
            input_bytes, output_bytes, *(lower_bound(graph, cut.kept) for graph, _ in cut.regions)
        ),
        "macs": cut.reading.graph.macs(),
        "executed_macs": sum(schedule_macs(graph, schedule) for graph, schedule in cut.regions),
        "instructions": sum(schedule_instructions(graph, schedule) for graph, schedule in cut.regions),
        "segments": [
            {"operators": list(s.operators), "axes": list(s.axes), "strips": s.strips, "peak_bytes": _top(memory, s)}
            for s in memory.spans
        ],
        "operators": _operators(cut, memory),
        "buffers": [
            {"name": b.name, "bytes": b.bytes, "offset": memory.plan.offsets[b.name], "first": b.first, "last": b.last}
            for b in sorted(memory.problem.buffers, key=lambda b: (b.first, memory.plan.offsets[b.name], b.name))
        ],
        "refused": [{"operator": r.operator, "reason": r.reason} for r in cut.reading.refused],
        "undefined_shift_channels": cut.reading.undefined_shift_channels,
        "planning_seconds": round(seconds, 3),
    }


def _operators(cut: Partition, memory: ModelPlan) -> list[dict[str, Any]]:
    """Memory in use while each operator runs: layer by layer, and in the arena, with what runs interleaved."""
    before = layer_bytes(cut.reading.graph)
    after = {name: _top(memory, span) for span in memory.spans for name in span.operators}
    return [{"operator": name, "layer_bytes": before[name], "arena_bytes": after[name]} for name in before]


def _top(memory: ModelPlan, span: Span) -> int:
    """How far the arena is in use while the span runs."""
    return max(
        memory.plan.offsets[b.name] + b.bytes
        for b in memory.problem.buffers
        if b.first <= span.last and b.last >= span.first
    )
