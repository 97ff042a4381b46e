"""From a schedule to a memory problem: which bytes are alive when, and how far two buffers may overlap. Pure.

Every buffer has a *track*: up to which byte it has been written, and up to which byte nothing will be read again, both
over time. Where both are known, a buffer may lie over the dead front of another, or over its part not yet written: the
*safe distance* from a lower buffer to a higher one is ``max over times t: written_low(t) - dead_high(t)``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tvm_pex.graph import Graph, Operator, Pool, Tensor, Window, subgraph, window_on
from tvm_pex.memory_planner import Buffer, Problem
from tvm_pex.scheduling.kernels import closes, kernel_of, patch_bytes
from tvm_pex.scheduling.rings import Times, last_reader, use_of
from tvm_pex.scheduling.schedule import Ring, Schedule, Segment, Stage, written_through

_WORD = 4  # patches are read by words
_WIDEST = 255  # the largest magnitude of an 8-bit value, signed or not


@dataclass(frozen=True)
class Front:
    """A number of bytes that only grows: ``bytes[i]`` from time ``times[i]`` on, 0 before."""

    times: Times
    bytes: Times

    def at(self, times: Times) -> Times:
        index = np.searchsorted(self.times, times, side="right")
        found: Times = np.concatenate([np.zeros(1, np.int64), self.bytes])[index]
        return found


@dataclass(frozen=True)
class Turn:
    """A part of every step of one segment: from the ``first`` to the ``last`` of its operators, by position."""

    segment: int
    first: int
    last: int

    def meets(self, other: Turn) -> bool:
        return self.segment != other.segment or (self.first <= other.last and other.first <= self.last)


@dataclass(frozen=True)
class Track:
    """A buffer with its fronts. Without ``written`` all of it counts from ``first``; without ``dead`` until ``last``.

    With a ``turn`` it holds nothing outside the turn, at any step.
    """

    buffer: Buffer
    written: Front | None = None
    dead: tuple[Front, ...] = ()
    turn: Turn | None = None

    def unfinished(self, step: int) -> bool:
        """True if the buffer is not yet wholly written at ``step``."""
        return self.written is not None and int(self.written.times[-1]) > step

    def written_at(self, times: Times) -> Times:
        if self.written is None:
            return np.full(times.shape, self.buffer.bytes, np.int64)
        return self.written.at(times)

    def dead_at(self, times: Times) -> Times:
        if not self.dead:
            return np.zeros(times.shape, np.int64)
        least: Times = np.min([front.at(times) for front in self.dead], axis=0)
        return least


def safe_distance(low: Track, high: Track) -> int:
    """Least offset of ``high`` minus offset of ``low``, alive together, that never puts two live bytes together."""
    first, last = max(low.buffer.first, high.buffer.first), min(low.buffer.last, high.buffer.last)
    times = np.array([first], np.int64)
    if low.written is not None:
        grows = low.written.times
        times = np.concatenate([times, grows[(grows > first) & (grows <= last)]])
    return int((low.written_at(times) - high.dead_at(times)).max())


def never_meet(a: Track, b: Track) -> bool:
    """True for buffers that are filled and emptied within a step, each in its own turn."""
    return a.turn is not None and b.turn is not None and not a.turn.meets(b.turn)


def sums_name(operator: str) -> str:
    """Name of the buffer of an operator's sums."""
    return f"{operator}.sums"


def patch_name(operator: str) -> str:
    """Name of the buffer to which an operator's kernel copies a window."""
    return f"{operator}.patch"


def memory_problem(graph: Graph, schedule: Schedule, *, kept: frozenset[str] | None = None) -> Problem:
    """Buffers of a graph that is the whole program. Steps are moments, counted through the segments.

    Inputs are there from the first step, outputs stay until the last. ``kept`` inputs (None: all) are not overwritten
    before the last of them has been read. Streamed inputs have no memory.
    """
    return problem_of(program_tracks(graph, schedule, kept=kept).values())


def program_tracks(graph: Graph, schedule: Schedule, *, kept: frozenset[str] | None = None) -> dict[str, Track]:
    """The tracks of ``memory_problem`` by name."""
    tracks = region_tracks(graph, schedule)
    for name in set(graph.inputs) & tracks.keys():
        tracks[name] = as_input(tracks[name], kept is not None and name not in kept)
    for name in set(graph.outputs) & tracks.keys():
        tracks[name] = as_output(tracks[name], steps(schedule) - 1)
    return tracks


def segment_problem(graph: Graph, segment: Segment, kept: frozenset[str] = frozenset()) -> Problem:
    """The memory problem while one segment runs: what it touches and whole tensors that pass by.

    Tensors in ``kept`` are not overwritten before the last of them has been read.
    """
    inside = set(segment.operators)
    part = subgraph(graph, [op for op in graph.operators if op.name in inside])
    order = [op.name for op in graph.operators]
    start = min(order.index(name) for name in inside)
    before, after = graph.operators[:start], graph.operators[start + len(inside) :]
    needed = {name for op in after for name in op.inputs} | set(graph.outputs)
    tracks, last = region_tracks(part, Schedule((segment,))), steps(Schedule((segment,))) - 1
    for name in set(part.inputs) & tracks.keys():
        if name in needed:
            tracks[name] = as_output(tracks[name], last)
        elif name in kept:
            tracks[name] = as_input(tracks[name], False)
    for name in set(part.outputs) & tracks.keys():
        tracks[name] = as_output(tracks[name], last)
    for name in (*graph.inputs, *(op.output for op in before)):
        if name in needed and name not in tracks:
            tensor = graph.tensors[name]
            tracks[name] = Track(Buffer(name, tensor.bytes, 0, last, tensor.item_bytes))
    return problem_of(tracks.values())


def problem_of(tracks: Iterable[Track]) -> Problem:
    """The memory problem of ``tracks``, with every safe distance below a buffer's size."""
    tracks = list(tracks)
    distances = {}
    for low, high in itertools.permutations(tracks, 2):
        together = max(low.buffer.first, high.buffer.first) <= min(low.buffer.last, high.buffer.last)
        if together and never_meet(low, high):
            distances[low.buffer.name, high.buffer.name] = -high.buffer.bytes
        elif together and (high.dead or low.unfinished(high.buffer.last)):
            distance = safe_distance(low, high)
            if distance < low.buffer.bytes:
                distances[low.buffer.name, high.buffer.name] = distance
    return Problem(tuple(track.buffer for track in tracks), distances)


def as_input(track: Track, overwrite: bool) -> Track:
    """A model input: there from step 0. No byte of it is overwritten before its last is read, unless ``overwrite``."""
    return replace(track, buffer=replace(track.buffer, first=0), written=None, dead=track.dead if overwrite else ())


def as_output(track: Track, last: int) -> Track:
    """A model output: whole at step ``last``, for the caller."""
    return replace(track, buffer=replace(track.buffer, last=last), dead=())


def joined(name: str, uses: Sequence[Track]) -> Track:
    """One buffer that several regions or stock calls use: the first writes it (or it is there), the others read it."""
    first, last = min(use.buffer.first for use in uses), max(use.buffer.last for use in uses)
    dead = tuple(front for use in uses for front in use.dead)
    return Track(replace(uses[0].buffer, name=name, first=first, last=last), uses[0].written, dead)


def steps(schedule: Schedule) -> int:
    """Moments of all segments together."""
    return sum(segment.extent[0] * segment.extent[1] for segment in schedule.segments)


def region_tracks(graph: Graph, schedule: Schedule, base: int = 0) -> dict[str, Track]:
    """Every whole tensor, ring, run of sums and patch by name, from step ``base`` on. Inputs count from ``base``.

    Of streamed inputs, and of outputs that are handed out, nothing is held.
    """
    clock = _Clock(graph, schedule, base)
    apart = clock.ring_pixels.keys() | graph.outside
    tracks = [_whole(clock, graph.tensors[name]) for name in graph.tensors if name not in apart]
    for segment in schedule.segments:
        tracks += [_ring(clock, segment, ring) for ring in segment.rings if ring.pixels]
        for stage in segment.stages:
            count = accumulators(clock.operators[stage.operator], graph, segment)
            if count:
                first, last = clock.lifetime(segment, stage)
                item = sum_bytes(clock.operators[stage.operator], graph)
                tracks.append(Track(Buffer(sums_name(stage.operator), item * count, first, last, item)))
            op = clock.operators[stage.operator]
            patch = patch_bytes(op, kernel_of(graph, segment, stage, op), segment)
            if patch:
                place = segment.operators.index(op.name)
                buffer = Buffer(patch_name(op.name), patch, *clock.lifetime(segment, stage), _WORD)
                tracks.append(Track(buffer, turn=Turn(clock.base[op.name], place, place)))
    return {track.buffer.name: track for track in tracks}


def accumulator_dtype(op: Operator, graph: Graph) -> str:
    """Type in which an operator computes: float32 for float32, else int32."""
    return "float32" if graph.tensors[op.output].dtype == "float32" else "int32"


def sum_dtype(op: Operator, graph: Graph) -> str:
    """Type of a running sum: the accumulator's, but int16 where an average's sum of 8-bit values cannot leave it.

    A running maximum has the type of what it is taken of.
    """
    if isinstance(op, Pool) and op.maximum:
        return graph.tensors[op.inputs[0]].dtype
    dtype = accumulator_dtype(op, graph)
    narrow = isinstance(op, Pool) and graph.tensors[op.inputs[0]].item_bytes == 1
    return "int16" if narrow and math.prod(op.window.kernel) * _WIDEST <= np.iinfo(np.int16).max else dtype


def sum_bytes(op: Operator, graph: Graph) -> int:
    """Bytes of a running sum."""
    return int(np.dtype(sum_dtype(op, graph)).itemsize)


def accumulators(op: Operator, graph: Graph, segment: Segment) -> int:
    """Number of running sums of ``op`` in ``segment``: a reduction's, or a tiled segment's closing convolution's.

    Slices that follow each other at a moment need those of all channels.
    """
    height, width, channels = graph.tensors[op.output].shape
    if closes(op, segment):
        return height * width * channels
    if next(stage.reduction for stage in segment.stages if stage.operator == op.name):
        return channels if segment.tail else segment.tile or channels
    return 0


class _Clock:
    """Turns a segment's (row, pixel) moments into steps of the whole schedule."""

    def __init__(self, graph: Graph, schedule: Schedule, base: int) -> None:
        self.graph = graph
        self.operators = {op.name: op for op in graph.operators}
        self.segment = {name: segment for segment in schedule.segments for name in segment.operators}
        self.stage = {stage.operator: stage for segment in schedule.segments for stage in segment.stages}
        self.ring_pixels = {ring.tensor: ring.pixels for segment in schedule.segments for ring in segment.rings}
        self.through = {k: v for segment in schedule.segments for k, v in written_through(graph, segment).items()}
        self.maker = {op.output: op for op in graph.operators}
        self.readers = graph.consumers()
        self.base: dict[str, int] = {}
        self.base_all = base
        for segment in schedule.segments:
            self.base.update(dict.fromkeys(segment.operators, base))
            base += segment.extent[0] * segment.extent[1]

    def end(self, segment: Segment) -> int:
        return self.base[segment.operators[0]] + segment.extent[0] * segment.extent[1] - 1

    def step(self, operator: str, row: Times, pixel: Times) -> Times:
        """Steps of ``operator``'s moments at rows x pixels of its domain, flattened."""
        stage, segment = self.stage[operator], self.segment[operator]
        rows = (stage.stride[0] * row + stage.delay[0]) * segment.extent[1] + self.base[operator]
        pixels = stage.stride[1] * (pixel // segment.run) + stage.delay[1]
        return (rows[:, None] + pixels[None, :]).reshape(-1)

    def writers(self, op: Operator) -> list[str]:
        """The operators that write ``op``'s output: itself, and those whose own output lies in it."""
        inside = [self.maker[name] for name in op.inputs if name in self.through]
        return [op.name, *(name for maker in inside for name in self.writers(maker))]

    def span(self, segment: Segment, stage: Stage) -> tuple[int, int]:
        """First and last step at which the stage does something."""
        rows, pixels = (np.array([0, size - 1], np.int64) for size in stage.domain)
        steps = self.step(stage.operator, rows, pixels)
        return int(steps[0]), int(steps[-1])

    def lifetime(self, segment: Segment, stage: Stage) -> tuple[int, int]:
        """As ``span``, but the whole segment where its loop nest runs more than once."""
        if segment.repeats:
            return self.base[stage.operator], self.end(segment)
        return self.span(segment, stage)

    def made(self, tensor: str) -> Front | None:
        """How the tensor's bytes come to be; None when they are there, or come, all at once."""
        op = self.maker.get(tensor)
        if op is None or self.stage[op.name].reduction or self.segment[op.name].repeats:
            return None
        height, width, channels = self.graph.tensors[tensor].shape
        steps = self.step(op.name, np.arange(height, dtype=np.int64), np.arange(width, dtype=np.int64))
        pixel_bytes = channels * self.graph.tensors[tensor].item_bytes
        return _last_of_each(steps, pixel_bytes * np.arange(1, steps.size + 1, dtype=np.int64))

    def dead(self, tensor: str, op: Operator) -> Front:
        """How many bytes at the tensor's front ``op`` will not read again, over time."""
        position = op.inputs.index(tensor)
        view = op.views[position]
        if self.segment[op.name].repeats:
            times = np.array([self.end(self.segment[op.name]) + 1], np.int64)
            return Front(times, np.array([self.graph.tensors[tensor].bytes], np.int64))
        last = [self._last(op, position, axis) for axis in (0, 1)]
        steps = self.step(op.name, np.maximum(last[0], 0), np.maximum(last[1], 0))
        unread = ((last[0] < 0)[:, None] | (last[1] < 0)[None, :]).reshape(-1)
        steps = np.maximum.accumulate(np.where(unread, self._unread(tensor, op), steps))
        pixel_bytes = view[2] * self.graph.tensors[tensor].item_bytes
        return _last_of_each(steps + 1, pixel_bytes * np.arange(1, steps.size + 1, dtype=np.int64))

    def _unread(self, tensor: str, op: Operator) -> Times | int:
        """When pixels that ``op`` never reads are in use: as they are made, or with the last of an earlier segment.

        Inputs are all there at the first step.
        """
        maker = self.maker.get(tensor)
        if maker is None:
            return self.base_all
        if self.base[maker.name] != self.base[op.name]:
            return self.end(self.segment[maker.name])
        height, width, _ = self.graph.tensors[tensor].shape
        return self.step(maker.name, np.arange(height, dtype=np.int64), np.arange(width, dtype=np.int64))

    def _last(self, op: Operator, position: int, axis: int) -> Times:
        """For each row or column of the input at ``position`` the last one of the output that reads it."""
        size = op.views[position][axis]
        if self.stage[op.name].reduction:
            return np.arange(size, dtype=np.int64)
        shape = self.graph.tensors[op.output].shape
        return last_reader(use_of(window_on(op, position, shape), axis, size, shape[axis]))


def _last_of_each(times: Times, sizes: Times) -> Front:
    """Keeps the last entry of each run of equal times."""
    keep = np.append(times[1:] != times[:-1], True)
    return Front(times[keep], sizes[keep])


def _whole(clock: _Clock, tensor: Tensor) -> Track:
    op = clock.maker.get(tensor.name)
    readers = [clock.dead(tensor.name, reader) for reader in clock.readers[tensor.name]]
    first = last = clock.base_all
    if op is not None:
        segment, stage = clock.segment[op.name], clock.stage[op.name]
        first, last = clock.lifetime(segment, stage)
        if stage.reduction and not segment.repeats:
            first = last
    last = max([last, *(int(front.times[-1]) - 1 for front in readers)])
    return Track(
        Buffer(tensor.name, tensor.bytes, first, last, tensor.item_bytes), clock.made(tensor.name), tuple(readers)
    )


def _ring(clock: _Clock, segment: Segment, ring: Ring) -> Track:
    tensor, op = clock.graph.tensors[ring.tensor], clock.maker[ring.tensor]
    first, last = clock.lifetime(segment, clock.stage[op.name])
    readers = [clock.dead(ring.tensor, reader) for reader in clock.readers[ring.tensor]]
    last = max([last, *(int(front.times[-1]) - 1 for front in readers)])
    size = ring.pixels * ring.channels * tensor.item_bytes
    buffer = Buffer(ring.tensor, size, first, last, tensor.item_bytes)
    if segment.repeats:
        return Track(buffer, turn=_turn(clock, segment, op))
    written = clock.made(ring.tensor)
    if (ring.pixels, ring.channels) == (tensor.shape[0] * tensor.shape[1], tensor.shape[2]):
        return Track(buffer, written, tuple(readers))
    assert written is not None
    return Track(buffer, Front(written.times, np.minimum(written.bytes, size)), (), _turn(clock, segment, op))


def _turn(clock: _Clock, segment: Segment, op: Operator) -> Turn | None:
    """The first writer's turn to the last reader's, if each reads at the very step at which the pixel is made.

    What the tail reads of all channels it reads with every slice, to its end.
    """
    made, order = clock.stage[op.name], segment.operators
    readers = clock.readers[op.output]
    for reader in readers:
        stage = clock.stage[reader.name]
        at_once = stage.delay == made.delay and (stage.reduction or reader.window == Window())
        if not (at_once and stage.stride == made.stride):
            return None
    last = max((order.index(reader.name) for reader in readers), default=order.index(op.name))
    if segment.tail and order[last] in segment.sliced and op.name not in segment.sliced:
        last = len(order) - 1
    return Turn(clock.base[op.name], min(order.index(name) for name in clock.writers(op)), last)
