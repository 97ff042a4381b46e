"""Float inputs and outputs whose quantisation is left to the caller: what goes over, what stays, and the bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from model_files import shared_model
from relay_forms import convolution, fraction, random, source, whole

from tvm_pex._tvm import relay, tvm
from tvm_pex.compiler import compile_model
from tvm_pex.frontend.quantized_io import leave_quantisation
from tvm_pex.frontend.tflite_model import Model, Port, load_model
from tvm_pex.frontend.values import op_name
from tvm_pex.microtvm.archive import arena_header, metadata
from tvm_pex.options import PlanOptions
from tvm_pex.verification.verify import verify

SHAPE = (1, 8, 6, 3)
WEIGHTS = random(3, 3, 3, 4)


def quantise(data: Any, scale: Any = 0.25, zero: int = -5, dtype: str = "int8") -> Any:
    return relay.qnn.op.quantize(data, fraction(scale), whole(zero), axis=3, out_dtype=dtype)


def dequantise(data: Any, scale: float = 0.1, zero: int = 3) -> Any:
    return relay.qnn.op.dequantize(data, fraction(scale), whole(zero))


def numbers(name: str = "x", shape: tuple[int, ...] = SHAPE) -> Any:
    return source(*shape, dtype="float32", name=name)


def model_of(body: Any) -> Model:
    mod = tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(body), body))
    mod = relay.transform.InferType()(mod)
    main = mod["main"]
    kinds = main.ret_type.fields if isinstance(main.ret_type, tvm.ir.TupleType) else [main.ret_type]
    return Model(
        "network",
        mod,
        tuple(port(p.name_hint, p.checked_type) for p in main.params),
        tuple(port(f"y{index}", kind) for index, kind in enumerate(kinds)),
    )


def port(name: str, kind: Any) -> Port:
    return Port(name, tuple(int(n) for n in kind.shape), str(kind.dtype))


def operators(model: Model) -> list[str]:
    names: list[str] = []
    relay.analysis.post_order_visit(model.mod["main"].body, lambda expr: names.append(op_name(expr)))
    return [name for name in names if name]


def dtypes(model: Model) -> tuple[list[str], list[str]]:
    return [p.dtype for p in model.inputs], [p.dtype for p in model.outputs]


def test_both_borders_go_over() -> None:
    model = model_of(dequantise(convolution(quantise(numbers()), WEIGHTS)))
    left = leave_quantisation(model)
    assert left.inputs == (Port("x", SHAPE, "int8", 0.25, -5),)
    assert left.outputs == (Port("y0", (1, 6, 4, 4), "int8", float(np.float32(0.1)), 3),)
    assert operators(left) == ["qnn.conv2d", "nn.bias_add", "qnn.requantize"]
    main = left.mod["main"]
    assert [str(p.checked_type.dtype) for p in main.params] == ["int8"]
    assert str(main.ret_type.dtype) == "int8"
    assert leave_quantisation(left) is left


def test_the_program_is_exact_and_smaller() -> None:
    model = model_of(dequantise(convolution(quantise(numbers()), WEIGHTS)))
    inside = compile_model(model)
    assert inside.model is model
    outside = compile_model(model, PlanOptions(quantized_io=True))
    assert outside.arena_bytes < inside.arena_bytes
    assert outside.report["input_bytes"] == 8 * 6 * 3
    assert verify(model, inside, inputs=5).passed
    assert verify(outside.model, outside, inputs=5).passed


def test_header_and_metadata_have_scale_and_zero_point() -> None:
    model = model_of(dequantise(convolution(quantise(numbers(), scale=1.0), WEIGHTS)))
    compiled = compile_model(model, PlanOptions(quantized_io=True))
    header = arena_header(compiled)
    source_name, result_name = (p[0].identifier.upper() for p in (compiled.build.inputs, compiled.build.outputs))
    assert f"#define TVMGEN_DEFAULT_{source_name}_SCALE 1.0f\n" in header
    assert f"#define TVMGEN_DEFAULT_{source_name}_ZERO_POINT (-5)\n" in header
    assert f"#define TVMGEN_DEFAULT_{result_name}_SCALE 0.1f\n" in header
    assert f"#define TVMGEN_DEFAULT_{result_name}_ZERO_POINT 3\n" in header
    ports = metadata(compiled.model, compiled)["modules"]["default"]["arena"]
    assert [(p["dtype"], p["scale"], p["zero_point"]) for p in ports["inputs"]] == [("int8", 1.0, -5)]
    assert "_SCALE" not in arena_header(compile_model(model)).split("#define", 1)[1]


def test_two_equal_quantises_are_one() -> None:
    x = numbers()
    both = convolution(quantise(x), WEIGHTS), convolution(quantise(x), random(3, 3, 3, 2))
    left = leave_quantisation(model_of(relay.Tuple([dequantise(y) for y in both])))
    assert dtypes(left) == (["int8"], ["int8", "int8"])


def test_one_of_two_inputs() -> None:
    y = relay.concatenate([dequantise(quantise(numbers("a"))), numbers("b")], axis=3)
    assert dtypes(leave_quantisation(model_of(y))) == (["int8", "float32"], ["float32"])


X = numbers()
Q = convolution(quantise(X), WEIGHTS)
STAY = {
    "no quantisation": relay.nn.relu(X),
    "int8 borders": convolution(source(*SHAPE), WEIGHTS),
    "different quantises": relay.concatenate(
        [relay.nn.relu(relay.cast(quantise(X, zero=z), "float32")) for z in (1, 2)], 3
    ),
    "another reader": relay.concatenate([X, dequantise(quantise(X))], 3),
    "the input is a result": relay.Tuple([X, relay.cast(quantise(X), "int32")]),
    "a scale for each channel": relay.cast(
        relay.qnn.op.quantize(X, fraction([0.5, 0.25, 1.0]), relay.const(np.zeros(3, "int32")), axis=3), "int32"
    ),
    "int32": relay.nn.relu(relay.cast(quantise(X, dtype="int32"), "float32")),
}


@pytest.mark.parametrize("name", sorted(STAY))
def test_stays(name: str) -> None:
    model = model_of(STAY[name])
    assert leave_quantisation(model) is model


OUTPUTS_STAY = {
    "read by another operator too": (lambda y: (y, relay.nn.relu(y)))(dequantise(Q)),
    "what it reads is a result": (Q, dequantise(Q)),
    "two encodings of one tensor": (dequantise(Q), dequantise(Q, 0.2)),
    "nothing is computed": (dequantise(quantise(X)), dequantise(quantise(X))),
}


@pytest.mark.parametrize("name", sorted(OUTPUTS_STAY))
def test_output_stays(name: str) -> None:
    model = model_of(relay.Tuple(list(OUTPUTS_STAY[name])))
    left = leave_quantisation(model)
    assert dtypes(left) == (["int8"], dtypes(model)[1])


def test_layer_by_layer_counts_what_the_caller_hands_over() -> None:
    """In the file the first operator reads 80x80x3 floats; the peak lies later, but not below it."""
    model = load_model(shared_model("mcunet_vww1"))
    assert (model.layer_by_layer_bytes, model.quantised_layer_by_layer_bytes) == (161_472, 161_472)
    left = leave_quantisation(model)
    assert (left.inputs[0].dtype, left.inputs[0].zero_point) == ("int8", 0)
    assert (left.outputs[0].dtype, left.outputs[0].zero_point) == ("int8", 1)
    assert left.inputs[0].scale == pytest.approx(0.00783931)


def test_ports_named_by_numbers() -> None:
    """Converters name tensors so; C does not."""
    x = relay.var("7", shape=SHAPE, dtype="int8")
    function = relay.Function([x], relay.Tuple([convolution(x, WEIGHTS), convolution(x, WEIGHTS, seed=3)]))
    function = function.with_attr("output_tensor_names", ["1422", "y"])
    mod = relay.transform.InferType()(tvm.IRModule.from_expr(function))
    ports = tuple(port(name, kind) for name, kind in zip(("1422", "y"), mod["main"].ret_type.fields))
    model = Model("network", mod, (port("7", x.type_annotation),), ports)
    compiled = compile_model(model)
    assert [p.identifier for p in compiled.build.inputs + compiled.build.outputs] == ["input_7", "output_1422", "y"]
    assert verify(model, compiled, inputs=3).passed
