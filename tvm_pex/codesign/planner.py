"""Measures many candidates at once: processes that search for schedules, and a memory of what was measured before."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from types import TracebackType

from tvm_pex.codesign.network import Load, arena_load, flash_bytes, layers_load
from tvm_pex.graph import Graph, graph_to_json


class Planner:
    """To be used as a context. With one job it plans in this process; others import neither TensorFlow nor TVM."""

    def __init__(self, overwrite_input: bool = False, jobs: int | None = None) -> None:
        self._measure = partial(arena_load, overwrite_input=overwrite_input)
        self._known: dict[str, Load] = {}
        count = jobs or os.cpu_count() or 1
        self._pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) if count > 1 else None

    def __enter__(self) -> Planner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def arenas(self, graphs: Sequence[Graph]) -> list[Load]:
        """The planned arena of each."""
        wanted = {graph_to_json(graph): graph for graph in graphs}
        new = [text for text in wanted if text not in self._known]
        each = self._pool.map if self._pool else map
        self._known.update(zip(new, each(self._measure, [wanted[text] for text in new])))
        return [self._known[graph_to_json(graph)] for graph in graphs]


def layers(graphs: Sequence[Graph]) -> list[Load]:
    """The memory of each, layer by layer."""
    return [layers_load(graph) for graph in graphs]


def flash(graphs: Sequence[Graph]) -> list[Load]:
    """The bytes of constants of each."""
    return [_whole(flash_bytes(graph)) for graph in graphs]


def macs(graphs: Sequence[Graph]) -> list[Load]:
    """The multiply-accumulates of each."""
    return [_whole(graph.macs()) for graph in graphs]


def _whole(value: int) -> Load:
    return Load(value, (value,))
