"""Arithmetic on two tensors, one of which may be repeated: what is read is what stock TVM computes, to the byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from interpreter import run_graph
from relay_forms import convolution, fraction, random, source, stock, typed, whole

from tvm_pex._tvm import relay
from tvm_pex.frontend.reader import Reading, read_function
from tvm_pex.graph import Add, Binary, Convolution, Lookup, Pool
from tvm_pex.scheduling.segments import Unschedulable, make_segment

QUANTISED = ("add", "subtract", "mul")
LIKE = ("maximum", "minimum")
SHAPES = [
    ((1, 4, 3, 2), (1, 4, 3, 2)),
    ((1, 4, 3, 2), (1, 1, 1, 2)),
    ((1, 4, 3, 2), (1, 2)),
    ((1, 1, 3, 2), (1, 4, 3, 1)),
    ((1, 1, 1, 1), (1, 4, 3, 2)),
    ((4, 1, 2), (1, 4, 3, 2)),
    ((1, 5, 2), (1, 1, 2)),
    ((1, 7), (1, 1)),
]


def call(name: str, left: Any, right: Any, rng: np.random.Generator) -> Any:
    if name in LIKE:
        return getattr(relay, name)(left, right)
    encodings = [f(v) for _ in range(3) for f, v in ((fraction, rng.uniform(0.01, 0.5)), (whole, rng.integers(-9, 9)))]
    return getattr(relay.qnn.op, name)(left, right, *encodings)


def values(shapes: Any, rng: np.random.Generator) -> dict[str, Any]:
    return {name: rng.integers(-128, 128, shape, "int8") for name, shape in zip("xy", shapes)}


@pytest.mark.parametrize("name", [*QUANTISED, *LIKE])
def test_bytes_are_those_of_stock_tvm(name: str) -> None:
    """For all shapes at once, by the interpreter."""
    rng = np.random.default_rng(len(name))
    parts, inputs = [], {}
    for index, shapes in enumerate(SHAPES):
        sources = [source(*shape, name=f"{n}{index}") for n, shape in zip("xy", shapes)]
        parts.append(relay.clip(call(name, *sources, rng), -100.0, 90.0))
        inputs.update({f"{n}{index}": v for n, v in values(shapes, rng).items()})
    func = typed(relay.Tuple(parts))
    reading = read_function(func)
    assert reading.refused == ()
    assert {type(op) for op in reading.graph.operators} == {Add if name == "add" else Binary}
    (wanted,) = stock(func, inputs)
    made = run_graph(reading.graph, {n: inputs[n] for n in reading.graph.inputs})
    for (tensor, _), result in zip(reading.uses, wanted, strict=True):
        np.testing.assert_array_equal(made[tensor].reshape(result.shape), result)


def reasons(body: Any) -> list[str]:
    return [refusal.reason for refusal in read_function(typed(body)).refused]


def test_refusals() -> None:
    x, rng = source(1, 4, 4, 2), np.random.default_rng(0)
    deep = source(1, 2, 2, 2, 2, name="d"), source(1, 1, 1, 2, 2, name="e")
    flat = relay.reshape(x, (1, 1, 16, 2))
    few = relay.reshape(source(1, 1, 1, 2, name="y"), (1, 2))
    assert reasons(call("mul", *deep, rng)) == ["its operands' shapes differ: (1, 2, 2, 2, 2) and (1, 1, 1, 2, 2)"]
    twice = relay.maximum(relay.reshape(x, (1, 8, 1, 4)), relay.reshape(x, (1, 1, 8, 4)))
    assert "it reads one tensor under two shapes" in reasons(twice)
    assert reasons(relay.minimum(flat, few)) == []
    huge = [fraction(2.0**20), whole(0), fraction(1.0), whole(0), fraction(1.0), whole(0)]
    product = relay.qnn.op.mul(x, source(1, 4, 4, 2, name="y"), *huge)
    assert reasons(product) == ["its products may not fit 32 bits"]


def squeeze_and_excite() -> Reading:
    """As Keras and TVM's importer write it: mean, two 1x1 convolutions, a hard sigmoid, the product."""
    conv = convolution(source(1, 6, 6, 3), random(3, 3, 3, 4))
    wide = relay.mean(relay.cast(conv, "int32"), axis=[1, 2], keepdims=True)
    mean = relay.qnn.op.requantize(wide, fraction(0.1), whole(3), fraction(0.1), whole(3), out_dtype="int8")
    less = relay.clip(convolution(mean, random(1, 1, 4, 2)), 3.0, 127.0)
    more = convolution(less, random(1, 1, 2, 4))
    floats = relay.qnn.op.dequantize(more, fraction(0.1), whole(3))
    hard = relay.clip(floats + relay.const(3.0), 0.0, 6.0) * relay.const(1 / 6)
    gate = relay.qnn.op.quantize(hard, fraction(1 / 256), whole(-128), out_dtype="int8")
    encodings = (fraction(0.1), whole(3), fraction(1 / 256), whole(-128), fraction(0.1), whole(3))
    return read_function(typed(convolution(relay.qnn.op.mul(conv, gate, *encodings), random(1, 1, 4, 3))))


def test_squeeze_and_excite_is_one_region() -> None:
    reading = squeeze_and_excite()
    kinds = [type(op) for op in reading.graph.operators]
    assert reading.refused == ()
    assert kinds == [Convolution, Pool, Convolution, Convolution, Lookup, Binary, Convolution]


def test_what_is_read_over_and_over_is_whole() -> None:
    """The gate is no ring in the segment of the product; what it is multiplied with may be one."""
    graph = squeeze_and_excite().graph
    gate, product, last = graph.operators[4:]
    with pytest.raises(Unschedulable, match=f"{product.name} reads {gate.output} over and over"):
        make_segment(graph, (gate, product, last), ("rows",))
    assert [ring.tensor for ring in make_segment(graph, (product, last), ("rows",)).rings] == [product.output]
