"""Networks to be pruned, at any width and resolution: inverted bottlenecks for pictures, depthwise ones for sound."""

from __future__ import annotations

from typing import Any

import tensorflow as tf  # type: ignore

layers = tf.keras.layers

# (expansion, output channels, stride) of each inverted bottleneck
SMALL = ((3, 16, 1), (3, 24, 2), (3, 24, 1), (3, 40, 2), (3, 40, 1))
LARGE = ((1, 16, 1), (4, 24, 2), (4, 24, 1), (4, 32, 2), (4, 32, 1), (4, 64, 2), (4, 64, 1), (4, 96, 1))
TINY = ((2, 8, 2), (2, 8, 1))


def clothes(width: float = 1.0, resolution: int = 28) -> Any:
    """For Fashion-MNIST: the network of apps/fashion_mnist."""
    return _pictures((resolution, resolution, 1), SMALL, 16, 96, 1, 10, width)


def flowers(width: float = 0.5, resolution: int = 96) -> Any:
    """For photographs of five kinds: as MobileNetV2."""
    return _pictures((resolution, resolution, 3), LARGE, 16, 256, 2, 5, width)


def digits(width: float = 1.0, resolution: int = 49) -> Any:
    """For spoken digits: the DS-CNN of MLPerf Tiny on log-mel spectrograms; ``resolution`` is that of time."""
    image = layers.Input((resolution, 10, 1), name="spectrogram")
    count = _scaled(64, width)
    x = _unit(image, layers.Conv2D(count, (10, 4), strides=2, padding="same", use_bias=False))
    for _ in range(4):
        x = _unit(x, layers.DepthwiseConv2D(3, padding="same", use_bias=False))
        x = _unit(x, layers.Conv2D(count, 1, use_bias=False))
    return _classes(image, x, 10)


def tiny(width: float = 1.0, resolution: int = 14) -> Any:
    """For tests: two bottlenecks on small grey pictures of ten kinds."""
    return _pictures((resolution, resolution, 1), TINY, 8, 24, 1, 10, width)


def _pictures(
    shape: tuple[int, int, int],
    bottlenecks: tuple[tuple[int, int, int], ...],
    first: int,
    last: int,
    stride: int,
    classes: int,
    width: float,
) -> Any:
    image = layers.Input(shape, name="image")
    stem = layers.Conv2D(_scaled(first, width), 3, strides=stride, padding="same", use_bias=False)
    x = _unit(image, stem)
    for expansion, channels, step in bottlenecks:
        x = _bottleneck(x, expansion, _scaled(channels, width), step)
    x = _unit(x, layers.Conv2D(_scaled(last, width), 1, use_bias=False))
    return _classes(image, x, classes)


def _scaled(channels: int, width: float) -> int:
    return max(4, 4 * round(channels * width / 4))


def _unit(x: Any, layer: Any, relu: bool = True) -> Any:
    x = layers.BatchNormalization(momentum=0.95)(layer(x))
    return layers.ReLU(max_value=6.0)(x) if relu else x


def _bottleneck(x: Any, expansion: int, channels: int, stride: int) -> Any:
    y = x
    if expansion > 1:
        y = _unit(y, layers.Conv2D(expansion * x.shape[-1], 1, use_bias=False))
    y = _unit(y, layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False))
    y = _unit(y, layers.Conv2D(channels, 1, use_bias=False), relu=False)
    return layers.Add()([x, y]) if x.shape == y.shape else y


def _classes(image: Any, x: Any, count: int) -> Any:
    x = layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(image, layers.Dense(count, activation="softmax")(x))
