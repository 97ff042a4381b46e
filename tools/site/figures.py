"""The drawings of "How it works", made of what the search and the planner answer for one small network.

Nothing here is drawn by hand: where the formulas of the schedule or the rules of the planner change, so do the figures.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # mkdocs runs where the package need not be installed

from tvm_pex.graph import Add, Convolution, Graph, Operator, Rescale, Shape, Tensor, Window
from tvm_pex.memory_planner import Plan, plan_memory
from tvm_pex.report.arena_plot import Panel, inline_svgs
from tvm_pex.scheduling.layers import layer_problem
from tvm_pex.scheduling.lifetimes import memory_problem
from tvm_pex.scheduling.rings import last_reader, use_of
from tvm_pex.scheduling.schedule import Schedule, Segment
from tvm_pex.scheduling.search import find_schedule

ROWS, WIDTH, NARROW, WIDE = 10, 10, 8, 24
_COLOURS = {"x": "#4477aa", "expand": "#ee8866", "depthwise": "#228833", "project": "#aa3377", "y": "#ee6677"}
_INK = "currentColor"


@dataclass(frozen=True)
class Example:
    """An inverted bottleneck with a residual addition, its schedule by rows, and its plan, the input overwritten."""

    graph: Graph
    schedule: Schedule
    plan: Plan

    @property
    def segment(self) -> Segment:
        (segment,) = self.schedule.segments
        return segment


def example() -> Example:
    """The network that all drawings show."""
    graph = _graph()
    schedule = find_schedule(graph, axes=("rows",))
    return Example(graph, schedule, plan_memory(memory_problem(graph, schedule, kept=frozenset())))


def _graph() -> Graph:
    narrow, wide = (ROWS, WIDTH, NARROW), (ROWS, WIDTH, WIDE)
    same = Window((3, 3), pad=(1, 1))
    operators: tuple[Operator, ...] = (
        _convolution("expand", "x", narrow, Window()),
        _convolution("depthwise", "expand", wide, same, groups=WIDE),
        _convolution("project", "depthwise", wide, Window()),
        Add("add", ("x", "project"), (narrow, narrow), "y", (Rescale(1 << 30, 0, 0, 0),) * 2, -128, 127),
    )
    shapes = {"x": narrow, "expand": wide, "depthwise": wide, "project": narrow, "y": narrow}
    tensors = {name: Tensor(name, shape, "int8") for name, shape in shapes.items()}
    names = [name for op in operators if isinstance(op, Convolution) for name in (op.weights, op.scales)]
    return Graph(tensors, operators, ("x",), ("y",), dict.fromkeys(names, np.zeros(0)))  # nobody asks for their values


def _convolution(name: str, source: str, view: Shape, window: Window, groups: int = 1) -> Convolution:
    return Convolution(
        name, (source,), (view,), name, window, groups, f"{name}.weights", f"{name}.scales", 0, 0, 0, -128, 127
    )


def rows_alive(shown: Example) -> dict[str, list[tuple[int, int]]]:
    """For each tensor and row of it, the first and the last moment at which it has to be in memory."""
    stages = {stage.operator: stage for stage in shown.segment.stages}
    makers = {op.output: op for op in shown.graph.operators}
    moments = shown.segment.extent[0]
    alive: dict[str, list[tuple[int, int]]] = {}
    for name in shown.graph.tensors:
        last = np.full(ROWS, moments - 1 if name in shown.graph.outputs else 0)
        for op in shown.graph.operators:
            if name in op.inputs:
                reader = last_reader(use_of(op.window, 0, ROWS, ROWS))
                last = np.maximum(last, [stages[op.name].time(0, int(row)) for row in reader])
        first = [stages[makers[name].name].time(0, row) if name in makers else 0 for row in range(ROWS)]
        alive[name] = [(f, int(end)) for f, end in zip(first, last, strict=True)]
    return alive


def figures() -> dict[str, str]:
    """SVG by name, to stand in a page: in its font and its colour of text."""
    shown = example()
    return {
        "loop-tree": loop_tree(shown),
        "rings": rings_over_time(shown),
        "in-place": in_place(shown),
        "arenas": arenas(shown),
    }


def loop_tree(shown: Example) -> str:
    """The loop with its operators in order, and what is kept between them."""
    segment, line = shown.segment, 46
    rings = {ring.tensor: ring for ring in segment.rings}
    svg = _svg(480, 74 + line * len(segment.stages), "The loop tree of the schedule")
    _rect(svg, 4, 8, 472, 58 + line * len(segment.stages), "none", stroke=_INK)
    _text(svg, 16, 34, f"for t in 0 .. {segment.extent[0] - 1}:", bold=True)
    _text(svg, 464, 34, "kept between moments", anchor="end")
    for number, stage in enumerate(segment.stages):
        top = 50 + line * number
        output = next(op.output for op in shown.graph.operators if op.name == stage.operator)
        _rect(svg, 30, top, 238, line - 10, _COLOURS[output], opacity=0.25)
        _text(svg, 40, top + 23, f"{stage.operator}: row r at t = {_clock(stage.stride[0], stage.delay[0])}")
        if output in rings:
            kept = rings[output].pixels // WIDTH
            size = rings[output].pixels * rings[output].channels
            label = f"{kept} {'row' if kept == 1 else 'rows'} of {ROWS}, {size} bytes"
        else:
            label = f"whole, {shown.graph.tensors[output].bytes} bytes"
        _rect(svg, 280, top, 184, line - 10, "none", stroke=_COLOURS[output])
        _text(svg, 290, top + 23, label)
    return _string(svg)


def _clock(stride: int, delay: int) -> str:
    return ("r" if stride == 1 else f"{stride}r") + (f" + {delay}" if delay else "")


def rings_over_time(shown: Example) -> str:
    """A lane for each tensor: each row's bar lasts from when it is made to when it is read last."""
    alive, moments, bar = rows_alive(shown), shown.segment.extent[0], 7
    left, wide = 92, 34
    lane = bar * ROWS + 26
    svg = _svg(left + wide * moments + 12, lane * len(alive) + 44, "Rows alive over time")
    for number, (name, spans) in enumerate(alive.items()):
        top = 14 + lane * number
        most = max(sum(first <= t <= last for first, last in spans) for t in range(moments))
        _text(svg, 4, top + 26, name, bold=True)
        _text(svg, 4, top + 44, f"{most} at once")
        _rect(svg, left, top, wide * moments, bar * ROWS, "none", stroke="#88888866")
        for row, (first, last) in enumerate(spans):
            width = wide * (last - first + 1)
            box = _rect(svg, left + wide * first, top + bar * row, width, bar - 1, _COLOURS[name], opacity=0.75)
            ElementTree.SubElement(box, "title").text = f"{name}, row {row}: moments {first} to {last}"
    for t in range(moments):
        _text(svg, left + wide * t + wide // 2, lane * len(alive) + 14, str(t), anchor="middle")
    _text(svg, left, lane * len(alive) + 36, "moment t of the loop")
    return _string(svg)


def in_place(shown: Example) -> str:
    """Addresses over time: rows of the output take the place of dead rows of the input."""
    alive, moments, offsets = rows_alive(shown), shown.segment.extent[0], shown.plan.offsets
    left, wide, height, top = 56, 36, 300, 14
    row_bytes = WIDTH * NARROW
    scale = height / shown.plan.peak
    svg = _svg(left + wide * moments + 12, top + height + 46, "Input and output in the same bytes")
    _rect(svg, left, top, wide * moments, height, "none", stroke="#888888")
    for ring in shown.segment.rings:
        size = ring.pixels * ring.channels
        low = top + height - (offsets[ring.tensor] + size) * scale
        _rect(svg, left, low, wide * moments, size * scale, _COLOURS[ring.tensor], opacity=0.25)
        _text(svg, left + 8, low + size * scale / 2 + 4, f"{ring.tensor}, {size} bytes")
    for name in ("x", "y"):
        for row, (first, last) in enumerate(alive[name]):
            low = offsets[name] + row * row_bytes
            box = _rect(
                svg, left + wide * first, top + height - (low + row_bytes) * scale, wide * (last - first + 1),
                row_bytes * scale - 1, _COLOURS[name], opacity=0.7,
            )  # fmt: skip
            title = f"{name}, row {row}: bytes {low} to {low + row_bytes - 1}, moments {first} to {last}"
            ElementTree.SubElement(box, "title").text = title
    _text(svg, 4, top + 10, f"{shown.plan.peak}")
    _text(svg, 4, top + height, "byte 0")
    for t in range(moments):
        _text(svg, left + wide * t + wide // 2, top + height + 18, str(t), anchor="middle")
    legend = (("x", "rows of the input x"), ("y", "rows of the output y"))
    for number, (name, label) in enumerate(legend):
        _rect(svg, left + 190 * number, top + height + 28, 12, 12, _COLOURS[name], opacity=0.7)
        _text(svg, left + 190 * number + 18, top + height + 39, label)
    return _string(svg)


def arenas(shown: Example) -> str:
    """The arena layer by layer, and as planned."""
    before = layer_problem(shown.graph)
    after = memory_problem(shown.graph, shown.schedule, kept=frozenset())
    panels = (
        Panel("Layer by layer", "operators", before, plan_memory(before)),
        Panel("By slices", "moments of the loop", after, shown.plan),
    )
    return '<div class="side-by-side">' + "".join(inline_svgs(panels)) + "</div>"


def facts() -> Mapping[str, int]:
    """Figures that the text quotes."""
    shown = example()
    before = plan_memory(layer_problem(shown.graph)).peak
    return {"layer_by_layer": before, "by_slices": shown.plan.peak, "moments": shown.segment.extent[0]}


def _svg(width: int, height: int, title: str) -> ElementTree.Element:
    svg = ElementTree.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}")
    svg.attrib.update({"class": "figure", "fill": _INK, "font-size": "14", "role": "img"})
    ElementTree.SubElement(svg, "title").text = title
    return svg


def _rect(
    svg: ElementTree.Element, x: float, y: float, width: float, height: float, fill: str, *, opacity: float = 1.0,
    stroke: str = "none",
) -> ElementTree.Element:  # fmt: skip
    numbers = {"x": x, "y": y, "width": width, "height": height, "fill-opacity": opacity}
    box = {key: f"{round(value, 2):g}" for key, value in numbers.items()} | {"fill": fill, "stroke": stroke}
    return ElementTree.SubElement(svg, "rect", box)


def _text(
    svg: ElementTree.Element, x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False
) -> None:
    place = {"x": f"{round(x, 2):g}", "y": f"{round(y, 2):g}", "text-anchor": anchor}
    ElementTree.SubElement(svg, "text", place | ({"font-weight": "bold"} if bold else {})).text = text


def _string(svg: ElementTree.Element) -> str:
    return ElementTree.tostring(svg, encoding="unicode")
