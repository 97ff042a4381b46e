"""The Relay reader on small networks in the form that TVM's TFLite importer gives them, byte for byte stock TVM's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from interpreter import run_graph
from relay_forms import (
    add,
    average,
    convolution,
    dense,
    fraction,
    random,
    requantise,
    source,
    stock,
    sums,
    typed,
    whole,
)
from relay_readings import assert_exact, encoded, only, random_inputs, read, reasons

from tvm_pex._tvm import relay
from tvm_pex.frontend.fixed_point import IDENTITY, fixed_point
from tvm_pex.frontend.reader import read_function
from tvm_pex.frontend.shifts import define_shifts
from tvm_pex.graph import Add, Concat, Convolution, Gather, Lookup, Pad, Pool, Slice, graph_from_json, graph_to_json

# Convolutions.


def test_convolution_with_asymmetric_padding_per_channel() -> None:
    conv = convolution(source(1, 9, 8, 3), random(3, 2, 3, 4), strides=(2, 1), padding=(0, 1, 1, 0))
    op = only(relay.clip(conv, -100.0, 90.0))
    assert isinstance(op, Convolution)
    assert (op.name, op.inputs, op.views, op.output) == ("conv0", ("x",), ((9, 8, 3),), "conv0")
    assert (op.window.kernel, op.window.stride, op.window.pad) == ((3, 2), (2, 1), (0, 1))
    assert (op.zero_in, op.zero_weight, op.zero_out, op.low, op.high) == (-5, 0, 3, -100, 90)


def test_convolution_without_bias_per_tensor_dilated() -> None:
    acc = sums(source(1, 9, 9, 2), random(3, 3, 2, 3), dilation=(2, 3), padding=(2, 3, 2, 3))
    reading = read(requantise(acc, 3e-4, zero_in=11))
    assert reading.graph.constants["conv0.scales"][:, 0].tolist() == [-11, -11, -11]


def test_equal_scales_are_not_multiplied() -> None:
    read(requantise(sums(source(1, 2, 2, 1), random(1, 1, 1, 2)), 0.1))
    read(requantise(sums(source(1, 2, 2, 1), random(1, 1, 1, 2)), [0.1, 0.2]))


def test_depthwise_with_depth_multiplier() -> None:
    op = only(convolution(source(1, 6, 6, 5), random(3, 3, 5, 2), "HWOI", groups=5, padding=(1, 1, 1, 1)))
    assert (op.name, op.groups) == ("depthwise0", 5)


def test_grouped_convolution() -> None:
    assert only(convolution(source(1, 5, 5, 4), random(3, 3, 2, 6), groups=2)).groups == 2


def test_uint8_with_kernel_zero_point() -> None:
    weights = random(3, 3, 2, 4, dtype="uint8")
    acc = sums(source(1, 5, 5, 2, dtype="uint8"), weights, zero_in=131, zero_weight=120, padding=(1, 1, 1, 1))
    op = only(requantise(acc, 3e-4, dtype="uint8", zero_out=7))
    assert (op.zero_in, op.zero_weight, op.low, op.high) == (131, 120, 0, 255)


def test_shift_beyond_64_bits_is_zero() -> None:
    weights = random(1, 1, 2, 3)
    scales = [1e-4, 0.15 * 2.0**-40, 0.15 * 2.0**-33]
    acc = sums(source(1, 3, 3, 2), weights)
    func = typed(requantise(acc, scales))
    reading = read_function(func)
    assert reading.undefined_shift_channels == 1
    assert reading.graph.constants["conv0.scales"][1:, 1:].tolist() == [[0, 1], [0, 1]]
    defined, count = define_shifts(func)
    assert count == 1
    assert_exact(defined, read_function(defined))
    inputs = random_inputs(func, 7)
    want = stock(defined, inputs)[0][0]
    np.testing.assert_array_equal(run_graph(reading.graph, inputs)["conv0"].reshape(want.shape), want)


def test_one_power_of_two_for_a_tensor_shifts_in_32_bits() -> None:
    assert fixed_point(2.0**-31, 1.0, per_channel=False).undefined is False
    assert fixed_point(2.0**-32, 1.0, per_channel=False).undefined is True
    assert fixed_point(2.0**-32, 1.0, per_channel=True).undefined is False
    assert fixed_point(1.0, 1.0, per_channel=False) == IDENTITY


# Dense.


def test_dense_after_dense() -> None:
    first = relay.clip(dense(source(1, 12), random(6, 12)), -128.0, 127.0)
    reading = read(dense(relay.reshape(first, (-1, 6)), random(3, 6, seed=1), scale=1e-3))
    assert [op.name for op in reading.graph.operators] == ["dense0", "dense1"]


def test_dense_uint8() -> None:
    assert only(dense(source(1, 9, dtype="uint8"), random(4, 9, dtype="uint8"), "uint8", 99)).zero_weight == 99


def test_dense_of_a_flattened_tensor_has_a_whole_window() -> None:
    conv = convolution(source(1, 4, 5, 2), random(1, 1, 2, 3))
    reading = read(dense(relay.reshape(relay.reshape(conv, (-1, 60)), (-1, 60)), random(7, 60)))
    op = reading.graph.operators[1]
    assert (op.views, op.window.kernel) == (((4, 5, 3),), (4, 5))
    assert op.window.covers(op.views[0])
    assert reading.graph.tensors["dense1"].shape == (1, 1, 7)


# Pools.


def test_average_pool_truncates_and_skips_padding() -> None:
    op = only(average(source(1, 5, 7, 3), padding=(0, 0, 1, 1)))
    assert isinstance(op, Pool)
    assert (op.maximum, op.window.kernel, op.rescale) == (False, (2, 2), None)
    only(relay.clip(average(source(1, 5, 5, 3), pool_size=(3, 3), strides=(1, 1), padding=(1, 1, 1, 1)), -9.0, 9.0))


def test_max_pool_with_clip() -> None:
    pool = relay.nn.max_pool2d(source(1, 6, 5, 2), (3, 3), (2, 2), padding=(1, 0, 0, 1), layout="NHWC")
    op = only(relay.clip(pool, 0.0, 100.0))
    assert (op.maximum, op.low, op.window.pad) == (True, 0, (1, 0))


@pytest.mark.parametrize("keepdims", [True, False])
def test_mean_with_requantise(keepdims: bool) -> None:
    mean = relay.mean(relay.cast(source(1, 5, 3, 6), "int32"), axis=(1, 2), keepdims=keepdims)
    op = only(requantise(mean, 0.17, zero_in=-4))
    assert (op.window.kernel, op.rescale.zero_in, op.rescale.zero_out) == ((5, 3), -4, 3)


def test_mean_over_one_axis_without_rescale() -> None:
    mean = relay.mean(relay.cast(source(1, 5, 3, 6), "int32"), axis=2)
    reading = read(requantise(mean, 0.1, zero_in=3))
    (op,) = reading.graph.operators
    assert isinstance(op, Pool)
    assert (op.window.kernel, op.rescale, reading.graph.tensors["pool0"].shape) == ((1, 3), None, (5, 1, 6))


@pytest.mark.parametrize("keepdims", [True, False])
def test_mean_over_rows_of_three_axes(keepdims: bool) -> None:
    mean = relay.mean(relay.cast(source(1, 5, 6), "int32"), axis=-2, keepdims=keepdims)
    op = only(requantise(mean, 0.17, zero_in=-4))
    assert (op.window.kernel, op.views) == ((5, 1), ((5, 1, 6),))


def test_global_average_pool() -> None:
    pool = relay.nn.global_avg_pool2d(relay.cast(source(1, 5, 3, 6), "int32"), layout="NHWC")
    assert only(relay.cast(pool, "int8")).window.kernel == (5, 3)


# Element by element.


def test_add_of_different_scales_with_clip() -> None:
    reading = read(relay.clip(add(source(1, 3, 4, 2), source(1, 3, 4, 2, name="y")), -50.0, 127.0))
    (op,) = reading.graph.operators
    assert isinstance(op, Add)
    assert (op.inputs, op.low, [r.zero_in for r in op.rescales]) == (("x", "y"), -50, [4, -7])


def test_add_of_equal_scales() -> None:
    op = only(add(source(1, 3, 4, 2), source(1, 3, 4, 2, name="y"), (0.3, 0.3, 0.3), (4, 5, 4)))
    assert [(r.multiplier, r.shift) for r in op.rescales] == [(1, 0), (1, 0)]


def test_add_of_a_tensor_to_itself_with_scale_above_one() -> None:
    """It is a function of one value."""
    x = source(1, 3, 4, 2, dtype="uint8")
    assert isinstance(only(add(x, x, (3.3, 0.8, 0.4), (100, 3, 250))), Lookup)


def test_lone_requantise_between_types() -> None:
    op = only(requantise(source(1, 4, 4, 3, dtype="uint8"), 0.1, zero_in=127, zero_out=-1))
    assert (op.name, op.inputs) == ("lookup0", ("x",))
    only(requantise(source(1, 7), 0.37, zero_in=12))


def test_lone_clip_and_relu() -> None:
    assert (only(relay.clip(source(1, 4, 4, 3), -3.0, 40.0)).name) == "clip0"
    assert only(relay.nn.relu(source(1, 4, 4, 3))).low == 0
    assert only(relay.clip(relay.nn.relu(source(1, 9)), -3.0, 40.0)).high == 40


def test_clip_stands_alone_when_its_operator_has_other_readers() -> None:
    conv = convolution(source(1, 4, 4, 2), random(1, 1, 2, 3))
    reading = read(relay.concatenate(relay.Tuple([conv, relay.clip(conv, 0.0, 50.0)]), 3))
    assert [op.name for op in reading.graph.operators] == ["conv0", "clip1", "concat2"]


# Between floats and 8-bit integers.


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantise_rounds_halves_away_from_zero_and_saturates(dtype: str) -> None:
    rng = np.random.default_rng(3)
    odd = np.array([np.inf, -np.inf, 3e38, -3e38, 0.0, -0.0, 1e-40, 0.49999997, -0.49999997], "float32")
    for scale in (0.25, 0.1, 0.00783931, 3.7):
        halves = (rng.integers(-300, 300, 400) + 0.5) * scale
        values = np.concatenate([halves, rng.normal(size=400) * 60 * scale, odd]).astype("float32").reshape(1, -1)
        floats = source(*values.shape, dtype="float32")
        zero = int(rng.integers(0, 100))
        encoded(relay.qnn.op.quantize(floats, fraction(scale), whole(zero), out_dtype=dtype), values)
        clipped = relay.qnn.op.quantize(floats, fraction(scale), whole(zero), out_dtype=dtype)
        encoded(relay.clip(clipped, 3.0, 90.0), values)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_dequantise_every_value(dtype: str) -> None:
    values = np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1).astype(dtype).reshape(1, 16, 16, 1)
    for scale, zero in ((0.1, -7), (0.00783931, 0), (2.5, 100)):
        encoded(relay.qnn.op.dequantize(source(1, 16, 16, 1, dtype=dtype), fraction(scale), whole(zero)), values)


def test_dequantise_and_quantise_again() -> None:
    floats = relay.qnn.op.dequantize(source(1, 4, 4, 3), fraction(0.17), whole(5))
    body = relay.qnn.op.quantize(relay.nn.relu(floats), fraction(0.03), whole(-9), out_dtype="uint8")
    assert [op.name for op in read(body).graph.operators] == ["lookup0"]


def test_what_tvm_computes_together_with_floats_stays_there() -> None:
    floats = relay.qnn.op.dequantize(source(1, 4, 4, 3), fraction(0.17), whole(5))
    body = relay.qnn.op.quantize(relay.nn.softmax(floats), fraction(1 / 256), whole(-128), out_dtype="int8")
    found = reasons(body)
    assert list(found) == ["qnn.dequantize#0", "nn.softmax#1", "qnn.quantize#2"]
    assert found["qnn.dequantize#0"] == "TVM computes it together with what reads it"


# Joins, parts, tables.


def joined(
    data: list[Any], axis: int, scales: Sequence[float], zeros: Sequence[int], out: tuple[float, int] = (0.25, 3)
) -> Any:
    encodings = [fraction(s) for s in scales], [whole(z) for z in zeros]
    return relay.qnn.op.concatenate(relay.Tuple(data), *encodings, fraction(out[0]), whole(out[1]), axis)


def test_join_rescales_what_differs_alone() -> None:
    data = [source(1, 4, 3, n, name=name) for n, name in ((2, "x"), (5, "y"), (1, "z"), (2, "w"))]
    op = only(joined(data, 3, (0.25, 0.5, 0.25, 0.07), (3, -4, 5, 11)))
    assert isinstance(op, Concat)
    assert (op.name, op.views) == ("concat0", ((4, 3, 2), (4, 3, 5), (4, 3, 1), (4, 3, 2)))
    assert [r and (r.zero_in, r.zero_out) for r in op.rescales] == [None, (-4, 3), (5, 3), (11, 3)]
    op = only(relay.clip(joined(data, -1, (0.25, 0.5, 0.25, 0.07), (3, -4, 5, 11)), -9.0, 40.0))
    assert op.rescales[0] is not None and (op.low, op.high) == (-9, 40)


def test_join_of_bytes() -> None:
    x, y = source(1, 4, 3, 2, dtype="uint8"), source(1, 4, 3, 5, dtype="uint8", name="y")
    assert only(relay.concatenate([x, y, x], 3)).rescales == (None, None, None)


@pytest.mark.parametrize(
    ("shape", "axis", "view"),
    [
        ((1, 4, 3, 2), 1, (1, 1, 24)),
        ((1, 4, 3, 2), 2, (4, 1, 6)),
        ((1, 4, 3), 2, (4, 1, 3)),
        ((1, 4, 3), 1, (1, 1, 12)),
        ((1, 6), 1, (1, 1, 6)),
        ((6,), 0, (1, 1, 6)),
        ((1, 2, 2, 3, 2), 3, (4, 1, 6)),
    ],
)
def test_join_along_any_axis(shape: tuple[int, ...], axis: int, view: tuple[int, int, int]) -> None:
    op = only(joined([source(*shape), source(*shape, name="y")], axis, (0.25, 0.3), (3, 4)))
    assert op.views == (view, view)


def test_slice_of_rows_columns_and_channels() -> None:
    op = only(relay.strided_slice(source(1, 9, 8, 5), [0, 2, -5, 1], [1, 9, 8, 4], [1, 3, 2, 1]))
    assert isinstance(op, Slice)
    assert (op.window.stride, op.window.pad, op.first, op.views) == ((3, 2), (-2, -3), 1, ((9, 8, 5),))
    op = only(relay.strided_slice(source(1, 9, 8, 5), [3, 1], [4, 2], [1, 1], axes=[1, 3], slice_mode="size"))
    assert (op.window.stride, op.window.pad, op.first) == ((1, 1), (-3, 0), 1)
    assert only(relay.strided_slice(source(1, 9, 5), [0, 2, 1], [1, 9, 4], [1, 2, 1])).window.pad == (-2, 0)
    assert only(relay.strided_slice(source(1, 9, dtype="float32"), [0, 2], [1, 9])).first == 2


def test_split_along_any_axis() -> None:
    for axis in (1, 2, 3):
        parts = relay.split(source(1, 6, 6, 6), [1, 4], axis=axis)
        reading = read(relay.Tuple([relay.nn.relu(part) for part in parts]))
        slices = [op for op in reading.graph.operators if isinstance(op, Slice)]
        begins = [(-op.window.pad[0], -op.window.pad[1], op.first)[axis - 1] for op in slices]
        assert begins == [0, 1, 4]
    first, second = relay.split(source(1, 4, 4, 6), 2, axis=3)
    assert [op.name for op in read(add(first, second)).graph.operators] == ["slice0", "slice1", "add2"]


def outside() -> Any:
    return np.array([[0, 4, 5, -1, 1000, -7, 3, -(2**31), 2**31 - 1]], "int32")


@pytest.mark.parametrize("mode", ["clip", "wrap"])
def test_entries_of_a_table_for_indices_outside(mode: str) -> None:
    table = relay.const(random(5, 3))
    encoded(relay.take(table, source(1, 9, dtype="int32"), axis=0, mode=mode), outside())


def test_fast_entries_never_lie_outside_the_table() -> None:
    """Stock TVM's "fast" reads wherever the index points."""
    table = random(5, 3)
    func = typed(relay.take(relay.const(table), source(1, 9, dtype="int32"), axis=0, mode="fast"))
    made = run_graph(read_function(func).graph, {"x": outside()})["gather0"]
    np.testing.assert_array_equal(made[:, 0], table[np.clip(outside()[0], 0, 4)])


def test_entries_by_floats_are_truncated() -> None:
    table = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    index = relay.cast(relay.cast(source(1, 2, 3, dtype="float32"), "int32"), "int32")
    body = relay.take(relay.const(table), index, axis=0, mode="clip")
    encoded(body, np.array([[[0.9, 4.99, 2.5], [-0.5, -3.0, 77.0]]], "float32"))
    (operator,) = read_function(typed(body)).graph.operators
    assert isinstance(operator, Gather)
    assert (operator.inputs, operator.views, operator.entries) == (("x",), ((2, 3, 1),), 5)


def test_a_cast_that_others_read_is_their_index_too() -> None:
    index = relay.cast(source(1, 4, dtype="float32"), "int32")
    body = relay.Tuple([relay.take(relay.const(random(5, 3)), index, axis=0, mode="clip"), index])
    reading = read_function(typed(body))
    assert reading.graph.inputs == ("cast#0",)


# Pads.


def test_pad_with_the_zero_point_folds_into_every_convolution() -> None:
    padded = relay.nn.pad(source(1, 5, 5, 2), ((0, 0), (1, 0), (2, 1), (0, 0)), -5.0)
    first = convolution(padded, random(3, 3, 2, 4))
    second = convolution(padded, random(3, 3, 2, 4, seed=3), padding=(1, 1, 1, 1), strides=(2, 2))
    reading = read(relay.Tuple([first, second]))
    assert [(op.name, op.window.pad) for op in reading.graph.operators] == [
        ("conv0", (1, 2)),
        ("conv1", (2, 3)),
    ]


def test_pad_with_another_value_is_an_operator() -> None:
    padded = relay.nn.pad(source(1, 5, 5, 2), ((0, 0), (1, 0), (2, 1), (0, 0)), 0.0)
    reading = read(convolution(padded, random(3, 3, 2, 4)))
    pad = reading.graph.operators[0]
    assert isinstance(pad, Pad)
    assert (pad.name, pad.value, pad.window.pad, reading.graph.tensors["pad0"].shape) == (
        "pad0",
        0,
        (1, 2),
        (6, 8, 2),
    )


def test_pad_folds_into_a_maximum_only_when_it_cannot_win() -> None:
    def pooled(value: float, widths: tuple[int, int]) -> list[str]:
        padded = relay.nn.pad(source(1, 6, 6, 2), ((0, 0), widths, widths, (0, 0)), value)
        pool = relay.nn.max_pool2d(padded, (2, 2), (2, 2), layout="NHWC")
        return [op.name for op in read(pool).graph.operators]

    assert pooled(-128.0, (1, 1)) == ["pool0"]
    assert pooled(-127.0, (1, 1)) == ["pad0", "pool1"]
    assert pooled(-128.0, (2, 0)) == ["pad0", "pool1"]


def test_pad_stays_before_an_average() -> None:
    padded = relay.nn.pad(source(1, 5, 5, 2), ((0, 0), (1, 0), (1, 0), (0, 0)), 7.0)
    assert [op.name for op in read(average(padded)).graph.operators] == ["pad0", "pool1"]


# Views, names, borders.


def test_a_reshape_at_the_border_is_part_of_the_use() -> None:
    conv = convolution(source(1, 4, 4, 2), random(4, 4, 2, 3))
    func = typed(relay.nn.softmax(relay.reshape(relay.squeeze(conv, [1, 2]), (3,))))
    reading = read_function(func)
    assert [(name, expr.op.name) for name, expr in reading.uses] == [("conv0", "reshape")]
    assert [refusal.operator for refusal in reading.refused] == ["nn.softmax#0"]
    assert_exact(func, reading)


def test_tensors_of_stock_calls_enter_the_graph() -> None:
    parts = relay.split(source(2, 4, 4, 3), 2, axis=0)  # of a batch
    func = typed(add(convolution(parts[0], random(1, 1, 3, 3)), relay.reverse(parts[1], 1)))
    reading = read_function(func)
    assert reading.graph.inputs == ("split#0.0", "reverse#1")
    assert reading.graph.outputs == ("add1",)
    assert_exact(func, reading)


def test_a_parameter_named_like_an_operator_keeps_apart() -> None:
    reading = read(convolution(source(1, 3, 3, 2, name="conv0"), random(1, 1, 2, 3)))
    assert reading.graph.inputs == ("conv0_",)


def test_vectors_rows_and_other_ranks() -> None:
    for shape in ((5,), (1, 5), (1, 4, 3), (1, 2, 2, 3), (1, 2, 2, 3, 2)):
        read(requantise(source(*shape), 0.37))
    reading = read(requantise(relay.reshape(convolution(source(1, 4, 1, 2), random(1, 1, 2, 3)), (1, 4, 3)), 0.3))
    assert reading.graph.operators[1].views == ((4, 1, 3),)


def test_a_transpose_of_one_pixel_is_a_view() -> None:
    conv = convolution(source(1, 3, 3, 2), random(3, 3, 2, 4))
    nchw = relay.reshape(relay.transpose(conv, (0, 3, 1, 2)), (1, 4))
    assert len(read(dense(nchw, random(3, 4), scale=1e-3)).graph.operators) == 2


def test_the_graph_survives_json() -> None:
    graph = read(add(convolution(source(1, 4, 4, 2), random(1, 1, 2, 2)), source(1, 4, 4, 2, name="y"))).graph
    assert graph_from_json(graph_to_json(graph)).operators == graph.operators
    graph = read(joined([source(1, 4, 4, 2), source(1, 4, 4, 2, name="y")], 3, (0.25, 0.5), (3, 3))).graph
    assert graph_from_json(graph_to_json(graph)).operators == graph.operators
