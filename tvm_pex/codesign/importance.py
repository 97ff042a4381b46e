"""How much a network loses with a channel, by scores from the field. A channel's is the sum over all that make it.

``l1``: mean absolute weight of its filters (Li et al., arXiv 1608.08710), in units of each layer's mean. ``bn-gamma``:
size of its batch normalisations' scales (Liu et al., arXiv 1708.06519), likewise. ``taylor``: squared change of the
loss, to first order, if the channel were zero (Molchanov et al., arXiv 1906.10771). Imports TensorFlow for the latter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_pex.codesign.wiring import MAKERS, NORMS, Wiring

Scores = npt.NDArray[np.float64]
Batches = Iterable[tuple[Any, Any]]
KINDS = "l1", "bn-gamma", "taylor"


def importance(model: Any, wires: Wiring, kind: str, batches: Batches) -> dict[int, float]:
    """By channel, for those of all groups. ``batches`` of (inputs, labels) are read by ``taylor`` alone.

    Raises ValueError where a group has nothing to be judged by.
    """
    by_layer = _taylor(model, batches) if kind == "taylor" else _l1(model) if kind == "l1" else _gamma(model)
    totals = {channel: 0.0 for channels in wires.groups.values() for channel in channels.tolist()}
    judged = set()
    for name, scores in by_layer.items():
        for channel, score in zip(wires.makes[name].tolist(), scores.tolist(), strict=True):
            if channel in totals:
                totals[channel] += score
                judged.add(channel)
    for name, channels in wires.groups.items():
        if not judged.issuperset(channels.tolist()):
            raise ValueError(f"{kind} cannot judge the channels of {name}: choose another importance")
    return totals


def _of(model: Any, kinds: tuple[str, ...]) -> list[Any]:
    return [layer for layer in model.layers if type(layer).__name__ in kinds]


def _l1(model: Any) -> dict[str, Scores]:
    return {layer.name: _relative(_per_channel(np.abs(layer.get_weights()[0]))) for layer in _of(model, MAKERS)}


def _gamma(model: Any) -> dict[str, Scores]:
    return {layer.name: _relative(np.abs(layer.get_weights()[0])) for layer in _of(model, NORMS) if layer.scale}


def _taylor(model: Any, batches: Batches) -> dict[str, Scores]:
    """What a layer's parameters of a channel, times their gradients, add up to; squared, averaged over batches.

    Of a normalised convolution its weights count, and the normalisation's scale and shift, as they are in inference.
    """
    import tensorflow as tf

    layers = [layer for layer in _of(model, (*MAKERS, *NORMS)) if layer.trainable_variables]
    variables = [layer.trainable_variables for layer in layers]
    loss_of = tf.keras.losses.SparseCategoricalCrossentropy()
    found, count = {layer.name: np.zeros(layer.output.shape[-1]) for layer in layers}, 0
    for inputs, labels in batches:
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(inputs, training=False))
        gradients = tape.gradient(loss, variables)
        for layer, values, slopes in zip(layers, variables, gradients, strict=True):
            change = sum(_summed(np.asarray(v) * np.asarray(g)) for v, g in zip(values, slopes, strict=True))
            found[layer.name] += change**2
        count += 1
    return {name: scores / max(count, 1) for name, scores in found.items()}


def _summed(array: npt.NDArray[Any]) -> Scores:
    return np.asarray(array.reshape(-1, array.shape[-1]).sum(axis=0), np.float64)


def _per_channel(array: npt.NDArray[Any]) -> Scores:
    return np.asarray(array.reshape(-1, array.shape[-1]).mean(axis=0), np.float64)


def _relative(scores: Scores) -> Scores:
    mean = scores.mean()
    return scores / mean if mean else scores
