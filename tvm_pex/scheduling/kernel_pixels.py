"""How the kernels in C take the pixels of a row: several at once where they can. Pure integers.

It follows ``tvm_pex/micro_kernels/sources``: a call computes a run of pixels. It finds the window of the first one, row
by row, and moves it on as far as windows have all their columns inside the tensor. A window that has not is found
position by position, for its pixel alone.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from tvm_pex.graph import Window


@dataclass(frozen=True)
class Taken:
    """Pixels of one row of results: by rows of their windows, at once or single, and those by positions.

    ``found`` are the windows that had to be found anew.
    """

    found: int
    at_once: int
    single: int
    at_once_by_position: int
    single_by_position: int


@dataclass(frozen=True)
class Grouped:
    """The same for pex_depthwise: groups of four and of three side by side, and the others."""

    fours: int
    threes: int
    single: int
    single_by_position: int


@functools.lru_cache(maxsize=65536)
def taken(window: Window, width: int, columns: int, run: int, count: int, anywhere: bool) -> Taken:
    """``columns`` pixels over an input of ``width``, by calls for ``run`` of them, ``count`` at once.

    ``anywhere``: two pixels are computed at once also by the positions of their windows.
    """
    found = at_once = single = together = alone = 0
    for first in range(0, columns, run):
        column, end = first, min(first + run, columns)
        while column < end:
            found += 1
            inside = min(_inside(window, width, column), end - column)
            if anywhere and inside < 2 and end - column > 1:
                together += 1
                column += 2
                continue
            at_once += inside // count if count > 1 else 0
            single += inside % count if count > 1 else inside
            alone += inside == 0
            column += max(inside, 1)
    return Taken(found, at_once, single, together, alone)


@functools.lru_cache(maxsize=65536)
def grouped(window: Window, width: int, columns: int, run: int) -> Grouped:
    """``columns`` pixels of a depthwise convolution with a 3x3 window, or singly with any other."""
    fours = threes = single = alone = 0
    for first in range(0, columns, run):
        column, end = first, min(first + run, columns)
        while column < end:
            group = _group(window, width, column, end - column)
            inside = _inside(window, width, column) > 0
            fours += group == 4
            threes += group == 3
            single += group == 1 and inside
            alone += group == 1 and not inside
            column += group
    return Grouped(fours, threes, single, alone)


def _inside(window: Window, width: int, column: int) -> int:
    """Of the pixels from ``column`` on, those whose windows have all columns."""
    left = column * window.stride[1] - window.pad[1]
    beyond = width - 1 - left - window.reach(1)
    return 0 if left < 0 or beyond < 0 else beyond // window.stride[1] + 1


def _group(window: Window, width: int, column: int, left: int) -> int:
    """Pixels that pex_depthwise computes at once, of the ``left`` ones that remain."""
    if window.kernel != (3, 3) or window.dilation[1] > 1:
        return 1
    if window.stride[1] == 1:
        return min(left, 4) if left > 2 else 1
    return 4 if window.stride[1] == 2 and left > 3 and _inside(window, width, column) > 3 else 1
