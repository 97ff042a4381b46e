"""The C of the kernels that a program calls."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tvm_pex.graph import Graph
from tvm_pex.scheduling.kernels import ADD, DEPTHWISE, LANES, LANES_PATCH, PAIRS, PAIRS_PATCH, SUM, WIDE, WIDE_PATCH, kernel_of
from tvm_pex.scheduling.schedule import Schedule

SOURCES = Path(__file__).parent / "sources"

_FILES = {
    PAIRS: ("pex_pairs.c", "pex_window.c"),
    PAIRS_PATCH: ("pex_pairs.c", "pex_window.c"),
    WIDE: ("pex_pairs.c", "pex_window.c"),
    WIDE_PATCH: ("pex_pairs.c", "pex_window.c"),
    LANES: ("pex_lanes.c", "pex_window.c"),
    LANES_PATCH: ("pex_lanes.c", "pex_window.c"),
    DEPTHWISE: ("pex_depthwise.c", "pex_window.c"),
    ADD: ("pex_add.c",),
    SUM: ("pex_sum.c",),
}


def kernels_in(graph: Graph, schedule: Schedule) -> set[str]:
    """The kernels by which operators of ``graph`` run."""
    operators = {op.name: op for op in graph.operators}
    found = {
        kernel_of(graph, segment, stage, operators[stage.operator])
        for segment in schedule.segments
        for stage in segment.stages
    }
    return {kernel for kernel in found if kernel}


def source_files(kernels: Iterable[str]) -> dict[str, str]:
    """Name to text of the C files and headers that hold ``kernels``; nothing for no kernels."""
    names = {name for kernel in kernels for name in _FILES[kernel]}
    headers = {path.name for path in SOURCES.glob("*.h")} if names else set()
    return {name: (SOURCES / name).read_text() for name in sorted(names | headers)}
