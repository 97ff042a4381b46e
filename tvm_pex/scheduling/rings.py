"""How many pixels of a tensor have to be kept: when each is made and when it is last read. Pure integers.

A *use* says which input positions each output position reads, along one axis: (size in, size out, kernel, stride,
dilation, pad, up, mirror), as ``tvm_pex.graph.Window`` defines them, mirror below 0 where there is none.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tvm_pex.graph import Pair, Window

Times = npt.NDArray[np.int64]

_NEVER = -1
_PERIOD = 1 << 32  # a row's time in units of a pixel's: larger than any pixel time, so that pairs compare as integers

Use = tuple[int, ...]
Reader = tuple[Pair, Pair, Use, Use]


def use_of(window: Window, axis: int, size_in: int, size_out: int, pad: int | None = None) -> Use:
    """How ``window`` reads along ``axis``; ``pad`` replaces its own."""
    own = window.pad[axis] if pad is None else pad
    mirror = -1 if window.mirror is None else window.mirror
    steps = window.kernel[axis], window.stride[axis], window.dilation[axis]
    return (size_in, size_out, *steps, own, window.up[axis], mirror)


@functools.lru_cache(maxsize=4096)
def positions(use: Use) -> Times:
    """[position of the window, output position]: the input position that is read, or -1."""
    size_in, size_out, kernel, stride, dilation, pad, up, mirror = use
    at = np.arange(size_out, dtype=np.int64)[None, :] * stride - pad
    at = at + np.arange(kernel, dtype=np.int64)[:, None] * dilation
    if mirror >= 0:
        at = np.where(at < 0, mirror - 1 - at, at)
        at = np.where(at >= size_in, 2 * size_in - 1 - mirror - at, at)
    found = np.where((at % up == 0) & (at >= 0) & (at < size_in * up), at // up, -1)
    found.setflags(write=False)
    return found


@functools.lru_cache(maxsize=65536)
def wait(use: Use, made: int, read: int, run: int = 1) -> int:
    """How long after its input, whose runs of positions are ``made`` apart, an operator may begin at the earliest.

    Its own runs are ``read`` apart.
    """
    newest = positions(use).max(axis=0)
    outputs = np.flatnonzero(newest >= 0)
    return int((made * (newest[outputs] // run) - read * (outputs // run)).max(initial=-read * use[1]))


@functools.lru_cache(maxsize=65536)
def ring_pixels(shape: Pair, stride: Pair, readers: tuple[Reader, ...], run: int = 1) -> int:
    """Least ring for a (height, width) tensor made at ``stride`` from time 0 on, run by run, read by ``readers``.

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
        row, column = last_reader(rows), last_reader(columns)
        row_time = np.where(row < 0, _NEVER, stride[0] * row + delay[0])
        times = row_time[:, None] * _PERIOD + (stride[1] * (column // run) + delay[1])[None, :]
        never = (row < 0)[:, None] | (column < 0)[None, :]
        lines.append(np.where(never, _NEVER, times).reshape(-1))
    return np.stack(lines)


@functools.lru_cache(maxsize=4096)
def last_reader(use: Use) -> Times:
    """For each input position, the last output position whose window reads it, or -1."""
    last = np.full(use[0], -1, np.int64)
    read = positions(use)
    outputs = np.broadcast_to(np.arange(use[1], dtype=np.int64), read.shape)
    np.maximum.at(last, read[read >= 0], outputs[read >= 0])
    last.setflags(write=False)
    return last
