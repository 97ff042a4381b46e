"""Which operators may run interleaved, and when each of them does: a list of operators to a Segment. Pure integers.

The formulas are those of ``tvm_pex.scheduling.schedule``. Along one axis, ``stride`` spreads from any operator to its
neighbours; ``delay`` begins as the least, and then moves operators that have time to spare to where less is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tvm_pex.graph import (
    Concat,
    Convolution,
    Gather,
    Graph,
    Operator,
    Pad,
    Pair,
    Patches,
    Pool,
    Slice,
    Window,
    window_on,
)
from tvm_pex.scheduling.rings import Use, ring_pixels, use_of, wait
from tvm_pex.scheduling.schedule import Ring, Segment, Stage
from tvm_pex.scheduling.strips import Columns, Sliding, strip_columns

_AXES = ("rows", "pixels")
_IDLE = 4  # moments between two positions of the fastest operator: more would be spent asking what is due


class Unschedulable(ValueError):
    """The operators cannot run in one segment; the message says why."""


def can_reduce(op: Operator, graph: Graph) -> bool:
    """True for operators whose one window spans their input, so that its pixels may be added up as they come."""
    height, width, _ = op.views[0]
    alone = graph.tensors[op.output].shape[:2] == (1, 1)  # padding behind the input gives such a window company
    if height * width == 1 or not (alone and op.window.covers(op.views[0])):
        return False
    return isinstance(op, Pool) or (isinstance(op, Convolution) and op.groups == 1)


def make_segment(
    graph: Graph,
    operators: Sequence[Operator],
    axes: Sequence[str],
    tile: int | None = None,
    strips: int = 1,
    run: int = 1,
    row_delays: Sequence[int] | None = None,
) -> Segment:
    """The segment that runs ``operators`` (in topological order) along ``axes``, a prefix of ("rows", "pixels").

    Operators with time to spare run early or late, whichever keeps less in memory. With a ``tile``, a divisor of
    ``sliced_channels``, the whole nest runs once for each slice of that many channels; with ``strips``, once for each
    of at most that many strips of columns. Along pixels each operator computes ``run`` of them at a moment.
    ``row_delays`` replace the delays along rows, none of them by a lesser one than ``row_waits`` asks for.
    Raises Unschedulable when two paths between the same operators disagree about strides, when a tensor would be read
    under another shape than it is written, when something inside needs a reduction's result, or when there would be
    strips of a reduction or of slices.
    """
    if tile is not None and strips > 1:
        raise Unschedulable("slices of channels are not cut into strips")
    links = _Links(graph, operators, run if "pixels" in axes else 1)
    if strips > 1:
        strips = _cut_into_strips(links, strips)
    flags = tuple(axis in axes for axis in _AXES)
    strides = _strides(links, flags)
    delays = _settle(links, strides, _earliest(links, strides))
    if row_delays is not None:
        delays = [(rows, columns) for rows, (_, columns) in zip(row_delays, delays, strict=True)]
    low = tuple(min(delay[axis] for delay in delays) for axis in (0, 1))
    stages = tuple(
        Stage(
            op.name,
            stride,
            (delay[0] - low[0], delay[1] - low[1]),
            links.domain(k),
            links.reduction[k],
            links.origin(k),
        )
        for k, (op, stride, delay) in enumerate(zip(operators, strides, delays, strict=True))
    )
    rings = tuple(Ring(name, pixels, tile or graph.tensors[name].shape[2]) for name, pixels in _rings(links, stages))
    extent = tuple(
        max(stage.time(axis, (stage.domain[axis] - 1) // links.run[axis]) + 1 for stage in stages) if flags[axis] else 1
        for axis in (0, 1)
    )
    names = (("channels",) if tile else ()) + tuple(a for a in _AXES if a in axes)
    return Segment(names, stages, rings, (extent[0], extent[1]), tile, strips, links.run[1])


def _cut_into_strips(links: _Links, strips: int) -> int:
    """Gives ``links`` the columns of each operator in a strip; answers how many strips there are."""
    if any(links.reduction):
        raise Unschedulable("a reduction adds each pixel up once: it has no strips")
    if any(op.window.mirror is not None for op in links.operators):
        raise Unschedulable("what lies beyond a mirror is in another strip")
    outside = whole_outputs(links.graph, links.operators)
    strides = _axis_strides(links, 1)
    sliding = [
        Sliding(
            op.window,
            strides[k],
            links.graph.tensors[op.output].shape[1] if op.output in outside else 0,
            links.consumers[k],
        )
        for k, op in enumerate(links.operators)
    ]
    strips, columns = strip_columns(sliding, strips)
    links.columns = columns if strips > 1 else None  # columns too few for two strips
    return strips


def row_waits(graph: Graph, operators: Sequence[Operator]) -> list[list[tuple[int, int]]]:
    """For each operator: (producer by position, moments along rows by which it has to run after that one)."""
    links = _Links(graph, operators)
    strides = _axis_strides(links, 0)
    return [
        [(p, links.wait(k, p, 0, strides[p], strides[k])) for p in links.producers[k]] for k in range(len(operators))
    ]


def sliced_channels(graph: Graph, operators: Sequence[Operator]) -> int | None:
    """Channels of the tensors inside, if ``operators`` can run by slices of channels; else None.

    1. A convolution over all channels reads only whole tensors from outside (it opens), or it comes last and sums
       over the slices (it closes). It closes only what is nowhere whole, and is no reduction over pixels.
    2. Everything else works channel by channel: depthwise convolutions of multiplier 1, pools, adds, pads, quantises,
       slices of all channels.
    3. All sliced tensors have the same number of channels, and nothing but the last operator's result, or what works
       channel by channel, leaves the segment.
    """
    made = {op.output for op in operators}
    outside = whole_outputs(graph, operators)
    channels: set[int] = set()
    for position, op in enumerate(operators):
        width = graph.tensors[op.output].shape[2]
        inside = [name in made for name in op.inputs]
        if isinstance(op, Convolution) and op.groups == 1:
            closing = any(inside)
            if closing and (position != len(operators) - 1 or can_reduce(op, graph) or op.inputs[0] in outside):
                return None
            channels.add(op.views[0][2] if closing else width)
        elif not by_channel(op, width):
            return None
        else:
            channels.add(width)
        if any(view != graph.tensors[name].shape for name, view in zip(op.inputs, op.views, strict=True)):
            return None
    return channels.pop() if len(channels) == 1 else None


def with_tail(graph: Graph, segment: Segment, names: frozenset[str], tile: int) -> Segment:
    """``segment`` with its ``tail_of`` operators, the last in it, by slices of ``tile`` channels."""
    made = {op.output for op in graph.operators if op.name in names}
    stages = sorted(segment.stages, key=lambda stage: stage.operator in names)
    rings = tuple(replace(ring, channels=tile) if ring.tensor in made else ring for ring in segment.rings)
    axes = (*segment.axes, "channels")
    return replace(segment, axes=axes, stages=tuple(stages), rings=rings, tile=tile, tail=len(names))


def tail_of(graph: Graph, operators: Sequence[Operator], segment: Segment) -> frozenset[str]:
    """Those of a segment's ``operators`` that can run together by slices of channels at each moment; none if no two.

    1. The last is a pool that is a reduction, and the nest runs once. All have the pool's moments and channels.
    2. A convolution over all channels reads only what has them all, from outside. Everything else works channel by
       channel.
    3. What they make stays among them, and is read at the moment at which it is made. So they may run after the others.
    """
    pool, end = operators[-1], segment.stages[-1]
    if segment.repeats or not (isinstance(pool, Pool) and end.reduction):
        return frozenset()
    width = graph.tensors[pool.output].shape[2]
    rings = {ring.tensor for ring in segment.rings if ring.pixels}
    found, at_once = {pool.name}, {pool.name}  # those that read only the pixel that is made are in the second, too
    for op, stage in zip(operators[-2::-1], segment.stages[-2::-1], strict=True):
        joins = op.output in rings and graph.readers[op.output] <= at_once
        joins &= (stage.stride, stage.delay, stage.domain) == (end.stride, end.delay, end.domain)
        joins &= graph.tensors[op.output].shape[2] == width
        joins &= all(view == graph.tensors[name].shape for name, view in zip(op.inputs, op.views, strict=True))
        each = by_channel(op, width)
        if joins and (each or (isinstance(op, Convolution) and op.groups == 1)):
            found.add(op.name)
            at_once |= {op.name} if each and op.window == Window() else set()
    return frozenset(found) if len(found) > 1 else frozenset()


def by_channel(op: Operator, width: int) -> bool:
    """True if each of the ``width`` channels that ``op`` gives is made of the inputs' channel of the same number."""
    if isinstance(op, Concat | Gather | Patches) or (isinstance(op, Slice) and (op.step != 1 or op.blocks)):
        return False
    if isinstance(op, Pad) and op.views[0][2] != width:
        return False
    return all(view[2] == width for view in op.views) and (not isinstance(op, Convolution) or op.groups == width)


class _Links:
    """Who feeds whom inside a segment, by position in its list of operators."""

    def __init__(self, graph: Graph, operators: Sequence[Operator], run: int = 1) -> None:
        self.graph = graph
        self.operators = operators
        self.run = (1, run)
        self.position = {op.name: k for k, op in enumerate(operators)}
        made = {op.output: k for k, op in enumerate(operators)}
        # What is whole already need not be added up as it comes.
        self.reduction = [can_reduce(op, graph) and op.inputs[0] in made for op in operators]
        self.columns: list[Columns] | None = None
        self.producers: list[list[int]] = [[] for _ in operators]
        self.consumers: list[list[int]] = [[] for _ in operators]
        for k, op in enumerate(operators):
            for position, (tensor, view) in enumerate(zip(op.inputs, op.views, strict=True)):
                p = made.get(tensor)
                if p is None:
                    continue
                if 0 in window_on(op, position, graph.tensors[op.output].shape).stride:
                    raise Unschedulable(f"{op.name} reads {tensor} over and over")
                if view != graph.tensors[tensor].shape:
                    raise Unschedulable(f"{op.name} reads {tensor} under another shape")
                if self.reduction[p]:
                    raise Unschedulable(f"{op.name} needs the whole of {tensor}")
                self.producers[k].append(p)
                if k not in self.consumers[p]:
                    self.consumers[p].append(k)

    def domain(self, k: int) -> Pair:
        op = self.operators[k]
        shape = op.views[0] if self.reduction[k] else self.graph.tensors[op.output].shape
        return shape[0], self.columns[k].count if self.columns else shape[1]

    def origin(self, k: int) -> Pair:
        return (self.columns[k].step, self.columns[k].first) if self.columns else (0, 0)

    def step(self, k: int, axis: int) -> Pair:
        """Time between two positions of operator k over that between two of its input, as a fraction."""
        window = self.operators[k].window
        return (1, 1) if self.reduction[k] else (window.stride[axis], window.up[axis])

    def wait(self, k: int, p: int, axis: int, made: int, read: int) -> int:
        """How long after operator p operator k may begin; their rows, or runs of pixels, are so far apart."""
        return 0 if self.reduction[k] or not read else wait(self.use(k, p, axis), made, read, self.run[axis])

    def pad(self, k: int, p: int, axis: int) -> int:
        """How far before p's first position k's first window begins."""
        window = self.operators[k].window
        if axis == 0 or not self.columns:
            return window.pad[axis]
        return window.pad[1] + self.columns[p].first * window.up[1] - self.columns[k].first * window.stride[1]

    def use(self, k: int, p: int, axis: int) -> Use:
        """Which positions of p each position of k reads."""
        size = self.domain(p)[axis]
        if self.reduction[k]:
            return use_of(Window(), axis, size, size)
        return use_of(self.operators[k].window, axis, size, self.domain(k)[axis], self.pad(k, p, axis))


def _strides(links: _Links, flags: tuple[bool, ...]) -> list[Pair]:
    axes = [_axis_strides(links, axis) if flags[axis] else [0] * len(links.operators) for axis in (0, 1)]
    if max(min(strides) for strides in axes) > _IDLE:
        raise Unschedulable("their rows or columns share a clock that is too fine")
    return list(zip(*axes, strict=True))


def _axis_strides(links: _Links, axis: int) -> list[int]:
    """Time between two rows of each operator: spread from any operator to its neighbours, then as small as possible."""
    count = len(links.operators)
    value = [0] * count
    # Whole numbers, however far one goes up and down. A stride of 0 leads to nothing inside.
    start_value = math.prod(step or 1 for k in range(count) for step in links.step(k, axis))
    for start in range(count):
        if value[start]:
            continue
        value[start], todo, seen = start_value, [start], [start]
        while todo:
            k = todo.pop()
            near = [(p, value[k] * up // stride) for stride, up in [links.step(k, axis)] for p in links.producers[k]]
            near += [(c, value[k] * stride // up) for c in links.consumers[k] for stride, up in [links.step(c, axis)]]
            for other, expected in near:
                if not value[other]:
                    value[other] = expected
                    todo.append(other)
                    seen.append(other)
                elif value[other] != expected:
                    raise Unschedulable(f"paths to {links.operators[other].name} differ in stride")
        least = math.gcd(*(value[k] for k in seen))
        for k in seen:
            value[k] //= least
    return value


def _earliest(links: _Links, strides: Sequence[Pair]) -> list[Pair]:
    """Least delay of each operator; 0 for operators that read only from outside the segment."""
    delays: list[Pair] = []
    for k in range(len(links.operators)):
        first = [
            max(
                (
                    delays[p][axis] + links.wait(k, p, axis, strides[p][axis], strides[k][axis])
                    for p in links.producers[k]
                ),
                default=0,
            )
            for axis in (0, 1)
        ]
        delays.append((first[0], first[1]))
    return delays


def _settle(links: _Links, strides: Sequence[Pair], delays: list[Pair]) -> list[Pair]:
    """Moves operators that have slack to their latest moment where that makes the rings around them smaller."""
    for k in reversed(range(len(delays))):
        if not links.consumers[k]:
            continue
        latest = [
            min(
                delays[c][axis] - links.wait(c, k, axis, strides[k][axis], strides[c][axis]) for c in links.consumers[k]
            )
            for axis in (0, 1)
        ]
        moved = (max(latest[0], delays[k][0]), max(latest[1], delays[k][1]))
        if moved == delays[k]:
            continue
        around = {k, *links.producers[k]}
        later = [*delays[:k], moved, *delays[k + 1 :]]
        if _bytes(links, strides, later, around) < _bytes(links, strides, delays, around):
            delays = later
    return delays


def _bytes(links: _Links, strides: Sequence[Pair], delays: Sequence[Pair], positions: Iterable[int]) -> int:
    total = 0
    for k in positions:
        tensor = links.graph.tensors[links.operators[k].output]
        total += _ring_pixels(links, strides, delays, k) * tensor.shape[2] * tensor.item_bytes
    return total


def _copied_at_once(links: _Links, strides: Sequence[Pair], delays: Sequence[Pair], k: int) -> bool:
    """True if a Concat, and nothing else, copies what operator k makes, unchanged and when it is made."""
    tensor, readers = links.operators[k].output, links.consumers[k]
    reader = links.operators[readers[0]] if len(readers) == 1 else None
    if not isinstance(reader, Concat) or reader.inputs.count(tensor) != 1 or links.reduction[k]:
        return False
    at_once = (strides[k], delays[k]) == (strides[readers[0]], delays[readers[0]])
    return at_once and reader.rescales[reader.inputs.index(tensor)] is None


def _rings(links: _Links, stages: Sequence[Stage]) -> Iterable[tuple[str, int]]:
    """(tensor, pixels) for every tensor that lives only inside the segment."""
    strides, delays = [s.stride for s in stages], [s.delay for s in stages]
    outside = whole_outputs(links.graph, links.operators)
    for k, op in enumerate(links.operators):
        if op.output not in outside:
            yield op.output, _ring_pixels(links, strides, delays, k)


def whole_outputs(graph: Graph, operators: Sequence[Operator]) -> set[str]:
    """What ``operators`` make and something else reads, the caller included: it must be whole."""
    inside = {op.name for op in operators}
    return {op.output for op in operators if op.output in graph.outputs or not graph.readers[op.output] <= inside}


def _ring_pixels(links: _Links, strides: Sequence[Pair], delays: Sequence[Pair], k: int) -> int:
    """Pixels of operator k's output that are alive at once, at the worst moment; 0 if they lie in a Concat's output."""
    if _copied_at_once(links, strides, delays, k):
        return 0
    height = links.graph.tensors[links.operators[k].output].shape[0]
    width = links.columns[k].count if links.columns else links.graph.tensors[links.operators[k].output].shape[1]
    readers = tuple(
        (
            strides[c],
            (delays[c][0] - delays[k][0], delays[c][1] - delays[k][1]),
            links.use(c, k, 0),
            links.use(c, k, 1),
        )
        for c in links.consumers[k]
    )
    return ring_pixels((height, width), strides[k], readers, links.run[1])
