"""A Keras network to a .tflite file: random weights, int8 everywhere, ranges from random data. Needs TensorFlow."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf  # type: ignore

SAMPLES = 16  # of calibration

Random = np.random.Generator


def weights(shape: tuple[int, ...], depthwise: bool, generator: Random) -> npt.NDArray[np.float32]:
    """A kernel of deviation ``sqrt(2 / inputs of an output)``, which keeps values apart however deep; small biases."""
    if len(shape) == 1:
        return generator.uniform(-0.2, 0.2, shape).astype(np.float32)
    inputs = math.prod(shape[:2]) if depthwise else math.prod(shape[:-1])
    return generator.normal(0, math.sqrt(2 / inputs), shape).astype(np.float32)


def randomise(model: Any, generator: Random) -> None:
    """Sets every weight. The generator is numpy's, so that a seed means the same for each version of TensorFlow."""
    for layer in model.layers:
        depthwise = isinstance(layer, tf.keras.layers.DepthwiseConv2D)
        layer.set_weights([weights(array.shape, depthwise, generator) for array in layer.get_weights()])


def forget_names() -> None:
    """Keras numbers layers by what the process has built before: it begins anew, for the same bytes every time."""
    tf.keras.backend.clear_session()


def convert(model: Any, seed: int, progress: Callable[[int, int], None]) -> bytes:
    """The file. ``progress`` is called with (calibration samples done, samples in all)."""
    generator = np.random.default_rng(seed)
    randomise(model, generator)

    def representative() -> Iterator[list[npt.NDArray[np.float32]]]:
        for sample in range(SAMPLES):
            progress(sample, SAMPLES)
            yield [generator.uniform(-1, 1, port.shape).astype(np.float32) for port in model.inputs]
        progress(SAMPLES, SAMPLES)

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        return bytes(converter.convert())
