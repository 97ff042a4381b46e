"""From a graph and its schedule to TIR: one loop nest a segment, one guarded kernel an operator.

A segment becomes ::

    for row in range(extent[0]):
        for pixel in range(extent[1]):              # only along "pixels"
            if operator k is due at (row, pixel):    # for each k, in topological order
                kernel of k at its pixel             # along "rows" alone: at each of its row's pixels
            if the tail is due at (row, pixel):      # if there is one
                for slice in range(slices):
                    kernel of k at its pixel         # for each k of the tail

Every ring, every run of sums and every tensor between segments is one TIR allocation, so that the memory planner
sees and places each of them. Without a tail, slices of channels are a loop around all this, as strips of columns are.

A region with a streamed input is called once for each row of it: see ``tvm_pex.lowering.arrival``.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

import tvm
from tvm import tir

from tvm_pex.graph import Convolution, Graph, Operator, Shape, graph_to_json
from tvm_pex.lowering.arrival import Rows, return_unless_last, rows_of
from tvm_pex.lowering.kernels import Expr, Moment, Place, Running, Store, emit_operator, emit_run, loop_name
from tvm_pex.scheduling.kernels import closes, kernel_of, patch_bytes, sums_inputs_apart
from tvm_pex.scheduling.lifetimes import accumulator_dtype, accumulators, patch_name, sum_dtype, sums_name
from tvm_pex.scheduling.schedule import Schedule, Segment, Stage, written_through
from tvm_pex.scheduling.stores import layout_of

REGION_ATTRIBUTE = "pex.region"


def buffer_name(name: str) -> str:
    """Name of the TIR allocation that holds a tensor, a ring or sums; the planner finds it by this name."""
    return "pex_" + re.sub(r"\W", "_", name)


def lower_region(graph: Graph, schedule: Schedule, inputs: list[Any], outputs: list[Any]) -> Any:
    """The region's body.

    ``inputs`` are TIR buffers for ``graph.inputs`` and then for ``graph.constants``, ``outputs`` for ``graph.outputs``,
    of any shape with the right number of elements. A streamed input has the elements of a row, and one more buffer at
    the end of ``inputs`` has the number of that row.
    """
    region = _Region(graph, schedule, inputs, outputs)
    nests = [region.segment(segment) for segment in schedule.segments]
    if region.rows:
        nests.insert(1, return_unless_last(region.rows))
    body = tir.SeqStmt([*nests, tir.Evaluate(0)])
    for buffer in reversed(region.crossing):
        body = _allocate(buffer, body)
    # The planner's hook sees TIR alone: this tells it whose buffers these are, and when they live.
    text = tir.StringImm(json.dumps({"graph": graph_to_json(graph), "schedule": schedule.to_json()}))
    body = tir.AttrStmt(tir.const(0), REGION_ATTRIBUTE, text, body)
    # Neither allocation nor constant: TVM turns a small local allocation into a call, this it leaves on the C stack. A
    # "shape" of 1 has 8 bytes.
    for scratch in region.scratch.values():
        body = tir.LetStmt(scratch.data, tir.call_intrin("handle", "tir.tvm_stack_alloca", "shape", 1), body)
    return body


def _flat(name: str, dtype: str, count: int, data: Any = None) -> Any:
    if data is None:
        data = tir.Var(name, tvm.ir.PointerType(tvm.ir.PrimType(dtype), "global"))
    return tir.decl_buffer((count,), dtype, name, data=data)


def _flattened(buffer: Any) -> Any:
    count = 1
    for size in buffer.shape:
        count *= int(size)
    return _flat(buffer.name + "_flat", buffer.dtype, count, buffer.data)


def _allocate(buffer: Any, body: Any) -> Any:
    return tir.Allocate(buffer.data, buffer.dtype, buffer.shape, tir.const(1, "uint1"), body)


class _Region:
    def __init__(self, graph: Graph, schedule: Schedule, inputs: list[Any], outputs: list[Any]) -> None:
        self.graph = graph
        self.operators = {op.name: op for op in graph.operators}
        dtypes = sorted({accumulator_dtype(op, graph) for op in graph.operators})
        self.scratch = {dtype: _flat(f"pex_acc_{dtype}", dtype, 2) for dtype in dtypes}
        self.rows = rows_of(graph, schedule.segments[0], _flattened(inputs.pop())) if graph.streamed else None
        names = [*graph.inputs, *graph.constants]
        self.flat = {name: _flattened(buffer) for name, buffer in zip(names, inputs, strict=True)}
        self.flat.update({name: _flattened(buffer) for name, buffer in zip(graph.outputs, outputs, strict=True)})
        rings = {ring.tensor for segment in schedule.segments for ring in segment.rings}
        self.crossing = []
        for tensor in graph.tensors.values():
            if tensor.name not in self.flat and tensor.name not in rings:
                count = tensor.bytes // tensor.item_bytes
                self.flat[tensor.name] = _flat(buffer_name(tensor.name), tensor.dtype, count)
                self.crossing.append(self.flat[tensor.name])

    def segment(self, segment: Segment) -> Any:
        """The segment's loop nest, inside the allocations of what lives only there."""
        own = []
        for ring in [ring for ring in segment.rings if ring.pixels]:
            tensor = self.graph.tensors[ring.tensor]
            self.flat[ring.tensor] = _flat(buffer_name(ring.tensor), tensor.dtype, ring.pixels * ring.channels)
            own.append(self.flat[ring.tensor])
        for stage in segment.stages:
            count = accumulators(self.operators[stage.operator], self.graph, segment)
            if count:
                name = sums_name(stage.operator)
                dtype = sum_dtype(self.operators[stage.operator], self.graph)
                self.flat[name] = _flat(buffer_name(name), dtype, count)
                own.append(self.flat[name])
            op = self.operators[stage.operator]
            patch = patch_bytes(op, kernel_of(self.graph, segment, stage, op), segment)
            if patch:
                name = patch_name(op.name)
                self.flat[name] = _flat(buffer_name(name), "int8", patch)
                own.append(self.flat[name])
        rows = self.rows if self.rows and self.rows.stage in segment.stages else None
        body = _Nest(self, segment, rows).build()
        for buffer in reversed(own):
            body = _allocate(buffer, body)
        return body


class _Nest:
    """One segment's loops."""

    def __init__(self, region: _Region, segment: Segment, rows: Rows | None) -> None:
        self.region = region
        self.rows = rows
        self.segment = segment
        self.ib = tir.ir_builder.create()
        self.constants = {name: self.ib.buffer_ptr(region.flat[name]) for name in region.graph.constants}
        self.scratch = {dtype: self.ib.buffer_ptr(scratch) for dtype, scratch in region.scratch.items()}
        self.stages = {region.operators[stage.operator].output: stage for stage in segment.stages}
        self.rings = {ring.tensor: ring for ring in segment.rings}
        self.through = written_through(region.graph, segment)
        self.slice: Expr = 0
        self.slices = 1
        self.sliced = {region.operators[name].output for name in segment.sliced} & self.rings.keys()
        self.strip: Expr = 0

    def build(self) -> Any:
        if self.segment.tile:
            first = self.region.operators[self.segment.sliced[0]]
            self.slices = self.region.graph.tensors[first.output].shape[2] // self.segment.tile
        if self.segment.tile and not self.segment.tail:
            with self.ib.for_range(0, self.slices, "slice") as slice_:
                self.slice = slice_
                self._time()
        elif self.segment.strips > 1:
            with self.ib.for_range(0, self.segment.strips, "strip") as strip:
                self.strip = strip
                self._time()
        else:
            self._time()
        return self.ib.get()

    def _time(self) -> None:
        extent = self.segment.extent[0]
        first, count = self.rows.moments(self.ib, extent) if self.rows else (0, extent)
        with self.ib.for_range(0, count, "row") as since:
            row = first + since
            if "pixels" not in self.segment.axes:
                self._moment_of(functools.partial(self._row_due, row), functools.partial(self._row_of, row))
                return
            with self.ib.for_range(0, self.segment.extent[1], "pixel") as pixel:
                time = row, pixel
                self._moment_of(functools.partial(self._run_due, time), functools.partial(self._run_of, time))

    def _moment_of(self, due: Callable[[Stage], Expr], work: Callable[[Stage], None]) -> None:
        """What stages do that are ``due``, one after the other; then the tail's, which are due together, by slices."""
        stages, tail = self.segment.stages, self.segment.tail
        for stage in stages[: len(stages) - tail]:
            with self.ib.if_scope(due(stage)):
                work(stage)
        if not tail:
            return
        with self.ib.if_scope(due(stages[-1])), self.ib.for_range(0, self.slices, "slice") as slice_:
            self.slice = slice_
            for stage in stages[-tail:]:
                work(stage)

    def _row_due(self, time: Expr, stage: Stage) -> Expr:
        return self._is_due(stage, 0, time)

    def _row_of(self, time: Expr, stage: Stage) -> None:
        """A whole row of the stage, or the whole tensor where the segment has no rows."""
        lines = 1 if "rows" in self.segment.axes else stage.domain[0]
        with self.ib.for_range(0, lines, loop_name(stage.operator, "line")) as line:
            row = line if lines > 1 else self._index(stage, 0, time)
            self._pixels(stage, row, 0, stage.domain[1])

    def _run_due(self, time: tuple[Expr, Expr], stage: Stage) -> Expr:
        return tir.all(self._is_due(stage, 0, time[0]), self._is_due(stage, 1, time[1]))

    def _run_of(self, time: tuple[Expr, Expr], stage: Stage) -> None:
        row, run = self._index(stage, 0, time[0]), self.segment.run
        first = self._index(stage, 1, time[1]) * run
        pixels = run if stage.domain[1] % run == 0 else tir.min(stage.domain[1] - first, run)
        self._pixels(stage, row, first, pixels)

    def _is_due(self, stage: Stage, axis: int, time: Expr) -> Expr:
        if stage.stride[axis] == 0:
            return tir.const(1, "bool")
        since = time - stage.delay[axis]
        moments = -(-stage.domain[axis] // (self.segment.run if axis else 1))
        due = tir.all(since >= 0, since < stage.stride[axis] * moments)
        if stage.stride[axis] > 1:
            due = tir.all(due, tir.truncmod(since, stage.stride[axis]) == 0)
        return due

    def _index(self, stage: Stage, axis: int, time: Expr) -> Expr:
        if stage.stride[axis] == 0:
            return 0
        return tir.truncdiv(time - stage.delay[axis], stage.stride[axis])

    def _kernel(self, stage: Stage) -> str | None:
        return kernel_of(self.region.graph, self.segment, stage, self.region.operators[stage.operator])

    def _pixels(self, stage: Stage, row: Expr, first: Expr, pixels: Expr) -> None:
        """Some pixels of a row."""
        if self._kernel(stage):
            op = self.region.operators[stage.operator]
            with self.ib.for_range(0, 1, loop_name(op.name, "run")):  # whose name tells whose work it is
                emit_run(self.ib, op, self._place(op, stage), self._moment(op, stage, row, first, pixels), pixels)
            return
        with self.ib.for_range(0, pixels, loop_name(stage.operator, "column")) as column:
            self._emit(stage, row, first + column)

    def _emit(self, stage: Stage, row: Expr, column: Expr) -> None:
        op = self.region.operators[stage.operator]
        if self.segment.strips == 1:
            emit_operator(self.ib, op, self._place(op, stage), self._moment(op, stage, row, column))
            return
        column = column + self._first_column(stage)
        with self.ib.if_scope(tir.all(column >= 0, column < self.region.graph.tensors[op.output].shape[1])):
            emit_operator(self.ib, op, self._place(op, stage), self._moment(op, stage, row, column))

    def _first_column(self, stage: Stage) -> Expr:
        return self.strip * stage.origin[0] + stage.origin[1]

    def _store(self, tensor: str, view: Shape, base: Expr) -> Store:
        """``base`` is the channel of the stored pixel at which to begin."""
        graph = self.region.graph
        layout = layout_of(graph, self.segment, tensor, view)
        buffer = self.region.flat[layout.buffer]
        first = self._first_column(self.stages[layout.buffer]) if layout.buffer in self.rings else 0
        pointer = self.ib.buffer_ptr(buffer)
        return Store(buffer, pointer, layout.width, layout.pitch, layout.ring, base + layout.first, first)

    def _moment(self, op: Operator, stage: Stage, row: Expr, column: Expr, pixels: Expr = 1) -> Moment:
        sums = self.region.flat.get(sums_name(op.name))
        if sums is None:
            return Moment(row, column, self.slice)
        kept = self.ib.buffer_ptr(sums)
        if closes(op, self.segment):
            running = Running(sums, kept, self.slice == 0, self.slice == self.slices - 1, False)
        else:
            begins = tir.all(row == 0, column == 0)
            ends = tir.all(row == stage.domain[0] - 1, column == stage.domain[1] - pixels)
            first = self.slice * self.segment.tile if self.segment.tail else 0
            running = Running(sums, kept, begins, ends, True, first)
        return Moment(row, column, self.slice, running)

    def _place(self, op: Operator, stage: Stage) -> Place:
        region, tile = self.region, self.segment.tile_of(op.name)
        tensor = region.graph.tensors[op.output]
        base = self.slice * tile if tile else 0  # of tensors with all channels: rings hold just the slice
        read = 0 if isinstance(op, Convolution) and op.groups == 1 else base
        written = 0 if closes(op, self.segment) or op.output in self.sliced else base
        return Place(
            inputs=tuple(
                self._store(n, v, 0 if n in self.sliced else read) for n, v in zip(op.inputs, op.views, strict=True)
            ),
            output=self._store(op.output, tensor.shape, written),
            shape_out=tensor.shape,
            dtype_out=tensor.dtype,
            constants=self.constants,
            buffers={name: region.flat[name] for name in region.graph.constants},
            scratch=self.scratch[accumulator_dtype(op, region.graph)],
            slice_in=tile if op.inputs[0] in self.sliced else None,
            slice_out=None if closes(op, self.segment) else tile,
            written=frozenset(k for k, name in enumerate(op.inputs) if name in self.through),
            kernel=self._kernel(stage),
            patch=region.flat.get(patch_name(op.name)),
            rounding=region.graph.rounding,
            inputs_apart=sums_inputs_apart(region.graph, self.segment, stage, op),
        )
