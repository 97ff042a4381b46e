"""A script for a process of its own: a dense layer, as TensorFlow's converter quantises them by default.

``python dense_model.py ACTIVATION EXTENT... PATH``
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

activation, *extents, path = sys.argv[1:]
shape = tuple(map(int, extents))
generator = np.random.default_rng(len(shape))
port = tf.keras.Input(shape)
layer = tf.keras.layers.Dense(24, activation)
model = tf.keras.Model(port, layer(port))
# channels of different sizes, so that their scales differ
weights = generator.normal(0, 0.2, layer.kernel.shape) * np.exp(generator.normal(0, 1, 24))
layer.set_weights([weights, generator.normal(0, 0.5, 24)])
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: (
    [generator.uniform(-1, 1, (1, *shape)).astype(np.float32)] for _ in range(8)
)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
Path(path).write_bytes(converter.convert())
