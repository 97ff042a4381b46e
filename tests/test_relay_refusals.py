"""What the Relay reader does not take: nothing of it is claimed, and each part says why."""

from __future__ import annotations

import numpy as np
import pytest
from relay_forms import add, average, convolution, fraction, random, requantise, source, sums, typed, whole
from relay_readings import assert_exact, reasons

from tvm_pex._tvm import relay
from tvm_pex.frontend.reader import read_function

X = source(1, 4, 4, 2)
W, HEAVY = random(3, 3, 2, 4), np.full((1, 1, 700, 2), 127, "int8")
REFUSED = {
    "kernel zero point per channel": (
        requantise(sums(X, W, zero_weight=[1, 2, 3, 4]), 1e-3),
        "its kernel zero point differs between channels",
    ),
    "layout": (
        requantise(sums(source(1, 2, 4, 4), W, data_layout="NCHW"), 1e-3),
        "its layout is NCHW, not NHWC",
    ),
    "int32 result": (requantise(sums(X, W), 1e-3, dtype="int32"), "it works on int32, not on int8, uint8 or int16"),
    "sums": (sums(X, W), "its sums are not requantised"),
    "batch": (convolution(source(2, 4, 4, 2), W), "its batch is 2, not 1"),
    "weights": (
        requantise(
            relay.qnn.op.conv2d(
                X,
                source(3, 3, 2, 4, name="w"),
                *(whole(0), whole(0), fraction(1), fraction(1)),
                kernel_size=(3, 3),
                channels=4,
                data_layout="NHWC",
                kernel_layout="HWIO",
            ),
            1e-3,
        ),
        "its weights is not constant (bind the parameters first)",
    ),
    "dynamic": (requantise(source(1, relay.Any(), 2), 0.3), "its shape is not known before it runs"),
    "uint16": (
        relay.nn.pad(source(1, 4, 4, 2, dtype="uint16"), ((0, 0), (1, 1), (1, 1), (0, 0)), 0.0),
        "it works on uint16, not on int8, uint8 or int16",
    ),
    "int16 sums": (
        requantise(sums(source(1, 1, 1, 700, dtype="int16"), HEAVY, zero_in=0, out_dtype="int64"), 1e-6, dtype="int16"),
        "its sums may not fit 32 bits",
    ),
    "int16 products": (
        relay.qnn.op.mul(*(source(1, 4, name=n, dtype="int16") for n in "xy"), *[fraction(1), whole(0)] * 3),
        "its products may not fit 32 bits",
    ),
    "int16 mean": (
        requantise(relay.mean(relay.cast(source(1, 300, 300, 2, dtype="int16"), "int32"), axis=[1, 2]), 0.1),
        "its sums may not fit 32 bits",
    ),
    "ratio": (
        add(X, source(1, 4, 4, 2, name="y"), (0.1 * 2.0**31, 0.1, 0.1)),
        "scale ratio 2147483648.0 is 2**31 or more",
    ),
    "32 bits": (requantise(sums(X, W), 1e5), "its sums may not fit 32 bits"),
    "constant operand": (add(X, relay.const(random(1, 4, 4, 2))), "one of its operands is a constant"),
    "ceil_mode": (average(X, ceil_mode=True, pool_size=(3, 3)), "its ceil_mode is on"),
    "count_include_pad": (average(X, count_include_pad=True, padding=(1, 1)), "its count_include_pad is on"),
    "mean axes": (
        requantise(relay.mean(relay.cast(X, "int32"), axis=3), 0.1),
        "it reduces axes [3], not rows and columns",
    ),
    "mean over channels of three axes": (
        requantise(relay.mean(relay.cast(source(1, 5, 6), "int32"), axis=2), 0.1),
        "it reduces axes [2], not rows and columns",
    ),
    "mean of a vector": (
        requantise(relay.mean(relay.cast(source(1, 6), "int32"), axis=1), 0.1),
        "its tensor has neither rows nor columns",
    ),
    "softmax": (relay.nn.softmax(source(1, 4, dtype="float32")), "softmax needs its whole input at once"),
    "transpose": (relay.transpose(X, (0, 3, 1, 2)), "it moves every byte to another place"),
    "dequantize per channel": (
        relay.qnn.op.dequantize(X, fraction([0.1, 0.2]), relay.const(np.zeros(2, "int32")), axis=3),
        "its scale has 2 values, not one",
    ),
    "dequantize int32": (
        relay.qnn.op.dequantize(source(1, 4, dtype="int32"), fraction(0.1), whole(0)),
        "it works on int32, not on int8, uint8 or int16",
    ),
    "quantize to int32": (
        relay.qnn.op.quantize(source(1, 4, dtype="float32"), fraction(0.1), whole(0), out_dtype="int32"),
        "it works on int32, not on int8, uint8 or int16",
    ),
    "join of batches": (relay.concatenate([X, source(1, 4, 4, 2, name="y")], 0), "its batch is 2, not 1"),
    "join with a constant": (relay.concatenate([X, relay.const(random(1, 4, 4, 2))], 3), "its input is a constant"),
    "slice backwards": (relay.strided_slice(X, [0, 3], [1, 0], [1, -1]), "it goes backwards"),
    "table not constant": (
        relay.take(source(5, 3), source(1, 4, dtype="int32", name="i"), axis=0),
        "its table is not constant (bind the parameters first)",
    ),
    "take of channels": (
        relay.take(relay.const(random(1, 5)), source(1, 4, dtype="int32"), axis=1),
        "it does not take along axis 0",
    ),
    "pad batch": (relay.nn.pad(X, ((0, 1), (0, 0), (0, 0), (0, 2))), "it pads the batch"),
    "mirrored channels": (relay.nn.mirror_pad(X, ((0, 0), (1, 1), (0, 0), (0, 1))), "it mirrors channels"),
    "tile of rows together": (relay.tile(X, (1, 2, 1, 1)), "it repeats more than one row or column together"),
    "tile along two axes": (relay.tile(X, (1, 2, 2, 1)), "it repeats along several axes"),
    "resize by cubes": (relay.image.resize2d(X, (8, 8), None, "NHWC", "cubic"), "its method is cubic"),
    "linear in bytes": (relay.image.resize2d(X, (8, 8), None, "NHWC", "linear"), "it is linear in int8"),
    "corners of one row": (
        relay.image.resize2d(X, (1, 8), None, "NHWC", "nearest_neighbor", "align_corners"),
        "it aligns the corners of a single row or column",
    ),
    "reflect": (
        relay.nn.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)), pad_mode="reflect"),
        "its pad_mode is reflect",
    ),
    "reverse": (relay.clip(relay.reverse(X, 1), -3.0, 3.0), "Pex has no operator for reverse"),
    "constant": (relay.clip(relay.const(random(1, 4)), -3.0, 3.0), "its input is a constant"),
    "function": (relay.Function([], X)(), "it calls a function"),
    "condition": (relay.If(relay.const(True), relay.nn.relu(X), X), "it is control flow"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal(name: str) -> None:
    body, reason = REFUSED[name]
    reading = read_function(typed(body))
    assert reading.graph.operators == ()
    assert {refusal.reason for refusal in reading.refused} == {reason}


def test_sums_with_two_readers_are_not_computed_twice() -> None:
    acc = sums(X, W)
    found = reasons(relay.Tuple([requantise(acc, 1e-3), requantise(acc, 2e-3)]))
    assert found["qnn.requantize#1"] == "its qnn.conv2d is read by another operator too"


def test_every_part_of_a_refused_operator_gives_its_reason() -> None:
    found = reasons(relay.clip(convolution(source(2, 4, 4, 2), W), -9.0, 9.0))
    assert list(found) == ["qnn.conv2d#0", "nn.bias_add#1", "qnn.requantize#2", "clip#3"]


def test_a_refused_operator_leaves_the_one_below_it_alone() -> None:
    for above in (
        requantise(convolution(X, W), 0.3, dtype="int32"),
        relay.clip(convolution(X, W), -9.5, 9.0),
    ):
        func = typed(above)
        reading = read_function(func)
        assert [op.name for op in reading.graph.operators] == ["conv0"]
        assert len(reading.refused) == 1
        assert_exact(func, reading)


def test_a_function_without_types_is_an_error() -> None:
    with pytest.raises(ValueError, match="InferType"):
        read_function(relay.Function([X], relay.nn.relu(X)))
