"""Operators with geometry of their own, as TVM's TFLite importer gives them: read, and held against stock TVM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from interpreter import run_graph
from relay_forms import fraction, random, requantise, source, typed, whole
from relay_readings import only, read

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.reader import read_function
from tvm_pex.frontend.tflite_model import Model, Port
from tvm_pex.graph import Patches, Pool, Resize, Slice, Window
from tvm_pex.verification.verify import reference_outputs

MODES = ("half_pixel", "asymmetric", "align_corners")


def linear(size: tuple[int, int], mode: str) -> Any:
    """As the importer gives it: in floats, between a dequantise and a quantise."""
    floats = relay.qnn.op.dequantize(source(1, 5, 3, 2), fraction(0.25), whole(3))
    floats = relay.image.resize2d(floats, size, None, "NHWC", "linear", mode, "")
    return relay.qnn.op.quantize(floats, fraction(0.5), whole(-2), out_dtype="int8")


def nearest(size: tuple[int, int], mode: str) -> Any:
    rounding = "round_prefer_ceil" if mode == "half_pixel" else ""
    return relay.image.resize2d(source(1, 5, 3, 2), size, None, "NHWC", "nearest_neighbor", mode, rounding)


def by_stock_c(body: Any, x: Any) -> dict[str, Any]:
    """Stock TVM's outputs by its C: with floats that are used twice its LLVM code is not valid in this version."""
    mod = tvm.IRModule.from_expr(typed(body))
    kind = mod["main"].ret_type
    ports = (Port("x", x.shape, "int8"),), (Port("y", tuple(int(n) for n in kind.shape), "int8"),)
    return reference_outputs(Model("resize", relay.transform.InferType()(mod), *ports), {"x": x[None]})


@pytest.mark.parametrize("mode", MODES)
def test_linear_resize(mode: str) -> None:
    """Twice as large, or as far as corners that are kept leave."""
    size = (9, 5) if mode == "align_corners" else (10, 6)
    body = linear(size, mode)
    reading = read_function(typed(body))
    (op,) = reading.graph.operators
    assert isinstance(op, Resize)
    x = random(1, 5, 3, 2)
    (stock,) = by_stock_c(body, x).values()
    assert run_graph(reading.graph, {"x": x})[op.output].tobytes() == stock.tobytes()
    assert (op.window.up, op.window.kernel, op.window.stride) == ((2, 2), (4, 4), (1, 1))
    assert (op.scale, op.zero_in, op.inverse, op.zero_out) == (0.25, 3, 2.0, -2)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(10, 9), (3, 3), (7, 4), (1 + 5 * 2, 2)])
def test_nearest_resize(mode: str, size: tuple[int, int]) -> None:
    assert isinstance(only(nearest(size, mode)), Slice)


def test_nearest_resize_by_two_is_one_of_two_pixels() -> None:
    half, corner = only(nearest((10, 6), "half_pixel")), only(nearest((10, 6), "asymmetric"))
    assert half.window == corner.window == Window(kernel=(2, 2), pad=(1, 1), up=(2, 2))


def test_repeats_of_rows_and_columns_are_one_operator() -> None:
    """Keras' UpSampling2D."""
    rows = relay.tile(relay.reshape(source(1, 4, 3, 2), (1, 4, 1, 3, 2)), (1, 1, 2, 1, 1))
    both = relay.tile(relay.reshape(rows, (1, 8, 3, 1, 2)), (1, 1, 1, 3, 1))
    op = only(relay.reshape(both, (1, 8, 9, 2)))
    assert op.window == Window(kernel=(2, 3), pad=(1, 2), up=(2, 3))


def test_repeated_rows_that_are_read_twice_stay_an_operator() -> None:
    rows = relay.tile(relay.reshape(source(1, 4, 3, 2), (1, 4, 1, 3, 2)), (1, 1, 2, 1, 1))
    both = relay.tile(relay.reshape(rows, (1, 8, 3, 1, 2)), (1, 1, 1, 3, 1))
    found = read(relay.Tuple([relay.reshape(both, (1, 8, 9, 2)), relay.clip(rows, -3.0, 3.0)]))
    assert [op.window.up for op in found.graph.operators if isinstance(op, Slice)] == [(2, 1), (1, 3)]


@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (0, 0, 1, 1), (1, 0, 1, 1)])
def test_transposed_convolution(padding: tuple[int, ...]) -> None:
    weights = np.random.default_rng(0).integers(-128, 128, (2, 3, 3, 3), "int8")
    sums = relay.qnn.op.conv2d_transpose(
        source(1, 4, 5, 2), relay.const(weights), whole(4), whole(0), fraction(0.1), fraction(0.1), strides=(2, 2),
        padding=padding, channels=3, kernel_size=(3, 3), data_layout="NHWC", kernel_layout="IOHW", out_dtype="int32",
    )  # fmt: skip
    op = only(requantise(sums, 0.004))
    assert op.window == Window(kernel=(3, 3), pad=(2 - padding[0], 2 - padding[1]), up=(2, 2))
    assert op.macs((8, 10, 3)) == 4 * 5 * 9 * 2 * 3  # each pixel once for each weight


@pytest.mark.parametrize(("mode", "mirror"), [("REFLECT", 1), ("SYMMETRIC", 0)])
def test_mirrored_border(mode: str, mirror: int) -> None:
    op = only(relay.nn.mirror_pad(source(1, 4, 5, 2), ((0, 0), (2, 1), (3, 2), (0, 0)), mode))
    assert op.window == Window(pad=(2, 3), mirror=mirror)


@pytest.mark.parametrize("axes", [(1, 2), (1,), (2,)])
@pytest.mark.parametrize("name", ["max", "sum"])
def test_reductions(name: str, axes: tuple[int, ...]) -> None:
    reduce = relay.max if name == "max" else relay.sum
    op = only(requantise(reduce(relay.cast(source(1, 5, 3, 6), "int32"), axis=axes), 0.17, zero_in=-4))
    assert isinstance(op, Pool) and (op.maximum, op.undivided) == (name == "max", name == "sum")


def test_blocks_of_pixels() -> None:
    op = only(relay.nn.depth_to_space(source(1, 2, 3, 8), 2, "NHWC"))
    assert isinstance(op, Slice) and op.blocks
    op = only(relay.nn.space_to_depth(source(1, 4, 6, 3), 2, "NHWC"))
    assert isinstance(op, Patches)


@pytest.mark.parametrize(("begin", "end", "step"), [(0, 5, 2), (4, -6, -1), (-1, -6, -2)])
def test_channels_by_steps(begin: int, end: int, step: int) -> None:
    op = only(relay.strided_slice(source(1, 2, 3, 5), [begin], [end], [step], axes=[3]))
    assert (op.first, op.step) == (begin % 5, step)


def test_padded_channels_and_rows_of_sequences() -> None:
    op = only(relay.nn.pad(source(1, 2, 3, 5), ((0, 0), (0, 1), (0, 0), (2, 1)), 7.0))
    assert (op.first, op.window.pad, op.value) == (2, (0, 0), 7)
    op = only(relay.nn.pad(source(1, 6, 5), ((0, 0), (4, 0), (0, 0)), 7.0))
    assert (op.first, op.window.pad, op.views) == (0, (4, 0), ((6, 1, 5),))
