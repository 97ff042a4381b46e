"""Float32: the reader against stock TVM, then networks in their exact arenas, and what verify calls exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from interpreter import run_graph
from model_files import shared_model
from relay_forms import source, stock, typed

from tvm_pex._tvm import relay, tvm
from tvm_pex.compiler import compile_model
from tvm_pex.frontend.reader import read_function
from tvm_pex.frontend.slopes import slopes_by_channel
from tvm_pex.frontend.tflite_model import Model, Port, load_model
from tvm_pex.graph import Apply, Convolution, graph_from_json, graph_to_json
from tvm_pex.options import PlanOptions
from tvm_pex.packing.validator import fault_of_pools
from tvm_pex.verification.verify import TOLERANCE, sample_inputs, verify

NETWORKS = 12

# Arena bytes with the input kept and with the input overwritten.
REACHED = {"magic_wand_fp32": (2_272, 1_840), "cifar10_fp32": (29_056, 22_972), "text_class_fp32": (1_216, 1_152)}


# Forms of TVM's TFLite importer.


def image(*shape: int, name: str = "x") -> Any:
    return source(1, *shape, dtype="float32", name=name)


def values(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def convolution(data: Any, weights: Any, layout: str = "HWIO", bias: bool = True, **attrs: Any) -> Any:
    channels = weights.shape[3] if layout == "HWIO" else weights.shape[2] * weights.shape[3]
    size = {"channels": channels, "kernel_size": weights.shape[:2], "data_layout": "NHWC", "kernel_layout": layout}
    conv = relay.nn.conv2d(data, relay.const(weights), **{**size, **attrs})
    return relay.nn.bias_add(conv, relay.const(values(channels, seed=1)), axis=3) if bias else conv


def dense(data: Any, units: int, inputs: int) -> Any:
    product = relay.nn.dense(data, relay.const(values(units, inputs)), units=units)
    return relay.nn.bias_add(product, relay.const(values(units, seed=1)))


def model_of(body: Any) -> Model:
    func = typed(body)
    ports = [
        Port(str(p.name_hint), tuple(int(n) for n in p.checked_type.shape), p.checked_type.dtype) for p in func.params
    ]
    shape = tuple(int(n) for n in func.ret_type.shape)
    mod = relay.transform.InferType()(tvm.IRModule.from_expr(func))
    return Model("float", mod, tuple(ports), (Port("output", shape, str(func.ret_type.dtype)),))


X = image(7, 6, 4)
FORMS = {
    "conv": convolution(X, values(3, 2, 4, 5), strides=(2, 1), padding=(0, 1, 1, 0)),
    "conv relu": relay.nn.relu(convolution(X, values(3, 3, 4, 5), dilation=(1, 2))),
    "conv relu6": relay.clip(convolution(X, values(1, 1, 4, 5)), 0.0, 6.0),
    "conv without bias": convolution(X, values(3, 3, 4, 5), bias=False),
    "depthwise": convolution(X, values(3, 3, 4, 2), "HWOI", groups=4, padding=(1, 1, 1, 1)),
    "grouped": convolution(X, values(3, 3, 2, 6), groups=2),
    "padded conv": convolution(relay.nn.pad(X, ((0, 0), (1, 0), (2, 1), (0, 0))), values(3, 3, 4, 5)),
    "pad": relay.nn.pad(X, ((0, 0), (1, 0), (2, 1), (0, 0)), pad_value=0.5),
    "max": relay.nn.max_pool2d(X, (3, 3), (2, 2), padding=(1, 1, 1, 1), layout="NHWC"),
    "average": relay.nn.avg_pool2d(X, (3, 3), (2, 2), padding=(1, 1, 1, 1), layout="NHWC"),
    "global average": relay.nn.global_avg_pool2d(X, layout="NHWC"),
    "mean": relay.mean(X, axis=(1, 2)),
    "mean of rows": relay.mean(image(9, 5), axis=[1]),
    "add relu": relay.nn.relu(relay.add(X, image(7, 6, 4, name="y"))),
    "clip": relay.clip(X, -0.25, 0.5),
    "logistic": relay.sigmoid(X),
    "tanh of conv": relay.tanh(convolution(X, values(1, 1, 4, 5))),
    "hard swish": X * relay.clip(X + relay.const(3.0), 0.0, 6.0) / relay.const(6.0),
    "rounded": relay.floor(relay.abs(X) * relay.const(5.0)) - relay.ceil(X),
    "leaky relu": relay.nn.leaky_relu(X, 0.2),
    "prelu": relay.nn.prelu(X, relay.const(values(4)), axis=3),
    "normalised": (X - relay.const(values(4))) * relay.const(values(1, 1, 1, 4, seed=1)),
    "gelu": X * relay.const(0.5) * (relay.const(1.0) + relay.erf(X * relay.const(0.7))),
    "functions": relay.exp(relay.sin(X)) - relay.rsqrt(relay.cos(X)) + relay.sqrt(relay.power(X, relay.const(2.0))),
    "gate": relay.multiply(relay.sigmoid(relay.mean(X, axis=(1, 2), keepdims=True)), X),
    "minimum clip": relay.clip(relay.minimum(X, image(1, 6, 4, name="y")), -0.5, 0.1),
    "maximum": relay.nn.relu(relay.maximum(relay.log(X + relay.const(2.0)), relay.negative(X))),
    "sum with a constant": relay.add(X, relay.const(values(4))),
    "dense": dense(image(9), 5, 9),
    "flattened dense": dense(relay.reshape(relay.nn.relu(X), (1, 168)), 5, 168),
}


def assert_close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE * np.ptp(expected))


@pytest.mark.parametrize("form", sorted(FORMS))
def test_form(form: str) -> None:
    """Read whole; the same in the interpreter as in stock TVM."""
    func = typed(FORMS[form])
    reading = read_function(func)
    assert reading.refused == ()
    shapes = [tuple(int(n) for n in p.checked_type.shape) for p in func.params]
    inputs = {p.name_hint: values(*s, seed=3 + i) for i, (p, s) in enumerate(zip(func.params, shapes))}
    (results,) = stock(func, inputs)
    assert_close(run_graph(reading.graph, inputs)[reading.graph.outputs[0]].reshape(results[0].shape), results[0])
    assert graph_from_json(graph_to_json(reading.graph)).operators == reading.graph.operators


@pytest.mark.parametrize(
    ("slopes", "by_channel"), [((1, 1, 4), True), ((4,), True), ((7, 6, 4), False), ((7, 1, 1), False)]
)
def test_slopes_as_imported(slopes: tuple[int, ...], by_channel: bool) -> None:
    """By channel they are those of one operator; others stay as they are."""
    spread = relay.reshape(relay.broadcast_to(relay.const(values(*slopes)), (1, 7, 6, 4)), [-1])
    data = convolution(X, values(1, 1, 4, 4))
    body = relay.reshape(relay.nn.prelu(relay.reshape(data, [-1]), spread, axis=0), (1, 7, 6, 4))
    model = model_of(convolution(body, values(3, 3, 4, 2)))
    main = slopes_by_channel(model.mod)["main"]
    reading = read_function(main)
    assert by_channel == (not reading.refused)
    assert not by_channel or [type(op) for op in reading.graph.operators] == [Convolution, Apply, Convolution]
    inputs = {"x": values(1, 7, 6, 4, seed=3)}
    ((one,),), ((other,),) = stock(main, inputs), stock(model.mod["main"], inputs)
    np.testing.assert_array_equal(one, other)


def test_limits() -> None:
    def limits(body: Any) -> tuple[float, float]:
        (operator,) = read_function(typed(body)).graph.operators
        assert isinstance(operator, Convolution)
        return operator.low, operator.high

    assert limits(FORMS["conv"]) == (-np.inf, np.inf)
    assert limits(FORMS["conv relu"]) == (0, np.inf)
    assert limits(FORMS["conv relu6"]) == (0, 6)


def test_other_floats_stay_with_tvm() -> None:
    half = source(1, 4, 4, 2, dtype="float16")
    reasons = [r.reason for r in read_function(typed(relay.nn.relu(half))).refused]
    assert reasons == ["it works on float16, not on int8, uint8 or int16"]
    constant = relay.add(X, relay.const(values(1, 7, 6, 4)))
    assert [r.reason for r in read_function(typed(constant)).refused] == [
        "one of its operands is a constant that differs between pixels"
    ]


# Networks, compiled.


def random_body(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    height, width, channels = (int(n) for n in rng.integers((6, 1, 1), (13, 12, 6)))
    data = image(height, width, channels)
    for step in range(int(rng.integers(1, 5))):
        _, height, width, channels = (int(n) for n in typed(data).ret_type.shape)
        kernel = int(rng.integers(1, min(3, height, width) + 1))
        choice = int(rng.integers(0, 7))
        if choice < 2:
            weights = values(kernel, kernel, channels, int(rng.integers(1, 9)), seed=seed + step)
            data = relay.nn.relu(convolution(data, weights, padding=(kernel // 2, kernel // 2)))
        elif choice == 2:
            weights = values(kernel, kernel, channels, 1, seed=seed + step)
            layout = "HWOI" if channels > 1 else "HWIO"
            data = convolution(data, weights, layout, groups=channels, strides=(2, 1))
        elif choice == 3:
            pool = relay.nn.max_pool2d if rng.random() < 0.5 else relay.nn.avg_pool2d
            data = pool(data, (kernel, kernel), (kernel, kernel), layout="NHWC")
        elif choice == 4:
            data = data * relay.sigmoid(data + relay.const(values(channels, seed=step)))
        elif choice == 5:
            gate = relay.tanh(relay.mean(data, axis=[1, 2], keepdims=True))
            data = relay.multiply(data, convolution(gate, values(1, 1, channels, channels, seed=seed + step)))
        else:
            weights = values(1, 1, channels, channels, seed=seed + step)
            data = relay.add(data, relay.clip(convolution(data, weights), 0.0, 6.0))
    _, height, width, channels = (int(n) for n in typed(data).ret_type.shape)
    if rng.random() < 0.5:
        return dense(relay.mean(data, axis=(1, 2)), 4, channels)
    return dense(relay.reshape(data, (1, -1)), 4, height * width * channels)


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_random_network(seed: int) -> None:
    model = model_of(random_body(seed))
    compiled = compile_model(model, PlanOptions(overwrite_input=seed % 2 == 1))
    assert compiled.report["refused"] == []
    assert compiled.report["executed_macs"] == compiled.report["macs"]
    result = verify(model, compiled, inputs=4, seed=seed)
    assert result.passed, result


@pytest.mark.parametrize("name", sorted(REACHED))
def test_shared_model(name: str) -> None:
    model = load_model(shared_model(name))
    for overwrite, limit in zip((False, True), REACHED[name], strict=True):
        compiled = compile_model(model, PlanOptions(overwrite_input=overwrite))
        assert fault_of_pools(compiled.memory.problem, compiled.memory.accesses, compiled.memory.pools) is None
        assert compiled.arena_bytes <= limit
        assert compiled.report["executed_macs"] == compiled.report["macs"]
    result = verify(model, compiled, inputs=6)
    assert result.passed, result


# What verify calls exact.


def test_verify_tells_the_tolerance() -> None:
    model = model_of(FORMS["conv relu"])
    compiled = compile_model(model)
    result = verify(model, compiled, inputs=6)
    assert result.exact and result.tolerance in (None, TOLERANCE)
    other = compile_model(model_of(FORMS["conv without bias"]))
    wrong = model_of(relay.add(FORMS["conv without bias"], relay.const(np.float32(1e-3))))
    result = verify(wrong, other, inputs=6)
    assert not result.exact and result.tolerance == TOLERANCE


def test_an_index_stays_inside_its_table() -> None:
    body = relay.take(relay.const(values(5, 3)), relay.cast(source(1, 8, dtype="float32"), "int32"), axis=0)
    samples = sample_inputs(model_of(body), 6, 0)["x"]
    assert samples.min() == 0 and samples.max() == 4 and not (samples % 1).any()
