"""Continuous recognition: a network over a stream of rows without end, which computes what windows share once.

The network is cut in two (``tvm_pex.frontend.windows``). The part before the cut is a program that takes a row of the
input and gives a row of the cut when there is one, and has no end: its rings come round in ``round`` rows, so that the
number of a row may go back by as many. The part after the cut is an ordinary program for one window of the cut's rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from tvm_pex.compiler import build_partition
from tvm_pex.frontend.tflite_model import Model
from tvm_pex.frontend.windows import NothingMovesOn, Split, split_windows
from tvm_pex.lowering.aot import ARENA_ALIGNMENT, STEP_MODULE, WINDOW_MODULE, CBuild
from tvm_pex.lowering.stream import with_continuous_interface
from tvm_pex.lowering.usmp import ModelMemory
from tvm_pex.options import PlanOptions
from tvm_pex.relay_pass import Partition, partition
from tvm_pex.scheduling.cost import schedule_instructions, stages_instructions
from tvm_pex.scheduling.schedule import Segment
from tvm_pex.scheduling.steps import arrival_stage

_ATTEMPTS = 4  # at an input tall enough for its own rings


@dataclass(frozen=True)
class Rhythm:
    """When the part before the cut gives rows: with row ``first`` of the input, then with each ``every``-th.

    After row ``last`` comes the one whose number is ``round`` less than the next would be.
    """

    first: int
    every: int
    last: int
    round: int


@dataclass(frozen=True)
class ContinuousModel:
    """C of a network over a stream. ``memory_bytes`` are everything but the row that comes and the outputs.

    ``first_result`` is the number of rows with which the first result comes; then there is one after each hop.
    ``arenas`` are the bytes of the two parts' own arenas, ``window_bytes`` those of the rows that windows share.
    Instructions are estimates: of a hop, and of a whole window that shares nothing.
    """

    build: CBuild
    split: Split
    memory_bytes: int
    arenas: tuple[int, int]
    window_bytes: int
    first_result: int
    hop_instructions: int
    window_instructions: int


def compile_continuous(model: Model, hop: int, options: PlanOptions = PlanOptions()) -> ContinuousModel:
    """The model run on a window that begins ``hop`` rows after the one before. Deterministic.

    Of ``options`` count ``core`` and ``rounding`` alone. Raises NothingMovesOn, and Unschedulable where rows cannot be
    handed out.
    """
    split = split_windows(model, hop, options.rounding)
    plain = PlanOptions(core=options.core, rounding=options.rounding)
    before, rhythm = _before(split, replace(plain, axes=("rows",), stream_input=True, stream_output=True))
    after = partition(split.after.mod, plain)
    row, row_bytes = _built(before, STEP_MODULE)
    window, window_arena = _built(after, WINDOW_MODULE)
    shared = window.inputs[0].bytes
    places = [0, _aligned(row_bytes), _aligned(row_bytes) + _aligned(shared)]
    build = with_continuous_interface(
        row,
        window,
        {
            "memory_bytes": places[2] + window_arena,
            "rows": split.rows,
            "hop": hop,
            "window_offset": places[1],
            "window_arena_offset": places[2],
            "window_rows": split.cut_rows,
            "first": rhythm.first,
            "every": rhythm.every,
            "last": rhythm.last,
            "round": rhythm.round,
        },
    )
    once = _instructions(before, hop)
    later = sum(schedule_instructions(*region) for region in after.regions)
    whole = partition(split.model.mod, replace(plain, stream_input=True))
    return ContinuousModel(
        build,
        split,
        places[2] + window_arena,
        (row_bytes, window_arena),
        shared,
        rhythm.first + rhythm.every * (split.cut_rows - 1) + 1,
        once + later,
        sum(schedule_instructions(*region) for region in whole.regions),
    )


def _before(split: Split, options: PlanOptions) -> tuple[Partition, Rhythm]:
    """The part before the cut, of an input that is tall enough for all rings to come round once they are full."""
    rows = 4 * split.rows
    for _ in range(_ATTEMPTS):
        cut = partition(split.before(rows).mod, options)
        (graph, schedule), *others = cut.regions
        if others or cut.reading.refused or len(schedule.segments) != 1:
            raise NothingMovesOn("TVM runs a part of what comes before the cut")
        (segment,) = schedule.segments
        arrival, made = arrival_stage(graph, segment), segment.stages[-1]
        unit = arrival.stride[0]
        first = max((made.delay[0] - arrival.delay[0]) // unit, 0)
        rhythm = Rhythm(first, made.stride[0] // unit, rows - 2, _round(segment, unit, graph.tensors))
        full = max(stage.delay[0] for stage in segment.stages) // unit + split.rows
        if rhythm.last - rhythm.round >= full:
            return cut, rhythm
        rows = full + rhythm.round + 2
    raise NothingMovesOn("its rings never come round together")


def _round(segment: Segment, unit: int, tensors: Any) -> int:
    """Rows of the input after which every ring has each of its rows where it had it, and every stage its turn."""
    maker = {stage.operator: stage for stage in segment.stages}
    times = [stage.stride[0] // unit for stage in segment.stages]
    for ring in segment.rings:
        stage, width = maker[ring.tensor], tensors[ring.tensor].shape[1]
        times.append(stage.stride[0] // unit * max(ring.pixels // math.gcd(ring.pixels, width), 1))
    return math.lcm(*times)


def _built(cut: Partition, module: str) -> tuple[CBuild, int]:
    watcher = ModelMemory(input_outside=True)
    build = build_partition(cut, watcher, module)
    assert watcher.plan is not None
    return build, watcher.plan.peak


def _instructions(cut: Partition, hop: int) -> int:
    """Of the part before the cut, for a hop."""
    ((graph, schedule),) = cut.regions
    (segment,) = schedule.segments
    unit = arrival_stage(graph, segment).stride[0]
    operators = {op.name: op for op in graph.operators}
    prices = stages_instructions(graph, [operators[name] for name in segment.operators], segment)
    each = (price / s.domain[0] * unit / s.stride[0] for s, price in zip(segment.stages, prices, strict=True))
    return round(hop * sum(each))


def _aligned(count: int) -> int:
    return -(-count // ARENA_ALIGNMENT) * ARENA_ALIGNMENT
