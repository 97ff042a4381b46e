"""Both roundings in Python's integers, which have no limit: as TVM's documentation and as gemmlowp define them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def tvm(value: int, multiplier: int, shift: int) -> int:
    """Once, halves up."""
    return (value * multiplier + ((1 << shift) >> 1)) >> shift


def tflite(value: int, multiplier: int, shift: int) -> int:
    """MultiplyByQuantizedMultiplier of TFLite: a rounding doubling high multiplication, then a rounding division."""
    left, right = max(31 - shift, 0), max(shift - 31, 0)
    return _divided(_doubled_high(value << left, multiplier), right)


def _doubled_high(a: int, b: int) -> int:
    """Half of the divisor is added away from zero, then the quotient by 2**31 is truncated."""
    assert -(1 << 31) <= a < 1 << 31
    product = a * b
    nudge = 1 << 30 if product >= 0 else 1 - (1 << 30)
    magnitude = abs(product + nudge) >> 31
    return magnitude if product + nudge >= 0 else -magnitude


def _divided(value: int, exponent: int) -> int:
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (1 if value < 0 else 0)
    return (value >> exponent) + (1 if value & mask > threshold else 0)


ROUNDED: dict[str, Callable[[int, int, int], int]] = {"tvm": tvm, "tflite": tflite}


def rescaled(values: object, multiplier: object, shift: object, rounding: str) -> Integers:
    """The formula of tvm_pex.graph."""
    together = np.broadcast_arrays(np.asarray(values), np.asarray(multiplier), np.asarray(shift))
    numbers = zip(*(each.ravel() for each in together), strict=True)
    results = [ROUNDED[rounding](*map(int, each)) for each in numbers]
    return np.array(results, object).reshape(together[0].shape)
