"""Relay in, Relay out: operators that Pex can run by slices become Primitive functions around ``pex.region``.

Before::

    %1 = qnn.conv2d(%x, ...); ...; %9 = clip(...)      # owned by Pex
    nn.softmax(%9)                                     # stays stock

After::

    %1 = fn (%p0, ..., Primitive=1, pex.schedule="rows: conv0 depthwise1 ...") { pex.region((%p0, ...)) };
    %2 = %1(%x, weights, ...);
    nn.softmax(%2)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.reader import Reading, Refusal, read_function
from tvm_pex.frontend.transposes import drop_transposes
from tvm_pex.graph import Convolution, Graph, subgraph
from tvm_pex.lowering.kernels import pack_weights
from tvm_pex.lowering.region_op import REGION
from tvm_pex.micro_kernels.packing import packed_constants
from tvm_pex.micro_kernels.selection import with_kernels
from tvm_pex.options import PlanOptions
from tvm_pex.scheduling.pooled import find_pooled_schedule
from tvm_pex.scheduling.schedule import Schedule
from tvm_pex.scheduling.search import ALL_AXES, Progress, find_schedule
from tvm_pex.scheduling.wide import with_wide_kernels


@dataclass(frozen=True)
class Partition:
    """A rewritten module, with the regions that were cut out of it and what was left stock.

    ``kept`` are the tensors of model inputs that may not be overwritten.
    """

    mod: Any
    regions: tuple[tuple[Graph, Schedule], ...]
    reading: Reading
    kept: frozenset[str] = frozenset()


@tvm.transform.module_pass(opt_level=0, name="PexPartition")
class PexPartition:
    """Cuts chains that can run by slices out of ``main`` and gives each region its schedule of least memory.

    ``axes`` are any of "rows", "pixels" (only with rows) and "channels". After a run, ``refused`` lists the operators
    that stay stock, with reasons. With ``overwrite_input`` schedules may count on the model input's dead rows. With
    ``ram`` each region gets its fastest schedule of at most that many bytes; search.OverBudget is raised if none fits.
    With ``max_overhead`` each region may run up to that many times its multiply-accumulates. With ``core``, one of
    ``tvm_pex.scheduling.kernel_cost.CORES``, operators call kernels in C, for target c alone, whose sources
    (``tvm_pex.micro_kernels.files``) have to be compiled too; without it they are portable.
    """

    def __init__(
        self,
        axes: Sequence[str] = ALL_AXES,
        overwrite_input: bool = False,
        progress: Progress | None = None,
        ram: int | None = None,
        max_overhead: float = 1.0,
        core: str | None = None,
    ) -> None:
        self.options = PlanOptions(tuple(axes), overwrite_input, ram=ram, max_overhead=max_overhead, core=core)
        self.progress = progress
        self.refused: tuple[Refusal, ...] = ()

    def transform_module(self, mod: Any, ctx: Any) -> Any:
        """Called by TVM. Functions other than ``main`` are left alone."""
        result = partition(mod, self.options, self.progress)
        self.refused = result.reading.refused
        return result.mod


def partition(mod: Any, options: PlanOptions = PlanOptions(), progress: Progress | None = None) -> Partition:
    """What PexPartition does, with everything it found out. ``options.quantized_io`` is not its matter."""
    mod, reading, kept = read_module(mod, options.overwrite_input)
    graphs = regions_of(reading, options)
    schedules = [_schedule_of(graph, options, kept, progress) for graph in graphs]
    regions = [
        _Region(with_wide_kernels(graph, schedule, kept, options.ram), schedule)
        for graph, schedule in zip(graphs, schedules, strict=True)
    ]
    if not regions:
        return Partition(mod, (), reading, kept)
    main = _Rewriter(reading, regions).main(mod["main"])
    rewritten = tvm.IRModule({**dict(mod.functions.items()), mod.get_global_var("main"): main}, mod.type_definitions)
    rewritten = relay.transform.InferType()(rewritten)
    return Partition(rewritten, tuple((r.graph, r.schedule) for r in regions), reading, kept)


def _schedule_of(graph: Graph, options: PlanOptions, kept: frozenset[str], progress: Progress | None) -> Schedule:
    axes, most = options.axes, options.max_overhead
    if options.pools:
        return find_pooled_schedule(graph, options.pools, axes=axes, kept=kept, max_overhead=most, progress=progress)
    return find_schedule(graph, axes=axes, kept=kept, budget=options.ram, max_overhead=most, progress=progress)


def read_module(mod: Any, overwrite_input: bool) -> tuple[Any, Reading, frozenset[str]]:
    """The module, typed and tidied, what Pex can run of ``main``, and the inputs that may not be overwritten."""
    mod = drop_transposes(relay.transform.InferType()(mod))
    reading = read_function(mod["main"])
    variables = [name for name, expr in reading.expressions.items() if isinstance(expr, relay.Var)]
    return mod, reading, frozenset() if overwrite_input else frozenset(variables)


@dataclass
class _Region:
    graph: Graph
    schedule: Schedule
    results: dict[str, Any] = field(default_factory=dict)


def regions_of(reading: Reading, options: PlanOptions) -> list[Graph]:
    """The regions, with the kernels of ``options.core``."""
    return [with_kernels(graph, options.core) if options.core else graph for graph in split_regions(reading)]


def split_regions(reading: Reading) -> list[Graph]:
    """Cuts the owned operators into convex regions: operators with as many stock calls before them go together."""
    levels = _levels(reading)
    numbers = sorted({levels[op.output] for op in reading.graph.operators})
    return [
        subgraph(reading.graph, [op for op in reading.graph.operators if levels[op.output] == number])
        for number in numbers
    ]


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

    def main(self, function: Any) -> Any:
        body = self.visit(function.body)
        return relay.Function(function.params, body, function.ret_type, function.type_params, function.attrs)

    def visit(self, expr: Any) -> Any:
        name = self.tensor_of.get(expr) if not isinstance(expr, relay.Constant) else None
        if name is None or name not in self.region_of:
            return super().visit(expr)
        value = self.result(name)
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
        """Shape of a tensor in Relay: as its first reader outside wants it."""
        if name in self.first_use:
            return _shape(self.first_use[name])
        if name in self.region_of:
            return (1, *self.reading.graph.tensors[name].shape)
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
        # Each argument needs a parameter: TVM miscompiles a bare tuple of network inputs.
        parameters = [relay.var(f"p{index}", type_annotation=kind) for index, kind in enumerate(types)]
        attributes = tvm.ir.make_node(
            "DictAttrs",
            graph=graph.to_json(),
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
