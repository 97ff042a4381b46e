"""Frames, ticks and text of panels side by side in an SVG picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree

WIDTH, HEIGHT, LEFT, TOP, GAP = 480, 360, 90, 50, 60
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#999933", "#ee8866")
_MOST_TICKS = 6


def picture(panels: int, title: str) -> tuple[ElementTree.Element, tuple[int, int]]:
    """An empty picture with room for so many panels, and its size."""
    size = (panels * (LEFT + WIDTH) + GAP, TOP + HEIGHT + GAP)
    svg = ElementTree.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {size[0]} {size[1]}")
    svg.set("fill", "currentColor")
    ElementTree.SubElement(svg, "title").text = title
    return svg, size


def stand_alone(svg: ElementTree.Element, size: tuple[int, int]) -> None:
    svg.attrib.update({"width": str(size[0]), "height": str(size[1]), "font-family": "sans-serif", "font-size": "12"})
    add(svg, "rect", x=0, y=0, width=size[0], height=size[1], fill="white")


def written(svg: ElementTree.Element) -> str:
    ElementTree.indent(svg)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(svg, encoding="unicode") + "\n"


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
    named = {key.replace("_", "-"): str(value) for key, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, named)


def text(parent: ElementTree.Element, x: float, y: float, words: str, anchor: str = "start") -> ElementTree.Element:
    element = add(parent, "text", x=x, y=y, text_anchor=anchor)
    element.text = words
    return element
