"""Which channels go: on architectures written down here, against all steps tried one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tvm_pex.codesign.architecture import Architecture, Layer
from tvm_pex.codesign.choice import Ground, Unreachable, choose
from tvm_pex.codesign.network import Load, arena_bytes, arena_load, layer_by_layer, layers_load
from tvm_pex.codesign.wiring import wiring, without
from tvm_pex.graph import Graph


def layer(name: str, kind: str, shape: tuple[int, ...], *inputs: str, **config: Any) -> Layer:
    usual = {"padding": "same", "strides": (1, 1), "dilation_rate": (1, 1), "groups": 1, "activation": "linear"}
    return Layer(name, kind, {**usual, **config}, inputs, shape)


def bottleneck(wide: int, narrow: int) -> Architecture:
    """An inverted bottleneck on 8x8 pixels, where memory has its peak, and a convolution on 2x2."""
    return Architecture(
        (
            layer("image", "InputLayer", (8, 8, 1)),
            layer("stem", "Conv2D", (8, 8, narrow), "image", kernel_size=(3, 3)),
            layer("expand", "Conv2D", (8, 8, wide), "stem", kernel_size=(1, 1)),
            layer("depthwise", "DepthwiseConv2D", (8, 8, wide), "expand", kernel_size=(3, 3), depth_multiplier=1),
            layer("project", "Conv2D", (8, 8, narrow), "depthwise", kernel_size=(1, 1)),
            layer("add", "Add", (8, 8, narrow), "stem", "project"),
            layer("down", "Conv2D", (2, 2, 8), "add", kernel_size=(3, 3), strides=(4, 4)),
            layer("late", "Conv2D", (2, 2, 32), "down", kernel_size=(1, 1)),
            layer("pool", "GlobalAveragePooling2D", (32,), "late"),
            layer("scores", "Dense", (5,), "pool", activation="softmax"),
        ),
        ("scores",),
    )


def ground(seed: int, share: float = 0.5, architecture: Architecture | None = None) -> Ground:
    architecture = architecture or bottleneck(16, 8)
    wires = wiring(architecture)
    generator = np.random.default_rng(seed)
    worth = {c: float(generator.uniform(0.1, 2)) for group in wires.groups.values() for c in group.tolist()}
    return Ground(architecture, wires, worth, share)


def arenas(graphs: Sequence[Graph]) -> list[Load]:
    return [arena_load(graph) for graph in graphs]


def layers(graphs: Sequence[Graph]) -> list[Load]:
    return [layers_load(graph) for graph in graphs]


def nothing(_value: int) -> None: ...


@pytest.mark.parametrize(
    ("method", "measure", "least"), [("pex", arenas, arena_bytes), ("layers", layers, layer_by_layer)]
)
def test_the_step_that_saves_most_for_what_it_loses(method: str, measure: Any, least: Any) -> None:
    base = ground(1)
    before = least(base.graph(frozenset()))
    saved = {step.gone: before - least(base.graph(step.gone)) for step in base.steps(frozenset())}
    lost = {step.gone: step.lost for step in base.steps(frozenset())}
    best = max(saved, key=lambda gone: saved[gone] / lost[gone])
    assert choose(base, method, measure, before - saved[best], nothing) == best


def test_what_does_not_hold_the_peak_stays() -> None:
    base = ground(0)
    before = arena_bytes(base.graph(frozenset()))
    groups = {name: set(channels.tolist()) for name, channels in base.wires.groups.items()}
    assert set(groups) == {"stem", "expand", "down", "late"}
    gone = choose(base, "pex", arenas, before * 5 // 6, nothing)
    assert gone & (groups["stem"] | groups["expand"])
    assert not gone & (groups["down"] | groups["late"])
    thin = choose(base, "width", arenas, before * 5 // 6, nothing)
    assert all(thin & channels for channels in groups.values())
    for chosen in (gone, thin):
        assert arena_bytes(base.graph(chosen)) <= before * 5 // 6


def test_magnitude_takes_the_least_wherever_it_is() -> None:
    base = ground(0)
    late = set(base.wires.groups["late"].tolist())
    worth = {c: 0.001 if c in late else 1.0 for c in base.worth}
    cheap = Ground(base.architecture, base.wires, worth, base.share)
    before = arena_bytes(base.graph(frozenset()))
    gone = choose(cheap, "magnitude", arenas, before // 2, nothing)
    assert gone == choose(cheap, "magnitude", arenas, 1, nothing)
    assert gone < late
    assert len(gone) == 16  # half, which is all that a round takes of a group


@pytest.mark.parametrize("method", ["pex", "layers", "magnitude", "width"])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_round_takes_half_of_a_group_at_most(method: str, share: float) -> None:
    base, measure = ground(2, share), layers if method == "layers" else arenas
    gone = choose(base, method, measure, 200, nothing)
    taken = {name: len(gone.intersection(ids.tolist())) / len(ids) for name, ids in base.wires.groups.items()}
    assert 0.5 - share < max(taken.values()) <= 0.5
    whole = choose(replace(base, share=1.0), method, measure, 200, nothing)
    assert whole  # a step is taken, however large


@pytest.mark.parametrize("method", ["pex", "magnitude", "width"])
def test_a_budget_below_the_image_is_out_of_reach(method: str) -> None:
    base = ground(0)

    def rounds() -> Iterator[Ground]:
        last = base
        while True:
            gone = choose(last, method, arenas, 60, nothing)
            last = ground(0, architecture=without(last.architecture, last.wires, gone))
            yield last

    found = rounds()
    assert arena_bytes(next(found).graph(frozenset())) < arena_bytes(base.graph(frozenset()))
    with pytest.raises(Unreachable):
        list(itertools.islice(found, 20))
