"""Pieces of networks in the form that TVM's TFLite importer gives them, and stock TVM to run them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm.contrib import graph_executor

from tvm_pex._tvm import relay, silence, tvm

silence()


def source(*shape: int, dtype: str = "int8", name: str = "x") -> Any:
    return relay.var(name, shape=shape, dtype=dtype)


def fraction(value: Any) -> Any:
    return relay.const(np.asarray(value, "float32"))


def whole(value: int) -> Any:
    return relay.const(np.int32(value))


def random(*shape: int, dtype: str = "int8", seed: int = 0) -> Any:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype, endpoint=True)


def requantise(
    data: Any, scale: Any, zero_out: int = 3, dtype: str = "int8", zero_in: int = 0, out: float = 0.1
) -> Any:
    args = fraction(scale), whole(zero_in), fraction(out), whole(zero_out)
    return relay.qnn.op.requantize(data, *args, axis=-1, out_dtype=dtype)


def sums(data: Any, weights: Any, layout: str = "HWIO", zero_in: int = -5, zero_weight: Any = 0, **attrs: Any) -> Any:
    """qnn.conv2d: int32 sums."""
    out = weights.shape[3] if layout == "HWIO" else weights.shape[2] * weights.shape[3]
    scales = fraction(0.5), fraction(0.25)
    zeros = whole(zero_in), relay.const(np.asarray(zero_weight, "int32"))
    size = {"channels": out, "kernel_size": weights.shape[:2], "data_layout": "NHWC", "kernel_layout": layout}
    return relay.qnn.op.conv2d(data, relay.const(weights), *zeros, *scales, **{**size, **attrs})


def convolution(data: Any, weights: Any, layout: str = "HWIO", seed: int = 1, **attrs: Any) -> Any:
    """Convolution, bias, requantise per channel."""
    acc = sums(data, weights, layout, **attrs)
    channels = weights.shape[3] if layout == "HWIO" else weights.shape[2] * weights.shape[3]
    rng = np.random.default_rng(seed)
    bias = rng.integers(-1000, 1000, channels, "int32")
    return requantise(relay.nn.bias_add(acc, relay.const(bias), axis=3), rng.uniform(1e-5, 1e-3, channels))


def dense(data: Any, weights: Any, dtype: str = "int8", zero_weight: int = 0, scale: float = 2e-4) -> Any:
    zeros = whole(-5), whole(zero_weight)
    acc = relay.qnn.op.dense(data, relay.const(weights), *zeros, fraction(0.5), fraction(0.25), units=len(weights))
    bias = relay.const(np.arange(len(weights), dtype="int32") * 50)
    return requantise(relay.nn.bias_add(acc, bias), scale, dtype=dtype)


def add(left: Any, right: Any, scales: Sequence[float] = (0.3, 0.2, 0.25), zeros: Sequence[int] = (4, -7, 9)) -> Any:
    return relay.qnn.op.add(
        left, right, *(f(v) for pair in zip(scales, zeros) for f, v in zip((fraction, whole), pair))
    )


def average(data: Any, dtype: str = "int8", **attrs: Any) -> Any:
    attrs = {"pool_size": (2, 2), "strides": (2, 2), "layout": "NHWC", **attrs}
    return relay.cast(relay.nn.avg_pool2d(relay.cast(data, "int32"), **attrs), dtype)


def typed(body: Any) -> Any:
    params = relay.analysis.free_vars(body)
    return relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function(params, body)))["main"]


def stock(func: Any, *runs: dict[str, Any]) -> list[list[Any]]:
    """What TVM computes for each of the runs' inputs: one array for each result of ``func``."""
    with tvm.transform.PassContext(opt_level=3, disabled_pass=["SimplifyExpr"]):
        library = relay.build(tvm.IRModule.from_expr(func), target="llvm")
    executor = graph_executor.GraphModule(library["default"](tvm.cpu()))
    results = []
    for inputs in runs:
        executor.run(**inputs)
        results.append([executor.get_output(i).numpy() for i in range(executor.get_num_outputs())])
    return results
