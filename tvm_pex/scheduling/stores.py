"""How a tensor lies in memory while a segment runs: whole, as a ring, or inside a Concat's output. Pure integers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvm_pex.graph import Graph, Shape
from tvm_pex.scheduling.schedule import Segment, written_through


@dataclass(frozen=True)
class Layout:
    """Pixel (row, column) lies at ``((row * width + column) % ring) * pitch + first`` elements of ``buffer``.

    ``buffer`` is the tensor's own name, or that of the Concat's output in which it lies. ``ring`` is None for a tensor
    that is whole, of which no remainder is taken. A ring of a single run has ``width`` 0, so that no run lies at both
    ends of it; where rows are shorter than a run, a ring as long may hold some of two rows, and is an ordinary one.
    """

    buffer: str
    width: int
    pitch: int
    ring: int | None = None
    first: int = 0


def layout_of(graph: Graph, segment: Segment, tensor: str, view: Shape) -> Layout:
    """The layout of ``tensor`` under ``view``; of a sliced one, that of the present slice."""
    through = written_through(graph, segment)
    first = 0
    while tensor in through:
        concat, position = through[tensor]
        first += concat.first_channel(position)
        tensor = concat.output
        view = graph.tensors[tensor].shape
    if tensor in graph.outside:  # the present row
        return Layout(tensor, view[1], view[2], view[1], first)
    ring = next((ring for ring in segment.rings if ring.tensor == tensor), None)
    if ring is None:
        return Layout(tensor, view[1], view[2], None, first)
    maker = next(op.name for op in graph.operators if op.output == tensor)
    domain = next(stage.domain for stage in segment.stages if stage.operator == maker)
    pixels = None if ring.pixels == math.prod(domain) else ring.pixels
    width = 0 if pixels == segment.run > 1 and domain[1] >= segment.run else domain[1]
    return Layout(tensor, width, ring.channels, pixels, first)
