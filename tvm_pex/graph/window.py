"""Tensors, and the windows through which operators see them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

Shape = tuple[int, int, int]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Tensor:
    """An activation: ``shape`` is (height, width, channels), ``dtype`` a numpy name (int8, uint8, int32, float32)."""

    name: str
    shape: Shape
    dtype: str

    @property
    def item_bytes(self) -> int:
        return int(np.dtype(self.dtype).itemsize)

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.item_bytes


@dataclass(frozen=True)
class Window:
    """What a sliding operator sees: output row r reads input rows ``r * stride - pad + k * dilation``, k < kernel.

    Every field but ``mirror`` is (rows, columns). ``pad`` is what lies before the tensor (top, left), below 0 where it
    begins later; what lies behind it follows from the output's shape. Positions outside the tensor are skipped: they
    hold the input's zero point.

    Where the output has more rows than the input, these rows lie ``up`` positions apart: r reads row i of the input
    where one of its positions is ``i * up``, and between the rows there is nothing. Such a window is not dilated.

    With ``mirror`` (and ``up`` 1) a position outside the tensor is the one as far inside: 0 counts from the border
    between both, so that the outermost row comes twice, 1 from the outermost row.
    """

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pad: Pair = (0, 0)
    up: Pair = (1, 1)
    mirror: int | None = None

    def reach(self, axis: int) -> int:
        """Distance from the first to the last position that a window touches."""
        return (self.kernel[axis] - 1) * self.dilation[axis]

    def covers(self, shape: Shape) -> bool:
        """True when the first window spans the whole tensor, so that its sums can be taken as pixels come."""
        return self == Window(kernel=shape[:2], stride=self.stride)

    def mean_taps(self) -> Fraction:
        """Positions of the input that an output reads, on average and inside: fewer than the kernel's with ``up``."""
        return Fraction(math.prod(self.kernel), math.prod(self.up))
