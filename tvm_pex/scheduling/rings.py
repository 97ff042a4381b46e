"""How many pixels of a tensor have to be kept: when each is made and when it is last read. Pure integers.

A *use* says which output position reads an input position last, along one axis; it is the arguments of ``last_reader``:
(size in, size out, kernel, stride, dilation, pad).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tvm_pex.graph import Pair

Times = npt.NDArray[np.int64]

_NEVER = -1
_PERIOD = 1 << 32  # a row's time in units of a pixel's: larger than any pixel time, so that pairs compare as integers

Reader = tuple[Pair, Pair, tuple[int, ...], tuple[int, ...]]


@functools.lru_cache(maxsize=65536)
def ring_pixels(shape: Pair, stride: Pair, readers: tuple[Reader, ...], run: int = 1) -> int:
    """Least ring for a (height, width) tensor made at ``stride`` from time 0 on, by runs of pixels, read by ``readers``.

    A reader is (stride, delay after the producer, row use, column use), uses as for ``last_reader``. Exact: the
    longest run of positions from the oldest that is still to be read to the newest made.
    """
    made = made_times(shape, stride, (0, 0), run)
    dead = np.maximum.accumulate(last_times(shape, readers, run).max(initial=_NEVER, axis=0))
    oldest = np.searchsorted(dead, made, side="left")
    pixels = int((np.arange(made.size) - np.minimum(oldest, np.arange(made.size))).max()) + 1
    if stride[1] == 0:  # whole rows are made at one moment: the newest is the last of its row
        pixels = math.ceil(pixels / shape[1]) * shape[1]
    return pixels


def made_times(shape: Pair, stride: Pair, delay: Pair, run: int = 1) -> Times:
    """When each pixel of a (height, width) tensor is made, in row-major order, by runs of pixels."""
    rows = stride[0] * np.arange(shape[0], dtype=np.int64) + delay[0]
    columns = stride[1] * (np.arange(shape[1], dtype=np.int64) // run) + delay[1]
    return (rows[:, None] * _PERIOD + columns[None, :]).reshape(-1)


def last_times(shape: Pair, readers: Iterable[Reader], run: int = 1) -> Times:
    """For each reader (first axis) and pixel: when it is last read; ``_NEVER`` where it is not."""
    lines = [np.full(shape[0] * shape[1], _NEVER, np.int64)]
    for stride, delay, rows, columns in readers:
        row, column = last_reader(*rows), last_reader(*columns)
        row_time = np.where(row < 0, _NEVER, stride[0] * row + delay[0])
        times = row_time[:, None] * _PERIOD + (stride[1] * (column // run) + delay[1])[None, :]
        never = (row < 0)[:, None] | (column < 0)[None, :]
        lines.append(np.where(never, _NEVER, times).reshape(-1))
    return np.stack(lines)


@functools.lru_cache(maxsize=4096)
def last_reader(size_in: int, size_out: int, kernel: int, stride: int, dilation: int, pad: int) -> Times:
    """For each input position, the last output position whose window reads it, or -1."""
    last = np.full(size_in, -1, np.int64)
    outputs = np.arange(size_out, dtype=np.int64)
    for tap in range(kernel):
        where = outputs * stride - pad + tap * dilation
        inside = (where >= 0) & (where < size_in)
        np.maximum.at(last, where[inside], outputs[inside])
    last.setflags(write=False)
    return last
