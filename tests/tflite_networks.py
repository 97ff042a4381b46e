"""A script for a process of its own: random Keras networks, as TensorFlow's converter quantises them.

``python tflite_networks.py FOLDER COUNT [wide]`` writes 0.tflite, 1.tflite, ... Their inputs and outputs are int8,
uint8 or floats. Wide ones have activations of int16, and biases of int64 or int32.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

layers = tf.keras.layers
PORTS = (tf.int8, tf.int8, tf.uint8, tf.float32)


def step(x, rng):
    """A layer, or a branch that joins again: by an addition of two scales, or a concatenation that rescales."""
    channels, activation = int(rng.integers(3, 14)), rng.choice(["relu", "relu6", "linear"])
    kernel, stride = int(rng.choice([1, 3, 5])), int(rng.choice([1, 1, 2]))
    kind = rng.integers(7)
    if kind == 0:
        return layers.Conv2D(channels, kernel, stride, "same", activation=activation)(x)
    if kind == 1:
        return layers.DepthwiseConv2D(kernel, stride, "same", activation=activation)(x)
    if kind == 2:
        return layers.AveragePooling2D(2, int(rng.integers(1, 3)), rng.choice(["same", "valid"]))(x)
    if kind == 3:
        return layers.MaxPooling2D(2, 1, "same")(x)
    y = layers.Conv2D(x.shape[-1], 1, activation=activation)(x)
    return layers.Concatenate()([x, y]) if kind == 4 else layers.Add()([x, y])


def network(rng):
    port = tf.keras.Input((int(rng.integers(7, 16)), int(rng.integers(7, 16)), int(rng.choice([1, 3, 4, 8]))), 1)
    x = port
    for _ in range(int(rng.integers(3, 7))):
        x = step(x, rng)
        if min(x.shape[1:3]) < 3:
            break
    end = rng.integers(4)
    if end == 0:
        return tf.keras.Model(port, x)
    if end == 1:
        return tf.keras.Model(port, layers.GlobalAveragePooling2D(keepdims=bool(rng.integers(2)))(x))
    x = layers.GlobalAveragePooling2D()(x) if end == 2 else layers.Flatten()(x)
    return tf.keras.Model(port, layers.Dense(7, activation=rng.choice(["softmax", "linear"]))(x))


def converted(model, rng, port, number):
    for layer in model.layers:  # outputs that vary, and channels of scales of their own
        arrays = layer.get_weights()
        layer.set_weights([rng.normal(0, 1, a.shape) * np.exp(rng.normal(-0.5, 1, a.shape[-1])) for a in arrays])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    shape = (1, *model.inputs[0].shape[1:])
    converter.representative_dataset = lambda: ([rng.uniform(-1, 1, shape).astype(np.float32)] for _ in range(4))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if port == tf.int16:
        wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [wide]
        converter._experimental_full_integer_quantization_bias_type = (tf.int64, tf.int32)[number % 2]
    converter.inference_input_type = converter.inference_output_type = port
    return converter.convert()


def main(folder, count, ports):
    for number in range(count):
        rng = np.random.default_rng(number)
        Path(folder, f"{number}.tflite").write_bytes(converted(network(rng), rng, ports[number % len(ports)], number))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), (tf.int16,) if "wide" in sys.argv else PORTS)
