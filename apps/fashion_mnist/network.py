"""The network: a convolution, inverted bottlenecks (expand, depthwise, project), global pooling, dense."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf  # type: ignore

# (expansion, output channels, stride) of each inverted bottleneck
BOTTLENECKS = ((3, 16, 1), (3, 24, 2), (3, 24, 1), (3, 40, 2), (3, 40, 1))


def convolution(x: Any, layer: Any, relu: bool = True) -> Any:
    x = tf.keras.layers.BatchNormalization(momentum=0.97)(layer(x))
    return tf.keras.layers.ReLU(max_value=6.0)(x) if relu else x


def bottleneck(x: Any, expansion: int, channels: int, stride: int) -> Any:
    pointwise, depthwise = tf.keras.layers.Conv2D, tf.keras.layers.DepthwiseConv2D
    y = convolution(x, pointwise(expansion * x.shape[-1], 1, use_bias=False))
    y = convolution(y, depthwise(3, strides=stride, padding="same", use_bias=False))
    y = convolution(y, pointwise(channels, 1, use_bias=False), relu=False)
    return tf.keras.layers.Add()([x, y]) if x.shape == y.shape else y


def network(batch: int | None = None) -> Any:
    image = tf.keras.Input((28, 28, 1), batch, name="image")
    x = convolution(image, tf.keras.layers.Conv2D(16, 3, padding="same", use_bias=False))
    for expansion, channels, stride in BOTTLENECKS:
        x = bottleneck(x, expansion, channels, stride)
    x = convolution(x, tf.keras.layers.Conv2D(96, 1, use_bias=False))
    x = tf.keras.layers.Flatten()(tf.keras.layers.AveragePooling2D(x.shape[1])(x))
    return tf.keras.Model(image, tf.keras.layers.Dense(10, activation="softmax")(x))


def macs(model: Any) -> int:
    """Multiply-accumulates of one inference: each weight of a kernel once per position of its output."""
    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    return sum(math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape) for layer in layers)
