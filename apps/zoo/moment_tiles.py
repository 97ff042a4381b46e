"""What slices of channels inside a moment would save: pixels that are read at the very moment at which they are made.

Between two such operators a pixel, or a run or row of them, lies in memory with all of its channels. It need not: its
maker could make a channel and its readers take it, one after the other. A convolution over all channels would then keep
an int32 sum for each of its results of that moment. This is a measurement of plans, which do so before a global pool
alone: there the sums exist anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from make import fail

from tvm_pex.cli.planning import AXES, DEFAULT_CORE, Step, progress
from tvm_pex.graph import Convolution, Graph, Operator
from tvm_pex.memory_planner import Buffer, plan_memory
from tvm_pex.options import PlanOptions
from tvm_pex.scheduling.lifetimes import Track, Turn, problem_of, program_tracks
from tvm_pex.scheduling.schedule import Ring, Schedule, Segment
from tvm_pex.scheduling.segments import by_channel

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADING = (
    "| network | arena | one channel, with sums | | no memory at all | |",
    "|---|---:|---:|---:|---:|---:|",
)
_SUM = 4  # bytes


@dataclass(frozen=True)
class Arenas:
    """Bytes: as planned; with pixels of one moment channel by channel, and the sums; and if they needed nothing."""

    planned: int
    tiles: int
    nothing: int


def momentary(schedule: Schedule, tracks: Mapping[str, Track]) -> Iterator[tuple[Segment, Ring]]:
    """The rings of which every pixel is read only when it is made."""
    for segment in schedule.segments:
        for ring in segment.rings if not segment.repeats else ():
            if ring.tensor in tracks and tracks[ring.tensor].turn is not None:
                yield segment, ring


def summing(graph: Graph, segment: Segment, ring: Ring) -> list[Operator] | None:
    """The readers that need sums to take the ring's pixels channel by channel; None if it cannot go like that."""
    maker = next(op for op in graph.operators if op.output == ring.tensor)
    reducing = {stage.operator for stage in segment.stages if stage.reduction}
    rest = [op for op in graph.consumers()[ring.tensor] if op.name not in reducing]  # those have their sums already
    dense = [op for op in rest if isinstance(op, Convolution) and op.groups == 1]
    channel_by_channel = [op for op in rest if op not in dense]
    if not (isinstance(maker, Convolution) or by_channel(maker, ring.channels)):
        return None
    return dense if all(by_channel(op, ring.channels) for op in channel_by_channel) else None


def measure(graph: Graph, schedule: Schedule, kept: frozenset[str]) -> Arenas:
    """The arenas of a graph that is the whole program, for this schedule."""
    tracks = program_tracks(graph, schedule, kept=kept)
    sliced, above = dict(tracks), dict[tuple[str, str], int]()
    for segment, ring in momentary(schedule, tracks):
        readers, track = summing(graph, segment, ring), tracks[ring.tensor]
        if readers is None:
            continue
        tile = ring.pixels * graph.tensors[ring.tensor].item_bytes
        sums = {op.output: _sums(graph, segment, op, ring, track) for op in readers}
        # A result may lie over its own sums, which it replaces one by one.
        over = {name for name in sums if name in tracks and tracks[name].turn is not None}
        saved = track.buffer.bytes - tile + sum(tracks[name].buffer.bytes for name in over)
        if sum(own.buffer.bytes for own in sums.values()) < saved:
            written = track.written and replace(track.written, bytes=np.minimum(track.written.bytes, tile))
            sliced[ring.tensor] = replace(track, buffer=replace(track.buffer, bytes=tile), written=written)
            sliced |= {own.buffer.name: own for own in sums.values()}
            above |= {(name, sums[name].buffer.name): 0 for name in over}
    nothing = tracks.keys() - {ring.tensor for _, ring in momentary(schedule, tracks)}
    planned = plan_memory(problem_of(tracks.values())).peak
    problem = problem_of(sliced.values())
    tiles = plan_memory(replace(problem, distances={**problem.distances, **above})).peak
    without = plan_memory(problem_of(tracks[name] for name in sorted(nothing))).peak
    return Arenas(planned, min(planned, tiles), without)


def _sums(graph: Graph, segment: Segment, op: Operator, ring: Ring, made: Track) -> Track:
    """The sums of ``op``: from the first channel that is made to their last use, at each moment."""
    size = _SUM * ring.pixels * graph.tensors[op.output].shape[2]
    buffer = Buffer(f"{op.name} of {ring.tensor}", size, made.buffer.first, made.buffer.last, _SUM)
    assert made.turn is not None
    return Track(buffer, turn=Turn(made.turn.segment, made.turn.first, segment.operators.index(op.name)))


def measured(path: Path, options: PlanOptions, step: Step) -> Arenas:
    """The arenas of the regions of a model, the largest of each; what stock operators hold is left out."""
    step(f"planning {path.name}", None, None)
    from tvm_pex import _tvm
    from tvm_pex.frontend.streaming import NotStreamable
    from tvm_pex.frontend.tflite_model import ModelError, load_model
    from tvm_pex.relay_pass import partition

    _tvm.silence()
    try:
        cut = partition(load_model(path).mod, options)
    except (ModelError, NotStreamable) as error:
        fail(str(error))
    found = [measure(graph, schedule, cut.kept) for graph, schedule in cut.regions]
    return Arenas(*(max((getattr(a, name) for a in found), default=0) for name in ("planned", "tiles", "nothing")))


def row(name: str, arenas: Arenas) -> str:
    cells = (f"{n:,} | {100 * (n / max(1, arenas.planned) - 1):+.2f} %" for n in (arenas.tiles, arenas.nothing))
    return f"| {name} | {arenas.planned:,} | {' | '.join(cells)} |"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL.tflite...")
@click.option("--axes", type=click.Choice(list(AXES)), default=next(iter(AXES)), show_default=True)
@click.option("--stream-input", is_flag=True, help="The caller hands in the largest input row by row.")
def main(models: tuple[Path, ...], axes: str, stream_input: bool) -> None:
    """Print a Markdown table: arena bytes, and what slices of channels inside a moment would make of them.

    \b
    Examples:
      moment_tiles.py mobilenet_v2_1_224.tflite
      moment_tiles.py --axes rows --stream-input out/zoo/*.tflite
    """
    options = PlanOptions(AXES[axes], core=DEFAULT_CORE, stream_input=stream_input)
    with progress() as step:
        for number, path in enumerate(models):
            line = row(path.stem, measured(path, options, step))
            click.echo("\n".join([*(() if number else HEADING), line]))


if __name__ == "__main__":
    main()
