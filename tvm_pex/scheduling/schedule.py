"""Schedules: when each operator computes which pixel, and what has to stay in memory meanwhile. Pure integers, no TVM.

A *schedule* is a sequence of *segments*. A segment runs its operators interleaved in one loop nest over *time*. Time is
a pair (row, pixel): operator k computes its pixel (r, c) exactly once, at ::

    (stride[0] * r + delay[0],  stride[1] * c + delay[1])

and operators that share a moment run in topological order. ``stride`` is the product of the window strides on the way,
over that of their ``up``, in whole numbers: where an operator makes more rows than it reads, time runs over its rows,
and those before it have one with every second moment, or every third. ``delay`` is the least that lets every window be
complete, the largest over the inputs p and the rows r of ::

    delay_p + stride_p * newest_p(r) - stride * r,    newest_p(r): the last row of p that row r reads

which without ``up`` and ``mirror`` is ``delay_p + stride_p * min(reach - pad, size_p - 1)``.

Along an axis that is not in ``Segment.axes`` everything happens at time 0: a segment over ``rows`` alone computes whole
rows. A segment over pixels may compute a *run* of them at a moment: then c counts runs of its row, the last of which
may be shorter, and newest_p is a run. Operators whose only window covers their whole input run over the *input's*
pixels and keep running sums, or maxima.

A tensor between two operators of a segment is a *ring*: pixel (r, c) lives at position ``(r * width + c) % pixels``, in
a ring of a single run at ``c % run``. A ring of 0 pixels has no memory: it is read by a Concat alone, which copies it
at the very moments at which it is made, so its producer writes it to where the Concat would put it
(``written_through``).
Tensors on a cut between segments are whole. With a ``tile`` the nest runs once for each slice of channels: the rings
hold a slice, and a convolution that ends the segment keeps whole sums (the accumulators). With a ``tail``, too, the
loop over slices is the innermost: only the segment's last operators are in it, which share every moment and end in a
reduction; the rings between them hold a slice of a moment, and its sums are of all channels. With ``strips`` the nest
runs once for each strip of columns (``tvm_pex.scheduling.strips``), which alone computes anything twice.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvm_pex.graph import Concat, Graph, Operator, Pair
from tvm_pex.scheduling.strips import Columns


@dataclass(frozen=True)
class Stage:
    """One operator of a segment: its clock (see the module's formula) and the (rows, columns) it runs over.

    A ``reduction`` runs over its input's pixels, which it adds up as they come, the others over their output's.
    With strips, position 0 along the columns is column ``origin[0] * strip + origin[1]``, and columns that the tensor
    does not have are left out.
    """

    operator: str
    stride: Pair
    delay: Pair
    domain: Pair
    reduction: bool = False
    origin: Pair = (0, 0)

    def time(self, axis: int, index: int) -> int:
        return self.stride[axis] * index + self.delay[axis]


@dataclass(frozen=True)
class Ring:
    """A partial buffer: the last ``pixels`` pixels of ``tensor``, ``channels`` of them at a time; 0: see the module."""

    tensor: str
    pixels: int
    channels: int


@dataclass(frozen=True)
class Segment:
    """Operators that run interleaved.

    ``extent`` is the number of (row, pixel) moments; all of them pass once for each slice of ``tile`` channels, and
    once for each of the ``strips``. At a moment each stage computes at most ``run`` pixels of a row. With a ``tail``
    the moments pass once, and at each the last ``tail`` stages run once for each slice.
    """

    axes: tuple[str, ...]
    stages: tuple[Stage, ...]
    rings: tuple[Ring, ...]
    extent: Pair
    tile: int | None = None
    strips: int = 1
    run: int = 1
    tail: int = 0

    @property
    def repeats(self) -> bool:
        """True when the loop nest runs more than once: for slices of channels, or for strips."""
        return (self.tile is not None and not self.tail) or self.strips > 1

    @property
    def sliced(self) -> tuple[str, ...]:
        """The operators that run by slices of channels: the tail, or all."""
        return self.operators[-self.tail :] if self.tile else ()

    def tile_of(self, operator: str) -> int | None:
        """Channels that the operator takes at once; None for all of them."""
        return self.tile if operator in self.sliced else None

    @property
    def operators(self) -> tuple[str, ...]:
        return tuple(stage.operator for stage in self.stages)

    def pixels_run(self, stage: Stage, width: int) -> int:
        """Pixels that ``stage`` runs over, of ``width`` columns; what several strips compute counts each time."""
        if self.strips == 1:
            return math.prod(stage.domain)
        columns = Columns(*stage.origin, stage.domain[1])
        return stage.domain[0] * sum(len(columns.within(strip, width)) for strip in range(self.strips))

    def __str__(self) -> str:
        names = {"channels": f"channels/{self.tile}", "pixels": f"{self.run} pixels" if self.run > 1 else "pixels"}
        loops = [names.get(axis, axis) for axis in self.axes]
        if self.strips > 1:
            loops.insert(0, f"{self.strips} strips")
        if self.tail:
            loops[-1] += f" of {self.tail}"
        return f"{', '.join(loops) or 'layer'}: {' '.join(self.operators)}"


@dataclass(frozen=True)
class Schedule:
    """Segments in execution order."""

    segments: tuple[Segment, ...]

    def __str__(self) -> str:
        return " | ".join(str(segment) for segment in self.segments)

    def to_json(self) -> str:
        """One line, so that it can ride on a Relay attribute."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))


def schedule_from_json(text: str) -> Schedule:
    """Reads what ``Schedule.to_json`` wrote."""
    return Schedule(tuple(_segment(**fields) for fields in json.loads(text)["segments"]))


def _segment(axes: list[str], stages: list[Any], rings: list[Any], extent: list[int], **repeats: Any) -> Segment:
    made = tuple(Stage(**{key: _frozen(value) for key, value in stage.items()}) for stage in stages)
    return Segment(tuple(axes), made, tuple(Ring(**ring) for ring in rings), _pair(extent), **repeats)


def _frozen(value: Any) -> Any:
    return _pair(value) if isinstance(value, list) else value


def _pair(values: Sequence[int]) -> Pair:
    return values[0], values[1]


def written_through(graph: Graph, segment: Segment) -> dict[str, tuple[Concat, int]]:
    """For each ring of 0 pixels: the Concat in whose output it lies, and its position among that one's inputs."""
    through = {ring.tensor for ring in segment.rings if ring.pixels == 0}
    concats = [op for op in graph.operators if isinstance(op, Concat) and op.name in segment.operators]
    return {name: (op, k) for op in concats for k, name in enumerate(op.inputs) if name in through}


def check_once(graph: Graph, schedule: Schedule) -> None:
    """Raises ValueError unless each operator of the graph is in exactly one segment, after all it needs."""
    order = [name for segment in schedule.segments for name in segment.operators]
    if sorted(order) != sorted(op.name for op in graph.operators):
        raise ValueError("a schedule must run each operator once")
    ready = set(graph.inputs)
    by_name: Mapping[str, Operator] = {op.name: op for op in graph.operators}
    for name in order:
        missing = set(by_name[name].inputs) - ready
        if missing:
            raise ValueError(f"{name} runs before {', '.join(sorted(missing))}")
        ready.add(by_name[name].output)
