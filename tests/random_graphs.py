"""Random small graphs, built directly, and random schedules of them, for tests of what needs no TVM.

Constants are named, not given.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tvm_pex.graph import (
    Add,
    Binary,
    Concat,
    Convolution,
    Dequantize,
    Gather,
    Graph,
    Lookup,
    Operator,
    Pad,
    Pair,
    Patches,
    Pool,
    Quantize,
    Rescale,
    Resize,
    Shape,
    Slice,
    Tensor,
    Window,
)
from tvm_pex.scheduling.kernels import LANES_PATCH, PAIRS, PAIRS_PATCH, WIDE, WIDE_PATCH
from tvm_pex.scheduling.schedule import Schedule, Segment
from tvm_pex.scheduling.segments import Unschedulable, make_segment, sliced_channels, tail_of, with_tail

_PLAIN = Rescale(1, 0, 0, 0)
_POINT = Window()
_SPATIAL = ("rows", "pixels")


def output_pair(view: Shape, window: Window, behind: Pair) -> Pair:
    """Rows and columns of what ``window`` gives with ``behind`` more positions after the tensor."""
    spread = [(view[a] - 1) * window.up[a] + 1 + window.pad[a] + behind[a] for a in (0, 1)]
    rows, columns = ((spread[a] - window.reach(a) - 1) // window.stride[a] + 1 for a in (0, 1))
    return rows, columns


def convolution(
    name: str, source: str, view: Shape, channels: int, window: Window | None = None, *, groups: int = 1
) -> Convolution:
    """A convolution whose constants exist by name alone."""
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

    def source(self, name: str, shape: Shape, dtype: str = "int8") -> str:
        self.tensors[name] = Tensor(name, shape, dtype)
        return name

    def shape(self, name: str) -> Shape:
        return self.tensors[name].shape

    def append(self, op: Operator, shape: Shape, dtype: str = "int8") -> str:
        self.operators.append(op)
        self.tensors[op.output] = Tensor(op.output, shape, dtype)
        return op.output

    def convolution(
        self,
        source: str,
        channels: int,
        window: Window = _POINT,
        behind: Pair = (0, 0),
        *,
        depthwise: bool = False,
        groups: int = 1,
    ) -> str:
        view, name = self.shape(source), f"{'depthwise' if depthwise else 'conv'}{len(self.operators)}"
        op = convolution(name, source, view, channels, window, groups=view[2] if depthwise else groups)
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

    def binary(self, function: str, *sources: str) -> str:
        """Sources of which one may have less rows, columns or channels than the other: one of them."""
        views = tuple(self.shape(source) for source in sources)
        shape = (max(v[0] for v in views), max(v[1] for v in views), max(v[2] for v in views))
        name = f"{function}{len(self.operators)}"
        if function == "add":
            op: Operator = Add(name, sources, views, name, (_PLAIN, _PLAIN), -128, 127)
        else:
            op = Binary(name, sources, views, name, function, (_PLAIN, _PLAIN), None, -128, 127)
        return self.append(op, shape)

    def pad(self, source: str, before: Pair, behind: Pair, channels: Pair = (0, 0)) -> str:
        """``channels`` before and behind those of the tensor."""
        height, width, deep = view = self.shape(source)
        name = f"pad{len(self.operators)}"
        op = Pad(name, (source,), (view,), name, Window(pad=before), 0, channels[0])
        shape = height + before[0] + behind[0], width + before[1] + behind[1], deep + sum(channels)
        return self.append(op, shape)

    def mirror(self, source: str, before: Pair, behind: Pair, mirror: int) -> str:
        """A border as wide as ``before`` and ``behind`` that is the tensor's own, backwards."""
        height, width, channels = view = self.shape(source)
        name = f"mirror{len(self.operators)}"
        op = Slice(name, (source,), (view,), name, Window(pad=before, mirror=mirror), 0)
        return self.append(op, (height + before[0] + behind[0], width + before[1] + behind[1], channels))

    def transposed(self, source: str, channels: int, kernel: Pair, up: Pair, cut: Pair = (0, 0)) -> str:
        """A transposed convolution of stride ``up``, less ``cut`` rows and columns at the beginning."""
        view, name = self.shape(source), f"transposed{len(self.operators)}"
        window = Window(kernel, pad=(kernel[0] - 1 - cut[0], kernel[1] - 1 - cut[1]), up=up)
        shape = (view[0] * up[0], view[1] * up[1], channels)
        return self.append(convolution(name, source, view, channels, window), shape)

    def nearest(self, source: str, parts: Pair, step: Pair = (1, 1)) -> str:
        """``parts / step`` times as many pixels, each the one before its place."""
        height, width, channels = view = self.shape(source)
        name = f"resize{len(self.operators)}"
        window = Window(kernel=parts, stride=step, pad=(parts[0] - 1, parts[1] - 1), up=parts)
        shape = ((height * parts[0] - 1) // step[0] + 1, (width * parts[1] - 1) // step[1] + 1, channels)
        return self.append(Slice(name, (source,), (view,), name, window, 0), shape)

    def linear(self, source: str, up: Pair, first: Pair = (0, 0)) -> str:
        """``up`` times as many pixels, each between two, shifted by ``first``."""
        height, width, channels = view = self.shape(source)
        name = f"resize{len(self.operators)}"
        window = Window(kernel=(2 * up[0], 2 * up[1]), pad=(up[0] - 1 - first[0], up[1] - 1 - first[1]), up=up)
        op = Resize(name, (source,), (view,), name, window, "asymmetric", 1.0, 0, 1.0, 0, -128, 127)
        return self.append(op, (height * up[0], width * up[1], channels))

    def blocks(self, source: str, up: Pair) -> str:
        """Each pixel a block of pixels, of as many channels as are there for one."""
        height, width, channels = view = self.shape(source)
        name = f"blocks{len(self.operators)}"
        op = Slice(name, (source,), (view,), name, Window(up, pad=(up[0] - 1, up[1] - 1), up=up), 0, 1, True)
        return self.append(op, (height * up[0], width * up[1], channels // (up[0] * up[1])))

    def patches(self, source: str, block: Pair) -> str:
        """Each block of pixels one pixel."""
        height, width, channels = view = self.shape(source)
        name = f"patches{len(self.operators)}"
        op = Patches(name, (source,), (view,), name, Window(block, block))
        return self.append(op, (height // block[0], width // block[1], channels * block[0] * block[1]))

    def concat(self, *sources: str, rescaled: Sequence[str] = ()) -> str:
        """``rescaled`` are the sources that are not copied as they are."""
        views, name = tuple(self.shape(source) for source in sources), f"concat{len(self.operators)}"
        rescales = tuple(_PLAIN if source in rescaled else None for source in sources)
        op = Concat(name, sources, views, name, rescales, -128, 127)
        return self.append(op, (*views[0][:2], sum(view[2] for view in views)))

    def part(self, source: str, begin: Shape, shape: Shape, stride: Pair = (1, 1), step: int = 1) -> str:
        """A slice of ``shape`` from ``begin`` on; ``stride`` is that of pixels, ``step`` that of channels."""
        name = f"slice{len(self.operators)}"
        window = Window(stride=stride, pad=(-begin[0], -begin[1]))
        return self.append(Slice(name, (source,), (self.shape(source),), name, window, begin[2], step), shape)

    def gather(self, source: str, channels: int) -> str:
        """Entries of a table of five, for a tensor of indices."""
        name, shape = f"gather{len(self.operators)}", self.shape(source)
        op = Gather(name, (source,), (shape,), name, f"{name}.table", 5, False)
        return self.append(op, (*shape[:2], channels))

    def lookup(self, source: str) -> str:
        name, shape = f"lookup{len(self.operators)}", self.shape(source)
        return self.append(Lookup(name, (source,), (shape,), name, f"{name}.table"), shape)

    def quantize(self, source: str) -> str:
        name, shape = f"quantize{len(self.operators)}", self.shape(source)
        return self.append(Quantize(name, (source,), (shape,), name, 8.0, 0, -128, 127), shape)

    def dequantize(self, source: str) -> str:
        name, shape = f"dequantize{len(self.operators)}", self.shape(source)
        return self.append(Dequantize(name, (source,), (shape,), name, 0.125, 0), shape, "float32")

    def graph(self, *outputs: str) -> Graph:
        """What nothing reads is an output, and so are ``outputs``."""
        read = {name for op in self.operators for name in op.inputs}
        made = [op.output for op in self.operators]
        sources = tuple(name for name in self.tensors if name not in made)
        ends = tuple(name for name in made if name not in read or name in outputs)
        names = [name for op in self.operators for name in op.constants]
        return Graph(self.tensors, tuple(self.operators), sources, ends, {n: np.empty(0, np.int8) for n in names})


def random_graph(seed: int, operators: int = 8, extent: int = 7, channels: int = 3) -> Graph:
    """Windows, branches, pads, reductions and inner outputs at random, in any order that is topological."""
    rng = np.random.default_rng(seed)
    maker = GraphMaker()
    names = [_border(rng, maker, (_from(rng, 1, extent), _from(rng, 1, extent), _from(rng, 1, channels)))]
    if rng.random() < 0.2:
        names.append(maker.source("y", maker.shape(names[0])))
    count = _from(rng, 1, operators)
    while len(maker.operators) < count:
        # Mostly the newest: chains with branches, not stars.
        source = names[-1] if rng.random() < 0.75 else names[_from(rng, 0, len(names) - 1)]
        names.append(_grow(rng, maker, source, extent, channels))
    read = {name for op in maker.operators for name in op.inputs}
    for name in [name for name in ("x", "y") if name in maker.tensors and name not in read]:
        names.append(_grow(rng, maker, name, extent, channels))
    if rng.random() < 0.1:
        maker.dequantize(names[-1])
    return maker.graph(*(name for name in names if rng.random() < 0.07))


def tailed_graph(seed: int) -> Graph:
    """What ends in a pool over everything that reads pixels as they are made, of up to twelve channels."""
    rng = np.random.default_rng([seed, 6])
    maker = GraphMaker()
    shape = (_from(rng, 1, 6), _from(rng, 2, 6), _from(rng, 1, 4))
    names = [_border(rng, maker, shape)]
    while len(maker.operators) < _from(rng, 0, 4):
        names.append(_grow(rng, maker, names[-1], 7, 4))
    channels = _pick(rng, [2, 4, 6, 8, 12])
    source = maker.same(names[-1], channels, _pick(rng, [(1, 1), (3, 3)]), _pick(rng, [(1, 1), (1, 1), (2, 2)]))
    wide = [source]
    for _ in range(_from(rng, 0, 4)):
        kind = _pick(rng, ["add", "binary", "lookup", "depthwise", "point", "conv", "scale", "pad", "maximum", "block"])
        wide.append(_wide(rng, maker, kind, wide))
    if maker.shape(wide[-1])[:2] == (1, 1):
        wide.append(maker.pad(wide[-1], (1, 0), (0, 1)))
    ends = [maker.pool(wide[-1], Window(maker.shape(wide[-1])[:2]), maximum=rng.random() < 0.3)]
    if rng.random() < 0.3:
        maker.convolution(ends[-1], 3)
    return maker.graph(*(name for name in wide if rng.random() < 0.05))


def _wide(rng: np.random.Generator, maker: GraphMaker, kind: str, wide: list[str]) -> str:
    """One more tensor of as many channels."""
    source, channels = wide[-1], maker.shape(wide[-1])[2]
    beside = [name for name in wide[:-1] if maker.shape(name) == maker.shape(source)]
    if kind in ("add", "binary"):
        other = _pick(rng, beside) if beside and rng.random() < 0.6 else maker.convolution(source, channels)
        names = [source, other] if rng.random() < 0.5 else [other, source]
        return maker.add(*names) if kind == "add" else maker.binary("maximum", *names)
    if kind == "block":  # the side comes first, but runs as late as the main path
        side = maker.convolution(source, channels)
        return maker.add(maker.same(maker.same(source, channels), channels, _pick(rng, [(1, 1), (3, 3)])), side)
    if kind == "lookup":
        return maker.lookup(source)
    if kind == "scale":
        return maker.add(source)
    if kind == "pad":
        return maker.pad(source, (0, _from(rng, 0, 1)), (_from(rng, 0, 1), 0))
    if kind == "maximum":
        return maker.pool(source, Window((2, 1), pad=(1, 0)), maximum=True)
    if kind == "depthwise":
        return maker.convolution(source, channels, Window((3, 3), pad=(1, 1)), (1, 1), depthwise=True)
    return maker.same(source, channels, (1, 1) if kind == "point" else (3, 3))


def streamed(graph: Graph) -> Graph | None:
    """The graph with rows of its first input that has several coming one by one; None if no input has."""
    name = next((name for name in graph.inputs if graph.tensors[name].shape[0] > 1), None)
    if name is None:
        return None
    tensor = graph.tensors[name]
    copy = Slice("arrival", (name,), (tensor.shape,), "arrival", _POINT, 0)
    others = [
        replace(op, inputs=tuple(copy.output if other == name else other for other in op.inputs))
        for op in graph.operators
    ]
    tensors = {**graph.tensors, copy.output: replace(tensor, name=copy.output)}
    return replace(graph, tensors=tensors, operators=(copy, *others), streamed=(name,))


def _border(rng: np.random.Generator, maker: GraphMaker, shape: Shape) -> str:
    """An int8 tensor of ``shape``: the input, or made of one of floats or of indices."""
    kind = rng.random()
    if kind < 0.15:
        return maker.quantize(maker.source("x", shape, "float32"))
    if kind < 0.25:
        return maker.gather(maker.source("x", (*shape[:2], 1), "int32"), shape[2])
    return maker.source("x", shape)


def _from(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _pick(rng: np.random.Generator, choices: list[Any]) -> Any:
    return choices[_from(rng, 0, len(choices) - 1)]


def _grow(rng: np.random.Generator, maker: GraphMaker, source: str, extent: int, channels: int) -> str:
    shape = maker.shape(source)
    whole = [name for name, tensor in maker.tensors.items() if tensor.dtype == "int8"]
    alike = [name for name in whole if maker.shape(name) == shape and name != source]
    kinds = ["conv", "conv", "conv", "point", "depthwise", "depthwise", "maximum", "average", "pad", "scale"]
    kinds += ["concat", "slice", "parts", "branches", "lookup", "gate", "mirror", "channels", "blocks", "grouped"]
    kinds += ["up"] * 4 if min(shape[:2]) <= extent // 2 else []
    kind = _pick(rng, kinds + ["add"] * (6 if alike else 0) + (["global", "dense"] if rng.random() < 0.4 else []))
    if kind == "concat":
        beside = [name for name in whole if maker.shape(name)[:2] == shape[:2] and maker.shape(name)[2] < 5]
        sources = [source, *(_pick(rng, beside or [source]) for _ in range(_from(rng, 0, 2)))]
        return maker.concat(*sources, rescaled=[name for name in sources if rng.random() < 0.3])
    if kind == "slice":
        return _part(rng, maker, source)
    if kind == "parts" and shape[2] > 1:
        return _parts(rng, maker, source)
    if kind == "branches":
        return _branches(rng, maker, source, channels)
    if kind == "up":
        return _up(rng, maker, source, extent, channels)
    if kind == "mirror":
        mirror = _from(rng, 0, 1)
        most = [max(0, min(2, size - mirror, extent - size)) for size in shape[:2]]
        before, behind = ((_from(rng, 0, most[0]), _from(rng, 0, most[1])) for _ in range(2))
        return maker.mirror(source, before, behind, mirror)
    if kind == "channels":
        return _other_channels(rng, maker, source)
    if kind == "blocks" and shape[0] % 2 == 0 and shape[2] < 3:
        return maker.patches(source, (2, _pick(rng, [1, 2]) if shape[1] % 2 == 0 else 1))
    if kind == "grouped" and shape[2] % 2 == 0:
        return maker.convolution(source, 2 * _from(rng, 1, 2), Window((3, 1), pad=(1, 0)), (1, 0), groups=2)
    if kind == "add":
        return maker.add(*([source, _pick(rng, alike)] if rng.random() < 0.5 else [_pick(rng, alike), source]))
    if kind == "scale":
        return maker.add(source)
    if kind == "gate":
        return _gate(rng, maker, source)
    if kind == "lookup":
        return maker.lookup(source)
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


def _up(rng: np.random.Generator, maker: GraphMaker, source: str, extent: int, channels: int) -> str:
    """More pixels than there are: a clock that runs faster than that of the source."""
    most = [max(1, extent // size) for size in maker.shape(source)[:2]]
    rows, columns = (_pick(rng, [n for n in (1, 2, 2, 3) if n <= limit]) for limit in most)
    up = (rows, columns)
    kind = _pick(rng, ["transposed", "transposed", "nearest", "nearest", "linear", "blocks"])
    if kind == "transposed":
        kernel = (_from(rng, up[0], up[0] + 2), _from(rng, up[1], up[1] + 2))
        cut = (_from(rng, 0, kernel[0] - up[0]), _from(rng, 0, kernel[1] - up[1]))
        return maker.transposed(source, _from(rng, 1, channels), kernel, up, cut)
    if kind == "linear":
        return maker.linear(source, up, (-_from(rng, 0, up[0] // 2), -_from(rng, 0, up[1] // 2)))
    if kind == "blocks" and maker.shape(source)[2] % (up[0] * up[1]) == 0:
        return maker.blocks(source, up)
    return maker.nearest(source, up, (_pick(rng, [1, 1, 1, 2, 5]), _pick(rng, [1, 1, 1, 2, 5])))


def _other_channels(rng: np.random.Generator, maker: GraphMaker, source: str) -> str:
    """Some channels, in another order, or empty ones beside them."""
    height, width, channels = maker.shape(source)
    if rng.random() < 0.5:
        return maker.pad(source, (0, 0), (0, 0), (_from(rng, 0, 2), _from(rng, 0, 2)))
    if rng.random() < 0.5:
        return maker.part(source, (0, 0, channels - 1), (height, width, channels), step=-1)
    return maker.part(source, (0, 0, 0), (height, width, -(-channels // 2)), step=2)


def _part(rng: np.random.Generator, maker: GraphMaker, source: str) -> str:
    """Any slice."""
    shape = maker.shape(source)
    begin = [_from(rng, 0, size - 1) if rng.random() < 0.5 else 0 for size in shape]
    stride = (_pick(rng, [1, 1, 2, 3]), _pick(rng, [1, 1, 2, 3]))
    most = [(shape[a] - begin[a] - 1) // (*stride, 1)[a] + 1 for a in range(3)]
    size = [_from(rng, 1, n) if rng.random() < 0.5 else n for n in most]
    return maker.part(source, (begin[0], begin[1], begin[2]), (size[0], size[1], size[2]), stride)


def _parts(rng: np.random.Generator, maker: GraphMaker, source: str) -> str:
    """Two parts of the channels, one after an operator of its own, that meet again."""
    height, width, channels = maker.shape(source)
    cut = channels // 2 if channels % 2 == 0 else _from(rng, 1, channels - 1)
    first = maker.part(source, (0, 0, 0), (height, width, cut))
    second = maker.part(source, (0, 0, cut), (height, width, channels - cut))
    if rng.random() < 0.7:
        second = maker.same(second, channels - cut)
    if cut == channels - cut and rng.random() < 0.5:
        return maker.add(first, second)
    return maker.concat(first, second, rescaled=[first] if rng.random() < 0.3 else [])


def _gate(rng: np.random.Generator, maker: GraphMaker, source: str) -> str:
    """A squeeze and excitation, of which parts may be missing: all pixels by what is made of their average."""
    function = _pick(rng, ["add", "subtract", "multiply", "maximum", "minimum"])
    height, width, channels = maker.shape(source)
    kernel = _pick(rng, [(height, width), (height, width), (height, 1), (1, width), (1, 1)])
    gate = maker.pool(source, Window(kernel, kernel))
    if rng.random() < 0.5:
        gate = maker.convolution(maker.lookup(gate), _pick(rng, [channels, 1]))
    return maker.binary(function, *([source, gate] if rng.random() < 0.7 else [gate, source]))


def _branches(rng: np.random.Generator, maker: GraphMaker, source: str, channels: int) -> str:
    """Two or three branches of the same stride that are joined, some of them by a join of their own."""
    kernels = [_pick(rng, [(1, 1), (1, 1), (3, 3), (1, 3)]) for _ in range(_from(rng, 2, 3))]
    ends = [maker.same(source, _from(rng, 1, channels), kernel) for kernel in kernels]
    if len(ends) > 2 and rng.random() < 0.5:
        ends = [maker.concat(*ends[:2]), ends[2]]
    return maker.concat(*ends, rescaled=[end for end in ends if rng.random() < 0.2])


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
    """Segments as long as they come out, axes at random; where operators do not go together, fewer of them.

    What takes a streamed input runs along rows, once.
    """
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
            once = operators[0] == graph.arrival
            tile = None if once else _tile(graph, operators, rng)
            along = axes[: int(rng.integers(0, 3))] if tile else axes
            make = make_segment if once else functools.partial(_segment, rng=rng)
            try:
                segments.append(_with_tail(graph, operators, make(graph, operators, along, tile), seed))
                break
            except Unschedulable:
                stop -= 1
        start = stop
    return Schedule(tuple(segments))


def _segment(
    graph: Graph, operators: Sequence[Operator], axes: Sequence[str], tile: int | None, rng: np.random.Generator
) -> Segment:
    """By strips of columns now and then, where there are no slices and operators allow it; else by runs of pixels."""
    if tile is None and len(operators) > 1 and rng.random() < 0.4:
        try:
            return make_segment(graph, operators, axes, strips=int(rng.integers(2, 5)))
        except Unschedulable:
            pass
    run = int(rng.choice([1, 2, 4, 8])) if "pixels" in axes else 1
    return make_segment(graph, operators, axes, tile, run=run)


def _with_tail(graph: Graph, operators: Sequence[Operator], segment: Segment, seed: int) -> Segment:
    """With slices of its moments at the end in most cases where it can have them."""
    rng = np.random.default_rng([seed, 5])
    names, channels = tail_of(graph, operators, segment), graph.tensors[operators[-1].output].shape[2]
    if not names or channels == 1 or rng.random() < 0.2:
        return segment
    return with_tail(graph, segment, names, _pick(rng, [n for n in range(1, channels) if channels % n == 0]))


def with_any_kernels(graph: Graph, seed: int) -> Graph:
    """``graph`` with kernels by name alone, most of which need a patch."""
    rng = np.random.default_rng([seed, 3])
    kinds = [PAIRS, PAIRS_PATCH, LANES_PATCH, WIDE, WIDE_PATCH]
    chosen = [op.name for op in graph.operators if isinstance(op, Convolution) and op.groups == 1]
    return replace(graph, kernels={name: _pick(rng, kinds) for name in chosen if rng.random() < 0.8})


def _tile(graph: Graph, operators: Sequence[Operator], rng: np.random.Generator) -> int | None:
    channels = sliced_channels(graph, operators) if len(operators) > 1 else None
    if channels is None or channels == 1 or rng.random() < 0.5:
        return None
    divisors = [n for n in range(1, channels) if channels % n == 0]
    return divisors[int(rng.integers(0, len(divisors)))]
