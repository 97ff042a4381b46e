"""Small networks as .tflite files, of as many kinds of operators as fit: where mutations of files start from."""

from __future__ import annotations

import numpy as np
from tflite_writer import Array, OperatorSpec, TensorSpec, model_bytes

_SAME, _VALID = 0, 1
_STRIDES = {"StrideH": 1, "StrideW": 1}
_DILATIONS = {"DilationHFactor": 1, "DilationWFactor": 1}


def _numbers(*shape: int, dtype: str = "int8") -> Array:
    random = np.random.default_rng(len(shape) + sum(shape))
    if dtype == "float32":
        return random.normal(size=shape).astype(np.float32)
    return random.integers(-50, 50, shape).astype(dtype)


def _weights(name: str, *shape: int, axis: int = 0) -> TensorSpec:
    """Quantised per channel."""
    count = shape[axis]
    scales = tuple(0.01 + 0.001 * k for k in range(count))
    return TensorSpec(name, shape, "int8", _numbers(*shape), scales, (0,) * count, axis)


def _bias(name: str, count: int) -> TensorSpec:
    return TensorSpec(name, (count,), "int32", _numbers(count, dtype="int32"), (0.0005,) * count, (0,) * count)


def _int8(name: str, *shape: int, scale: float = 0.05, zero: int = 3) -> TensorSpec:
    return TensorSpec(name, shape, "int8", None, (scale,), (zero,))


def _constant(name: str, *values: int) -> TensorSpec:
    return TensorSpec(name, (len(values),), "int32", np.array(values, np.int32))


def convolutions() -> bytes:
    """int8: convolution, depthwise, residual addition, pool, dense, softmax."""
    tensors = [
        _int8("image", 1, 6, 5, 3),
        _weights("w0", 4, 3, 3, 3),
        _bias("b0", 4),
        _int8("a", 1, 6, 5, 4, zero=-128),
        _weights("w1", 1, 3, 3, 4, axis=3),
        _bias("b1", 4),
        _int8("b", 1, 6, 5, 4, zero=-128),
        _int8("c", 1, 6, 5, 4, scale=0.09, zero=-5),
        _int8("d", 1, 3, 2, 4, scale=0.09, zero=-5),
        _constant("flat", 1, 24),
        _int8("e", 1, 24, scale=0.09, zero=-5),
        TensorSpec("w2", (5, 24), "int8", _numbers(5, 24), (0.02,), (0,)),
        _bias("b2", 5),
        _int8("f", 1, 5),
        _int8("scores", 1, 5, scale=1 / 256, zero=-128),
    ]
    relu = 1
    operators = [
        OperatorSpec(
            "CONV_2D", ("image", "w0", "b0"), ("a",), "Conv2D",
            {"Padding": _SAME, **_STRIDES, "FusedActivationFunction": relu, **_DILATIONS},
        ),
        OperatorSpec(
            "DEPTHWISE_CONV_2D", ("a", "w1", "b1"), ("b",), "DepthwiseConv2D",
            {"Padding": _SAME, **_STRIDES, "DepthMultiplier": 1, "FusedActivationFunction": relu, **_DILATIONS},
        ),
        OperatorSpec("ADD", ("a", "b"), ("c",), "Add"),
        OperatorSpec(
            "MAX_POOL_2D", ("c",), ("d",), "Pool2D",
            {"Padding": _VALID, "StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2},
        ),
        OperatorSpec("RESHAPE", ("d", "flat"), ("e",), "Reshape", {"NewShape": (1, 24)}),
        OperatorSpec("FULLY_CONNECTED", ("e", "w2", "b2"), ("f",), "FullyConnected"),
        OperatorSpec("SOFTMAX", ("f",), ("scores",), "Softmax", {"Beta": 1.0}),
    ]  # fmt: skip
    return model_bytes(tensors, operators, ["image"], ["scores"])


def moves() -> bytes:
    """int8: pad, slices, concatenation, resize, mean, quantize and dequantize; two inputs, two outputs."""
    tensors = [
        TensorSpec("image", (1, 4, 4, 2)),
        _int8("other", 1, 6, 6, 2),
        _int8("a", 1, 4, 4, 2),
        TensorSpec("margins", (4, 2), "int32", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)),
        _int8("b", 1, 6, 6, 2),
        _int8("c", 1, 6, 6, 4),
        _constant("begin", 0, 1, 0, 0),
        _constant("end", 1, 5, 6, 4),
        _constant("steps", 1, 1, 1, 1),
        _int8("d", 1, 4, 6, 4),
        _constant("size", 8, 12),
        _int8("e", 1, 8, 12, 4),
        _constant("axes", 1, 2),
        _int8("means", 1, 4),
        TensorSpec("result", (1, 8, 12, 4)),
    ]
    operators = [
        OperatorSpec("QUANTIZE", ("image",), ("a",)),
        OperatorSpec("PAD", ("a", "margins"), ("b",)),
        OperatorSpec("CONCATENATION", ("b", "other"), ("c",), "Concatenation", {"Axis": 3}),
        OperatorSpec("STRIDED_SLICE", ("c", "begin", "end", "steps"), ("d",), "StridedSlice"),
        OperatorSpec("RESIZE_NEAREST_NEIGHBOR", ("d", "size"), ("e",), "ResizeNearestNeighbor"),
        OperatorSpec("MEAN", ("e", "axes"), ("means",), "Reducer", {"KeepDims": False}),
        OperatorSpec("DEQUANTIZE", ("e",), ("result",)),
    ]
    return model_bytes(tensors, operators, ["image", "other"], ["means", "result"])


def floats() -> bytes:
    """float32: convolution, elementwise operators, average pool, transpose, dense."""
    tensors = [
        TensorSpec("image", (1, 6, 6, 2)),
        TensorSpec("w0", (3, 3, 3, 2), "float32", _numbers(3, 3, 3, 2, dtype="float32")),
        TensorSpec("b0", (3,), "float32", _numbers(3, dtype="float32")),
        TensorSpec("a", (1, 4, 4, 3)),
        TensorSpec("b", (1, 4, 4, 3)),
        TensorSpec("c", (1, 4, 4, 3)),
        TensorSpec("d", (1, 2, 2, 3)),
        TensorSpec("e", (1, 2, 2, 3)),
        TensorSpec("w1", (4, 12), "float32", _numbers(4, 12, dtype="float32")),
        TensorSpec("f", (1, 4)),
    ]
    pool = {"Padding": _VALID, "StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2}
    operators = [
        OperatorSpec("CONV_2D", ("image", "w0", "b0"), ("a",), "Conv2D", {"Padding": _VALID, **_STRIDES, **_DILATIONS}),
        OperatorSpec("LOGISTIC", ("a",), ("b",)),
        OperatorSpec("MUL", ("a", "b"), ("c",), "Mul"),
        OperatorSpec("AVERAGE_POOL_2D", ("c",), ("d",), "Pool2D", pool),
        OperatorSpec("RELU6", ("d",), ("e",)),
        OperatorSpec("FULLY_CONNECTED", ("e", "w1", ""), ("f",), "FullyConnected"),
    ]
    return model_bytes(tensors, operators, ["image"], ["f"])


def dense() -> bytes:
    """int8: two dense layers, the smallest file that has what the others have."""
    tensors = [
        _int8("x", 1, 4),
        _weights("w0", 3, 4),
        _bias("b0", 3),
        _int8("hidden", 1, 3),
        TensorSpec("w1", (2, 3), "int8", _numbers(2, 3), (0.02,), (0,)),
        _int8("y", 1, 2),
    ]
    operators = [
        OperatorSpec("FULLY_CONNECTED", ("x", "w0", "b0"), ("hidden",), "FullyConnected"),
        OperatorSpec("FULLY_CONNECTED", ("hidden", "w1", ""), ("y",), "FullyConnected"),
    ]
    return model_bytes(tensors, operators, ["x"], ["y"])


SMALL_MODELS = {"convolutions": convolutions, "moves": moves, "floats": floats, "dense": dense}
