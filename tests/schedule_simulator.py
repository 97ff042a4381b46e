"""Runs a schedule moment by moment on sets of pixels, as tvm_pex.scheduling.schedule's docstring defines it.

No arithmetic: an event says which pixels an operator reads and which one it gives, in the order of the program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tvm_pex.graph import Convolution, Graph, Operator, Pair, Pool
from tvm_pex.scheduling.schedule import Schedule, Segment, Stage

Pixel = tuple[int, int, int]  # row, column, slice of channels


@dataclass(frozen=True)
class Event:
    """One kernel call. ``gives`` is None where it only adds to its sums; ``part`` counts slices of channels, or strips.

    ``channels_read`` and ``channels_given`` are ranges of the tensors' channels.
    """

    step: int
    segment: int
    op: Operator
    part: int
    domain: Pair
    reads: tuple[tuple[str, Pair], ...]
    channels_read: range
    gives: Pair | None
    channels_given: range
    sums: bool


def sums_over_pixels(graph: Graph, op: Operator, made: set[str]) -> bool:
    """An average or a full convolution whose only window is its whole input, which its own segment makes."""
    if op.inputs[0] not in made or graph.tensors[op.output].shape[:2] != (1, 1):
        return False
    height, width, _ = op.views[0]
    w = op.window
    full = w.kernel == (height, width) and w.pad == (0, 0) and w.dilation == (1, 1) and height * width > 1
    return full and ((isinstance(op, Pool) and not op.maximum) or (isinstance(op, Convolution) and op.groups == 1))


class RingPlaces:
    """Where the pixels of each ring lie."""

    def __init__(self, graph: Graph, schedule: Schedule, pixels: dict[str, int] | None = None) -> None:
        made_by = {op.output: op.name for op in graph.operators}
        stages = {stage.operator: stage for segment in schedule.segments for stage in segment.stages}
        self.rings = {ring.tensor: ring for segment in schedule.segments for ring in segment.rings}
        self.pixels = {name: ring.pixels for name, ring in self.rings.items()} | (pixels or {})
        self.stages = {name: stages[made_by[name]] for name in self.rings}

    def __contains__(self, name: str) -> bool:
        return name in self.rings

    def place(self, name: str, at: Pair, part: int) -> int:
        """Position of pixel ``at`` of the tensor in its ring, in strip ``part``."""
        stage = self.stages[name]
        column = at[1] - (stage.origin[0] * part + stage.origin[1])
        assert 0 <= column < stage.domain[1], f"column {at[1]} of {name} is not in strip {part}"
        return (at[0] * stage.domain[1] + column) % self.pixels[name]


def events_of(graph: Graph, schedule: Schedule) -> Iterator[Event]:
    """Every kernel call in order. Steps count the moments of all segments, once for all slices and strips."""
    base = 0
    for number, segment in enumerate(schedule.segments):
        yield from _Nest(graph, segment, number, base).events()
        base += segment.extent[0] * segment.extent[1]


class _Nest:
    """One segment, whose first step is ``base``."""

    def __init__(self, graph: Graph, segment: Segment, number: int, base: int) -> None:
        by_name = {op.name: op for op in graph.operators}
        self.graph, self.segment, self.number, self.base = graph, segment, number, base
        self.operators = [by_name[stage.operator] for stage in segment.stages]
        self.made = {op.output for op in self.operators}
        first = graph.tensors[self.operators[0].output]
        self.slices = first.shape[2] // segment.tile if segment.tile else 1

    def events(self) -> Iterator[Event]:
        for part in range(self.slices * self.segment.strips):
            for row in range(self.segment.extent[0]):
                for pixel in range(self.segment.extent[1]):
                    step = self.base + row * self.segment.extent[1] + pixel
                    for stage, op in zip(self.segment.stages, self.operators):
                        for position in _due(stage, (row, pixel)):
                            column = position[1] + stage.origin[0] * part + stage.origin[1]
                            if self.segment.strips == 1 or 0 <= column < self.graph.tensors[op.output].shape[1]:
                                yield self.event(op, step, part, (position[0], column))

    def event(self, op: Operator, step: int, part: int, at: Pair) -> Event:
        opens = isinstance(op, Convolution) and op.groups == 1
        closes = opens and self.segment.tile is not None and op.inputs[0] in self.made
        given, read = range(self.graph.tensors[op.output].shape[2]), range(op.views[0][2])
        if self.segment.tile:
            slice_ = range(part * self.segment.tile, (part + 1) * self.segment.tile)
            given = given if closes else slice_
            read = slice_ if closes or not opens else read
        summing = sums_over_pixels(self.graph, op, self.made)
        gives: Pair | None = at if not closes or part == self.slices - 1 else None
        if summing:
            last = (op.views[0][0] - 1, op.views[0][1] - 1)
            gives = (0, 0) if at == last else None
            reads = tuple((name, at) for name in op.inputs)
        else:
            reads = tuple((name, pixel) for name, view in zip(op.inputs, op.views) for pixel in _window(op, view, at))
        return Event(step, self.number, op, part, at, reads, read, gives, given, summing or closes)


def _due(stage: Stage, moment: Pair) -> list[Pair]:
    """The positions of the stage's domain at a moment: one, a row, or all of them."""
    lines = []
    for axis in (0, 1):
        indices = range(stage.domain[axis])
        lines.append([i for i in indices if stage.stride[axis] * i + stage.delay[axis] == moment[axis]])
    return [(row, column) for row in lines[0] for column in lines[1]]


def _window(op: Operator, view: tuple[int, int, int], at: Pair) -> list[Pair]:
    w = op.window
    lines = []
    for axis in (0, 1):
        taps = [at[axis] * w.stride[axis] - w.pad[axis] + k * w.dilation[axis] for k in range(w.kernel[axis])]
        lines.append([tap for tap in taps if 0 <= tap < view[axis]])
    return [(row, column) for row in lines[0] for column in lines[1]]


def fault_of_schedule(graph: Graph, schedule: Schedule, pixels: dict[str, int] | None = None) -> str | None:
    """Why the schedule does not work, or None.

    Each operator gives each pixel once for each slice of channels, and no more than once in a strip; each pixel that is
    read has been made, and is still in its ring. ``pixels`` replaces ring lengths.
    """
    rings = RingPlaces(graph, schedule, pixels)
    held: dict[tuple[str, int], tuple[Pair, int]] = {}
    whole: set[tuple[str, Pair, int]] = set()
    runs: dict[str, list[tuple[Pair, int]]] = {op.name: [] for op in graph.operators}
    for event in events_of(graph, schedule):
        op = event.op
        runs[op.name].append((event.domain, event.part))
        for name, (row, column) in event.reads:
            if name in graph.inputs:
                continue
            if name in rings:
                if held.get((name, rings.place(name, (row, column), event.part))) != ((row, column), event.part):
                    return f"{op.name} at {event.domain} reads {name} at {(row, column)}: not in its ring"
            elif any((name, _linear(graph, op, name, (row, column)), c) not in whole for c in event.channels_read):
                return f"{op.name} at {event.domain} reads {name} at {(row, column)}: not made yet"
        if event.gives is None:
            continue
        if op.output in rings:
            held[op.output, rings.place(op.output, event.gives, event.part)] = event.gives, event.part
        else:
            whole.update((op.output, event.gives, c) for c in event.channels_given)
    return _fault_of_runs(graph, schedule, runs, whole, rings)


def _linear(graph: Graph, op: Operator, name: str, at: Pair) -> Pair:
    """The pixel as its maker counts it; views that change channels too are read as a whole, and never in a ring."""
    view = op.views[op.inputs.index(name)]
    height, width, channels = graph.tensors[name].shape
    if view == (height, width, channels):
        return at
    byte = (at[0] * view[1] + at[1]) * view[2] // channels
    return byte // width, byte % width


def _fault_of_runs(
    graph: Graph,
    schedule: Schedule,
    runs: dict[str, list[tuple[Pair, int]]],
    whole: set[tuple[str, Pair, int]],
    rings: RingPlaces,
) -> str | None:
    beside = {name: set(segment.operators) for segment in schedule.segments for name in segment.operators}
    strips = {name: segment.strips for segment in schedule.segments for name in segment.operators}
    for op in graph.operators:
        made = {other.output for other in graph.operators if other.name in beside[op.name]}
        height, width, channels = graph.tensors[op.output].shape
        domain = op.views[0][:2] if sums_over_pixels(graph, op, made) else (height, width)
        slices = {part for _, part in runs[op.name]}
        wanted = [((row, column), p) for row in range(domain[0]) for column in range(domain[1]) for p in slices]
        if strips[op.name] > 1:
            if len(set(runs[op.name])) != len(runs[op.name]):
                return f"{op.name} runs twice for a position in one strip"
        elif sorted(runs[op.name]) != sorted(wanted):
            return f"{op.name} does not run once for each of its {domain} positions"
        if op.output not in rings and sum(name == op.output for name, _, _ in whole) != height * width * channels:
            return f"{op.name} leaves parts of {op.output} unwritten"
    return None
