"""How long the search takes, and how much memory it finds, as networks grow deeper and wider: a table and pictures.

The networks are chains of inverted bottlenecks (expand, depthwise 3x3, project, add), built as graphs without TVM.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from tvm_pex.cli.planning import Step, progress
from tvm_pex.files import write_whole
from tvm_pex.graph import Add, Convolution, Graph, Operator, Rescale, Shape, Tensor, Window
from tvm_pex.memory_planner import plan_memory
from tvm_pex.report.drawing import line_svg
from tvm_pex.scheduling.layers import layer_bytes
from tvm_pex.scheduling.lifetimes import memory_problem
from tvm_pex.scheduling.search import find_schedule

HERE = Path(__file__).parent
DEPTHS = (10, 20, 50, 100, 200, 300, 500)
WIDTHS = (8, 16, 32, 64, 128)
DEPTH, WIDTH, EXTENT, EXPANSION = 40, 8, 32, 6  # where they are not what grows
_SAME = Rescale(1, 0, 0, 0)


@dataclass(frozen=True)
class Point:
    """``seconds`` of one processor, for a network of ``operators`` on tensors of ``width`` channels; bytes."""

    operators: int
    width: int
    seconds: float
    arena_bytes: int
    layer_by_layer_bytes: int


def chain(operators: int, width: int) -> Graph:
    """So many operators: bottlenecks, and at the end what is left of one as pointwise convolutions."""
    tensors, made, last = {"x": Tensor("x", (EXTENT, EXTENT, width), "int8")}, list[Operator](), "x"

    def append(op: Operator, channels: int) -> str:
        tensors[op.output] = Tensor(op.output, (EXTENT, EXTENT, channels), "int8")
        made.append(op)
        return op.output

    def convolution(source: str, channels: int, *, depthwise: bool = False) -> str:
        name, view = f"op{len(made)}", tensors[source].shape
        window = Window((3, 3), pad=(1, 1)) if depthwise else Window()
        groups = view[2] if depthwise else 1
        constants = (f"{name}.weights", f"{name}.scales")
        op = Convolution(name, (source,), (view,), name, window, groups, *constants, 0, 0, 0, -128, 127)
        return append(op, channels)

    while len(made) + 4 <= operators:
        wide = convolution(convolution(last, EXPANSION * width), EXPANSION * width, depthwise=True)
        narrow, shape = convolution(wide, width), (EXTENT, EXTENT, width)
        views: tuple[Shape, ...] = (shape, shape)
        name = f"op{len(made)}"
        last = append(Add(name, (last, narrow), views, name, (_SAME, _SAME), -128, 127), width)
    while len(made) < operators:
        last = convolution(last, width)
    constants = {name: np.zeros(0, np.int8) for op in made for name in op.constants}
    return Graph(tensors, tuple(made), ("x",), (last,), constants)


def measured(operators: int, width: int) -> Point:
    graph, kept = chain(operators, width), frozenset({"x"})
    started = time.process_time()
    schedule = find_schedule(graph, kept=kept)
    seconds = time.process_time() - started
    arena = plan_memory(memory_problem(graph, schedule, kept=kept)).peak
    return Point(operators, width, round(seconds, 2), arena, max(layer_bytes(graph).values()))


def table(points: Sequence[Point]) -> str:
    """In Markdown."""
    lines = ["| operators | channels | seconds | arena, bytes | layer by layer |", "|---:|---:|---:|---:|---:|"]
    lines += [
        f"| {p.operators} | {p.width} | {p.seconds:.2f} | {p.arena_bytes:,} | {p.layer_by_layer_bytes:,} |"
        for p in points
    ]
    return "\n".join(lines) + "\n"


def pictures(deep: Sequence[Point], wide: Sequence[Point]) -> dict[str, str]:
    """SVG by name of the file."""
    seconds = [(p.operators, round(p.seconds, 1)) for p in deep]
    arenas = [(p.width, p.arena_bytes) for p in wide]
    layers = [(p.width, p.layer_by_layer_bytes) for p in wide]
    return {
        "scaling.svg": line_svg("Planning time", "operators", "seconds", {"seconds": seconds}),
        "scaling_width.svg": line_svg("Memory", "channels", "bytes", {"layer by layer": layers, "Pex": arenas}),
    }


def points(depths: Sequence[int], widths: Sequence[int], step: Step) -> tuple[list[Point], list[Point]]:
    """Of networks that grow deeper, and of those that grow wider."""
    jobs = [(depth, WIDTH) for depth in depths] + [(DEPTH, width) for width in widths]
    found = []
    for done, (operators, width) in enumerate(jobs):
        step(f"{operators} operators, {width} channels", done, len(jobs))
        found.append(measured(operators, width))
    return found[: len(depths)], found[len(depths) :]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--depth", "depths", multiple=True, type=click.IntRange(min=1), default=DEPTHS, show_default=True)
@click.option("--width", "widths", multiple=True, type=click.IntRange(min=1), default=WIDTHS, show_default=True)
@click.option("--write", is_flag=True, help="Write SCALING.md and its pictures, too.")
def main(depths: tuple[int, ...], widths: tuple[int, ...], write: bool) -> None:
    """Print the seconds that planning takes, of one processor, and the arena, as networks grow.

    \b
    Examples:
      scaling.py
      scaling.py --depth 100 --depth 200 --width 8
    """
    with progress() as step:
        deep, wide = points(depths, widths, step)
    text = table([*deep, *wide])
    click.echo(text, nl=False)
    if write:
        drawn = pictures(deep, wide)
        shown = "\n".join(f"![{name}]({name})" for name in drawn)
        about = f"# Scaling\n\n{' '.join((__doc__ or '').split())} Made by `scaling.py --write`.\n\n"
        for name, content in {**drawn, "SCALING.md": f"{about}{text}\n{shown}\n"}.items():
            write_whole(HERE / name, content.encode())


if __name__ == "__main__":
    main()
