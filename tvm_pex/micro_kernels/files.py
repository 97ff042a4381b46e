"""The C of the kernels that a program calls."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tvm_pex.graph import Graph
from tvm_pex.rounding import ROUNDINGS, Rounding
from tvm_pex.scheduling.kernels import (
    ADD,
    DEPTHWISE,
    DEPTHWISE_LANES,
    LANES,
    LANES_PATCH,
    PAIRS,
    PAIRS_PATCH,
    SUM,
    WIDE,
    WIDE_PATCH,
    kernel_of,
)
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
    DEPTHWISE_LANES: ("pex_depthwise_lanes.c", "pex_window.c"),
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


def source_files(kernels: Iterable[str], rounding: Rounding) -> dict[str, str]:
    """Name to text of the C files and headers that hold ``kernels``; nothing for no kernels."""
    names = {name for kernel in kernels for name in _files(kernel, rounding)}
    if not names:
        return {}
    headers = {path.name for path in SOURCES.glob("*.h")} - {_rounding_header(other) for other in ROUNDINGS}
    files = {name: name for name in (*names, *headers)} | {"pex_rounding.h": _rounding_header(rounding)}
    return {name: (SOURCES / files[name]).read_text() for name in sorted(files)}


def _files(kernel: str, rounding: Rounding) -> tuple[str, ...]:
    return ("pex_add_tflite.c",) if (kernel, rounding) == (ADD, "tflite") else _FILES[kernel]


def _rounding_header(rounding: Rounding) -> str:
    return f"pex_rounding_{rounding}.h"
