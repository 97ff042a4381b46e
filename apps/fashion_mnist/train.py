"""Train a small MobileNetV2-like network on Fashion-MNIST and write it as a fully quantised TFLite file."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf  # type: ignore
from data import Bytes, load
from network import macs, network

BATCH, LEARNING_RATE, WEIGHT_DECAY = 128, 5e-3, 0.02

Floats = npt.NDArray[np.float32]


def train(model: Any, images: Floats, labels: Bytes, epochs: int) -> None:
    steps = math.ceil(len(images) / BATCH)
    warmup = {"warmup_target": LEARNING_RATE, "warmup_steps": steps // 2}
    rate = tf.keras.optimizers.schedules.CosineDecay(LEARNING_RATE / 10, epochs * steps, **warmup)
    optimizer = tf.keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, BATCH, epochs, verbose=2)


def quantise(model: Any, images: Floats) -> bytes:
    """The model as a TFLite file: batch 1, int8 everywhere, ranges taken from ``images``."""

    def representative() -> Iterator[list[Floats]]:
        for image in images:
            yield [image[np.newaxis]]

    single = network(batch=1)
    single.set_weights(model.get_weights())
    converter = tf.lite.TFLiteConverter.from_keras_model(single)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    # TVM's importer reads dense layers with one scale only; convolutions have one per channel
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return bytes(converter.convert())


def int8_accuracy(content: bytes, images: Floats, labels: Bytes) -> float:
    """Accuracy of the file in TFLite's own kernels, without a delegate."""
    resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = source["quantization"]
    correct = 0
    values = np.round(images / scale + zero_point).clip(-128, 127).astype(np.int8)
    for value, label in zip(values, labels, strict=True):
        interpreter.set_tensor(source["index"], value[np.newaxis])
        interpreter.invoke()
        correct += int(interpreter.get_tensor(result["index"]).argmax() == label)
    return correct / len(labels)


def main() -> int | str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=6, help="passes over the training set (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (%(default)s)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="idx files (default: the Debian package)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="for both files (default: this script's)")
    options = parser.parse_args()
    try:
        pixels, labels = load("train", options.data)
        test_pixels, test_labels = load("test", options.data)
    except FileNotFoundError as error:
        return f"error: {error}"
    images, test_images = (np.asarray(p[..., np.newaxis] / 255, np.float32) for p in (pixels, test_pixels))
    tf.keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()
    model = network()
    train(model, images, labels, options.epochs)
    content = quantise(model, images[:500])
    predicted = model.predict(test_images, BATCH, verbose=0).argmax(axis=1)
    report = {
        "float_accuracy": float(np.mean(predicted == test_labels)),
        "int8_accuracy": int8_accuracy(content, test_images, test_labels),
        "test_images": len(test_labels),
        "macs": macs(model),
        "parameters": model.count_params(),
        "file_bytes": len(content),
        "epochs": options.epochs,
        "seed": options.seed,
        "tensorflow": tf.__version__,
    }
    out = options.out or Path(__file__).parent
    out.mkdir(parents=True, exist_ok=True)
    (out / "fashion_mnist.tflite").write_bytes(content)
    (out / "accuracy.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
