"""A Keras model with fewer channels: layers made anew with smaller sizes, weights cut. Imports Keras when called."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_pex.codesign.architecture import Architecture, Layer, architecture_of
from tvm_pex.codesign.wiring import DEPTHWISE, MAKERS, NORMS, Channels, Wiring, alive, wiring

Array = npt.NDArray[Any]
_SIZES = {"Conv1D": "filters", "Conv2D": "filters", "Dense": "units"}


def remove(model: Any, kept: Mapping[str, Channels]) -> Any:
    """The model with only the channels ``kept`` of some of its ``wiring(...).groups``; other groups stay whole.

    Raises ValueError for a group that is not there, and for one that would be left without a channel.
    """
    architecture = architecture_of(model)
    wires = wiring(architecture)
    gone = _gone(wires, kept)
    config = copy.deepcopy(model.get_config())
    for record, layer in zip(config["layers"], architecture.layers, strict=True):
        record.pop("build_config", None)  # it holds the shapes of before
        _resize(record["config"], layer, wires, gone)
    smaller = type(model).from_config(config)
    for name, weights in _cut_weights(model, architecture, wires, gone).items():
        smaller.get_layer(name).set_weights(weights)
    return smaller


def _gone(wires: Wiring, kept: Mapping[str, Channels]) -> frozenset[int]:
    for name, channels in kept.items():
        if name not in wires.groups:
            raise ValueError(f"there is no group {name}; there are {', '.join(wires.groups)}")
        if not set(channels.tolist()) & set(wires.groups[name].tolist()):
            raise ValueError(f"{name} would be left without a channel")
    removed = (set(wires.groups[name].tolist()) - set(channels.tolist()) for name, channels in kept.items())
    return frozenset().union(*removed)


def _resize(config: dict[str, Any], layer: Layer, wires: Wiring, gone: frozenset[int]) -> None:
    count = int(alive(wires.makes[layer.name], gone).sum())
    if layer.kind in MAKERS:
        config[_SIZES[layer.kind]] = count
    elif layer.kind == "Reshape":
        config["target_shape"] = (*layer.shape[:-1], count)


def _cut_weights(model: Any, architecture: Architecture, wires: Wiring, gone: frozenset[int]) -> dict[str, list[Array]]:
    """By layer the weights that are left of it, in Keras' order. Those of layers without channels of ours stay."""
    found = {layer.name: layer.get_weights() for layer in model.layers}
    for layer in architecture.layers:
        if layer.kind in (*MAKERS, *DEPTHWISE, *NORMS):
            read, made = alive(wires.reads[layer.name][0], gone), alive(wires.makes[layer.name], gone)
            found[layer.name] = [_cut(layer, weights, read, made) for weights in found[layer.name]]
    return found


def _cut(layer: Layer, weights: Array, read: npt.NDArray[np.bool_], made: npt.NDArray[np.bool_]) -> Array:
    """Vectors are by output; kernels end with inputs, outputs; a depthwise kernel with inputs, multiplier."""
    if weights.ndim == 1:
        return weights[made]
    if layer.kind in DEPTHWISE:
        return weights[..., read, :]
    return weights[..., read, :][..., made]
