"""Slices of channels alone, as in Pex (arXiv 2211.17246), with running sums counted as int32 and as one byte each."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from make import fail
from table import checked

from tvm_pex.cli.planning import Step, progress
from tvm_pex.memory_planner import Problem, plan_memory
from tvm_pex.options import PlanOptions
from tvm_pex.scheduling.lifetimes import memory_problem, segment_problem, sums_name
from tvm_pex.scheduling.schedule import Schedule, Segment
from tvm_pex.scheduling.segments import Unschedulable, make_segment, sliced_channels

if TYPE_CHECKING:
    from tvm_pex.graph import Graph

HEADING = (
    "| network | layer by layer | one-byte sums | | int32 sums | | rows, pixels, channels | | exact |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---|",
)

Count = Callable[["Graph", Problem], Problem]


def one_byte(graph: Graph, problem: Problem) -> Problem:
    """Sums are the bytes of the tensor that they end in. No program that gives the same outputs can do that."""
    sums = {sums_name(op.name) for op in graph.operators}
    kept = tuple(buffer for buffer in problem.buffers if buffer.name not in sums)
    return replace(problem, buffers=kept, distances={p: d for p, d in problem.distances.items() if not sums & set(p)})


def segments(graph: Graph, start: int) -> Iterator[tuple[int, Segment]]:
    """(stop, segment) for each that begins at operator ``start``: one operator whole, or more in slices of channels."""
    yield start + 1, make_segment(graph, graph.operators[start : start + 1], ())
    for stop in range(start + 2, len(graph.operators) + 1):
        operators = graph.operators[start:stop]
        channels = sliced_channels(graph, operators) or 1
        for tile in range(1, channels):
            if channels % tile == 0:
                try:
                    yield stop, make_segment(graph, operators, (), tile)
                except Unschedulable:  # nor is anything longer
                    return


def lowest(graph: Graph, kept: frozenset[str], count: Count) -> Schedule:
    """The channel-only schedule whose highest segment is lowest, then of the least sum of peaks; ``count`` counts."""
    best: list[tuple[int, int, tuple[Segment, ...]]] = [(0, 0, ())]
    arriving: list[list[tuple[int, int, tuple[Segment, ...]]]] = [[] for _ in range(len(graph.operators) + 1)]
    for start in range(len(graph.operators)):
        peak, total, path = best[start]
        for stop, segment in segments(graph, start):
            own = plan_memory(count(graph, segment_problem(graph, segment, kept))).peak
            arriving[stop].append((max(peak, own), total + own, (*path, segment)))
        best.append(min(arriving[start + 1], key=lambda cost: cost[:2]))
    return Schedule(best[-1][2])


def channel_only_bytes(path: Path, count: Count = one_byte) -> int:
    """Arena of the regions of a model, the largest of them; scratch of stock operators is left out."""
    from tvm_pex import _tvm
    from tvm_pex.frontend.tflite_model import ModelError, load_model
    from tvm_pex.relay_pass import read_module, split_regions

    _tvm.silence()
    try:
        _, reading, kept = read_module(load_model(path).mod, overwrite_input=False)
    except ModelError as error:
        fail(str(error))
    peaks = [
        plan_memory(count(graph, memory_problem(graph, lowest(graph, kept, count), kept=kept))).peak
        for graph in split_regions(reading)
    ]
    return max(peaks, default=0)


@dataclass(frozen=True)
class Row:
    """Arenas in bytes of one network. ``exact``: the compiled programs of both plans gave stock TVM's bytes."""

    network: str
    layer_by_layer: int
    one_byte_sums: int
    int32_sums: int
    all_axes: int
    exact: bool

    def __str__(self) -> str:
        arenas = (self.one_byte_sums, self.int32_sums, self.all_axes)
        cells = itertools.chain.from_iterable((f"{n:,}", f"{self.layer_by_layer / n:.2f}x") for n in arenas)
        return f"| {self.network} | {self.layer_by_layer:,} | {' | '.join(cells)} | {'yes' if self.exact else 'NO'} |"


def measure(path: Path, inputs: int, step: Step) -> Row:
    plan, alone_passed = checked(path, PlanOptions(axes=("channels",)), inputs, step)
    every, every_passed = checked(path, PlanOptions(), inputs, step)
    step(f"{path.stem}: one-byte sums", None, None)
    arenas = (channel_only_bytes(path), plan["arena_bytes"], every["arena_bytes"])
    return Row(path.stem, plan["layer_by_layer_bytes"], *arenas, alone_passed and every_passed)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL.tflite...")
@click.option("--inputs", type=click.IntRange(min=1), default=3, show_default=True, help="Inputs to run for `exact`.")
def main(models: tuple[Path, ...], inputs: int) -> None:
    """Print a Markdown table: arena bytes by channels alone, with sums counted in two ways, and by all axes.

    Exit status: 0 all are exact; 1 not so; 2 bad input.

    \b
    Examples:
      channel_only.py mobilenet_v2_1_224.tflite
      channel_only.py --inputs 20 out/zoo/*.tflite
    """
    exact = True
    with progress() as step:
        for number, path in enumerate(models):
            row = measure(path, inputs, step)
            click.echo("\n".join([*(() if number else HEADING), str(row)]))
            exact = exact and row.exact
    sys.exit(0 if exact else 1)


if __name__ == "__main__":
    main()
