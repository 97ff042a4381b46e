"""How quotients become whole numbers: as stock TVM does it, or as TFLite's reference kernels do. Pure.

``rescale(v, multiplier, shift)`` is ``v * multiplier / 2**shift``. TVM rounds once, halves up::

    floor((v * multiplier + 2**(shift - 1)) / 2**shift)                     # shift == 0: v * multiplier, exactly

TFLite rounds twice: to ``h = v * multiplier / 2**31``, halves up, then ``h / 2**(shift - 31)``, halves away from zero.
Floors of quotients by powers of two combine, so that this is TVM's formula with a *nudge* of 2**30 more, or, where v is
negative, less; none where ``shift`` is 31 or less, and nothing is left to divide h by. That holds for multipliers from
2**29 on, and for 0.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

Rounding = Literal["tvm", "tflite"]
ROUNDINGS: tuple[Rounding, ...] = ("tvm", "tflite")

NUDGE = 1 << 30
LARGEST_WITHOUT_NUDGE = 31
"""The largest shift that TFLite rounds once."""

SUM_BITS = 20
"""TFLite adds differences of this many more bits."""

RESIZE_BITS = 10
"""Of a position between two pixels, where TFLite resizes integers."""


def resize_positions(coordinates: str, size: int, out: int) -> tuple[int, int]:
    """(step, first): where TFLite resizes integers, output r lies at ``r * step + first``, or at 0 if that is less.

    In 1024ths of one of ``size`` pixels, which become ``out`` (``reference/resize_bilinear.h``, ResizeBilinearInteger).
    """
    inner = int(coordinates == "align_corners" and out > 1)
    size, out = size - inner, out - inner
    step = ((size << RESIZE_BITS) + out // 2) // out
    return step, step // 2 - (1 << RESIZE_BITS - 1) if coordinates == "half_pixel" else 0


def rescaled(value: Any, multiplier: Any, shift: Any, rounding: Rounding) -> Any:
    """``rescale`` of 64-bit integers, arrays or not, whose product with the multiplier has 62 bits."""
    half = np.where(np.greater(shift, 0), np.left_shift(np.int64(1), np.maximum(np.subtract(shift, 1), 0)), 0)
    wide = np.multiply(value, multiplier, dtype=np.int64) + half
    if rounding == "tflite":
        nudge = np.where(np.less(value, 0), -NUDGE, NUDGE)
        wide = wide + np.where(np.greater(shift, LARGEST_WITHOUT_NUDGE), nudge, 0)
    return np.right_shift(wide, shift)
