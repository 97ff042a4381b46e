"""The largest version of a network that fits a memory: by its own plan, and layer by layer."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvm_pex.codesign.architecture import architecture_of
from tvm_pex.codesign.network import int8_graph, layer_by_layer
from tvm_pex.codesign.planner import Planner

Maker = Callable[..., Any]
Report = Callable[[str, "int | None", "int | None"], None]


class FunctionError(Exception):
    """There is no such function; one line."""


@dataclass(frozen=True)
class Version:
    """A network of one width and resolution, with its memory planned and layer by layer, in bytes."""

    width: float
    resolution: int
    arena: int
    layers: int
    macs: int


def maker(text: str) -> Maker:
    """``FILE.py:FUNCTION``, a function of ``width`` and ``resolution`` that gives a Keras model."""
    path, _, name = text.rpartition(":")
    if not Path(path).is_file():
        raise FunctionError(f"{text}: give FILE.py:FUNCTION")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise FunctionError(f"{path} has no function {name}")
    made: Maker = function
    return made


def versions(
    make: Maker,
    widths: Sequence[float],
    resolutions: Sequence[int],
    overwrite_input: bool,
    report: Report,
    jobs: int | None = None,
) -> list[Version]:
    """Every width at every resolution; ``jobs`` processes plan, as many as there are processors without it."""
    sizes = [(width, resolution) for width in widths for resolution in resolutions]
    graphs = []
    for number, (width, resolution) in enumerate(sizes):
        report("networks", number, len(sizes))
        graphs.append(int8_graph(architecture_of(make(width=width, resolution=resolution))))
    report("planning", None, None)
    with Planner(overwrite_input, jobs) as planner:
        loads = planner.arenas(graphs)
    return [
        Version(*size, load.peak, layer_by_layer(graph), graph.macs())
        for size, load, graph in zip(sizes, loads, graphs, strict=True)
    ]


def largest(found: Sequence[Version], ram: int, planned: bool) -> Version | None:
    """The highest resolution that fits, and at it the greatest width; None where nothing does."""
    fitting = [v for v in found if (v.arena if planned else v.layers) <= ram]
    return max(fitting, key=lambda v: (v.resolution, v.width), default=None)
