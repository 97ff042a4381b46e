"""Training in Keras, with the same result for the same seed on one machine. Imports TensorFlow when called."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tvm_pex.codesign.conversion import quiet
from tvm_pex.codesign.data import Data, Split

BATCH = 64
_DECAY = 1e-4
_TURN = 8  # a spectrogram is moved by up to an eighth of its frames

Report = Callable[[int, int], None]


def tensorflow() -> Any:
    """TensorFlow, told to be quiet and to compute the same each time."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # it rounds as the processor likes
    with quiet():
        import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    return tf


def train(model: Any, data: Data, epochs: int, rate: float, seed: int, report: Report) -> None:
    """Adam, a rate that falls along a cosine to zero. ``report`` is called with (batches done, batches in all)."""
    if not epochs:
        return
    tf = tensorflow()
    tf.keras.utils.set_random_seed(seed)
    generator, count = np.random.default_rng(seed), len(data.train)
    batches = max(1, count // BATCH)
    total = epochs * batches
    schedule = tf.keras.optimizers.schedules.CosineDecay(rate, total)
    optimizer = tf.keras.optimizers.AdamW(schedule, weight_decay=_DECAY)
    loss_of = tf.keras.losses.SparseCategoricalCrossentropy()
    optimizer.build(model.trainable_variables)

    def step(inputs: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(inputs, training=True))
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))

    compiled = tf.function(step, autograph=False)  # there is no control flow to be turned into a graph
    for epoch in range(epochs):
        order = generator.permutation(count)
        for batch in range(batches):
            part = data.train.part(order[batch * BATCH : (batch + 1) * BATCH])
            compiled(varied(part.inputs, data, generator), part.labels)
            report(epoch * batches + batch + 1, total)


def varied(inputs: Any, data: Data, generator: np.random.Generator) -> Any:
    """Of pictures half flipped, where ``data`` says so; spectrograms moved in time, the end of a recording first."""
    if data.sound:
        most = inputs.shape[1] // _TURN
        return np.roll(inputs, int(generator.integers(-most, most + 1)), axis=1)
    if data.flip:
        return np.where(generator.integers(2, size=(len(inputs), 1, 1, 1)) > 0, inputs[:, :, ::-1], inputs)
    return inputs


def accuracy(model: Any, split: Split) -> float:
    """Of the float network."""
    right = 0
    for first in range(0, len(split), 512):
        part = split.part(slice(first, first + 512))
        right += int((np.asarray(model(part.inputs, training=False)).argmax(axis=1) == part.labels).sum())
    return right / len(split)
