"""Tests of ``tvm_pex.codesign`` on Keras models; ``test_codesign.py`` runs them in a process without TVM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_networks import random_network
from tensorflow import keras

from tvm_pex.codesign.architecture import NotPrunable, architecture_of
from tvm_pex.codesign.removal import remove
from tvm_pex.codesign.wiring import MAKERS, Wiring, wiring

layers = keras.layers


def wires_of(model: Any) -> Wiring:
    return wiring(architecture_of(model))


def deafen(model: Any, wires: Wiring, gone: set[int]) -> None:
    """Zeros for all weights by which a layer reads one of the channels."""
    for layer in model.layers:
        if type(layer).__name__ in MAKERS:
            (reads,) = wires.reads[layer.name]
            kernel, *rest = layer.get_weights()
            kernel[..., np.isin(reads, list(gone)), :] = 0
            layer.set_weights([kernel, *rest])


@pytest.mark.parametrize("seed", range(8))
def test_what_is_read_by_zeros_alone_can_be_removed(seed: int) -> None:
    model, generator = random_network(seed), np.random.default_rng(seed)
    wires = wires_of(model)
    assert wires.groups
    kept = {
        name: generator.permutation(channels)[: generator.integers(1, len(channels))]
        for name, channels in wires.groups.items()
        if generator.integers(3) and len(channels) > 1
    }
    gone = {c for name, left in kept.items() for c in set(wires.groups[name].tolist()) - set(left.tolist())}
    deafen(model, wires, gone)
    images = generator.normal(0, 1, (4, *model.input_shape[1:])).astype(np.float32)
    smaller = remove(model, kept)
    np.testing.assert_allclose(smaller(images), model(images), rtol=1e-4, atol=1e-5)
    left = wires_of(smaller)
    assert {n: len(c) for n, c in left.groups.items()} == {n: len(kept.get(n, c)) for n, c in wires.groups.items()}
    assert smaller.count_params() < model.count_params() or not gone


def test_a_residual_addition_couples_its_branches() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", name="stem")(image)
    y = layers.DepthwiseConv2D(3, padding="same")(layers.Conv2D(12, 1, name="expand")(x))
    x = layers.Add()([x, layers.Conv2D(6, 1, name="project")(y)])
    model = keras.Model(image, layers.Dense(4, name="scores")(layers.GlobalAveragePooling2D()(x)))
    wires = wires_of(model)
    assert {name: len(channels) for name, channels in wires.groups.items()} == {"stem": 6, "expand": 12}
    np.testing.assert_array_equal(wires.makes["stem"], wires.makes["project"])
    smaller = remove(model, {"stem": wires.groups["stem"][[0, 3]]})
    assert smaller.get_layer("project").filters == 2
    kernel = model.get_layer("expand").get_weights()[0]
    np.testing.assert_array_equal(smaller.get_layer("expand").get_weights()[0], kernel[:, :, [0, 3]])


def test_what_is_added_to_the_image_stays() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Add()([image, layers.Conv2D(3, 3, padding="same", name="filter")(image)])
    model = keras.Model(image, layers.Dense(4)(layers.Flatten()(layers.Conv2D(5, 3, name="free")(x))))
    assert list(wires_of(model).groups) == ["free"]


def test_unknown_layers_hold_their_channels() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="before")(image)
    x = layers.Conv2D(8, 1, groups=2, name="grouped")(x)
    x = layers.Conv2D(7, 1, name="after")(layers.LayerNormalization()(x))
    model = keras.Model(image, layers.Dense(4)(layers.Flatten()(x)))
    assert list(wires_of(model).groups) == ["after"]


def test_what_cannot_be_followed_is_refused() -> None:
    image, twice = keras.Input((8, 8, 3)), layers.Conv2D(3, 1, name="twice")
    with pytest.raises(NotPrunable, match="twice is called 2 times"):
        architecture_of(keras.Model(image, twice(twice(image))))
    inner = keras.Model(image, layers.Conv2D(3, 1)(image), name="inner")
    with pytest.raises(NotPrunable, match="inner is a model"):
        architecture_of(keras.Model(image, inner(image)))
    with pytest.raises(ValueError, match="no group nothing"):
        remove(inner, {"nothing": np.array([1])})
