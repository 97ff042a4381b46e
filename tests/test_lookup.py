"""Chains of element-wise operators between 8-bit tensors become tables, equal to the C that stock TVM makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from interpreter import run_graph
from relay_forms import add, convolution, fraction, random, requantise, source, typed, whole

from tvm_pex._tvm import relay, tvm
from tvm_pex.compiler import compile_model
from tvm_pex.frontend.lookup import MOST_TABLES
from tvm_pex.frontend.reader import Reading, read_function
from tvm_pex.frontend.tflite_model import Model, Port
from tvm_pex.graph import Add, Apply, Convolution, Dequantize, Lookup, Quantize
from tvm_pex.verification.verify import reference_outputs, verify

Function = Callable[[Any], Any]


def sandwich(data: Any, function: Function, encodings: tuple[float, int, float, int], dtype: str = "int8") -> Any:
    """As TVM's TFLite importer writes functions of floats."""
    scale_in, zero_in, scale_out, zero_out = encodings
    floats = function(relay.qnn.op.dequantize(data, fraction(scale_in), whole(zero_in)))
    return relay.qnn.op.quantize(floats, fraction(scale_out), whole(zero_out), out_dtype=dtype)


def hard_swish(data: Any) -> Any:
    """As TVM's TFLite importer writes it."""
    return data * relay.clip(data + relay.const(3.0), 0.0, 6.0) / relay.const(6.0)


def sigmoid(values: Any) -> Any:
    return 1 / (1 + np.exp(-values))


def gelu(data: Any) -> Any:
    return data * relay.const(0.5) * (relay.const(1.0) + relay.erf(data * relay.const(0.5**0.5)))


# Each with an evaluation in float64 that shares nothing with it, and the values that it is asked for.
FUNCTIONS: dict[str, tuple[Function, Callable[[Any], Any], float]] = {
    "logistic": (relay.sigmoid, sigmoid, -6),
    "tanh": (relay.tanh, np.tanh, -4),
    "hard swish": (hard_swish, lambda x: x * np.clip(x + 3, 0, 6) / 6, -4),
    "leaky relu": (lambda x: relay.nn.leaky_relu(x, 0.3), lambda x: np.where(x > 0, x, 0.3 * x), -4),
    "elu": (lambda x: relay.const(-1.0) * relay.nn.relu(relay.const(1.0) - relay.exp(x)) + relay.nn.relu(x),
            lambda x: np.where(x > 0, x, np.exp(x) - 1), -4),
    "exp": (relay.exp, np.exp, -3),
    "log": (relay.log, np.log, 0.01),
    "sqrt": (relay.sqrt, np.sqrt, 0),
    "rsqrt": (relay.rsqrt, lambda x: 1 / np.sqrt(x), 0.01),
    "abs": (relay.abs, np.abs, -3),
    "negative": (relay.negative, np.negative, -3),
    "square": (lambda x: relay.power(x, relay.const(2.0)), np.square, -3),
    "sine": (relay.sin, np.sin, -3),
}  # fmt: skip
NOT_IN_C = ("abs",)  # of floats: stock TVM does not build it


def model_of(results: list[Any]) -> Model:
    body = relay.Tuple(results)
    mod = relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function(relay.analysis.free_vars(body), body)))

    def ports(kinds: list[Any], name: str) -> tuple[Port, ...]:
        return tuple(Port(f"{name}{k}", tuple(map(int, t.shape)), str(t.dtype)) for k, t in enumerate(kinds))

    inputs = ports([p.checked_type for p in mod["main"].params], "x")
    return Model("lookups", mod, inputs, ports(list(mod["main"].ret_type.fields), "y"))


@pytest.mark.parametrize(("dtype", "each"), [("int8", 2), ("uint8", 1)])
def test_functions_of_floats(dtype: str, each: int) -> None:
    """To the byte what stock TVM's C gives, for random encodings, and the real function rounded."""
    rng = np.random.default_rng(len(dtype))
    x, low = relay.var("x0", shape=(1, 16, 16, 1), dtype=dtype), np.iinfo(dtype).min
    results, wanted = [], []
    for name, (function, real, least) in FUNCTIONS.items():
        for _ in range(each):
            scale_in = float(np.float32(rng.uniform(0.01, 0.04)))
            zero_in = low - round(least / scale_in)
            values = (np.arange(256) + low - zero_in) * scale_in
            inside = values >= least if least >= 0 else np.full(256, True)
            exact = real(np.where(inside, values, 1.0))
            scale_out = float(np.float32(np.ptp(exact) / 255 * rng.uniform(0.8, 1.2)))
            zero_out = int(low - round(exact.min() / scale_out))
            results.append(sandwich(x, function, (scale_in, zero_in, scale_out, zero_out), dtype))
            wanted.append((name, inside, exact / scale_out + zero_out))
    reading, tables = read(results)
    assert not reading.refused
    every = (np.arange(256) + low).astype(dtype)
    in_c = model_of([result for result, (name, *_) in zip(results, wanted) if name not in NOT_IN_C])
    stock = iter(reference_outputs(in_c, {"x0": every.reshape(1, 1, 16, 16, 1)}).values())
    for table, (name, inside, exact) in zip(tables, wanted, strict=True):
        made = table[0][every.view(np.uint8)]
        assert name in NOT_IN_C or made.tobytes() == next(stock).tobytes(), name
        error = np.abs(made - np.clip(exact, low, low + 255))[inside]
        assert error.max() <= 0.501, (name, error.max())


def test_a_chain_is_one_operator() -> None:
    """From the convolution to the output there are nine calls, and a view."""
    summed = convolution(source(1, 4, 4, 3), random(1, 1, 3, 5))
    clipped = relay.clip(summed, -100.0, 90.0)
    swished = relay.clip(sandwich(clipped, hard_swish, (0.05, 3, 0.02, -4)), -90.0, 90.0)
    flat = relay.reshape(requantise(swished, 0.02, zero_in=-4), (1, 80))
    result = sandwich(flat, relay.tanh, (0.1, 3, 1 / 128, 0))
    reading = read_function(typed(result))
    kinds = [type(op) for op in reading.graph.operators]
    assert (kinds, reading.refused) == ([Convolution, Lookup], ())
    assert reading.graph.operators[1].views == ((4, 4, 5),)
    assert reading.graph.tensors["lookup1"].shape == (4, 4, 5)


def test_what_others_read_is_kept() -> None:
    x = source(1, 4, 4, 3)
    squared = sandwich(x, relay.sqrt, (0.05, -128, 0.02, -128))
    reading = read_function(typed(relay.Tuple([squared, sandwich(squared, relay.exp, (0.02, -128, 0.5, -128))])))
    assert [op.inputs for op in reading.graph.operators] == [("x",), ("lookup0",)]


def test_one_value_read_twice() -> None:
    """A sum of two functions of the same tensor is a function of it; of two tensors it is none."""
    x, y = source(1, 2, 2, 3), source(1, 2, 2, 3, name="y")
    one, other = (sandwich(x, f, (0.02, 0, 1 / 128, 0)) for f in (relay.tanh, relay.negative))
    assert kinds_of(add(one, other)) == [Lookup]
    assert kinds_of(add(x, other)) == [Lookup]
    assert kinds_of(add(one, requantise(y, 0.3))) == [Lookup, Lookup, Add]


def test_overflow_in_8_bits_stays_with_tvm() -> None:
    assert kinds_of(relay.clip(relay.negative(source(1, 2, 2, 3)), -9.0, 9.0)) == []


def test_pure_clips_are_what_they_were() -> None:
    summed = convolution(source(1, 4, 4, 3), random(1, 1, 3, 5))
    assert kinds_of(relay.clip(summed, 0.0, 9.0)) == [Convolution]
    assert kinds_of(relay.clip(source(1, 4, 4, 3), 0.0, 9.0)) == [Add]


def test_constants_by_channel() -> None:
    """A table for each channel, compared with what stock TVM's C gives for every value in every channel."""
    slopes = relay.const(np.array([0.1, -0.5, 2.0], "float32"))
    x = relay.var("x0", shape=(1, 16, 16, 3), dtype="int8")
    result = sandwich(x, lambda floats: relay.nn.prelu(floats, slopes, axis=3), (0.03, -5, 0.04, 7))
    reading, (table,) = read([result])
    every = np.repeat(np.arange(-128, 128, dtype=np.int8), 3)
    (stock,) = reference_outputs(model_of([result]), {"x0": every.reshape(1, 1, 16, 16, 3)}).values()
    values = run_graph(reading.graph, {"x0": every})
    assert table.shape == (3, 256) and values["lookup0"].tobytes() == stock.tobytes()
    real = (np.arange(-128, 128)[:, None] + 5) * 0.03
    real = np.where(real > 0, real, real * [0.1, -0.5, 2.0]) / 0.04 + 7
    assert np.abs(values["lookup0"].reshape(256, 3) - np.clip(real, -128, 127)).max() <= 0.501


@pytest.mark.parametrize(
    ("channels", "constant"),
    [(MOST_TABLES + 1, (MOST_TABLES + 1,)), (4, (4, 1, 1)), (4, (1, 4, 4, 4)), (4, (1, 2, 4))],
)
def test_constants_that_are_no_tables(channels: int, constant: tuple[int, ...]) -> None:
    floats = relay.qnn.op.dequantize(source(1, 4, 4, channels), fraction(0.1), whole(0))
    floats = relay.multiply(floats, relay.const(np.ones(constant, "float32"))) if len(constant) != 3 else floats
    if len(constant) == 3:
        floats = relay.reshape(floats, (1, 64)) * relay.const(np.ones(64, "float32"))
    quantised = relay.qnn.op.quantize(floats, fraction(0.1), whole(0))
    assert Lookup not in kinds_of(quantised)


def test_too_many_tables_are_computed_in_floats() -> None:
    """Also to the byte, compiled."""
    channels = MOST_TABLES + 1
    slopes = relay.const(np.linspace(-1, 2, channels, dtype="float32"))
    x = relay.var("x0", shape=(1, 3, 4, channels), dtype="int8")
    result = sandwich(x, lambda floats: relay.nn.prelu(floats, slopes, axis=3), (0.03, -5, 0.04, 7))
    model = model_of([convolution(result, random(3, 3, channels, 2), padding=(1, 1, 1, 1))])
    reading = read_function(model.mod["main"])
    assert [type(op) for op in reading.graph.operators] == [Dequantize, Apply, Quantize, Convolution]
    assert verify(model, compile_model(model), inputs=4).passed


def kinds_of(result: Any) -> list[type]:
    return [type(op) for op in read_function(typed(result)).graph.operators]


def read(results: list[Any]) -> tuple[Reading, list[Any]]:
    """What is made of the results, and the table, (1 or channels, 256), of each."""
    main = typed(relay.Tuple(results))
    reading = read_function(main)
    names = {expr: name for name, expr in reading.uses}
    operators = {op.output: op for op in reading.graph.operators}
    tables = []
    for result in main.body.fields:
        operator = operators[names[result]]
        assert isinstance(operator, Lookup)
        tables.append(reading.graph.constants[operator.table])
    return reading, tables
