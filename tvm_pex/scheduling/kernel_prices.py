"""What the kernels in C cost on each core, in instructions. Pure.

Compiled by gcc 12 with -O2; fitted to the emulator's counts of the operators of eight networks, each under several
schedules: least squares of the relative errors, no price below 0.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Blocks:
    """Four output channels of one pixel, or of several at once."""

    block: float  # bias, requantise, the loop
    run: float  # a row of the window, or a position, whose inputs lie side by side
    inputs: float  # a word of them, or a vector


@dataclass(frozen=True)
class Finding:
    """Where the inputs are."""

    window: float
    line: float  # a row of it
    position: float  # one found by itself
    pixel: float  # the window moved on, and the loop over pixels


@dataclass(frozen=True)
class Copying:
    """A window to a patch."""

    pixel: float
    line: float  # a row, copied as a whole
    position: float  # one copied by itself
    inputs: float  # a word, or a vector
    byte: float  # behind the last word


@dataclass(frozen=True)
class Depthwise:
    """Groups of pixels of pex_depthwise, one channel after the other; then four channels of one pixel."""

    group: float  # three rows of its columns found
    four: float  # a channel of four pixels at stride 1
    three: float  # of three
    strided: float  # of four at stride 2
    block: float  # four channels of one pixel: bias, requantise, the loop
    tap: float  # one position of a row
    position: float  # one that was found by itself


@dataclass(frozen=True)
class Elements:
    """pex_add, pex_sum: a call, a channel of it, an element, and what it takes to make an average of a sum."""

    call: float
    channel: float
    element: float
    average: float


@dataclass(frozen=True)
class Prices:
    """Instructions of a core.

    ``at_once`` counts for all pixels together: two or, by vectors, three. Where there are wide kernels, which pay
    ``widen`` for each input, narrow ones compute single pixels. ``short`` is for inputs that stay in vector registers.
    ``lanes`` are depthwise convolutions of sixteen channels: ``block`` of a 3x3 window as a whole, or else ``run`` and
    two positions at a time.
    """

    call: float
    finding: Finding
    copying: Copying
    single: Blocks
    at_once: Blocks
    special: float  # four results that do not have all 8 bits, or whose sums are shifted to the left
    depthwise: Depthwise
    add: Elements
    sum: Elements
    widen: float | None = None
    short: Blocks | None = None
    lanes: Blocks | None = None


PLAIN = Blocks(100, 32, 80)  # pex_lanes without vectors, read off its loops
_M3 = Prices(
    call=137,
    finding=Finding(62, 33, 18, 25),
    copying=Copying(67, 44, 25, 6.5, 7.4),
    single=Blocks(38, 12, 37),
    at_once=Blocks(78, 15, 57),
    special=32,
    depthwise=Depthwise(569, 125, 105, 134, 47, 22, 17),
    add=Elements(31, 0, 14, 0),
    sum=Elements(42, 11, 5, 14),
)
_M4 = Prices(
    call=142,
    finding=Finding(34, 39, 23, 36),
    copying=Copying(65, 43, 27, 5.4, 7.3),
    single=Blocks(42, 13, 17),
    at_once=Blocks(79, 11, 26),
    special=25,
    depthwise=Depthwise(571, 125, 105, 135, 43, 19, 13),
    add=Elements(31, 0, 14, 0),
    sum=Elements(42, 11, 5, 15),
    widen=3.2,
)
_M55 = Prices(
    call=123,
    finding=Finding(3.1, 48, 28, 39),
    copying=Copying(102, 11, 0.9, 5.1, 5),
    single=Blocks(52, 9.8, 10),
    at_once=Blocks(123, 25, 23),
    special=25,
    depthwise=_M4.depthwise,
    add=Elements(33, 0, 2.7, 0),
    sum=Elements(22, 0, 0.7, 11),
    short=Blocks(14, 0, 8),
    lanes=Blocks(125, 41, 27),
)
CORES = {"cortex-m3": _M3, "cortex-m4": _M4, "cortex-m7": _M4, "cortex-m33": _M4, "cortex-m55": _M55}


def has_wide(core: str) -> bool:
    """True if wide kernels are faster on ``core``."""
    return CORES[core].widen is not None
