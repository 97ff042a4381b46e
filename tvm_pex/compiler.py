"""The main job: a model to its schedule, its plan and its C.

``compile_model`` is the pipeline, to be read like a table of contents: partition, build with our planner, report.
"""

from __future__ import annotations

import functools
import math
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from tvm_pex.frontend.quantized_io import leave_quantisation
from tvm_pex.frontend.streaming import NotStreamable
from tvm_pex.frontend.tflite_model import Model
from tvm_pex.graph import Graph
from tvm_pex.lowering.aot import HEADERS, MODULE, SOURCES, STEP_MODULE, CBuild, CPort, build_c
from tvm_pex.lowering.stream import with_interface
from tvm_pex.lowering.usmp import ALGORITHM, ModelMemory, ModelPlan, Span
from tvm_pex.memory_planner import Buffer
from tvm_pex.micro_kernels.files import kernels_in, source_files
from tvm_pex.options import PlanOptions
from tvm_pex.pools import ARENA, MemoryPool, Place, PoolPlan, PoolsTooSmall, PoolUse, capacity
from tvm_pex.relay_pass import Partition, partition, read_module, split_regions
from tvm_pex.scheduling.cost import schedule_instructions, schedule_macs, stages_instructions
from tvm_pex.scheduling.front import Point, together
from tvm_pex.scheduling.layers import layer_bytes, lower_bound
from tvm_pex.scheduling.schedule import Schedule, Segment, check_once
from tvm_pex.scheduling.scratch import front_with_scratch, without_scratch
from tvm_pex.scheduling.search import OverBudget, Progress, find_front
from tvm_pex.scheduling.steps import steps_of

_ATTEMPTS = 4  # at schedules that leave enough to what runs beside them


@dataclass(frozen=True)
class CompiledModel:
    """C of a whole model with its arena.

    ``model`` is what it computes: the model that was asked for, with ``quantized_io`` less its borders.
    ``arena_bytes`` are those of all ``pools`` together: one named arena where none were asked for. ``input_places`` and
    ``output_places`` map a port's name to its place. ``report`` has the keys of ``tvm-pex plan --json``. ``relay`` is
    the text of the module that became C, constants left out.
    """

    build: CBuild
    arena_bytes: int
    pools: tuple[PoolUse, ...]
    input_places: dict[str, Place]
    output_places: dict[str, Place]
    memory: ModelPlan
    report: dict[str, Any]
    model: Model
    graph: Graph
    relay: str

    @property
    def pool_bytes(self) -> dict[str, int]:
        """Bytes in use of each pool, by name."""
        return {pool.name: pool.peak_bytes for pool in self.pools}


def compile_model(
    model: Model, options: PlanOptions = PlanOptions(), progress: Progress | None = None
) -> CompiledModel:
    """Finds the schedule, plans every byte and generates the C. Deterministic.

    Raises OverBudget, with the least arena and the operators that need it, if nothing fits ``options.ram`` or
    ``options.pools``. A region does not know what stock operators and other regions need beside it: where that is too
    much, it has to do with less, at once with the least where there are pools.
    """
    started = time.perf_counter()
    if options.quantized_io:
        model = leave_quantisation(model)
    if options.pools:
        return _compiled_in_pools(model, options, progress, started)
    budget = options.ram
    for _ in range(_ATTEMPTS if budget is not None else 0):
        assert budget is not None and options.ram is not None
        try:
            compiled = _compiled(model, replace(options, ram=budget), (ARENA,), progress, started)
        except OverBudget:
            break
        if compiled.arena_bytes <= options.ram:
            return compiled
        budget -= compiled.arena_bytes - options.ram
    least = _compiled(model, replace(options, ram=None), (ARENA,), progress, started)
    if options.ram is not None and least.arena_bytes > options.ram:
        raise _over_budget(options.ram, least)
    return least


def _compiled_in_pools(model: Model, options: PlanOptions, progress: Progress | None, started: float) -> CompiledModel:
    """Each region's best schedule for the pools, as if it was alone; if that does not fit, the one of least memory."""
    least = replace(options, pools=())
    for regions in (options, least):
        with suppress(PoolsTooSmall):
            return _compiled(model, regions, options.pools, progress, started)
    raise _over_budget(capacity(options.pools), _compiled(model, least, (ARENA,), progress, started))


def _over_budget(budget: int, least: CompiledModel) -> OverBudget:
    highest = max(least.report["segments"], key=lambda segment: segment["peak_bytes"])
    return OverBudget(budget, least.arena_bytes, highest["operators"])


def memory_front(model: Model, options: PlanOptions, progress: Progress | None = None) -> tuple[Point, ...]:
    """What less memory costs in instructions, from the fastest schedule down to the least memory.

    Without the scratch of stock operators: nothing is built.
    """
    if options.quantized_io:
        model = leave_quantisation(model)
    _, reading, kept = read_module(model.mod, options.overwrite_input, options.stream_input, options.rounding)
    regions = split_regions(reading, options.core)
    find = functools.partial(
        find_front, axes=options.axes, kept=kept, max_overhead=options.max_overhead, progress=progress
    )
    fronts = []
    for graph in regions:
        bare = without_scratch(graph)
        front = find(bare, max_step=options.max_step if graph.streamed else None)
        fronts.append(front_with_scratch(bare, graph.kernels, front, kept) if graph.kernels else front)
    return together(fronts)


def _compiled(
    model: Model,
    options: PlanOptions,
    pools: tuple[MemoryPool, ...],
    progress: Progress | None,
    started: float,
) -> CompiledModel:
    """``options`` for the schedules of the regions, ``pools`` for the plan of the whole."""
    cut = partition(model.mod, options, progress)
    planned = time.perf_counter()
    for graph, schedule in cut.regions:
        check_once(graph, schedule)
    watcher = ModelMemory(options.overwrite_input, pools)
    build = build_partition(cut, watcher, STEP_MODULE if cut.streamed else MODULE)
    memory = watcher.plan
    assert memory is not None, "TVM did not plan memory"
    inputs = _places(build.inputs, memory.inputs, memory)
    outputs = _places(build.outputs, memory.outputs, memory)
    if cut.streamed:
        build = _with_rows(model, cut, build, memory)
    report = _report(model, cut, memory, planned - started, time.perf_counter() - planned)
    uses = tuple(used.use for used in memory.pools)
    graph, relay = cut.reading.graph, str(cut.mod)
    return CompiledModel(build, memory.peak, uses, inputs, outputs, memory, report, model, graph, relay)


def build_partition(cut: Partition, watcher: ModelMemory, module: str) -> CBuild:
    """C of a rewritten module, planned as ``watcher`` was asked to, whose names begin with ``tvmgen_<module>``."""
    build = build_c(
        cut.mod,
        planner=ALGORITHM,
        pools=[pool.name for pool in watcher.pools],
        module=module,
        instruments=[watcher],
        # TVM's storage rewrite would merge our buffers behind the planner's back.
        config={"tir.disable_storage_rewrite": True},
    )
    kernels = {kernel for graph, schedule in cut.regions for kernel in kernels_in(graph, schedule)}
    sources = {
        f"{HEADERS if name.endswith('.h') else SOURCES}/{name}": text
        for name, text in source_files(kernels, cut.reading.graph.rounding).items()
    }
    return replace(build, files={**build.files, **sources})


def _with_rows(model: Model, cut: Partition, build: CBuild, memory: ModelPlan) -> CBuild:
    """Raises NotStreamable where something would run again with every row."""
    assert cut.streamed is not None
    port = model.inputs[cut.streamed.position]
    (first, *_), arrives = memory.spans, cut.regions[0][1].segments[0]
    if first.operators != arrives.operators:
        before = " ".join(first.operators)
        raise NotStreamable(f"input {port.name} cannot come by rows: TVM runs {before} before it is read")
    whole = CPort(port.name, port.name, port.shape, port.dtype)
    return with_interface(build, cut.streamed.position, whole, cut.streamed.rows)


def _places(ports: Any, names: tuple[str | None, ...], memory: ModelPlan) -> dict[str, Place]:
    places = memory.places
    return {port.name: places[name] for port, name in zip(ports, names, strict=True) if name is not None}


def _report(model: Model, cut: Partition, memory: ModelPlan, planning: float, building: float) -> dict[str, Any]:
    sizes = {buffer.name: buffer.bytes for buffer in memory.problem.buffers}
    input_bytes = sum(sizes[name] for name in memory.inputs if name is not None)
    output_bytes = sum(sizes[name] for name in memory.outputs if name is not None)
    return {
        "model": model.name,
        "input_bytes": input_bytes,
        "output_bytes": output_bytes,
        "layer_by_layer_bytes": model.layer_by_layer_bytes or max(layer_bytes(cut.reading.graph).values(), default=0),
        "arena_bytes": memory.peak,
        "pools": [asdict(used.use) for used in memory.pools],
        "arena_without_io_bytes": memory.peak - input_bytes - output_bytes,
        "lower_bound_bytes": max(
            input_bytes, output_bytes, *(lower_bound(graph, cut.kept) for graph, _ in cut.regions)
        ),
        "macs": cut.reading.graph.macs(),
        "executed_macs": sum(schedule_macs(graph, schedule) for graph, schedule in cut.regions),
        "instructions": sum(schedule_instructions(graph, schedule) for graph, schedule in cut.regions),
        **(_streaming(model, cut) if cut.streamed else {}),
        "segments": [
            {"operators": list(s.operators), "axes": list(s.axes), "strips": s.strips, "peak_bytes": _top(memory, s)}
            for s in memory.spans
        ],
        "operators": _operators(cut, memory),
        "buffers": [_buffer(b, used, memory) for used in memory.pools for b in used.by_time()],
        "coverage": {"calls_in_regions": cut.reading.calls.owned, "calls": cut.reading.calls.all},
        "refused": [{"operator": r.operator, "reason": r.reason} for r in cut.reading.refused],
        "undefined_shift_channels": cut.reading.undefined_shift_channels,
        "planning_seconds": round(planning, 3),
        "build_seconds": round(building, 3),
    }


def _streaming(model: Model, cut: Partition) -> dict[str, Any]:
    """How the streamed input comes, what of it is held, and the instructions between two rows."""
    assert cut.streamed is not None
    (graph, schedule), *others = cut.regions
    steps = steps_of(graph, schedule, sum(schedule_instructions(*region) for region in others))
    row_bytes = math.prod(cut.streamed.row) * graph.tensors[graph.streamed[0]].item_bytes
    assert graph.arrival is not None
    held = graph.tensors[graph.arrival.output]
    first = schedule.segments[0]
    ring = next((ring for ring in first.rings if ring.tensor == held.name), None)
    return {
        "worst_step_instructions": steps.worst,
        "mean_step_instructions": steps.mean,
        "last_step_instructions": steps.last,
        "stream": {
            "input": model.inputs[cut.streamed.position].name,
            "rows": cut.streamed.rows,
            "row_bytes": row_bytes,
            "held_bytes": ring.pixels * ring.channels * held.item_bytes if ring else held.bytes,
            "whole": ring is None,
            "read_later_by": [] if ring else _readers_after(cut, first),
            "step_instructions": list(steps.instructions),
        },
    }


def _readers_after(cut: Partition, first: Segment) -> list[str]:
    """Who reads what the streamed input becomes once the segment that takes it has run."""
    graph = cut.reading.graph
    assert graph.arrival is not None
    readers = [
        op.name for op in graph.operators if graph.arrival.output in op.inputs and op.name not in first.operators
    ]
    return readers + (["TVM or the caller"] if graph.arrival.output in graph.outputs else [])


def _buffer(buffer: Buffer, used: PoolPlan, memory: ModelPlan) -> dict[str, Any]:
    return {
        "name": buffer.name,
        "bytes": buffer.bytes,
        "pool": used.pool.name,
        "offset": used.plan.offsets[buffer.name],
        "first": buffer.first,
        "last": buffer.last,
        "accesses": memory.accesses[buffer.name],
    }


def _operators(cut: Partition, memory: ModelPlan) -> list[dict[str, Any]]:
    """Of each operator its work, and the memory in use while it runs: layer by layer, and in the arena."""
    graph = cut.reading.graph
    before = layer_bytes(graph)
    after = {name: _top(memory, span) for span in memory.spans for name in span.operators}
    instructions = {name: count for region in cut.regions for name, count in _by_operator(*region).items()}
    return [
        {
            "operator": op.name,
            "layer_bytes": before[op.name],
            "arena_bytes": after[op.name],
            "macs": graph.macs_of([op]),
            "instructions": instructions[op.name],
        }
        for op in graph.operators
    ]


def _by_operator(graph: Graph, schedule: Schedule) -> dict[str, int]:
    """Instructions of each operator, as the model of the kernels has them."""
    operators = {op.name: op for op in graph.operators}
    return {
        name: count
        for segment in schedule.segments
        for name, count in zip(
            segment.operators,
            stages_instructions(graph, [operators[name] for name in segment.operators], segment),
            strict=True,
        )
    }


def _top(memory: ModelPlan, span: Span) -> int:
    """How far the pools are in use while the span runs."""
    return sum(
        max(
            (
                used.plan.offsets[b.name] + b.bytes
                for b in used.problem.buffers
                if b.first <= span.last and b.last >= span.first
            ),
            default=0,
        )
        for used in memory.pools
    )
