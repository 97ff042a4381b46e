"""Our memory planner inside TVM: ``tir.usmp.algo.pex``, for whole-model ahead-of-time builds.

TVM's hook tells sizes and conflicts alone. Used by itself, ``pex`` plans those, and is never above TVM's own planners.
With a ``ModelMemory`` among the PassContext's instruments it also sees the program before it is planned: the order of
the calls, the model's inputs and outputs, and inside each region which rows are alive when. Then everything that
inference touches, stock operators' scratch and the model's inputs and outputs included, gets its place in one arena,
or in one of several memory pools.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tvm_pex._tvm import tvm
from tvm_pex.graph import Graph, graph_from_json
from tvm_pex.lowering.aot import STOCK_PLANNERS, own_name
from tvm_pex.memory_planner import Buffer, Problem, plan_memory
from tvm_pex.pools import ARENA, MemoryPool, Place, PoolPlan, plan_pools
from tvm_pex.scheduling.accesses import schedule_accesses
from tvm_pex.scheduling.lifetimes import Front, Track, as_input, as_output, joined, problem_of, region_tracks, steps
from tvm_pex.scheduling.schedule import Schedule, schedule_from_json
from tvm_pex.tir_schedule import REGION_ATTRIBUTE, buffer_name

ALGORITHM = "pex"
_AFTER = "tir.usmp.AssignPoolInfo"  # the pass after which TVM's analysis names every allocation
_MAIN = "__tvm_main__"
_SCRATCH_ALIGNMENT = 4


@dataclass(frozen=True)
class Span:
    """Operators that run interleaved, along ``axes``, from step ``first`` to ``last``; no axes: stock TVM's own.

    All of the steps pass once for each of the ``strips``.
    """

    operators: tuple[str, ...]
    axes: tuple[str, ...]
    first: int
    last: int
    strips: int = 1


@dataclass(frozen=True)
class ModelPlan:
    """Where everything lies.

    ``inputs`` and ``outputs`` name the buffers of the model's own, in order; None where the program does not touch one.
    ``names`` maps a buffer's name in ``problem`` to the allocation's name in TVM. ``accesses`` counts, by the name in
    ``problem``, elements that regions read and write in one inference; what stock operators touch counts a byte as one.
    """

    problem: Problem
    pools: tuple[PoolPlan, ...]
    inputs: tuple[str | None, ...]
    outputs: tuple[str | None, ...]
    names: Mapping[str, str]
    spans: tuple[Span, ...]
    accesses: Mapping[str, int]

    @property
    def peak(self) -> int:
        """Bytes of all pools together."""
        return sum(used.plan.peak for used in self.pools)

    @property
    def places(self) -> dict[str, Place]:
        """Where each buffer lies."""
        return {name: Place(used.pool.name, at) for used in self.pools for name, at in used.plan.offsets.items()}


@tvm.instrument.pass_instrument
class ModelMemory:
    """Sees the module before it is planned; afterwards ``plan`` says where everything lies.

    Inputs keep their bytes until the last of them has been read, unless ``overwrite_input``, and have a place unless
    ``input_outside``. The build ends in PoolsTooSmall if no plan fits ``pools``.
    """

    def __init__(
        self, overwrite_input: bool = False, pools: Sequence[MemoryPool] = (ARENA,), *, input_outside: bool = False
    ) -> None:
        self.overwrite_input = overwrite_input
        self.input_outside = input_outside
        self.pools = tuple(pools)
        self.plan: ModelPlan | None = None

    def enter_pass_ctx(self) -> None:
        """Called by TVM when a build begins."""
        _ACTIVE.append(self)

    def exit_pass_ctx(self) -> None:
        """Called by TVM when the build ends, however it ends."""
        _ACTIVE.remove(self)

    def run_after_pass(self, mod: Any, info: Any) -> None:
        """Called by TVM after each pass."""
        if str(info.name) == _AFTER:
            self.plan = _plan_model(_Program(mod), self)

    def places(self) -> dict[str, Place]:
        """Place of each allocation by TVM's name. Call it once the module has been seen."""
        assert self.plan is not None
        names = self.plan.names
        return {names[name]: at for name, at in self.plan.places.items() if name in names}


# The hook is a global function that gets sizes alone: whose build it plans it can only find here.
_ACTIVE: list[Any] = []


@tvm.register_func(f"tir.usmp.algo.{ALGORITHM}", override=True)  # type: ignore[untyped-decorator]
def place(buffers: Any, pressure: Any) -> dict[Any, Any]:
    """TVM's hook: BufferInfo objects to PoolAllocation objects."""
    placed: dict[Any, Any] = {}
    arena = []
    for info in buffers:
        if isinstance(info.pool_candidates[0], tvm.ir.memory_pools.ConstantPoolInfo):
            continue
        arena.append(info)
    places = _ACTIVE[-1].places() if _ACTIVE else _plan_conflicts(arena, pressure)
    for info in arena:
        placed[info] = _allocation(info, places[str(info.name_hint)])
    at: dict[str, int] = {}
    for info in buffers:
        if info not in placed:
            pool = str(info.pool_candidates[0].pool_name)
            start = _aligned(at.get(pool, 0), int(info.alignment))
            placed[info] = _allocation(info, Place(pool, start))
            at[pool] = start + int(info.size_bytes)
    return placed


def _allocation(info: Any, at: Place) -> Any:
    pool = next(pool for pool in info.pool_candidates if str(pool.pool_name) == at.pool)
    return tvm.tir.usmp.utils.PoolAllocation(pool, at.offset)


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _plan_conflicts(infos: Sequence[Any], pressure: Any) -> dict[str, Place]:
    """A plan in the first pool from conflicts alone: ours, or TVM's where that is lower."""
    buffers = tuple(Buffer(str(i.name_hint), int(i.size_bytes), 0, 0, int(i.alignment)) for i in infos)
    conflicts = frozenset((str(i.name_hint), str(other.name_hint)) for i in infos for other in i.conflicts)
    known = {b.name for b in buffers}
    conflicts = frozenset((a, b) for a, b in conflicts if a in known and b in known)
    plan = plan_memory(Problem(buffers, conflicts=conflicts))
    best = dict(plan.offsets), plan.peak
    for name in STOCK_PLANNERS:
        stock = tvm.get_global_func(f"tir.usmp.algo.{name}")(list(infos), pressure)
        offsets = {str(info.name_hint): int(at.byte_offset) for info, at in stock.items()}
        peak = max((offsets[b.name] + b.bytes for b in buffers), default=0)
        if peak < best[1]:
            best = offsets, peak
    pool = str(infos[0].pool_candidates[0].pool_name) if infos else ""
    return {name: Place(pool, at) for name, at in best[0].items()}


@dataclass(frozen=True)
class _Call:
    """A call in the program: the function's body and its arguments, as the caller's buffer variables."""

    function: Any
    arguments: tuple[Any, ...]
    region: tuple[Graph, Schedule] | None


class _Program:
    """The ahead-of-time main function: its parameters, its calls in order, and all allocations with TVM's names."""

    def __init__(self, mod: Any) -> None:
        main = mod[_MAIN]
        self.names = {
            statement.buffer_var: (str(info.name_hint), int(info.size_bytes))
            for info, statement in tvm.tir.usmp.analysis.extract_buffer_info(main, mod).buffer_info_stmts.items()
        }
        functions = {str(variable.name_hint): function for variable, function in mod.functions.items()}
        self.parameters = [main.buffer_map[p].data for p in main.params if p in main.buffer_map]
        self.parameter_bytes = {
            main.buffer_map[p].data: _buffer_bytes(main.buffer_map[p]) for p in main.params if p in main.buffer_map
        }
        self.calls = [
            _Call(functions[name], arguments, _region_of(functions[name]))
            for name, arguments in _extern_calls(main.body)
            if name in functions
        ]

    def allocations(self, function: Any) -> Iterator[tuple[Any, str, int]]:
        """(variable, TVM's name, bytes) of everything allocated inside ``function``, constants left out."""
        for statement in _collect(function.body, tvm.tir.Allocate):
            if statement.buffer_var in self.names:
                yield statement.buffer_var, *self.names[statement.buffer_var]


def _collect(body: Any, kind: type) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, kind):
            found.append(node)

    tvm.tir.stmt_functor.post_order_visit(body, visit)
    return found


def _extern_calls(body: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for call in _collect(body, tvm.tir.Call):
        if str(getattr(call.op, "name", "")) in ("tir.call_extern", "tir.tvm_call_unpacked_from_packed"):
            yield str(call.args[0].value), tuple(call.args[1:])


def _region_of(function: Any) -> tuple[Graph, Schedule] | None:
    for statement in _collect(function.body, tvm.tir.AttrStmt):
        if str(statement.attr_key) == REGION_ATTRIBUTE:
            record = json.loads(str(statement.value.value))
            return graph_from_json(record["graph"]), schedule_from_json(record["schedule"])
    return None


def _buffer_bytes(buffer: Any) -> int:
    count = 1
    for size in buffer.shape:
        count *= int(size)
    return count * int(np.dtype(str(buffer.dtype)).itemsize)


class _Walk:
    """Collects, call by call, how each of the program's buffers is used."""

    def __init__(self, program: _Program) -> None:
        self.program = program
        self.now = 0
        self.uses: dict[Any, list[Track]] = {}
        self.touched: Counter[Any] = Counter()  # accesses by the caller's variable
        self.accesses: Counter[str] = Counter()  # and by the buffer's name
        self.inner: list[Track] = []
        self.scratch: dict[str, Track] = {}
        self.names: dict[str, str] = {}
        self.written: set[Any] = set()
        self.spans: list[Span] = []
        for call in program.calls:
            (self._region if call.region else self._stock)(call)

    def _region(self, call: _Call) -> None:
        assert call.region is not None
        graph, schedule = call.region
        tracks, accesses = region_tracks(graph, schedule, self.now), schedule_accesses(graph, schedule)
        unplaced = len(graph.constants) + len(graph.streamed)  # with a streamed input comes the number of its row
        borders = [*graph.inputs, *([None] * unplaced), *graph.outputs]
        for name, argument in zip(borders, call.arguments):
            if name in graph.outputs:
                self.written.add(argument)
            if name is not None and name not in graph.outside:
                self.uses.setdefault(argument, []).append(tracks.pop(name))
                self.touched[argument] += accesses[name]
        allocated = {
            str(variable.name): (name, size) for variable, name, size in self.program.allocations(call.function)
        }
        for track in tracks.values():
            name, size = allocated[buffer_name(track.buffer.name)]
            if size != track.buffer.bytes:
                raise RuntimeError(f"TVM merged {name} with another buffer; set tir.disable_storage_rewrite")
            self.names[track.buffer.name] = name
            self.accesses[track.buffer.name] = accesses[track.buffer.name]
            self.inner.append(track)
        for segment in schedule.segments:
            length = steps(Schedule((segment,)))
            last = self.now + length - 1
            self.spans.append(Span(segment.operators, segment.axes, self.now, last, segment.strips))
            self.now += length

    def _stock(self, call: _Call) -> None:
        """A stock operator takes one step: arguments whole, all of its scratch at once."""
        parameters = [call.function.buffer_map.get(p) for p in call.function.params]
        written = _written(call.function)
        for argument, buffer in zip(call.arguments, parameters):
            if buffer is None or not isinstance(argument, tvm.tir.Var):
                continue
            size = _buffer_bytes(buffer)
            dead = Front(np.array([self.now + 1]), np.array([size]))
            if buffer.data in written:
                self.written.add(argument)
            whole = Buffer("", size, self.now, self.now, _SCRATCH_ALIGNMENT)
            use = Track(whole, None, () if buffer.data in written else (dead,))
            self.uses.setdefault(argument, []).append(use)
            self.touched[argument] += size
        for _, name, size in self.program.allocations(call.function):
            self.names[name] = name
            self.accesses[name] += size
            # Calls that are alike call one function, whose scratch has one place for all of them.
            since = self.scratch[name].buffer.first if name in self.scratch else self.now
            self.scratch[name] = Track(Buffer(name, size, since, self.now, _SCRATCH_ALIGNMENT))
        name = str(call.function.attrs["global_symbol"]) if "global_symbol" in call.function.attrs else "stock"
        self.spans.append(Span((own_name(name),), (), self.now, self.now))
        self.now += 1


def _written(function: Any) -> set[Any]:
    return {store.buffer.data for store in _collect(function.body, tvm.tir.BufferStore)}


def _plan_model(program: _Program, asked: ModelMemory) -> ModelPlan:
    walk = _Walk(program)
    tracks = [*walk.inner, *walk.scratch.values()]
    taken = {track.buffer.name for track in tracks} | {name for name, _ in program.names.values()}
    inputs: list[str | None] = []
    outputs: list[str | None] = []
    for variable in program.parameters:
        uses = walk.uses.pop(variable, None)
        name = str(variable.name).removesuffix("_buffer_var")
        while name in taken:  # a port may be called like one of our buffers
            name += "_"
        taken.add(name)
        is_output = variable in walk.written
        uses = None if asked.input_outside and not is_output else uses
        ports = outputs if is_output else inputs
        ports.append(name if uses else None)
        if uses:
            whole = joined(name, uses)
            walk.accesses[name] = walk.touched[variable]
            tracks.append(as_output(whole, walk.now - 1) if is_output else as_input(whole, asked.overwrite_input))
    for variable, uses in walk.uses.items():
        if variable in program.names:
            name = program.names[variable][0]
            walk.names[name] = name
            walk.accesses[name] = walk.touched[variable]
            tracks.append(joined(name, uses))
    problem = problem_of([_whole_bytes(track, program) for track in tracks])
    placed = plan_pools(problem, walk.accesses, asked.pools)
    return ModelPlan(problem, placed, tuple(inputs), tuple(outputs), walk.names, tuple(walk.spans), walk.accesses)


def _whole_bytes(track: Track, program: _Program) -> Track:
    """TVM pads its own allocations; the plan covers what it asked for."""
    sizes = dict(program.names.values())
    asked = sizes.get(track.buffer.name, track.buffer.bytes)
    return replace(track, buffer=replace(track.buffer, bytes=max(asked, track.buffer.bytes)))
