"""Small random Keras networks with what couples channels. Imports TensorFlow: for a process without TVM."""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow import keras

layers = keras.layers


def random_network(seed: int) -> Any:
    """Convolutions, depthwise ones, residual additions, concatenations, gates, activations; random weights."""
    generator = np.random.default_rng(seed)
    image = keras.Input((int(generator.integers(8, 13)), 10, int(generator.integers(1, 4))))
    x = _norm(layers.Conv2D(_count(generator), 3, padding="same")(image), generator)
    for _ in range(int(generator.integers(3, 6))):
        x = _block(x, generator)
    x = _head(x, generator)
    model = keras.Model(image, layers.Dense(5, activation="softmax")(x))
    for layer in model.layers:
        layer.set_weights([random_weights(weights.shape, generator) for weights in layer.get_weights()])
    return model


def random_weights(shape: tuple[int, ...], generator: np.random.Generator) -> Any:
    """Of vectors positive ones: they may be a variance."""
    if len(shape) == 1:
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    return generator.normal(0, 0.4, shape).astype(np.float32)


def _count(generator: np.random.Generator) -> int:
    return int(generator.integers(4, 13))


def _norm(x: Any, generator: np.random.Generator) -> Any:
    x = layers.BatchNormalization()(x) if generator.integers(2) else x
    kind = generator.integers(4)
    if kind == 3:
        return layers.Activation(("silu", "hard_silu", "tanh", "leaky_relu")[generator.integers(4)])(x)
    return layers.ReLU(max_value=6.0)(x) if kind else x


def _block(x: Any, generator: np.random.Generator) -> Any:
    channels = x.shape[-1]
    kind = generator.integers(5)
    if kind == 0:
        return _norm(
            layers.Conv2D(_count(generator), 3, padding="same", strides=int(generator.integers(1, 3)))(x), generator
        )
    if kind == 1:  # inverted bottleneck
        y = _norm(layers.Conv2D(_count(generator) + 4, 1)(x), generator)
        y = _norm(layers.DepthwiseConv2D(3, padding="same")(y), generator)
        return layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(channels, 1, use_bias=False)(y))])
    if kind == 2:
        y = _norm(layers.Conv2D(_count(generator), 1)(x), generator)
        return layers.Concatenate()([x, y])
    if kind == 3:
        depthwise = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=int(generator.integers(1, 3)))
        return _norm(layers.Conv2D(_count(generator), 1)(_norm(depthwise(x), generator)), generator)
    gate = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Reshape((1, 1, channels))(layers.Dense(channels, activation="sigmoid")(gate))
    return layers.Multiply()([x, gate])


def _head(x: Any, generator: np.random.Generator) -> Any:
    kind = generator.integers(3)
    if kind == 0:
        return layers.GlobalAveragePooling2D()(x)
    pooled = layers.MaxPooling2D(2)(x) if kind == 1 else layers.AveragePooling2D(2)(x)
    return layers.Dense(7, activation="relu")(layers.Flatten()(pooled))


def line_network() -> Any:
    """Of one dimension: convolutions along time, a pad and an addition between them, pools."""
    image = keras.Input((40, 6))
    x = layers.Conv1D(12, 3, padding="same", strides=2, use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv1D(3, padding="same", activation="silu")(x)
    x = layers.Add()([x, layers.Conv1D(12, 5, padding="same")(y)])
    x = layers.Conv1D(9, 3, dilation_rate=2, activation="tanh")(layers.ZeroPadding1D((2, 1))(x))
    x = layers.AveragePooling1D(2)(layers.MaxPooling1D(2)(x))
    return keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling1D()(x)))


def padded_network() -> Any:
    """Padding by layers of its own, a vector that becomes an image, and a pool of part of the rows."""
    x = keras.Input((160,))
    image = layers.Reshape((16, 10, 1))(x)
    y = layers.Conv2D(8, (5, 3), strides=2, activation="relu")(layers.ZeroPadding2D(((2, 1), (0, 2)))(image))
    y = layers.DepthwiseConv2D(3, strides=(2, 1))(layers.ZeroPadding2D(1)(y))
    y = layers.ReLU()(layers.Add()([y, layers.Conv2D(8, 1, use_bias=False)(y)]))
    y = layers.Flatten()(layers.AveragePooling2D((2, 1))(layers.Dropout(0.5)(y)))
    return keras.Model(x, layers.Dense(3)(y))
