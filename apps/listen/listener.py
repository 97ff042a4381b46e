"""A network for spectrograms, as TVM's TFLite importer would give it: int8, weights from a seed, not trained.

Its first convolutions pad bands but not time, so that the rows that two windows share are the same in both.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.tflite_model import Model, Port

FRAMES, BANDS, CLASSES = 98, 40, 12
SCALE, ZERO = 0.25, -28  # of the spectrogram

# Kernel (time, bands), stride (time, bands), channels; 0 channels: depthwise.
LAYERS = (
    ((4, 5), (2, 2), 16),
    ((3, 3), (1, 1), 0),
    ((1, 1), (1, 1), 32),
    ((3, 3), (1, 2), 0),
    ((1, 1), (1, 1), 32),
    ((3, 3), (1, 1), 0),
    ((1, 1), (1, 1), 48),
)


def network(seed: int = 0) -> Model:
    generator = np.random.default_rng(seed)
    x = relay.var("spectrogram", shape=(1, FRAMES, BANDS, 1), dtype="int8")
    layer, channels, scale, zero = x, 1, SCALE, ZERO
    for kernel, stride, made in LAYERS:
        layer = _convolution(layer, channels, made, kernel, stride, (scale, zero), generator)
        channels, scale, zero = made or channels, 0.05, -128
    rows, columns = (int(size) for size in relay.transform.InferTypeLocal(layer).shape[1:3])
    layer = relay.nn.avg_pool2d(relay.cast(layer, "int32"), (rows, columns), (rows, columns), layout="NHWC")
    layer = relay.reshape(relay.cast(layer, "int8"), (1, channels))
    scores = _dense(layer, channels, generator)
    mod = relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function([x], scores)))
    port = Port("spectrogram", (1, FRAMES, BANDS, 1), "int8", SCALE, ZERO)
    return Model("listener", mod, (port,), (Port("scores", (1, CLASSES), "int8", 0.1, 0),))


def _convolution(
    data: Any,
    channels: int,
    made: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    encoding: tuple[float, int],
    generator: np.random.Generator,
) -> Any:
    """Padded along the bands alone, with ReLU."""
    inputs = math.prod(kernel) * (channels if made else 1)
    shape = (*kernel, channels, made or 1)
    weights = generator.integers(-127, 128, shape).astype(np.int8)
    scale, zero = encoding
    kernel_scale = math.sqrt(2 / inputs) / 74  # of uniform weights the deviation is 74
    data = relay.qnn.op.conv2d(
        data, relay.const(weights), _whole(zero), _whole(0), _number(scale), _number(kernel_scale),
        kernel_size=kernel, strides=stride, padding=(0, kernel[1] // 2, 0, kernel[1] // 2),
        groups=1 if made else channels, channels=made or channels, data_layout="NHWC",
        kernel_layout="HWIO" if made else "HWOI", out_dtype="int32",
    )  # fmt: skip
    return _requantised(data, made or channels, scale * kernel_scale, 0.05, -128, generator, 3)


def _dense(data: Any, channels: int, generator: np.random.Generator) -> Any:
    weights = generator.integers(-127, 128, (CLASSES, channels)).astype(np.int8)
    data = relay.qnn.op.dense(
        data, relay.const(weights), _whole(-128), _whole(0), _number(0.05), _number(0.01), units=CLASSES
    )
    return _requantised(data, CLASSES, 0.05 * 0.01, 0.1, 0, generator, 1)


def _requantised(
    sums: Any, channels: int, scale: float, out: float, zero: int, generator: np.random.Generator, axis: int
) -> Any:
    bias = generator.integers(-500, 500, channels).astype(np.int32)
    sums = relay.nn.bias_add(sums, relay.const(bias), axis=axis)
    numbers = _number(scale), _whole(0), _number(out), _whole(zero)
    return relay.qnn.op.requantize(sums, *numbers, axis=axis, out_dtype="int8")


def _number(value: float) -> Any:
    return relay.const(np.float32(value))


def _whole(value: int) -> Any:
    return relay.const(np.int32(value))
