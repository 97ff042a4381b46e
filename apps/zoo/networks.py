"""Networks of the shapes that microcontrollers run, in Keras: one function for each. Their weights are set elsewhere.

Every convolution has a bias and no batch normalisation: converting a network folds that into weights and bias.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf  # type: ignore

layers = tf.keras.layers

# (output channels, stride) of each separable convolution of MobileNetV1
SEPARABLE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
# (expansion, output channels, repeats, stride of the first) of MobileNetV2, Sandler et al. 2018, table 2
BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# (kernel, expansion, output channels, stride): large kernels and uneven expansions, as searches for MCUs like them
SEARCHED = (
    (5, 3, 16, 2), (3, 6, 16, 1), (7, 3, 16, 1), (7, 4, 24, 2), (5, 3, 24, 1), (7, 5, 24, 1), (5, 6, 40, 2),
    (7, 4, 40, 1), (3, 5, 48, 1), (7, 3, 48, 1), (5, 6, 96, 2), (7, 4, 96, 1), (3, 6, 96, 1), (7, 5, 160, 1),
)  # fmt: skip
# (kernel, expansion, output channels, stride) of the first blocks of EfficientNet-B0, Tan and Le 2019, fewer repeats
EXCITED = ((3, 1, 16, 1), (3, 6, 24, 2), (3, 6, 24, 1), (5, 6, 40, 2), (5, 6, 40, 1), (3, 6, 80, 2))


def scaled(channels: int, width: float) -> int:
    """``channels * width`` as a multiple of 8, at least 8, never more than 10 % below: MobileNet's rule."""
    near = max(8, int(channels * width + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels * width else near


def image(resolution: int, channels: int = 3) -> Any:
    return layers.Input((resolution, resolution, channels), 1, name="image")


def conv(x: Any, channels: int, kernel: Any = 1, stride: Any = 1, activation: str | None = "relu6") -> Any:
    return layers.Conv2D(channels, kernel, stride, "same", activation=activation)(x)


def depthwise(x: Any, kernel: int = 3, stride: int = 1, padding: str = "same") -> Any:
    return layers.DepthwiseConv2D(kernel, stride, padding, activation="relu6")(x)


def classes(x: Any, count: int) -> Any:
    return layers.Dense(count, activation="softmax")(layers.GlobalAveragePooling2D()(x))


def bottleneck(x: Any, expansion: int, channels: int, kernel: int = 3, stride: int = 1, pad: bool = False) -> Any:
    """Expand, depthwise, project; the input is added where the shape allows it. ``pad``: with a PAD operator."""
    y = conv(x, expansion * x.shape[-1]) if expansion > 1 else x
    if pad:
        y = layers.ZeroPadding2D(kernel // 2)(y)
    y = depthwise(y, kernel, stride, "valid" if pad else "same")
    y = conv(y, channels, activation=None)
    return layers.Add()([x, y]) if x.shape == y.shape else y


def mobilenet_v1(width: float, resolution: int) -> Any:
    start = image(resolution)
    x = conv(start, scaled(32, width), 3, 2)
    for channels, stride in SEPARABLE:
        x = conv(depthwise(x, stride=stride), scaled(channels, width))
    return tf.keras.Model(start, classes(x, 1000))


def mobilenet_v2(width: float, resolution: int) -> Any:
    start = image(resolution)
    x = conv(start, scaled(32, width), 3, 2)
    for expansion, channels, repeats, stride in BOTTLENECKS:
        for repeat in range(repeats):
            x = bottleneck(x, expansion, scaled(channels, width), stride=stride if repeat == 0 else 1)
    return tf.keras.Model(start, classes(conv(x, scaled(1280, max(width, 1.0))), 1000))


def mcunet_like(width: float, resolution: int) -> Any:
    start = image(resolution)
    x = conv(start, scaled(16, width), 3, 2)
    x = bottleneck(x, 1, scaled(8, width))
    for kernel, expansion, channels, stride in SEARCHED:
        x = bottleneck(x, expansion, scaled(channels, width), kernel, stride, pad=stride > 1)
    return tf.keras.Model(start, classes(x, 2))


def squeeze_excite(x: Any, channels: int) -> Any:
    """Each channel by a factor from 0 to 1 that the means of all channels give."""
    means = layers.GlobalAveragePooling2D(keepdims=True)(x)
    factors = conv(conv(means, channels, activation="relu"), x.shape[-1], activation="sigmoid")
    return layers.Multiply()([x, factors])


def efficientnet_like(width: float, resolution: int) -> Any:
    """Inverted residuals with squeeze and excitation; swish in the first half, hard swish in the second."""
    start = image(resolution)
    x = conv(start, scaled(32, width), 3, 2, "silu")
    for number, (kernel, expansion, channels, stride) in enumerate(EXCITED):
        activation = "silu" if number < len(EXCITED) // 2 else "hard_silu"
        y = conv(x, expansion * x.shape[-1], activation=activation)
        y = layers.DepthwiseConv2D(kernel, stride, "same", activation=activation)(y)
        y = conv(squeeze_excite(y, max(8, x.shape[-1] // 4)), scaled(channels, width), activation=None)
        x = layers.Add()([x, y]) if x.shape == y.shape else y
    return tf.keras.Model(start, classes(x, 100))


def ssd_like(width: float, resolution: int) -> Any:
    """A detector: at three scales, for each place three boxes and the scores of four classes; two outputs."""
    start = image(resolution)
    x = conv(start, scaled(16, width), 3, 2)
    boxes, scores = [], []
    for channels, taken in ((32, False), (64, False), (64, True), (128, True), (128, True)):
        x = conv(depthwise(x, stride=2), scaled(channels, width))
        if taken:
            boxes.append(layers.Reshape((-1, 4))(conv(x, 3 * 4, 3, activation=None)))
            scores.append(layers.Reshape((-1, 4))(conv(x, 3 * 4, 3, activation="sigmoid")))
    return tf.keras.Model(start, [layers.Concatenate(axis=1)(parts) for parts in (boxes, scores)])


def tc_resnet() -> Any:
    """Keyword spotting on 98 frames of 40 mel bands, which are channels: residual convolutions along time."""
    start = layers.Input((98, 1, 40), 1, name="mel")
    x = conv(start, 16, (3, 1), activation="relu")
    for channels in (24, 32, 48):
        y = conv(x, channels, (9, 1), (2, 1), "relu")
        y = conv(y, channels, (9, 1), activation=None)
        x = layers.ReLU()(layers.Add()([conv(x, channels, 1, (2, 1), "relu"), y]))
    return tf.keras.Model(start, classes(x, 12))


def ds_cnn() -> Any:
    """Keyword spotting of MLPerf Tiny: 49 moments of 10 MFCCs, 12 words."""
    start = layers.Input((49, 10, 1), 1, name="mfcc")
    x = conv(start, 64, (10, 4), 2, "relu")
    for _ in range(4):
        x = conv(depthwise(x), 64, activation="relu")
    return tf.keras.Model(start, classes(x, 12))


def resnet8() -> Any:
    """Image classification of MLPerf Tiny: 32x32 pixels, 10 classes, three blocks."""
    start = image(32)
    x = conv(start, 16, 3, activation="relu")
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        y = conv(conv(x, channels, 3, stride, "relu"), channels, 3, activation=None)
        x = conv(x, channels, 1, stride, None) if stride > 1 else x
        x = layers.ReLU()(layers.Add()([x, y]))
    return tf.keras.Model(start, classes(x, 10))


def unet_like(width: float, resolution: int) -> Any:
    """A segmentation: two levels down and up, each concatenated with what came down; two classes for every pixel."""
    start = image(resolution)
    x, skips = start, []
    for channels in (16, 32):
        x = conv(x, scaled(channels, width), 3)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = conv(x, scaled(64, width), 3)
    for skip in reversed(skips):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        x = conv(x, skip.shape[-1], 3)
    return tf.keras.Model(start, conv(x, 2, activation=None))


def split_concat(width: float, resolution: int) -> Any:
    """As ShuffleNetV2: each block works on half of the channels; the halves change places instead of a shuffle."""
    start = image(resolution)
    x = conv(start, scaled(24, width), 3, 2)
    for channels, blocks in ((48, 3), (96, 3)):
        half = scaled(channels // 2, width)
        x = layers.Concatenate()([conv(depthwise(x, stride=2), half), conv(depthwise(conv(x, half), stride=2), half)])
        for _ in range(blocks):
            left, right = tf.keras.ops.split(x, 2, axis=-1)
            x = layers.Concatenate()([conv(depthwise(conv(right, half)), half), left])
    return tf.keras.Model(start, classes(x, 10))


def tcn() -> Any:
    """256 moments of 16 sensors; residual blocks of one-dimensional convolutions of dilation 1, 2, 4 and 8."""
    start = layers.Input((256, 1, 16), 1, name="sensors")
    x = conv(start, 32)
    for dilation in (1, 2, 4, 8):
        y = layers.Conv2D(32, (3, 1), padding="same", dilation_rate=(dilation, 1), activation="relu")(x)
        x = layers.Add()([x, conv(y, 32, activation=None)])
    return tf.keras.Model(start, classes(x, 6))


def autoencoder() -> Any:
    """Anomaly detection of MLPerf Tiny: dense layers only."""
    start = layers.Input((640,), 1, name="spectrum")
    x = start
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = layers.Dense(units, activation="relu")(x)
    return tf.keras.Model(start, layers.Dense(640)(x))
