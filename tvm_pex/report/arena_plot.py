"""Draw plans as SVG: steps to the right, bytes upwards, one panel beside the other at one scale of bytes.

Every buffer is a rectangle that names itself when pointed at. The fill lets light through, so that buffers that overlap
in place show as such.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from tvm_pex.memory_planner import Plan, Problem

Points = Sequence[tuple[int, int]]  # (arena bytes, instructions)
Values = Sequence[tuple[int, float]]

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 480, 360, 90, 50, 60
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#999933", "#ee8866")
_MOST_TICKS = 6


@dataclass(frozen=True)
class Panel:
    """One plan with its heading; ``steps`` says what a step is."""

    heading: str
    steps: str
    problem: Problem
    plan: Plan


def arena_svg(title: str, panels: Sequence[Panel], front: Points = ()) -> str:
    """A picture that stands alone: ``panels`` side by side and, when given, the front behind them."""
    svg, size = _picture(len(panels) + bool(front), title)
    _stand_alone(svg, size)
    highest = _highest(panels)
    for place, panel in enumerate(panels):
        _arena(svg, place, panel, highest)
    if front:
        _front(svg, len(panels), front)
    return _file(svg)


def inline_svgs(panels: Sequence[Panel], front: Points = ()) -> list[str]:
    """The same pictures one by one, for a page: as wide as their place, in the page's font and colour of text."""
    pictures = []
    for panel in panels:
        svg, _ = _picture(1, f"{panel.heading}, peak {panel.plan.peak:,} bytes")
        _arena(svg, 0, panel, _highest(panels))
        pictures.append(svg)
    if front:
        svg, _ = _picture(1, "Memory and predicted instructions")
        _front(svg, 0, front)
        pictures.append(svg)
    return [ElementTree.tostring(svg, encoding="unicode") for svg in pictures]


def line_svg(heading: str, across: str, up: str, lines: Mapping[str, Values]) -> str:
    """A picture that stands alone: values over values, a line for each name, each point naming itself; from zero on."""
    svg, size = _picture(1, heading)
    _stand_alone(svg, size)
    points = [point for line in lines.values() for point in line]
    highest = math.ceil(max((y for _, y in points), default=1))
    axes = _Axes(svg, 0, (0, max((x for x, _ in points), default=1)), (0, max(highest, 1)))
    axes.draw(heading, across, up)
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{axes.x(x)},{axes.y(y)}" for x, y in line)
        _add(svg, "polyline", points=path, fill="none", stroke=colour, stroke_width=2)
        for x, y in line:
            dot = _add(svg, "circle", cx=axes.x(x), cy=axes.y(y), r=4, fill=colour)
            ElementTree.SubElement(dot, "title").text = f"{name}: {x:,}, {y:,}"
        _text(svg, axes.left + 12, _TOP + 22 + 20 * number, name).set("fill", colour)
    return _file(svg)


def _picture(panels: int, title: str) -> tuple[ElementTree.Element, tuple[int, int]]:
    """An empty picture with room for so many panels, and its size."""
    size = (panels * (_LEFT + _WIDTH) + _GAP, _TOP + _HEIGHT + _GAP)
    svg = ElementTree.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {size[0]} {size[1]}")
    svg.set("fill", "currentColor")
    ElementTree.SubElement(svg, "title").text = title
    return svg, size


def _stand_alone(svg: ElementTree.Element, size: tuple[int, int]) -> None:
    svg.attrib.update({"width": str(size[0]), "height": str(size[1]), "font-family": "sans-serif", "font-size": "12"})
    _add(svg, "rect", x=0, y=0, width=size[0], height=size[1], fill="white")


def _file(svg: ElementTree.Element) -> str:
    ElementTree.indent(svg)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(svg, encoding="unicode") + "\n"


def _highest(panels: Sequence[Panel]) -> int:
    return max((panel.plan.peak for panel in panels), default=1) or 1


def _arena(svg: ElementTree.Element, place: int, panel: Panel, highest: int) -> None:
    buffers = panel.problem.buffers
    first, last = min((b.first for b in buffers), default=0), max((b.last for b in buffers), default=0)
    axes = _Axes(svg, place, (first, last + 1), (0, highest))
    axes.draw(panel.heading, panel.steps, "bytes")
    for number, b in enumerate(sorted(buffers, key=lambda b: (b.first, panel.plan.offsets[b.name], b.name))):
        low = panel.plan.offsets[b.name]
        box = {"x": axes.x(b.first), "y": axes.y(low + b.bytes)}
        box |= {"width": axes.x(b.last + 1) - box["x"], "height": axes.y(low) - box["y"]}
        colour = _COLOURS[number % len(_COLOURS)]
        rect = _add(svg, "rect", **box, fill=colour, fill_opacity=0.5, stroke=colour, stroke_width=0.5)
        text = f"{b.name}: {b.bytes:,} bytes at {low:,}, steps {b.first} to {b.last}"
        ElementTree.SubElement(rect, "title").text = text
    peak = axes.y(panel.plan.peak)
    _add(
        svg,
        "line",
        x1=axes.left,
        y1=peak,
        x2=axes.left + _WIDTH,
        y2=peak,
        stroke="currentColor",
        stroke_dasharray="4 3",
    )
    _text(svg, axes.left + _WIDTH, peak - 4, f"peak {panel.plan.peak:,}", "end")


def _front(svg: ElementTree.Element, place: int, front: Points) -> None:
    axes = _Axes(svg, place, (0, max(at for at, _ in front)), (min(n for _, n in front), max(n for _, n in front) + 1))
    axes.draw("Memory and predicted instructions", "arena, bytes", "instructions")
    for at, instructions in front:
        dot = _add(svg, "circle", cx=axes.x(at), cy=axes.y(instructions), r=4, fill=_COLOURS[0])
        ElementTree.SubElement(dot, "title").text = f"{at:,} bytes, {instructions:,} instructions"


@dataclass(frozen=True)
class _Axes:
    """The frame of one panel: where values lie in the picture."""

    svg: ElementTree.Element
    place: int
    across: tuple[int, int]
    up: tuple[int, int]

    @property
    def left(self) -> float:
        return _LEFT + self.place * (_LEFT + _WIDTH)

    def x(self, value: float) -> float:
        return round(self.left + _WIDTH * (value - self.across[0]) / (self.across[1] - self.across[0]), 2)

    def y(self, value: float) -> float:
        return round(_TOP + _HEIGHT - _HEIGHT * (value - self.up[0]) / (self.up[1] - self.up[0]), 2)

    def draw(self, heading: str, across: str, up: str) -> None:
        """The frame with its heading, ticks and names of the axes."""
        bottom = _TOP + _HEIGHT
        _text(self.svg, self.left, _TOP - 22, heading).set("font-weight", "bold")
        _text(self.svg, self.left + _WIDTH / 2, bottom + 36, across, "middle")
        _text(self.svg, self.left - _LEFT + 8, _TOP - 8, up)
        _add(self.svg, "rect", x=self.left, y=_TOP, width=_WIDTH, height=_HEIGHT, fill="none", stroke="#888888")
        self._ticks(self.across, lambda v: (self.x(v), bottom, self.x(v), bottom + 5), (0, 18), "middle")
        self._ticks(self.up, lambda v: (self.left - 5, self.y(v), self.left, self.y(v)), (-3, 4), "end")

    def _ticks(
        self,
        span: tuple[int, int],
        line: Callable[[int], tuple[float, float, float, float]],
        shift: tuple[int, int],
        anchor: str,
    ) -> None:
        for value in ticks(*span):
            x1, y1, x2, y2 = line(value)
            _add(self.svg, "line", x1=x1, y1=y1, x2=x2, y2=y2, stroke="#888888")
            _text(self.svg, x1 + shift[0], y1 + shift[1], _short(value), anchor)


def _short(value: int) -> str:
    """As wide as the margin allows."""
    return f"{value / 1e6:,g} M" if value >= 1e7 else f"{value:,}"


def ticks(low: int, high: int) -> list[int]:
    """A few round numbers from ``low`` to ``high``."""
    rough = max(1, (high - low) / _MOST_TICKS)
    power = 10 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
    return list(range(-(-low // step) * step, high + 1, step))


def _add(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    named = {key.replace("_", "-"): str(value) for key, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, named)


def _text(parent: ElementTree.Element, x: float, y: float, text: str, anchor: str = "start") -> ElementTree.Element:
    element = _add(parent, "text", x=x, y=y, text_anchor=anchor)
    element.text = text
    return element
