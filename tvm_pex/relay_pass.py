"""Relay in, Relay out: operators that Pex can run by slices become Primitive functions around ``pex.region``.

Before::

    %1 = qnn.conv2d(%x, ...); ...; %9 = clip(...)      # owned by Pex
    nn.softmax(%9)                                     # stays stock

After::

    %1 = fn (%p0, ..., Primitive=1, pex.schedule="rows: conv0 depthwise1 ...") { pex.region((%p0, ...)) };
    %2 = %1(%x, weights, ...);
    nn.softmax(%2)

With a streamed input ``main`` is to be run once for each of its rows. It takes the row in place of the input, and as
its last parameter the row's number, int32; it fails, on purpose, until it has the last row.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.columns import as_columns
from tvm_pex.frontend.reader import Reading, Refusal, read_function
from tvm_pex.frontend.slopes import slopes_by_channel
from tvm_pex.frontend.streaming import NotStreamable, stream_input
from tvm_pex.frontend.transposes import drop_transposes
from tvm_pex.graph import Convolution, Graph, Shape, graph_to_json, subgraph
from tvm_pex.lowering.kernels import pack_weights
from tvm_pex.lowering.region_op import REGION
from tvm_pex.micro_kernels.packing import packed_constants
from tvm_pex.micro_kernels.selection import with_kernels
from tvm_pex.options import PlanOptions
from tvm_pex.rounding import Rounding
from tvm_pex.scheduling.pooled import find_pooled_schedule
from tvm_pex.scheduling.schedule import Schedule
from tvm_pex.scheduling.scratch import with_scratch, without_scratch
from tvm_pex.scheduling.search import ALL_AXES, OverBudget, Progress, find_schedule


@dataclass(frozen=True)
class StreamedInput:
    """A parameter of the module's ``main``, by position, that comes by rows: ``rows`` of (width, channels) ``row``."""

    position: int
    rows: int
    row: tuple[int, int]


@dataclass(frozen=True)
class Partition:
    """A rewritten module, with the regions that were cut out of it and what was left stock.

    ``kept`` are the tensors of model inputs that may not be overwritten. ``streamed`` is the input that comes by rows.
    """

    mod: Any
    regions: tuple[tuple[Graph, Schedule], ...]
    reading: Reading
    kept: frozenset[str] = frozenset()
    streamed: StreamedInput | None = None


@tvm.transform.module_pass(opt_level=0, name="PexPartition")
class PexPartition:
    """Cuts chains that can run by slices out of ``main`` and gives each region its schedule of least memory.

    ``axes`` are any of "rows", "pixels" (only with rows) and "channels". After a run, ``refused`` lists the operators
    that stay stock, with reasons. With ``overwrite_input`` schedules may count on the model input's dead rows. With
    ``ram`` each region gets its fastest schedule of at most that many bytes; search.OverBudget is raised if none fits.
    With ``max_overhead`` each region may run up to that many times its multiply-accumulates. With ``core``, one of
    ``tvm_pex.scheduling.kernel_cost.CORES``, operators call kernels in C, for target c alone, whose sources
    (``tvm_pex.micro_kernels.files``) have to be compiled too; without it they are portable. With ``stream_input`` the
    result is for TVM's ahead-of-time executor alone, where rings outlive a call; streaming.NotStreamable is raised if
    no input can come by rows, and spreading.StepTooLong if more than ``max_step`` instructions lie between two. With
    ``rounding="tflite"`` the operators of a module that was imported from a TFLite file give the integers of TFLite's
    reference kernels.
    """

    def __init__(
        self,
        axes: Sequence[str] = ALL_AXES,
        overwrite_input: bool = False,
        progress: Progress | None = None,
        ram: int | None = None,
        max_overhead: float = 1.0,
        core: str | None = None,
        stream_input: bool = False,
        max_step: int | None = None,
        rounding: Rounding = "tvm",
    ) -> None:
        self.options = PlanOptions(
            tuple(axes),
            overwrite_input,
            ram=ram,
            max_overhead=max_overhead,
            core=core,
            stream_input=stream_input,
            max_step=max_step,
            rounding=rounding,
        )
        self.progress = progress
        self.refused: tuple[Refusal, ...] = ()

    def transform_module(self, mod: Any, ctx: Any) -> Any:
        """Called by TVM. Functions other than ``main`` are left alone."""
        result = partition(mod, self.options, self.progress)
        self.refused = result.reading.refused
        return result.mod


def partition(mod: Any, options: PlanOptions = PlanOptions(), progress: Progress | None = None) -> Partition:
    """What PexPartition does, with everything it found out. ``options.quantized_io`` is not its matter."""
    if options.stream_input and "rows" not in options.axes:
        raise NotStreamable("an input comes by rows only where the loops may slice rows")
    mod, reading, kept = read_module(mod, options.overwrite_input, options.stream_input, options.rounding)
    if options.stream_output:
        reading = dataclasses.replace(
            reading, graph=dataclasses.replace(reading.graph, handed_out=reading.graph.outputs)
        )
    regions = [_Region(*_scheduled(graph, options, kept, progress)) for graph in split_regions(reading, options.core)]
    if not regions:
        return Partition(mod, (), reading, kept)
    main = _Rewriter(reading, regions).main(mod["main"])
    rewritten = tvm.IRModule({**dict(mod.functions.items()), mod.get_global_var("main"): main}, mod.type_definitions)
    rewritten = relay.transform.InferType()(rewritten)
    streamed = _streamed_input(mod["main"], reading) if options.stream_input else None
    return Partition(rewritten, tuple((r.graph, r.schedule) for r in regions), reading, kept, streamed)


def _scheduled(
    graph: Graph, options: PlanOptions, kept: frozenset[str], progress: Progress | None
) -> tuple[Graph, Schedule]:
    """The schedule, and the graph with the kernels for which it leaves memory."""
    if not graph.kernels:
        return graph, _schedule_of(graph, options, kept, progress)
    bare = without_scratch(graph)
    if options.ram is None and not options.pools:
        schedule = _schedule_of(bare, options, kept, progress)
    else:
        try:
            bare, schedule = graph, _schedule_of(graph, options, kept, progress)
        except OverBudget:
            schedule = _schedule_of(bare, options, kept, progress)
    return with_scratch(bare, graph.kernels, schedule, kept, options.ram), schedule


def _schedule_of(graph: Graph, options: PlanOptions, kept: frozenset[str], progress: Progress | None) -> Schedule:
    find: Callable[..., Schedule] = functools.partial(find_schedule, budget=options.ram)
    if options.pools:
        find = functools.partial(find_pooled_schedule, pools=options.pools)
    return find(
        graph,
        axes=options.axes,
        kept=kept,
        max_overhead=options.max_overhead,
        max_step=options.max_step if graph.streamed else None,
        progress=progress,
    )


def read_module(
    mod: Any, overwrite_input: bool, streams: bool = False, rounding: Rounding = "tvm"
) -> tuple[Any, Reading, frozenset[str]]:
    """The module, typed and tidied, what Pex can run of ``main``, and the inputs that may not be overwritten.

    Where it ``streams`` raises NotStreamable if no input can come by rows.
    """
    mod = slopes_by_channel(drop_transposes(relay.transform.InferType()(mod)))
    mod, reading = stream_input(mod, rounding) if streams else (mod, read_function(mod["main"], rounding))
    reading = dataclasses.replace(reading, graph=as_columns(reading.graph))
    variables = [name for name, expr in reading.expressions.items() if isinstance(expr, relay.Var)]
    kept = frozenset() if overwrite_input else frozenset(variables) - frozenset(reading.graph.streamed)
    return mod, reading, kept


def _streamed_input(main: Any, reading: Reading) -> StreamedInput:
    (name,) = reading.graph.streamed
    rows, width, channels = _rows(reading.graph)
    return StreamedInput(list(main.params).index(reading.expressions[name]), rows, (width, channels))


def _rows(graph: Graph) -> Shape:
    """(rows, width, channels) of the streamed input as its arrival sees it."""
    assert graph.arrival is not None
    return graph.arrival.views[0]


@dataclass
class _Region:
    graph: Graph
    schedule: Schedule
    results: dict[str, Any] = field(default_factory=dict)


def split_regions(reading: Reading, core: str | None = None) -> list[Graph]:
    """Cuts the owned operators into convex regions: operators with as many stock calls before them go together.

    For ``core``, each with the kernels that its operators have.
    """
    levels = _levels(reading)
    numbers = sorted({levels[op.output] for op in reading.graph.operators})
    regions = [
        subgraph(reading.graph, [op for op in reading.graph.operators if levels[op.output] == number])
        for number in numbers
    ]
    return [with_kernels(graph, core) for graph in regions] if core else regions


def _levels(reading: Reading) -> dict[str, int]:
    """For each tensor, the number of stock calls on the longest path to it."""
    makers = {op.output: op for op in reading.graph.operators}
    tensor_of = {expr: name for name, expr in (*reading.expressions.items(), *reading.uses)}
    found: dict[Any, int] = {}

    def visit(expr: Any) -> None:
        op = makers.get(tensor_of.get(expr, ""))
        if op is not None:
            found[expr] = max(found[reading.expressions[name]] for name in op.inputs)
        elif isinstance(expr, relay.Call):
            found[expr] = 1 + max((found[argument] for argument in expr.args), default=0)
        elif isinstance(expr, relay.Tuple):
            found[expr] = max((found[item] for item in expr.fields), default=0)
        else:
            found[expr] = found[expr.tuple_value] if isinstance(expr, relay.TupleGetItem) else 0

    relay.analysis.post_order_visit(relay.Tuple(list(reading.expressions.values())), visit)  # operands first
    return {name: found[expr] for name, expr in reading.expressions.items()}


class _Rewriter(relay.ExprMutator):  # type: ignore[misc]
    """Replaces what the regions compute by calls of them."""

    def __init__(self, reading: Reading, regions: Sequence[_Region]) -> None:
        super().__init__()
        self.reading = reading
        self.region_of = {op.output: region for region in regions for op in region.graph.operators}
        self.tensor_of = {expr: name for name, expr in reading.uses}
        self.first_use = dict(reversed(reading.uses))
        self.number: Any = None

    def main(self, function: Any) -> Any:
        graph, parameters = self.reading.graph, list(function.params)
        if graph.streamed:
            (name,) = graph.streamed
            position = parameters.index(self.reading.expressions[name])
            taken, number = {str(p.name_hint) for p in parameters}, "pex_row"
            while number in taken:
                number += "_"
            self.number = relay.var(number, shape=(1,), dtype="int32")
            parameters[position] = self.row(name)
            parameters.append(self.number)
        body = self.visit(function.body)
        kind = None if graph.handed_out else function.ret_type
        return relay.Function(parameters, body, kind, function.type_params, function.attrs)

    def row(self, name: str) -> Any:
        """The parameter that takes the place of the streamed input."""
        whole = self.reading.expressions[name]
        if whole not in self.memo_map:
            dtype = self.reading.graph.tensors[name].dtype
            self.memo_map[whole] = relay.var(whole.name_hint, shape=_rows(self.reading.graph)[1:], dtype=dtype)
        return self.memo_map[whole]

    def visit(self, expr: Any) -> Any:
        name = self.tensor_of.get(expr) if not isinstance(expr, relay.Constant) else None
        if name is None or name not in self.region_of:
            return super().visit(expr)
        value = self.result(name)
        if name in self.reading.graph.handed_out:
            return value
        if self.shape_of(name) == _shape(expr):
            return value
        return relay.reshape(value, _shape(expr))

    def result(self, name: str) -> Any:
        """The Relay expression that holds a tensor of a region."""
        region = self.region_of[name]
        if not region.results:
            call = self.call(region)
            outputs = region.graph.outputs
            if len(outputs) == 1:
                region.results[outputs[0]] = call
            else:
                region.results.update({n: relay.TupleGetItem(call, i) for i, n in enumerate(outputs)})
        return region.results[name]

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor in Relay: as its first reader outside wants it, or of a row."""
        if name in self.reading.graph.handed_out:
            return self.reading.graph.tensors[name].shape[1:]
        if name in self.first_use:
            return _shape(self.first_use[name])
        if name in self.region_of:
            return (1, *self.reading.graph.tensors[name].shape)
        if name in self.reading.graph.streamed:
            return _rows(self.reading.graph)[1:]
        return _shape(self.reading.expressions[name])

    def call(self, region: _Region) -> Any:
        graph = region.graph
        arguments = [
            self.result(name) if name in self.region_of else self.visit(self.reading.expressions[name])
            for name in graph.inputs
        ]
        types = [relay.TensorType(self.shape_of(n), graph.tensors[n].dtype) for n in graph.inputs]
        for constant in _packed_constants(graph, region.schedule):
            arguments.append(relay.const(constant))
            types.append(relay.TensorType(constant.shape, str(constant.dtype)))
        if graph.streamed:
            arguments.append(self.number)
            types.append(relay.TensorType((1,), "int32"))
        # Each argument needs a parameter: TVM miscompiles a bare tuple of network inputs.
        parameters = [relay.var(f"p{index}", type_annotation=kind) for index, kind in enumerate(types)]
        attributes = tvm.ir.make_node(
            "DictAttrs",
            graph=graph_to_json(graph),
            schedule=region.schedule.to_json(),
            outputs=json.dumps([[self.shape_of(n), graph.tensors[n].dtype] for n in graph.outputs]),
        )
        body = relay.Call(REGION, [relay.Tuple(parameters)], attributes)
        function = relay.Function(parameters, body).with_attr("Primitive", tvm.tir.IntImm("int32", 1))
        return relay.Call(function.with_attr("pex.schedule", str(region.schedule)), arguments)


def _packed_constants(graph: Graph, schedule: Schedule) -> list[Any]:
    weights = {op.weights: op for op in graph.operators if isinstance(op, Convolution)}
    packed = packed_constants(graph, schedule)
    for name, value in graph.constants.items():
        if name not in packed:
            packed[name] = pack_weights(weights[name], value) if name in weights else value.reshape(-1)
    return [packed[name] for name in graph.constants]


def _shape(expr: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in expr.checked_type.shape)
