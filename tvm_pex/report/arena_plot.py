"""Draw plans as SVG: steps to the right, bytes upwards, one panel beside the other at one scale of bytes.

Every buffer is a rectangle that names itself when pointed at. The fill lets light through, so that buffers that overlap
in place show as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from tvm_pex.memory_planner import Plan, Problem
from tvm_pex.report.drawing import COLOURS, Axes, add, inline_picture, named, picture, written

Points = Sequence[tuple[int, int]]  # (arena bytes, instructions)


@dataclass(frozen=True)
class Panel:
    """One plan with its heading; ``steps`` says what a step is."""

    heading: str
    steps: str
    problem: Problem
    plan: Plan


def arena_svg(title: str, panels: Sequence[Panel], front: Points = ()) -> str:
    """A picture that stands alone: ``panels`` side by side and, when given, the front behind them."""
    svg = picture(title, len(panels) + bool(front))
    highest = _highest(panels)
    for place, panel in enumerate(panels):
        _arena(svg, place, panel, highest)
    if front:
        _front(svg, len(panels), front)
    return written(svg)


def inline_svgs(panels: Sequence[Panel], front: Points = ()) -> list[str]:
    """The same pictures one by one, for a page: as wide as their place, in the page's font and colour of text."""
    pictures = []
    for panel in panels:
        svg = inline_picture(f"{panel.heading}, peak {panel.plan.peak:,} bytes", 1)
        _arena(svg, 0, panel, _highest(panels))
        pictures.append(svg)
    if front:
        svg = inline_picture("Memory and predicted instructions", 1)
        _front(svg, 0, front)
        pictures.append(svg)
    return [ElementTree.tostring(svg, encoding="unicode") for svg in pictures]


def _highest(panels: Sequence[Panel]) -> int:
    return max((panel.plan.peak for panel in panels), default=1) or 1


def _arena(svg: ElementTree.Element, place: int, panel: Panel, highest: int) -> None:
    buffers = panel.problem.buffers
    first, last = min((b.first for b in buffers), default=0), max((b.last for b in buffers), default=0)
    axes = Axes(svg, place, (first, last + 1), (0, highest))
    axes.draw(panel.heading, panel.steps, "bytes")
    for number, b in enumerate(sorted(buffers, key=lambda b: (b.first, panel.plan.offsets[b.name], b.name))):
        low = panel.plan.offsets[b.name]
        box = {"x": axes.x(b.first), "y": axes.y(low + b.bytes)}
        box |= {"width": axes.x(b.last + 1) - box["x"], "height": axes.y(low) - box["y"]}
        colour = COLOURS[number % len(COLOURS)]
        rect = add(svg, "rect", **box, fill=colour, fill_opacity=0.5, stroke=colour, stroke_width=0.5)
        named(rect, f"{b.name}: {b.bytes:,} bytes at {low:,}, steps {b.first} to {b.last}")
    axes.limit(panel.plan.peak, f"peak {panel.plan.peak:,}")


def _front(svg: ElementTree.Element, place: int, front: Points) -> None:
    axes = Axes(svg, place, (0, max(at for at, _ in front)), (min(n for _, n in front), max(n for _, n in front) + 1))
    axes.draw("Memory and predicted instructions", "arena, bytes", "instructions")
    for at, instructions in front:
        axes.dot(at, instructions, COLOURS[0], f"{at:,} bytes, {instructions:,} instructions")
