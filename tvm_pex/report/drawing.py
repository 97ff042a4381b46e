"""Frames, ticks and text of panels side by side in an SVG picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

WIDTH, HEIGHT, LEFT, TOP, GAP = 480, 360, 90, 50, 60
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#999933", "#ee8866")
_MOST_TICKS = 6

Values = Sequence[tuple[int, float]]


def picture(title: str, panels: int) -> ElementTree.Element:
    """A white one that stands alone, for so many panels."""
    svg = inline_picture(title, panels)
    _, _, width, height = svg.attrib["viewBox"].split()
    svg.attrib.update({"width": width, "height": height, "font-family": "sans-serif", "font-size": "12"})
    add(svg, "rect", x=0, y=0, width=width, height=height, fill="white")
    return svg


def inline_picture(title: str, panels: int) -> ElementTree.Element:
    """One for a page: as wide as its place, in the page's font and colour of text."""
    size = (panels * (LEFT + WIDTH) + GAP, TOP + HEIGHT + GAP)
    svg = ElementTree.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {size[0]} {size[1]}")
    svg.set("fill", "currentColor")
    ElementTree.SubElement(svg, "title").text = title
    return svg


def written(svg: ElementTree.Element) -> str:
    """The picture as a file that stands alone."""
    ElementTree.indent(svg)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(svg, encoding="unicode") + "\n"


def line_svg(heading: str, across: str, up: str, lines: Mapping[str, Values]) -> str:
    """A picture that stands alone: values over values, a line for each name, each point naming itself; from zero on."""
    svg = picture(heading, 1)
    points = [point for line in lines.values() for point in line]
    highest = math.ceil(max((y for _, y in points), default=1))
    axes = Axes(svg, 0, (0, max((x for x, _ in points), default=1)), (0, max(highest, 1)))
    axes.draw(heading, across, up)
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        axes.line(line, colour)
        for x, y in line:
            axes.dot(x, y, colour, f"{name}: {x:,}, {y:,}")
        text(svg, axes.left + 12, TOP + 22 + 20 * number, name).set("fill", colour)
    return written(svg)


@dataclass(frozen=True)
class Axes:
    """The frame of one panel: where values lie in the picture."""

    svg: ElementTree.Element
    place: int
    across: tuple[int, int]
    up: tuple[int, int]

    @property
    def left(self) -> float:
        return LEFT + self.place * (LEFT + WIDTH)

    def x(self, value: float) -> float:
        return round(self.left + WIDTH * (value - self.across[0]) / (self.across[1] - self.across[0]), 2)

    def y(self, value: float) -> float:
        return round(TOP + HEIGHT - HEIGHT * (value - self.up[0]) / (self.up[1] - self.up[0]), 2)

    def draw(self, heading: str, across: str, up: str) -> None:
        """The frame with its heading, ticks and names of the axes."""
        bottom = TOP + HEIGHT
        text(self.svg, self.left, TOP - 22, heading).set("font-weight", "bold")
        text(self.svg, self.left + WIDTH / 2, bottom + 36, across, "middle")
        text(self.svg, self.left - LEFT + 8, TOP - 8, up)
        add(self.svg, "rect", x=self.left, y=TOP, width=WIDTH, height=HEIGHT, fill="none", stroke="#888888")
        self._ticks(self.across, lambda v: (self.x(v), bottom, self.x(v), bottom + 5), (0, 18), "middle")
        self._ticks(self.up, lambda v: (self.left - 5, self.y(v), self.left, self.y(v)), (-3, 4), "end")

    def line(self, points: Values, colour: str) -> None:
        """From point to point."""
        path = " ".join(f"{self.x(x)},{self.y(y)}" for x, y in points)
        add(self.svg, "polyline", points=path, fill="none", stroke=colour, stroke_width=2)

    def dot(self, x: float, y: float, colour: str, words: str) -> None:
        """A point that says ``words`` when pointed at."""
        named(add(self.svg, "circle", cx=self.x(x), cy=self.y(y), r=4, fill=colour), words)

    def limit(self, value: float, words: str) -> None:
        """A dashed line all the way across."""
        y, right = self.y(value), self.left + WIDTH
        add(self.svg, "line", x1=self.left, y1=y, x2=right, y2=y, stroke="currentColor", stroke_dasharray="4 3")
        text(self.svg, right, y - 4, words, "end")

    def _ticks(
        self,
        span: tuple[int, int],
        line: Callable[[int], tuple[float, float, float, float]],
        shift: tuple[int, int],
        anchor: str,
    ) -> None:
        for value in ticks(*span):
            x1, y1, x2, y2 = line(value)
            add(self.svg, "line", x1=x1, y1=y1, x2=x2, y2=y2, stroke="#888888")
            text(self.svg, x1 + shift[0], y1 + shift[1], _short(value), anchor)


def _short(value: int) -> str:
    """As wide as the margin allows."""
    return f"{value / 1e6:,g} M" if value >= 1e7 else f"{value:,}"


def ticks(low: int, high: int) -> list[int]:
    """A few round numbers from ``low`` to ``high``."""
    rough = max(1, (high - low) / _MOST_TICKS)
    power = 10 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
    return list(range(-(-low // step) * step, high + 1, step))


def add(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {key.replace("_", "-"): str(value) for key, value in attributes.items()})


def named(element: ElementTree.Element, words: str) -> None:
    """What the element says when pointed at."""
    ElementTree.SubElement(element, "title").text = words


def text(parent: ElementTree.Element, x: float, y: float, words: str, anchor: str = "start") -> ElementTree.Element:
    element = add(parent, "text", x=x, y=y, text_anchor=anchor)
    element.text = words
    return element
