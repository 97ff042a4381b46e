"""Runs a schedule moment by moment on sets of pixels, as tvm_pex.scheduling.schedule's docstring defines it.

No arithmetic: an event says which pixels an operator reads and which ones it writes, in the order of the program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tvm_pex.graph import Add, Binary, Concat, Convolution, Graph, Operator, Pair, Pool, Shape, Slice
from tvm_pex.scheduling.schedule import Schedule, Segment, Stage


@dataclass(frozen=True)
class Access:
    """``channels`` of pixel ``at`` of a tensor under ``view``.

    In a ring channel 0 is the tensor's ``base``, and there are but the ``columns`` of the present strip, if any. A ring
    of a single run, of ``run`` pixels, has the pixels of any row from position 0 on. ``part`` is the event's where the
    ring holds but that slice or strip.
    """

    tensor: str
    view: Shape
    at: Pair
    channels: range
    base: int = 0
    columns: range | None = None
    run: int | None = None
    part: int = 0

    @property
    def pixel(self) -> int:
        return self.at[0] * self.view[1] + self.at[1]

    def elements(self) -> Iterator[int]:
        """Positions in a whole tensor."""
        return (self.pixel * self.view[2] + channel for channel in self.channels)

    def ring_elements(self, pixels: int, channels: int) -> Iterator[int]:
        """Positions in a ring of ``pixels`` of ``channels``."""
        pixel = self.pixel
        if self.run is not None:
            pixel = self.at[1] % self.run
        elif self.columns is not None:
            assert self.at[1] in self.columns, f"column {self.at[1]} of {self.tensor} is not in {self.columns}"
            pixel = self.at[0] * len(self.columns) + self.at[1] - self.columns.start
        return (pixel % pixels * channels + channel - self.base for channel in self.channels)


@dataclass(frozen=True)
class Event:
    """One kernel call, at ``domain``. It writes nothing where it only adds to its sums.

    ``part`` counts slices of channels, or strips, from 0.
    """

    step: int
    segment: int
    op: Operator
    part: int
    domain: Pair
    reads: tuple[Access, ...]
    writes: tuple[Access, ...]
    sums: bool


def sums_over_pixels(graph: Graph, op: Operator, made: set[str]) -> bool:
    """A pool or a full convolution whose only window is its whole input, which its own segment makes."""
    if op.inputs[0] not in made or graph.tensors[op.output].shape[:2] != (1, 1):
        return False
    height, width, _ = op.views[0]
    w = op.window
    full = w.kernel == (height, width) and w.pad == (0, 0) and w.dilation == (1, 1) and height * width > 1
    full = full and w.up == (1, 1) and w.mirror is None
    return full and (isinstance(op, Pool) or (isinstance(op, Convolution) and op.groups == 1))


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
        self.stages = {op.output: stage for stage, op in zip(segment.stages, self.operators)}
        self.through = {ring.tensor for ring in segment.rings if ring.pixels == 0}
        self.single = {ring.tensor for ring in segment.rings if ring.pixels == segment.run > 1}
        self.tail = self.operators[len(self.operators) - segment.tail :]
        sliced = [] if segment.tile is None else self.tail or self.operators
        self.sliced = {op.output for op in sliced}
        self.slices = graph.tensors[sliced[0].output].shape[2] // segment.tile if segment.tile and sliced else 1

    def events(self) -> Iterator[Event]:
        for part in range(1 if self.tail else self.slices * self.segment.strips):
            for row in range(self.segment.extent[0]):
                for pixel in range(self.segment.extent[1]):
                    for stage, op in zip(self.segment.stages, self.operators):
                        if op not in self.tail:
                            yield from self.moment(stage, op, (row, pixel), part)
                    for slice_ in range(self.slices if self.tail else 0):
                        for stage, op in zip(self.segment.stages[-len(self.tail) :], self.tail):
                            yield from self.moment(stage, op, (row, pixel), slice_)

    def moment(self, stage: Stage, op: Operator, moment: Pair, part: int) -> Iterator[Event]:
        step = self.base + moment[0] * self.segment.extent[1] + moment[1]
        for row, column in _due(stage, moment, self.segment.run):
            at = row, column + stage.origin[0] * part + stage.origin[1]
            if self.segment.strips == 1 or 0 <= at[1] < self.graph.tensors[op.output].shape[1]:
                yield self.event(op, step, part, at)

    def event(self, op: Operator, step: int, part: int, at: Pair) -> Event:
        opens = isinstance(op, Convolution) and op.groups == 1
        closes = opens and self.segment.tile is not None and not self.tail and op.inputs[0] in self.made
        given, sliced = range(self.graph.tensors[op.output].shape[2]), None
        if self.segment.tile and op.output in self.sliced:
            slice_ = range(part * self.segment.tile, (part + 1) * self.segment.tile)
            given = given if closes else slice_
            sliced = slice_ if closes or not opens else None
        summing = sums_over_pixels(self.graph, op, self.made)
        gives: Pair | None = at if not closes or part == self.slices - 1 else None
        if summing:
            gives = (0, 0) if at == (op.views[0][0] - 1, op.views[0][1] - 1) else None
        reads = tuple(self.in_ring(access, part) for access in self.reads(op, at, sliced, summing))
        writes = tuple(self.in_ring(access, part) for access in self.writes(op, gives, given)) if gives else ()
        return Event(step, self.number, op, part, at, reads, writes, summing or closes)

    def in_ring(self, access: Access, part: int) -> Access:
        if self.tail and access.tensor not in self.sliced:  # a tail's slices, too, find all channels there
            access = replace(access, base=0)
        else:
            access = replace(access, part=part)
        if access.tensor in self.single and not self.is_narrow(access.tensor):
            return replace(access, run=self.segment.run)
        stage = self.stages.get(access.tensor)
        if stage is None or self.segment.strips == 1:
            return access
        first = stage.origin[0] * part + stage.origin[1]
        return replace(access, columns=range(first, first + stage.domain[1]))

    def is_narrow(self, tensor: str) -> bool:
        """True for a tensor that has no more than a run, or rows shorter than one: it lies as without runs."""
        height, width, _ = self.graph.tensors[tensor].shape
        return height * width == self.segment.run or width < self.segment.run

    def reads(self, op: Operator, at: Pair, sliced: range | None, summing: bool) -> Iterator[Access]:
        for name, view in zip(op.inputs, op.views):
            if name in self.through:
                continue
            channels = sliced or range(view[2])
            if isinstance(op, Slice) and not sliced:
                channels = self.taken(op, at)
            shape = self.graph.tensors[op.output].shape
            if isinstance(op, Add | Binary):  # repeated along axes that the input lacks
                pixels = [(at[0] if view[0] == shape[0] else 0, at[1] if view[1] == shape[1] else 0)]
            else:
                pixels = [at] if summing else _window(op, view, at)
            for pixel in pixels:
                yield Access(name, view, pixel, channels, channels.start if sliced else 0)

    def taken(self, op: Slice, at: Pair) -> range:
        """The channels that a slice takes: with blocks those of the pixel's place in its block."""
        count, first = self.graph.tensors[op.output].shape[2], op.first
        if op.blocks:
            first += count * ((at[0] % op.window.up[0]) * op.window.up[1] + at[1] % op.window.up[1])
        return range(first, first + count * op.step, op.step)

    def writes(self, op: Operator, at: Pair, given: range) -> Iterator[Access]:
        shape = self.graph.tensors[op.output].shape
        sliced = given != range(shape[2])
        if not isinstance(op, Concat):
            yield self.placed(Access(op.output, shape, at, given, given.start if sliced else 0))
            return
        first = 0
        for name, view in zip(op.inputs, op.views):
            if name not in self.through:
                yield self.placed(Access(op.output, shape, at, range(first, first + view[2])))
            first += view[2]

    def placed(self, access: Access) -> Access:
        """Where it is written in truth: into the output of the one Concat that reads it."""
        if access.tensor not in self.through:
            return access
        (reader,) = [op for op in self.graph.operators if access.tensor in op.inputs]
        position = reader.inputs.index(access.tensor)
        assert isinstance(reader, Concat) and reader.rescales[position] is None
        shift = sum(view[2] for view in reader.views[:position])
        channels = range(access.channels.start + shift, access.channels.stop + shift)
        shape = self.graph.tensors[reader.output].shape
        return self.placed(replace(access, tensor=reader.output, view=shape, channels=channels))


def _due(stage: Stage, moment: Pair, run: int) -> list[Pair]:
    """The positions of the stage's domain at a moment: one, a run, a row, or all of them."""
    lines = []
    for axis, together in enumerate((1, run)):
        indices = range(stage.domain[axis])
        lines.append([i for i in indices if stage.stride[axis] * (i // together) + stage.delay[axis] == moment[axis]])
    return [(row, column) for row in lines[0] for column in lines[1]]


def _window(op: Operator, view: Shape, at: Pair) -> list[Pair]:
    w = op.window
    lines = []
    for axis in (0, 1):
        taps = [at[axis] * w.stride[axis] - w.pad[axis] + k * w.dilation[axis] for k in range(w.kernel[axis])]
        if w.mirror is not None:  # the tensor, and behind it the tensor backwards, over and over
            line = list(range(view[axis]))
            line += line[::-1] if w.mirror == 0 else line[-2:0:-1]
            taps = [line[tap % len(line)] for tap in taps]
        spread = {row * w.up[axis]: row for row in range(view[axis])}
        lines.append([spread[tap] for tap in taps if tap in spread])
    return [(row, column) for row in lines[0] for column in lines[1]]


def fault_of_schedule(graph: Graph, schedule: Schedule, pixels: dict[str, int] | None = None) -> str | None:
    """Why the schedule does not work, or None.

    Each operator gives each pixel once for each slice of channels, and no more than once in a strip; each pixel that is
    read has been made, and is still in its ring. ``pixels`` replaces ring lengths.
    """
    rings = {ring.tensor: ring for segment in schedule.segments for ring in segment.rings}
    lengths = {name: ring.pixels for name, ring in rings.items()} | (pixels or {})
    held: dict[tuple[str, int], tuple[int, int]] = {}
    whole: set[tuple[str, int]] = set()
    runs: dict[str, list[tuple[Pair, int]]] = {op.name: [] for op in graph.operators}
    for event in events_of(graph, schedule):
        op = event.op
        runs[op.name].append((event.domain, event.part))
        for access in event.reads:
            name = access.tensor
            if name in rings:
                places = access.ring_elements(lengths[name], rings[name].channels)
                if any(held.get((name, place)) != (access.pixel, access.part) for place in places):
                    return f"{op.name} at {event.domain} reads {name} at {access.at}: not in its ring"
            elif name not in graph.inputs and any((name, element) not in whole for element in access.elements()):
                return f"{op.name} at {event.domain} reads {name} at {access.at}: not made yet"
        for access in event.writes:
            name = access.tensor
            if name in rings:
                for place in access.ring_elements(lengths[name], rings[name].channels):
                    held[name, place] = access.pixel, access.part
            else:
                whole.update((name, element) for element in access.elements())
    return _fault_of_runs(graph, schedule, runs, whole, set(rings))


def _fault_of_runs(
    graph: Graph,
    schedule: Schedule,
    runs: dict[str, list[tuple[Pair, int]]],
    whole: set[tuple[str, int]],
    rings: set[str],
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
        if op.output not in rings and sum(name == op.output for name, _ in whole) != height * width * channels:
            return f"{op.name} leaves parts of {op.output} unwritten"
    return None
