"""The fixed-point functions of gemmlowp's ``fixedpoint.h``, which TFLite's integer kernels call. Pure.

Numbers are arrays of int64 that hold what is there a 32-bit integer: ``v / 2**(31 - k)`` where k are its integer bits.
Those of the logistic function and of tanh have 4 on the way in and none on the way out, where 1 is ``2**31 - 1``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Raw = npt.NDArray[Any]

INTEGER_BITS = 4
_LARGEST = (1 << 31) - 1
_QUARTERS = {-2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401, 4: 242}
"""exp(-2**k) for each k."""


def doubled_high(a: Raw | int, b: Raw | int, bits: int = 32) -> Raw:
    """Their product by ``2**(bits - 1)``, halves up: SaturatingRoundingDoublingHighMul."""
    return np.asarray((np.asarray(a, np.int64) * b + (1 << bits - 2)) >> bits - 1)


def divided(value: Raw, exponent: int) -> Raw:
    """The quotient by ``2**exponent``, halves away from zero: RoundingDivideByPOT."""
    half = (1 << exponent) >> 1
    return np.asarray(np.sign(value) * ((np.abs(value) + half) >> exponent))


def logistic(value: Raw) -> Raw:
    """``1 / (1 + exp(-value))``."""
    positive = _moved(_inverse(_exp(-np.abs(value), INTEGER_BITS)), 1)
    result = np.where(value > 0, positive, _LARGEST - positive)
    return np.where(value == 0, 1 << 30, result)


def tanh(value: Raw) -> Raw:
    """``(1 - exp(-2 |value|)) / (1 + exp(-2 |value|))``, with the sign of the value."""
    magnitude = _moved(_inverse(_exp(-np.abs(value), INTEGER_BITS + 1)) - (1 << 29), 2)
    return np.asarray(np.sign(value) * magnitude)


def _exp(value: Raw, integer_bits: int) -> Raw:
    """``exp(value)`` for values up to 0: that of the last quarter, times those of powers of two."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << fraction_bits - 2
    last = (value & quarter - 1) - quarter
    result, rest = _exp_of_quarter(last << integer_bits), last - value
    for exponent, factor in _QUARTERS.items():
        if exponent < integer_bits:
            result = np.where(rest >> fraction_bits + exponent & 1, doubled_high(result, factor), result)
    return np.where(value == 0, _LARGEST, result)


def _exp_of_quarter(value: Raw) -> Raw:
    """``exp(value)`` from -1/4 to 0: Taylor's series around -1/8, without integer bits."""
    x = value + (1 << 28)
    squared = doubled_high(x, x)
    cubed, fourth = doubled_high(squared, x), doubled_high(squared, squared)
    series = divided(doubled_high(divided(fourth, 2) + cubed, 715827883) + squared, 1)
    return doubled_high(x + series, 1895147668) + 1895147668


def _inverse(value: Raw) -> Raw:
    """``2 / (1 + value)`` for values from 0 to 1, with 2 integer bits: three steps of Newton's from 48/17 - 32/17 h."""
    half = value + _LARGEST + 1 >> 1
    x = 1515870810 + doubled_high(half, -1010580540)
    for _ in range(3):
        x = x + _moved(doubled_high(x, (1 << 29) - doubled_high(half, x)), 2)
    return x


def _moved(value: Raw, bits: int) -> Raw:
    """With so many integer bits less, saturated."""
    return np.asarray(np.clip(value << bits, -_LARGEST - 1, _LARGEST))
