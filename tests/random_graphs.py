"""Random small graphs, built directly, and random schedules of them, for tests of what needs no TVM.

Constants are named, not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tvm_pex.graph import Add, Convolution, Graph, Operator, Pad, Pair, Pool, Rescale, Shape, Tensor, Window
from tvm_pex.scheduling.schedule import Schedule, Segment, Unschedulable, make_segment, sliced_channels

_PLAIN = Rescale(1, 0, 0, 0)
_POINT = Window()
_SPATIAL = ("rows", "pixels")


def output_pair(view: Shape, window: Window, behind: Pair) -> Pair:
    """Rows and columns of what ``window`` gives with ``behind`` more positions after the tensor."""
    rows, columns = (
        (view[a] + window.pad[a] + behind[a] - window.reach(a) - 1) // window.stride[a] + 1 for a in (0, 1)
    )
    return rows, columns


def convolution(
    name: str, source: str, view: Shape, channels: int, window: Window | None = None, *, depthwise: bool = False
) -> Convolution:
    """A convolution whose constants exist by name alone."""
    groups = view[2] if depthwise else 1
    names = (f"{name}.weights", f"{name}.scales")
    return Convolution(name, (source,), (view,), name, window or Window(), groups, *names, 0, 0, 0, -128, 127)


def pool(name: str, source: str, view: Shape, window: Window, *, maximum: bool = False) -> Pool:
    return Pool(name, (source,), (view,), name, window, maximum, None, -128, 127)


def add(name: str, sources: tuple[str, ...], shape: Shape) -> Add:
    return Add(name, sources, (shape,) * len(sources), name, (_PLAIN,) * len(sources), -128, 127)


class GraphMaker:
    """Collects operators; ``graph`` closes it. Tensors are called like the operators that make them."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.operators: list[Operator] = []

    def source(self, name: str, shape: Shape) -> str:
        self.tensors[name] = Tensor(name, shape, "int8")
        return name

    def shape(self, name: str) -> Shape:
        return self.tensors[name].shape

    def append(self, op: Operator, shape: Shape) -> str:
        self.operators.append(op)
        self.tensors[op.output] = Tensor(op.output, shape, "int8")
        return op.output

    def convolution(
        self, source: str, channels: int, window: Window = _POINT, behind: Pair = (0, 0), *, depthwise: bool = False
    ) -> str:
        view, name = self.shape(source), f"{'depthwise' if depthwise else 'conv'}{len(self.operators)}"
        op = convolution(name, source, view, channels, window, depthwise=depthwise)
        return self.append(op, (*output_pair(view, window, behind), channels))

    def same(self, source: str, channels: int, kernel: Pair = (3, 3), stride: Pair = (1, 1)) -> str:
        """A convolution with SAME padding, more of it behind."""
        view = self.shape(source)
        total = [max((-(-view[a] // stride[a]) - 1) * stride[a] + kernel[a] - view[a], 0) for a in (0, 1)]
        window = Window(kernel, stride, (1, 1), (total[0] // 2, total[1] // 2))
        return self.convolution(source, channels, window, (total[0] - total[0] // 2, total[1] - total[1] // 2))

    def pool(self, source: str, window: Window, behind: Pair = (0, 0), *, maximum: bool = False) -> str:
        view = self.shape(source)
        op = pool(f"pool{len(self.operators)}", source, view, window, maximum=maximum)
        return self.append(op, (*output_pair(view, window, behind), view[2]))

    def global_pool(self, source: str) -> str:
        height, width, _ = self.shape(source)
        return self.pool(source, Window((height, width), (height, width)))

    def dense(self, source: str, channels: int) -> str:
        """A convolution whose only window is the whole tensor."""
        height, width, _ = self.shape(source)
        return self.convolution(source, channels, Window((height, width)))

    def add(self, *sources: str) -> str:
        shape = self.shape(sources[0])
        return self.append(add(f"add{len(self.operators)}", sources, shape), shape)

    def pad(self, source: str, before: Pair, behind: Pair) -> str:
        height, width, channels = view = self.shape(source)
        name = f"pad{len(self.operators)}"
        op = Pad(name, (source,), (view,), name, Window(pad=before), 0)
        return self.append(op, (height + before[0] + behind[0], width + before[1] + behind[1], channels))

    def graph(self, *outputs: str) -> Graph:
        """What nothing reads is an output, and so are ``outputs``."""
        read = {name for op in self.operators for name in op.inputs}
        made = [op.output for op in self.operators]
        sources = tuple(name for name in self.tensors if name not in made)
        ends = tuple(name for name in made if name not in read or name in outputs)
        names = [n for op in self.operators if isinstance(op, Convolution) for n in (op.weights, op.scales)]
        return Graph(self.tensors, tuple(self.operators), sources, ends, {n: np.empty(0, np.int8) for n in names})


def random_graph(seed: int, operators: int = 8, extent: int = 7, channels: int = 3) -> Graph:
    """Windows, branches, pads, reductions and inner outputs at random, in any order that is topological."""
    rng = np.random.default_rng(seed)
    maker = GraphMaker()
    names = [maker.source("x", (_from(rng, 1, extent), _from(rng, 1, extent), _from(rng, 1, channels)))]
    if rng.random() < 0.2:
        names.append(maker.source("y", maker.shape("x")))
    for _ in range(_from(rng, 1, operators)):
        # Mostly the newest: chains with branches, not stars.
        source = names[-1] if rng.random() < 0.75 else names[_from(rng, 0, len(names) - 1)]
        names.append(_grow(rng, maker, source, extent, channels))
    return maker.graph(*(name for name in names if rng.random() < 0.07))


def _from(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _pick(rng: np.random.Generator, choices: list[Any]) -> Any:
    return choices[_from(rng, 0, len(choices) - 1)]


def _grow(rng: np.random.Generator, maker: GraphMaker, source: str, extent: int, channels: int) -> str:
    shape = maker.shape(source)
    alike = [name for name in maker.tensors if maker.shape(name) == shape and name != source]
    kinds = ["conv", "conv", "conv", "point", "depthwise", "depthwise", "maximum", "average", "pad", "scale"]
    kind = _pick(rng, kinds + ["add"] * (6 if alike else 0) + (["global", "dense"] if rng.random() < 0.4 else []))
    if kind == "add":
        return maker.add(*([source, _pick(rng, alike)] if rng.random() < 0.5 else [_pick(rng, alike), source]))
    if kind == "scale":
        return maker.add(source)
    if kind == "point":
        return maker.convolution(source, _from(rng, 1, channels))
    if kind == "global":
        return maker.global_pool(source)
    if kind == "dense":
        return maker.dense(source, _from(rng, 1, channels))
    if kind == "pad":
        sides = [_from(rng, 0, max(0, min(2, extent - max(shape[:2])))) for _ in range(4)]
        return maker.pad(source, (sides[0], sides[1]), (sides[2] // 2, sides[3] // 2))
    window, behind = _window(rng, shape, extent, whole=kind in ("maximum", "average"))
    if kind in ("maximum", "average"):
        return maker.pool(source, window, behind, maximum=kind == "maximum")
    if kind == "depthwise":
        return maker.convolution(source, shape[2], window, behind, depthwise=True)
    if rng.random() < 0.5:
        return maker.same(source, shape[2])
    return maker.convolution(source, _from(rng, 1, channels), window, behind)


def _window(rng: np.random.Generator, shape: Shape, extent: int, *, whole: bool) -> tuple[Window, Pair]:
    """With ``whole``, every window must hold a position of the tensor, as an average needs."""
    while True:
        kernel = (_pick(rng, [1, 2, 3, 3, 4, 5]), _pick(rng, [1, 2, 3, 3, 4, 5]))
        stride = (_pick(rng, [1, 1, 1, 2, 3]), _pick(rng, [1, 1, 1, 2, 3]))
        dilation = (_pick(rng, [1, 1, 2, 3]), _pick(rng, [1, 1, 2])) if stride == (1, 1) and not whole else (1, 1)
        window = Window(kernel, stride, dilation)
        pad = (_from(rng, 0, window.reach(0)), _from(rng, 0, window.reach(1)))
        behind = (_from(rng, 0, window.reach(0)), _from(rng, 0, window.reach(1)))
        if rng.random() < 0.5:
            pad = behind = (0, 0)
        window = Window(kernel, stride, dilation, pad)
        if any(shape[a] + pad[a] + behind[a] <= window.reach(a) for a in (0, 1)):
            continue
        out = output_pair(shape, window, behind)
        starts_inside = all((out[a] - 1) * stride[a] - pad[a] < shape[a] for a in (0, 1))
        if max(out) <= extent and (starts_inside or not whole):
            return window, behind


def cut_at_random(graph: Graph, seed: int) -> Schedule:
    """Segments as long as they come out, axes at random; where operators do not go together, fewer of them."""
    rng = np.random.default_rng([seed, 1])
    segments: list[Segment] = []
    start = 0
    while start < len(graph.operators):
        stop = len(graph.operators)
        if rng.random() < 0.5:
            stop = int(rng.integers(start + 1, stop + 1))
        axes = _SPATIAL[: int(rng.integers(1, 3))]
        while True:
            operators = graph.operators[start:stop]
            tile = _tile(graph, operators, rng)
            along = axes[: int(rng.integers(0, 3))] if tile else axes
            try:
                segments.append(_segment(graph, operators, along, tile, rng))
                break
            except Unschedulable:
                stop -= 1
        start = stop
    return Schedule(tuple(segments))


def _segment(
    graph: Graph, operators: Sequence[Operator], axes: Sequence[str], tile: int | None, rng: np.random.Generator
) -> Segment:
    """Without slices of channels, sometimes by strips of columns, where the operators allow it."""
    if tile is None and len(operators) > 1 and rng.random() < 0.4:
        try:
            return make_segment(graph, operators, axes, strips=int(rng.integers(2, 5)))
        except Unschedulable:
            pass
    return make_segment(graph, operators, axes, tile)


def _tile(graph: Graph, operators: Sequence[Operator], rng: np.random.Generator) -> int | None:
    channels = sliced_channels(graph, operators) if len(operators) > 1 else None
    if channels is None or channels == 1 or rng.random() < 0.5:
        return None
    divisors = [n for n in range(1, channels) if channels % n == 0]
    return divisors[int(rng.integers(0, len(divisors)))]
