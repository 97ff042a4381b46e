"""The integers of both roundings, held against Python's without a limit, and what scales become."""

from __future__ import annotations

import numpy as np
import pytest
from rounding_model import rescaled as exactly

from tvm_pex.frontend.fixed_point import ZERO, tflite_fixed_point, tflite_mean, tflite_sum
from tvm_pex.rounding import ROUNDINGS, Rounding, rescaled

CASES = 20_000


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_rescale_of_any_number(rounding: Rounding) -> None:
    """Many values are near halves of the second rounding, where once and twice differ."""
    rng = np.random.default_rng(1)
    shift = rng.integers(20, 63, CASES)
    multiplier = rng.choice([1 << 29, 1 << 30, (1 << 31) - 1, *rng.integers(1 << 29, 1 << 31, 200)], CASES)
    room = 31 - np.maximum(31 - shift, 0)
    values = rng.integers(-(1 << room), 1 << room) >> rng.integers(0, 31, CASES)
    half = (rng.integers(-200, 200, CASES) + 0.5) * np.ldexp(1.0, shift) / multiplier
    near = np.clip(np.round(half), -(1 << room), (1 << room) - 1).astype(np.int64) + rng.integers(-1, 2, CASES)
    values = np.where(rng.random(CASES) < 0.5, np.clip(near, -(1 << room), (1 << room) - 1), values)
    assert (rescaled(values, multiplier, shift, rounding) == exactly(values, multiplier, shift, rounding)).all()


def test_the_two_differ_at_halves() -> None:
    values = np.array([-3, -1, 1, 3, 5])
    assert rescaled(values, 1 << 30, 31, "tvm").tolist() == [-1, 0, 1, 2, 3]
    assert rescaled(values, 1 << 30, 32, "tvm").tolist() == [-1, 0, 0, 1, 1]
    assert rescaled(values, 1 << 30, 32, "tflite").tolist() == [-1, 0, 1, 1, 2]


def test_scales_become_what_tflite_takes() -> None:
    assert tflite_fixed_point(0.75) == (3 << 29, 31, False)
    assert tflite_fixed_point(1.0) == (1 << 30, 30, False)
    assert tflite_fixed_point(2.0**-32) == (1 << 30, 62, False)
    assert tflite_fixed_point(2.0**-33) == ZERO
    assert tflite_fixed_point(0.0) == ZERO
    assert tflite_mean(1.0, 49) == ((1 << 35) // 49, 35, False)
    (left, right), total = tflite_sum((0.5, 0.25), 1.0)
    assert (left, right, total) == ((1 << 30, 31, False), (1 << 30, 32, False), (1 << 30, 50, False))


@pytest.mark.parametrize("ratio", [-1.0, 2.0**30, float("inf"), float("nan")])
def test_other_scales_have_none(ratio: float) -> None:
    with pytest.raises(ValueError, match="is not between"):
        tflite_fixed_point(ratio)


def test_a_mean_that_is_rescaled_far_gets_fewer_bits() -> None:
    assert tflite_mean(2.0**-30, 49) == ((1 << 32) // 49, 62, False)
    assert tflite_mean(2.0**-40, 49) == (0, 6, False)
