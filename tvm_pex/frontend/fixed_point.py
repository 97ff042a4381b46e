"""The integers that stand for a ratio of quantisation scales, exactly as stock TVM, or TFLite, chooses them. Pure.

TVM multiplies a 32-bit value v by ``scale_in / scale_out`` as ``floor((v * multiplier + 2**(shift - 1)) / 2**shift)``,
with ``multiplier`` in [2**30, 2**31) (or 0) and ``shift = 31 - exponent``, both from ``frexp`` of the ratio. TFLite
takes the same two of a ratio that it computes in its own way, and rounds otherwise: see ``tvm_pex.rounding``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tvm_pex.rounding import SUM_BITS

_HALF = 1 << 30
LARGEST_SHIFT = 62
"""From 63 on every 32-bit value rescales to 0, because ``|v * multiplier| < 2**62``."""


class FixedPoint(NamedTuple):
    """``shift`` is 0 (nothing is rounded) or in 1..62; ``undefined``: stock TVM's C for it has no defined value."""

    multiplier: int
    shift: int
    undefined: bool = False


IDENTITY = FixedPoint(1, 0)
ONE = FixedPoint(_HALF, 30)
"""The same value as IDENTITY, for arrays whose reader wants a shift of at least 1."""
ZERO = FixedPoint(0, 1)


def fixed_point(scale_in: float, scale_out: float, *, per_channel: bool) -> FixedPoint:
    """The multiplier and shift of a requantise from ``scale_in`` to ``scale_out``, which are float32 values.

    ``per_channel`` says which of TVM's two code paths it is: they differ only in where their shifts are undefined.
    Raises ValueError for scales that are not positive numbers, and for ratios of 2**31 and more.
    """
    if not (0 <= scale_in < math.inf and 0 < scale_out < math.inf):
        raise ValueError(f"scales {scale_in} and {scale_out} are not positive numbers")
    if scale_in == scale_out:
        return ONE if per_channel else IDENTITY
    multiplier, shift = significand_and_shift(float(np.float32(scale_in)) / float(np.float32(scale_out)))
    if shift < 1:
        raise ValueError(f"scale ratio {scale_in / scale_out} is 2**31 or more")
    if multiplier == 0:
        return ZERO
    # One scale for the whole tensor that is a power of two becomes a shift of the 32-bit value itself, by shift - 30.
    widest = 61 if multiplier == _HALF and not per_channel else 63
    if shift > LARGEST_SHIFT or shift > widest:
        return FixedPoint(*ZERO[:2], undefined=shift > widest)
    return FixedPoint(multiplier, shift)


def tflite_fixed_point(ratio: float) -> FixedPoint:
    """The multiplier and shift that TFLite takes for ``ratio``, a number of 64 bits.

    Raises ValueError for a ratio that is no number from 0 to 2**30.
    """
    if not 0 <= ratio < 2**30:
        raise ValueError(f"scale ratio {ratio} is not between 0 and 2**30")
    multiplier, shift = significand_and_shift(ratio)
    return FixedPoint(multiplier, shift) if multiplier and shift <= LARGEST_SHIFT else ZERO


def tflite_mean(ratio: float, count: int) -> FixedPoint:
    """The same for a mean of ``count`` values, which is a sum rescaled by ``ratio / count``. Raises ValueError.

    The multiplier gets as many bits more as keep it below 2**31, or fewer where no shift is left for them.
    """
    multiplier, shift, _ = tflite_fixed_point(ratio)
    more = min(count.bit_length() - 1, LARGEST_SHIFT - shift)
    return FixedPoint((multiplier << more) // count, shift + more)


def tflite_sum(
    scales: Sequence[float], scale_out: float, *, difference: bool = False
) -> tuple[tuple[FixedPoint, ...], FixedPoint]:
    """Those of a sum's operands, and of the sum of what they give: see Add. Raises ValueError.

    Of a difference TFLite Micro takes the ratios in float32.
    """
    number: type[np.floating[Any]] = np.float32 if difference else np.float64
    twice = number(2 * max(scales))
    ratios = [float(number(scale) / twice) for scale in scales]
    total = float(twice / (number(1 << SUM_BITS) * number(scale_out)))
    return tuple(map(tflite_fixed_point, ratios)), tflite_fixed_point(total)


def significand_and_shift(ratio: float) -> tuple[int, int]:
    """TVM's GetFixedPointMultiplierShift, with the total right shift in place of the exponent."""
    if ratio == 0:
        return 0, 31
    fraction, exponent = math.frexp(ratio)
    significand = math.floor(fraction * 2**31 + 0.5)
    if significand == 1 << 31:
        significand, exponent = _HALF, exponent + 1
    return significand, 31 - exponent
