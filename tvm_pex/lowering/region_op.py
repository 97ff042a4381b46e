"""The Relay operator ``pex.region``: any number of tensors in a tuple in, the region's outputs out.

Its attributes are all there is to it (graph, schedule and output types as JSON), so a module survives saving, and
``relay.build`` lowers it on any target by ``tir_schedule.lower_region``.
"""

from __future__ import annotations

import json
from typing import Any

from tvm import te
from tvm.relay.op import op as relay_op

from tvm_pex._tvm import relay, tvm
from tvm_pex.graph import graph_from_json
from tvm_pex.scheduling.schedule import schedule_from_json
from tvm_pex.tir_schedule import lower_region

_NAME = "pex.region"


def _output_types(attributes: Any) -> list[Any]:
    return [relay.TensorType(shape, dtype) for shape, dtype in json.loads(str(attributes["outputs"]))]


def _infer_type(_argument_types: Any, attributes: Any) -> Any:
    types = _output_types(attributes)
    return types[0] if len(types) == 1 else relay.TupleType(types)


def _compute(attributes: Any, inputs: Any, _out_type: Any) -> list[Any]:
    graph, schedule = graph_from_json(str(attributes["graph"])), schedule_from_json(str(attributes["schedule"]))
    types = _output_types(attributes)
    made = te.extern(
        [tuple(int(size) for size in kind.shape) for kind in types],
        list(inputs),
        lambda ins, outs: lower_region(graph, schedule, list(ins), list(outs)),
        dtype=[kind.dtype for kind in types],
        name="pex_region",
    )
    return [made] if len(types) == 1 else list(made)


def _schedule(_attributes: Any, outputs: Any, _target: Any) -> Any:
    return te.create_schedule([tensor.op for tensor in outputs])


@tvm.target.override_native_generic_func("pex_region_strategy")  # type: ignore[untyped-decorator]
def _strategy(_attributes: Any, _inputs: Any, _out_type: Any, _target: Any) -> Any:
    strategy = relay_op.OpStrategy()
    strategy.add_implementation(_compute, _schedule, name=_NAME)
    return strategy


def _register() -> Any:
    relay_op.register(_NAME, "Operators that run by slices, in one function.")
    operator = relay_op.get(_NAME)
    operator.set_num_inputs(1)
    operator.add_argument("data", "Tuple", "The tensors it reads and its constants.")
    operator.set_attrs_type_key("DictAttrs")
    operator.set_support_level(10)
    operator.set_attr("TOpPattern", relay_op.OpPattern.OPAQUE)
    operator.add_type_rel("PexRegion", _infer_type)
    relay_op.register_strategy(_NAME, _strategy)
    return operator


REGION = _register()
