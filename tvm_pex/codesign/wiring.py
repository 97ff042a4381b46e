"""Which channels of a network are one: those that can only be removed together. Pure.

Every position of the last axis of every tensor carries a *channel*, an integer. Convolutions and dense layers make new
ones; element-wise layers make those of their inputs one (a residual addition couples its branches); a depthwise
convolution hands on those it reads; concatenation and flattening lay them side by side. Channels of the network's
inputs and outputs stay, and so do those that a layer reads or makes of which this module knows nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_pex.codesign.architecture import Architecture, Layer

Channels = npt.NDArray[np.int64]

MAKERS = "Conv1D", "Conv2D", "Dense"
DEPTHWISE = "DepthwiseConv1D", "DepthwiseConv2D"
NORMS = ("BatchNormalization",)
ELEMENTWISE = "Add", "Subtract", "Multiply", "Maximum", "Minimum", "Average"
_PASSING = (
    *("ReLU", "LeakyReLU", "ELU", "Activation", "Rescaling"),
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "Identity"),
    *("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D", "ZeroPadding1D", "ZeroPadding2D"),
    *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D"),
    *("Cropping1D", "Cropping2D", "UpSampling1D", "UpSampling2D"),
)


@dataclass(frozen=True)
class Wiring:
    """By layer the channels of the last axis of each tensor that it ``reads``, and of the one that it ``makes``.

    ``groups`` are the channels that may be removed, by the name of the first layer that makes some of the group: a
    channel can only be removed from all the layers that hold it.
    """

    reads: Mapping[str, tuple[Channels, ...]]
    makes: Mapping[str, Channels]
    groups: Mapping[str, Channels]


def wiring(architecture: Architecture) -> Wiring:
    """Follows every tensor once, in topological order."""
    ties = _Ties()
    made: dict[str, Channels] = {}
    for layer in architecture.layers:
        made[layer.name] = _made(layer, [made[name] for name in layer.inputs], _shapes(architecture, layer), ties)
    for name in architecture.outputs:
        ties.keep(made[name])
    makes = {name: ties.settled(channels) for name, channels in made.items()}
    reads = {layer.name: tuple(makes[name] for name in layer.inputs) for layer in architecture.layers}
    makers = [layer.name for layer in architecture.layers if _makes_new(layer)]
    return Wiring(reads, makes, _groups(makers, makes, ties.kept()))


def alive(channels: Channels, gone: frozenset[int]) -> npt.NDArray[np.bool_]:
    """Which positions of an axis are left when the channels ``gone`` are."""
    return np.array([channel not in gone for channel in channels.tolist()], bool)


def without(architecture: Architecture, wires: Wiring, gone: frozenset[int]) -> Architecture:
    """The architecture with smaller tensors. ``config`` of its layers stays as it was, and so does ``wires``."""

    def shrunk(layer: Layer) -> Layer:
        return replace(layer, shape=(*layer.shape[:-1], int(alive(wires.makes[layer.name], gone).sum())))

    return replace(architecture, layers=tuple(shrunk(layer) for layer in architecture.layers))


def _shapes(architecture: Architecture, layer: Layer) -> list[tuple[int, ...]]:
    return [architecture.layer(name).shape for name in layer.inputs]


@dataclass
class _Ties:
    """Union-find over channels; ``stay`` are channels that may not be removed."""

    parents: list[int] = field(default_factory=list)
    stay: list[int] = field(default_factory=list)

    def fresh(self, count: int) -> Channels:
        first = len(self.parents)
        self.parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def root(self, channel: int) -> int:
        while self.parents[channel] != channel:
            self.parents[channel] = self.parents[self.parents[channel]]
            channel = self.parents[channel]
        return channel

    def tie(self, one: Channels, other: Channels) -> None:
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            low, high = sorted((self.root(a), self.root(b)))
            self.parents[high] = low

    def keep(self, channels: Channels) -> None:
        self.stay.extend(channels.tolist())

    def settled(self, channels: Channels) -> Channels:
        return np.array([self.root(channel) for channel in channels.tolist()], np.int64)

    def kept(self) -> frozenset[int]:
        return frozenset(self.root(channel) for channel in self.stay)


def _makes_new(layer: Layer) -> bool:
    return layer.kind in MAKERS and layer.config.get("groups", 1) == 1


def _made(layer: Layer, reads: list[Channels], shapes: list[tuple[int, ...]], ties: _Ties) -> Channels:
    """The channels of the layer's output."""
    if _makes_new(layer):
        return ties.fresh(layer.shape[-1])
    if layer.kind in DEPTHWISE:
        return np.repeat(reads[0], layer.config["depth_multiplier"])
    if layer.kind in ELEMENTWISE and len({len(channels) for channels in reads}) == 1:
        return _tied(reads, ties)
    if layer.kind == "Concatenate":
        last = layer.config["axis"] in (-1, len(layer.shape))
        return np.concatenate(reads) if last else _tied(reads, ties)
    if layer.kind in ("Flatten", "Reshape"):
        repeats = _laid_flat(shapes[0], layer.shape)
        if repeats is not None:
            return np.tile(reads[0], repeats)
    if _passes(layer):
        return reads[0]
    for channels in reads:
        ties.keep(channels)
    result = ties.fresh(layer.shape[-1] if layer.shape else 1)
    ties.keep(result)
    return result


def _passes(layer: Layer) -> bool:
    """True for what treats each channel alone, and each the same or by its own parameters."""
    if layer.kind in NORMS:
        return _axis(layer.config["axis"]) in (-1, len(layer.shape))
    return layer.kind in _PASSING and layer.config.get("activation") != "softmax"


def _axis(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) else value


def _tied(reads: Sequence[Channels], ties: _Ties) -> Channels:
    for other in reads[1:]:
        ties.tie(reads[0], other)
    return reads[0]


def _laid_flat(before: tuple[int, ...], after: tuple[int, ...]) -> int | None:
    """How often the channels of ``before`` stand in the last axis of ``after``, None where they are torn apart."""
    if before[-1] == after[-1]:
        return 1
    return math.prod(before[:-1]) if after[-1] == math.prod(before) else None


def _groups(makers: Sequence[str], makes: Mapping[str, Channels], kept: frozenset[int]) -> dict[str, Channels]:
    """Removable channels, those of layers that share one together."""
    name_of: dict[int, str] = {}
    groups: dict[str, dict[int, None]] = {}
    for maker in makers:
        own = [channel for channel in dict.fromkeys(makes[maker].tolist()) if channel not in kept]
        joined = dict.fromkeys(name_of[channel] for channel in own if channel in name_of)
        name, *others = joined or (maker,)
        members = groups.setdefault(name, {})
        for other in others:
            members.update(groups.pop(other))
        members.update(dict.fromkeys(own))
        name_of.update(dict.fromkeys(members, name))
    return {name: np.array(list(members), np.int64) for name, members in groups.items() if members}
