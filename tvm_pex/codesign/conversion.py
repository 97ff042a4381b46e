"""A Keras model to an int8 .tflite file of batch 1, by TensorFlow's own converter."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def to_tflite(model: Any, samples: Floats) -> bytes:
    """``samples`` of shape (n, *input) calibrate the ranges. Input and output of the file are int8, too."""
    import tensorflow as tf

    def representative() -> Iterator[list[Floats]]:
        for sample in samples:
            yield [sample[np.newaxis]]

    converter = tf.lite.TFLiteConverter.from_keras_model(of_one(model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet():
        return bytes(converter.convert())


def of_one(model: Any) -> Any:
    """The same model with a batch of one: with an open batch the converter writes shapes as tensors."""
    config = copy.deepcopy(model.get_config())
    for record in config["layers"]:
        record.pop("build_config", None)
        if record["class_name"] == "InputLayer":
            record["config"]["batch_shape"] = (1, *record["config"]["batch_shape"][1:])
    single = type(model).from_config(config)
    single.set_weights(model.get_weights())
    return single


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """TensorFlow reports to standard output, its libraries to file descriptor 2: that goes nowhere meanwhile."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
