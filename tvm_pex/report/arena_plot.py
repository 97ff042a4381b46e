"""Draw plans as SVG: steps to the right, bytes upwards, one panel beside the other at one scale of bytes.

Every buffer is a rectangle that names itself when pointed at. The fill lets light through, so that buffers that overlap
in place show as such.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from tvm_pex.memory_planner import Plan, Problem
from tvm_pex.report.drawing import COLOURS, TOP, WIDTH, Axes, add, picture, stand_alone, text, written

Points = Sequence[tuple[int, int]]  # (arena bytes, instructions)
Values = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Panel:
    """One plan with its heading; ``steps`` says what a step is."""

    heading: str
    steps: str
    problem: Problem
    plan: Plan


def arena_svg(title: str, panels: Sequence[Panel], front: Points = ()) -> str:
    """A picture that stands alone: ``panels`` side by side and, when given, the front behind them."""
    svg, size = picture(len(panels) + bool(front), title)
    stand_alone(svg, size)
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
        svg, _ = picture(1, f"{panel.heading}, peak {panel.plan.peak:,} bytes")
        _arena(svg, 0, panel, _highest(panels))
        pictures.append(svg)
    if front:
        svg, _ = picture(1, "Memory and predicted instructions")
        _front(svg, 0, front)
        pictures.append(svg)
    return [ElementTree.tostring(svg, encoding="unicode") for svg in pictures]


def line_svg(heading: str, across: str, up: str, lines: Mapping[str, Values]) -> str:
    """A picture that stands alone: values over values, a line for each name, each point naming itself; from zero on."""
    svg, size = picture(1, heading)
    stand_alone(svg, size)
    points = [point for line in lines.values() for point in line]
    highest = math.ceil(max((y for _, y in points), default=1))
    axes = Axes(svg, 0, (0, max((x for x, _ in points), default=1)), (0, max(highest, 1)))
    axes.draw(heading, across, up)
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{axes.x(x)},{axes.y(y)}" for x, y in line)
        add(svg, "polyline", points=path, fill="none", stroke=colour, stroke_width=2)
        for x, y in line:
            dot = add(svg, "circle", cx=axes.x(x), cy=axes.y(y), r=4, fill=colour)
            ElementTree.SubElement(dot, "title").text = f"{name}: {x:,}, {y:,}"
        text(svg, axes.left + 12, TOP + 22 + 20 * number, name).set("fill", colour)
    return written(svg)


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
        words = f"{b.name}: {b.bytes:,} bytes at {low:,}, steps {b.first} to {b.last}"
        ElementTree.SubElement(rect, "title").text = words
    peak = axes.y(panel.plan.peak)
    add(
        svg,
        "line",
        x1=axes.left,
        y1=peak,
        x2=axes.left + WIDTH,
        y2=peak,
        stroke="currentColor",
        stroke_dasharray="4 3",
    )
    text(svg, axes.left + WIDTH, peak - 4, f"peak {panel.plan.peak:,}", "end")


def _front(svg: ElementTree.Element, place: int, front: Points) -> None:
    axes = Axes(svg, place, (0, max(at for at, _ in front)), (min(n for _, n in front), max(n for _, n in front) + 1))
    axes.draw("Memory and predicted instructions", "arena, bytes", "instructions")
    for at, instructions in front:
        dot = add(svg, "circle", cx=axes.x(at), cy=axes.y(instructions), r=4, fill=COLOURS[0])
        ElementTree.SubElement(dot, "title").text = f"{at:,} bytes, {instructions:,} instructions"
