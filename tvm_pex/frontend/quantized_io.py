"""Leaves the quantisation of a model's float inputs and outputs to the caller. A model in, a model out.

Before::

    fn (%x: float32) { %0 = qnn.quantize(%x, 0.5, 3, out_dtype="int8"); ...; qnn.dequantize(%9, 0.1, -7) }

After::

    fn (%x: int8) { ...; %9 }        # port x: scale 0.5, zero point 3; the output: scale 0.1, zero point -7

Rules:

1. An input goes over when it is float32, everything that reads it is a ``qnn.quantize`` to int8 or uint8, and these
   agree in type, scale and zero point. The quantises vanish.
2. An output goes over when it is a ``qnn.dequantize`` to float32 from int8 or uint8 that nothing else reads, and the
   tensor below it is computed and is not a result itself. The dequantise vanishes.
3. Scale and zero point are constants with one value: what is quantised per channel stays.
4. Everything else stays as it is; where nothing goes over, the model is the same object.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.tflite_model import Model, Port
from tvm_pex.frontend.values import Unsupported, integer, integer_dtype, op_name, scalar

_Encoding = tuple[str, float, int]  # type, scale, zero point


def leave_quantisation(model: Model) -> Model:
    """``model`` with 8-bit ports in place of float ones that it does nothing with but quantise and dequantise."""
    mod = relay.transform.InferType()(model.mod)
    main = mod["main"]
    readers = _readers(main.body)
    inputs = _quantised_inputs(main, readers)
    outputs = _dequantised_outputs(main, readers, inputs)
    if not inputs and not outputs:
        return model
    rewritten = tvm.IRModule({**dict(mod.functions.items()), mod.get_global_var("main"): _main(main, inputs, outputs)})
    results = _results(main.body)
    return dataclasses.replace(
        model,
        mod=relay.transform.InferType()(rewritten),
        inputs=tuple(_port(port, inputs.get(p)) for port, p in zip(model.inputs, main.params, strict=True)),
        outputs=tuple(_port(port, outputs.get(r)) for port, r in zip(model.outputs, results, strict=True))
        if outputs
        else model.outputs,
        layer_by_layer_bytes=model.quantised_layer_by_layer_bytes,
    )


def _port(port: Port, encoding: _Encoding | None) -> Port:
    if encoding is None:
        return port
    dtype, scale, zero_point = encoding
    return dataclasses.replace(port, dtype=dtype, scale=scale, zero_point=zero_point)


def _main(main: Any, inputs: Mapping[Any, _Encoding], outputs: Mapping[Any, _Encoding]) -> Any:
    variables = {
        parameter: relay.var(parameter.name_hint, shape=parameter.checked_type.shape, dtype=dtype)
        for parameter, (dtype, _, _) in inputs.items()
    }
    rewriter = _Rewriter(variables)
    relay.analysis.post_order_visit(main.body, rewriter.visit)  # operands first: else the recursion is a network deep
    results = [rewriter.visit(result.args[0] if result in outputs else result) for result in _results(main.body)]
    body = relay.Tuple(results) if isinstance(main.body, relay.Tuple) else results[0]
    parameters = [variables.get(parameter, parameter) for parameter in main.params]
    return relay.Function(parameters, body, None, main.type_params, main.attrs)


class _Rewriter(relay.ExprMutator):  # type: ignore[misc]
    """Puts a variable of the quantised type where the variable was quantised."""

    def __init__(self, variables: Mapping[Any, Any]) -> None:
        super().__init__()
        self.variables = variables

    def visit_call(self, call: Any) -> Any:
        if op_name(call) == "qnn.quantize" and call.args[0] in self.variables:
            return self.variables[call.args[0]]
        return super().visit_call(call)


def _results(body: Any) -> list[Any]:
    return list(body.fields) if isinstance(body, relay.Tuple) else [body]


def _readers(body: Any) -> dict[Any, list[Any]]:
    """For each expression whatever reads it: calls, tuples, all that is not followed, and None for the result."""
    readers: dict[Any, list[Any]] = {body: [None]}

    def visit(expr: Any) -> None:
        if isinstance(expr, relay.Call):
            operands = [*expr.args, expr.op]
        elif isinstance(expr, relay.Tuple):
            operands = list(expr.fields)
        elif isinstance(expr, relay.TupleGetItem):
            operands = [expr.tuple_value]
        elif isinstance(expr, relay.Let):
            operands = [expr.value, expr.body]
        elif isinstance(expr, relay.If):
            operands = [expr.cond, expr.true_branch, expr.false_branch]
        else:
            operands = []
        for operand in operands:
            readers.setdefault(operand, []).append(expr)

    relay.analysis.post_order_visit(body, visit)
    return readers


def _quantised_inputs(main: Any, readers: Mapping[Any, list[Any]]) -> dict[Any, _Encoding]:
    found = {}
    for parameter in main.params:
        encodings = {_encoding(reader, "qnn.quantize") for reader in readers.get(parameter, [None])}
        encoding = encodings.pop()
        if encoding and not encodings:
            found[parameter] = encoding
    return found


def _dequantised_outputs(
    main: Any, readers: Mapping[Any, list[Any]], inputs: Mapping[Any, _Encoding]
) -> dict[Any, _Encoding]:
    results = _results(main.body)
    below = Counter(result.args[0] for result in results if op_name(result) == "qnn.dequantize")
    found = {}
    for result in results:
        encoding = _encoding(result, "qnn.dequantize")
        if encoding is None or len(readers[result]) > 1:
            continue
        data = result.args[0]
        vanishes = op_name(data) == "qnn.quantize" and data.args[0] in inputs
        computed = isinstance(data, (relay.Call, relay.TupleGetItem)) and not vanishes
        if computed and below[data] == 1 and data not in results:
            found[result] = encoding
    return found


def _encoding(expr: Any, kind: str) -> _Encoding | None:
    """How ``expr``, a call of ``kind``, encodes numbers as integers; None where it is anything else."""
    if op_name(expr) != kind:
        return None
    narrow, wide = (expr, expr.args[0]) if kind == "qnn.quantize" else (expr.args[0], expr)
    try:
        encoding = integer_dtype(narrow), scalar(expr.args[1], "scale"), integer(expr.args[2], "zero point")
    except Unsupported:
        return None
    return encoding if str(wide.checked_type.dtype) == "float32" else None
