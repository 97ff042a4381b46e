"""Tests of ``tvm_pex.codesign`` on Keras models; ``test_codesign.py`` runs them in a process without TVM."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow
from codesign_runs import write_pictures, write_recordings
from keras_networks import line_network, random_network, random_weights
from model_files import ROOT
from tensorflow import keras

from tvm_pex.codesign.architecture import NotPrunable, architecture_of
from tvm_pex.codesign.conversion import to_tflite
from tvm_pex.codesign.data import DataError, load
from tvm_pex.codesign.importance import importance
from tvm_pex.codesign.network import arena_bytes, int8_graph, layer_by_layer
from tvm_pex.codesign.pruning import Report, Settings, prune
from tvm_pex.codesign.removal import remove
from tvm_pex.codesign.scaling import maker, versions
from tvm_pex.codesign.state import Round, State
from tvm_pex.codesign.training import varied
from tvm_pex.codesign.wiring import MAKERS, Wiring, wiring

layers = keras.layers
NETWORKS = f"{ROOT / 'apps' / 'codesign' / 'networks.py'}:"


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
    model, generator = line_network() if seed == 7 else random_network(seed), np.random.default_rng(seed)
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


def test_what_there_is_no_graph_of_is_refused() -> None:
    image, line = keras.Input((8, 8, 3)), keras.Input((20, 3))
    for layer, read, said in (
        (layers.Conv2D(4, 3, activation="gelu", name="odd"), image, "odd has the activation gelu"),
        (layers.Activation("softplus", name="odd"), image, "odd has the activation softplus"),
        (layers.Conv1D(4, 3, padding="causal", name="odd"), line, "odd has the padding causal"),
        (layers.LayerNormalization(name="odd"), image, "odd: there is no graph of a LayerNormalization"),
        (layers.Conv3D(4, 3, name="odd"), keras.Input((8, 8, 8, 3)), "has 4 axes"),
    ):
        with pytest.raises(NotPrunable, match=said):
            int8_graph(architecture_of(keras.Model(read, layer(read))))


def small_network() -> Any:
    generator = np.random.default_rng(3)
    x = image = keras.Input((6, 6, 2))
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="first")(x)))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3, activation="relu", name="second")(x))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    for layer in model.layers:
        layer.set_weights([generator.uniform(0.2, 0.9, weights.shape) for weights in layer.get_weights()])
    return model


def test_taylor_scores_are_slopes_of_the_loss() -> None:
    model, generator, little = small_network(), np.random.default_rng(0), 1e-2
    inputs, labels = generator.normal(0, 1, (8, 6, 6, 2)).astype(np.float32), generator.integers(0, 3, 8)

    def loss() -> float:
        chosen = np.asarray(model(inputs, training=False), np.float64)[np.arange(8), labels]
        return float(-np.log(chosen).mean())

    def slope(name: str, channel: int, count: int) -> float:
        """Of the loss in a factor on the parameters of a channel, from both sides."""
        layer, losses = model.get_layer(name), []
        before = layer.get_weights()
        for factor in (1 + little, 1 - little):
            changed = [array.copy() for array in before]
            for array in changed[:count]:  # scale and shift of a normalisation, not its averages
                array[..., channel] *= factor
            layer.set_weights(changed)
            losses.append(loss())
        layer.set_weights(before)
        return (losses[0] - losses[1]) / (2 * little)

    wires = wires_of(model)
    worth = importance(model, wires, "taylor", [(inputs, labels)])
    for group, makers in {"first": ("first", "norm"), "second": ("second",)}.items():
        for at, channel in enumerate(wires.groups[group].tolist()):
            expected = sum(slope(name, at, 2) ** 2 for name in makers)
            assert worth[channel] == pytest.approx(expected, rel=0.05, abs=1e-7)


def test_scores_by_size() -> None:
    model = small_network()
    wires = wires_of(model)
    kernel = np.abs(model.get_layer("first").get_weights()[0]).sum(axis=(0, 1, 2))
    worth = importance(model, wires, "l1", [])
    np.testing.assert_allclose([worth[c] for c in wires.groups["first"].tolist()], kernel / kernel.mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="cannot judge the channels of second"):
        importance(model, wires, "bn-gamma", [])


def test_recordings_are_parted_by_speaker(tmp_path: Path) -> None:
    data = load(str(write_recordings(tmp_path, 4)), (20, 10, 1))
    assert data.classes == ("high", "low")
    assert (len(data.train) + len(data.validation), len(data.test)) == (16, 8)  # ann is for testing
    loudest = data.test.inputs[:, 5, :, 0].argmax(axis=1)
    assert loudest[data.test.labels == 0].min() > 6
    assert loudest[data.test.labels == 1].max() < 3
    assert (data.test.inputs[:, -1] <= data.test.inputs[:, 5].max()).all()  # silence follows
    flat = load(str(tmp_path), (20, 10))
    np.testing.assert_array_equal(flat.test.inputs, data.test.inputs[..., 0])
    with pytest.raises(DataError, match=r"not \(frames, bands\) or with a 1"):
        load(str(tmp_path), (20, 10, 3))
    with pytest.raises(DataError, match="nowhere: give fashion-mnist or a folder"):
        load(str(tmp_path / "nowhere"), (20, 10, 1))


def test_pictures_alone_are_flipped(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 6)
    write_recordings(tmp_path / "sound", 4)
    generator = np.random.default_rng(0)
    for flip in (True, False):
        pictures = load(str(tmp_path / "pictures"), (14, 14, 1), flip=flip)
        given = pictures.train.inputs
        made = varied(given, pictures, generator)
        flipped = [not np.array_equal(one, other) for one, other in zip(made, given)]
        assert any(flipped) == flip
        assert not all(flipped)
        expected = np.where(np.reshape(flipped, (-1, 1, 1, 1)), given[:, :, ::-1], given)
        np.testing.assert_array_equal(made, expected)
        sound = load(str(tmp_path / "sound"), (20, 10, 1), flip=flip)
        given = sound.train.inputs
        turned = [np.roll(given, shift, axis=1) for shift in range(-2, 3)]
        for _ in range(8):
            made = varied(given, sound, generator)
            assert any(np.array_equal(made, other) for other in turned)


class Interrupt(Exception):
    """Comes from what is told of the progress."""


@pytest.fixture
def untraced() -> Iterator[None]:
    """Functions run as they are: for few batches that is faster than tracing them."""
    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("untraced")
def test_what_was_interrupted_ends_as_what_was_not(tmp_path: Path) -> None:
    data = load(str(write_pictures(tmp_path / "pictures", 20)), (14, 14, 1))
    model = maker(NETWORKS + "tiny")(width=0.5)
    settings = Settings(ram=1300, method="layers", cut=0.2, step=0.3, final_epochs=1)

    def pruned(name: str, report: Report) -> tuple[list[Round], list[Any]]:
        (tmp_path / name).mkdir(exist_ok=True)
        state = State(tmp_path / name)
        found = prune(model, data, settings, state, report, jobs=1)
        return state.rounds(), found.get_weights()

    def interrupted(what: str, _done: int | None, _total: int | None) -> None:
        if what == "round 2: fine-tuning":
            raise Interrupt

    rounds, weights = pruned("whole", lambda *_: None)
    assert len(rounds) > 2
    assert rounds[0].layer_by_layer_bytes > settings.ram >= rounds[-1].layer_by_layer_bytes
    with pytest.raises(Interrupt):
        pruned("cut", interrupted)
    assert State(tmp_path / "cut").rounds() == rounds[:2]
    again, others = pruned("cut", lambda *_: None)
    assert again == rounds
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(one, other)


def test_versions_have_the_memory_of_their_networks() -> None:
    make = maker(NETWORKS + "tiny")
    found = versions(make, [0.5, 1], [14, 20], False, lambda *_: None, jobs=1)
    assert [(v.width, v.resolution) for v in found] == [(0.5, 14), (0.5, 20), (1, 14), (1, 20)]
    for version in found:
        graph = int8_graph(architecture_of(make(width=version.width, resolution=version.resolution)))
        assert (version.arena, version.layers) == (arena_bytes(graph), layer_by_layer(graph))
        assert version.arena < version.layers


def test_a_network_comes_back_from_its_int8_file() -> None:
    sys.path.insert(0, str(ROOT / "apps" / "codesign"))
    from from_tflite import restore, weights_of

    model, other = (maker(NETWORKS + "tiny")() for _ in range(2))
    generator = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([random_weights(weights.shape, generator) for weights in layer.get_weights()])
    images = generator.uniform(0, 1, (100, 14, 14, 1)).astype(np.float32)
    restore(tensorflow, other, weights_of(to_tflite(model, images)), images)
    expected = np.log(np.asarray(model(images, training=False)))
    for training in (False, True):  # the averages are those of these images: normalisation in training changes nothing
        found = np.log(np.asarray(other(images, training=training)))
        assert np.abs(found - expected).max() < 0.05 * np.ptp(expected)
